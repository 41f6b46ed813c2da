"""What people read: messages and progress go to stderr, results and records to stdout."""

from __future__ import annotations

import json
import sys
import unicodedata

from rich.console import Console
from rich.markup import escape

from restorer.errors import RestorerError

messages = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
results = Console(highlight=False, soft_wrap=True, emoji=False)


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
    return "".join(char if _is_harmless(char) else _escaped(char) for char in str(text))


def _is_harmless(char: str) -> bool:
    direction = "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069"
    return not direction and unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
