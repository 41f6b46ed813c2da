"""The help pages: a first one of what most people need, and a whole one for each command.

They are plain text in two columns, broken at words to the terminal's width: nothing is drawn around them, so that they
can be read aloud, searched and copied. All that they say of options comes from the signatures of the commands.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from restorer.cli.commands import COMMANDS
from restorer.cli.console import results

if TYPE_CHECKING:
    from restorer.cli.entries import Entry

WIDEST = 100
"""Columns of a page, at most: longer lines are hard to read."""

ROOM = 20
"""Columns of an option's name on a whole page."""

FIRST = "Restore old, small or blurred photographs of people (scratches stay). The photo itself is never changed."
EXAMPLES = (
    ("restore grandma.jpg", "twice as large, faces restored"),
    ("restore grandma.jpg --scale 8 -o large.png", "eight times as large"),
    ("restore album/ -o restored/ --report", "a folder, and a page to see it"),
    ("restore faces group.jpg", "number the faces, for --faces"),
    ("restore demo", "try it: nothing is downloaded"),
)
OPTIONS = (
    ("-o, --out PATH", "the result's file, or a folder for all"),
    ("--scale NUMBER", "times larger: 2 (if not said), 3.5, 8"),
    ("--model NAME", "who restores faces; none only enlarges"),
    ("--faces WHICH", "all, largest, center, or 2,5 or 1-3"),
    ("--strength 0..1", "less leaves more of the photo's face"),
    ("--format NAME", "png, jpg, webp, tiff; else as the photo"),
    ("--overwrite", "replace results that exist"),
    ("--report", "a page with before and after"),
    ("--open", "show the result when it is done"),
    ("--offline", "never reach for the network"),
)
EXIT_CODES = (
    "Exit codes: 0 all done, 1 some photos failed (each is named), 2 wrong usage, 3 weights missing or not right, 130 "
    "interrupted."
)


def show_first_page() -> None:
    """Print what most people need, on one screen."""
    _print(_first_page(_width()))


def show_page(command: str, function: Callable[..., Any]) -> None:
    """Print all that a command takes.

    Args:
        command: as it is typed: "restore", "restore models pull".
        function: of the command.
    """
    _print(_page(command, function, _width()))


def show_group(command: str, about: str, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Print the commands below a command.

    Args:
        command: as it is typed: "restore models".
        about: what they are for.
        functions: of each, by name.
    """
    _print(_group(command, about, functions, _width()))


def _first_page(width: int) -> Iterator[Text]:
    yield _usage(["restore PHOTO... [OPTIONS]"], width)
    yield from _block("", textwrap.wrap(FIRST, width))
    yield from _block("Examples", _rows(EXAMPLES, width, indent=2))
    yield from _block("What people use most", _rows(OPTIONS, width, indent=2))
    commands = f"Commands: {', '.join(COMMANDS)}."
    more = "All options: restore --help. Those of a command: restore help COMMAND."
    yield from _block("", [*textwrap.wrap(commands, width, subsequent_indent="  "), *textwrap.wrap(more, width)])


def _page(command: str, function: Callable[..., Any], width: int) -> Iterator[Text]:
    from restorer.cli.entries import entries, groups

    found = entries(function)
    arguments = [each for each in found if not each.parameter.flags]
    options = groups(found)
    yield _usage([command, *(each.value for each in arguments), *(["[OPTIONS]"] if options else [])], width)
    for paragraph in re.split(r"\n\s*\n", inspect.getdoc(function) or ""):
        yield from _block("", textwrap.wrap(" ".join(paragraph.split()), width))
    told = [(each.value, each.parameter.help) for each in arguments if each.parameter.help]
    if told:
        yield from _block("Arguments", _rows(told, width, indent=2))
    for heading, group in options.items():
        yield from _block(heading, _rows(map(_row, group), width, indent=2, room=ROOM))
    if command == "restore":
        yield from _block("Examples", _rows(EXAMPLES, width, indent=2))
        rows = [(f"restore {name}", text) for name, text in COMMANDS.items()]
        yield from _block("Other commands (restore help COMMAND)", _rows(rows, width, indent=2))
        yield from _block("", textwrap.wrap(EXIT_CODES, width))


def _group(command: str, about: str, functions: Mapping[str, Callable[..., Any]], width: int) -> Iterator[Text]:
    yield _usage([f"{command} COMMAND ..."], width)
    yield from _block("", textwrap.wrap(about, width))
    rows = [(f"{command} {name}", (inspect.getdoc(each) or "").split("\n")[0]) for name, each in functions.items()]
    yield from _block("Commands (each has a --help of its own)", _rows(rows, width, indent=2))


def _row(entry: Entry) -> tuple[str, str]:
    """Return an option as it is typed, and what it means."""
    value = f" {entry.value}" if entry.parameter.takes_value else ""
    default = f"Default: {entry.default}." if entry.default else ""
    limits = f"{entry.limits}." if entry.limits else ""
    return ", ".join(entry.flags) + value, " ".join(filter(None, [entry.parameter.help, limits, default]))


# ------------------------------------------------------------------------------------------------------------ layout


def _usage(words: Sequence[str], width: int) -> Text:
    line = "\n".join(textwrap.wrap(" ".join(words), max(width - 7, 20), subsequent_indent=" " * 11))
    return Text.assemble(("Usage: ", "bold"), line)


def _block(heading: str, lines: Iterable[str]) -> Iterator[Text]:
    """Yield an empty line, a heading where there is one, and lines."""
    yield Text()
    if heading:
        yield Text(heading, style="bold")
    yield from map(Text, lines)


def _rows(pairs: Iterable[tuple[str, str]], width: int, *, indent: int, room: int | None = None) -> Iterator[str]:
    """Yield names with what they mean beside them, in two columns; below them where a name is too long.

    Args:
        pairs: names and meanings.
        width: of a line.
        indent: of the names.
        room: of the names, so that several lists stand in the same columns; None = as wide as they need.
    """
    pairs = list(pairs)
    if room is None:
        room = _room(pairs, width, indent)
        room = max((len(name) for name, _ in pairs if len(name) <= room), default=room)
    column = indent + room + 2
    for name, meaning in pairs:
        lines = textwrap.wrap(meaning, max(width - column, 20), break_on_hyphens=False, break_long_words=False) or [""]
        first = " " * indent + name
        if len(first) + 2 <= column:
            yield (first.ljust(column) + lines.pop(0)).rstrip()
        elif len(lines) == 1 and len(first) + 2 + len(lines[0]) <= width:
            yield f"{first}  {lines.pop(0)}"
        else:
            yield first
        yield from (" " * column + line for line in lines)


def _room(pairs: Sequence[tuple[str, str]], width: int, indent: int) -> int:
    """Return how wide names may be: so that no meaning is broken, or about half of the line."""
    return max(width // 2 - indent - 6, width - indent - 2 - max(len(meaning) for _, meaning in pairs), 14)


def _width() -> int:
    return min(results.width, WIDEST)


def _print(page: Iterable[Text]) -> None:
    for line in page:
        results.print(line, soft_wrap=True)
