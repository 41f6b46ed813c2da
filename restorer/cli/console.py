"""What people read: messages and progress go to stderr, results and records to stdout.

On a terminal, lines are broken at words, with the rest of a line further in than its beginning; in a pipe or a file a
line stays one line. Where both streams are one terminal and something moves at its end, results are printed above it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.style import Style
from rich.text import Text

from restorer.errors import RestorerError, harmless

HANG = 2
"""How much further in than its beginning the rest of a broken line stands."""


class Lines(Console):
    """A console for lines: on a terminal a line is broken at words, elsewhere it is printed as it is.

    Attributes:
        moving: whether something moves at the end of the terminal (a bar), above which lines are printed.
    """

    moving = False

    def __init__(self, *, stderr: bool = False, **more: Any) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, emoji=False, **more)

    def print(self, *objects: Any, **how: Any) -> None:
        """Print a line of markup, or a `Text`; other objects as rich does. `soft_wrap` leaves a line as it is."""
        console: Console = messages if self is results and messages.moving and on_one_terminal() else self
        if len(objects) == 1 and isinstance(objects[0], (str, Text)) and "soft_wrap" not in how and self.is_terminal:
            text = objects[0]
            if isinstance(text, str):
                text = Text.from_markup(text, emoji=False) if how.pop("markup", True) else Text(text)
            objects = (broken(text, console.width),)
        Console.print(console, *objects, **how)


messages = Lines(stderr=True)
results = Lines()


def broken(text: Text, width: int) -> Text:
    """Return lines of text, each broken at words so that it fits into a width, in cells of the terminal.

    A word that is longer than a line is left whole, so that it can be copied.
    """
    return Text("\n").join(piece for line in text.split("\n", allow_blank=True) for piece in _pieces(line, width))


def _pieces(line: Text, width: int) -> list[Text]:
    """Return one line in pieces that fit."""
    plain = line.plain
    indent = len(plain) - len(plain.lstrip(" ")) + HANG
    start, room, cuts = 0, width, []
    for word in re.finditer(r"\S+", plain):
        if plain[start : word.start()].strip() and cell_len(plain[start : word.end()]) > room:
            cuts.append(word.start())
            start, room = word.start(), max(width - indent, 1)
    if not cuts:
        return [line]
    first, *others = line.divide(cuts)
    pieces = [first, *(Text(" " * indent).append_text(other) for other in others)]
    for piece in pieces:
        piece.rstrip()
    return pieces


def on_one_terminal() -> bool:
    """Tell whether stdout and stderr are the same terminal."""
    try:
        both = sys.stdout.isatty() and sys.stderr.isatty()
        return both and os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # what a caller puts in their place need not be a file
        return False


def raw(text: str) -> None:
    """Print text on stdout as it is, and at once: what a program may read."""
    if messages.moving and on_one_terminal():
        results.print(text, markup=False, soft_wrap=True)
    else:
        print(text, flush=True)


def json_text(value: object, indent: int | None = None) -> str:
    """Return JSON as stdout can hold it: with letters as they are, else, where one cannot be encoded, in ASCII."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return json.dumps(value, indent=indent)
    return text


def show_error(error: RestorerError, *, prefix: str = "Error") -> None:
    """Print what happened and what to do next, without a traceback."""
    messages.print(f"[bold red]{prefix}:[/] {_lines(error.message)}")
    if error.remedy:
        messages.print(f"  {_lines(error.remedy)}")


def note(line: str) -> None:
    """Print what the user should know, though nothing failed."""
    messages.print(f"[yellow]Note:[/] {_lines(line)}")


def say(line: str) -> None:
    """Print one line for the user."""
    messages.print(_lines(line))


def _lines(text: str) -> str:
    return "\n".join(map(shown, text.split("\n")))


def shown(text: object) -> str:
    """Return text as it may stand in a line of the terminal: a file's name can hold anything.

    Line ends, control codes, what turns the writing direction and what is no valid text become escapes; markup is
    escaped too.
    """
    return escape(plain(text))


def plain(text: object) -> str:
    """Return text as it may stand in a line where markup means nothing; see `shown`."""
    return harmless(str(text)).replace("\n", "\\n")


def linked(path: Path | str, console: Console = results, *, before: str = "") -> Text:
    """Return a path as it may stand in a line; where the terminal has links, it opens the file.

    Args:
        path: of the file.
        console: where the line will be printed.
        before: what stands before it in the line.
    """
    text = Text(before)
    return text.append(plain(path), Style(link=Path(path).absolute().as_uri()) if has_links(console) else None)


def has_links(console: Console) -> bool:
    """Tell whether a console is a terminal that has links; those that do not know them pass them over in silence.

    The two that are known to print them as text are left out.
    """
    return console.is_terminal and os.environ.get("TERM", "") not in ("dumb", "linux")
