"""What did the person type? One file a subcommand, and here the dispatch and the exit codes.

An argument that names no subcommand is a photo, so `restore photo.jpg` needs no verb. Only the module of the command
that runs is imported: `--version` answers without any of them.
"""

from __future__ import annotations

import codecs
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from restorer.cli.commands import COMMANDS
from restorer.errors import RestorerError, command_words
from restorer.version import __version__

PLAIN = {"→": "->", "×": "x", "…": "...", "–": "-", "—": "-", "━": "-", "“": '"', "”": '"', "’": "'", "·": "-"}
"""What is written where an encoding does not have a sign."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 all done, 1 some photos failed, 2 wrong usage, 3 weights, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _write_what_cannot_be_encoded()
    if given in (["--version"], ["-V"], ["version"]):
        print(f"restore {__version__}")
        sys.exit(0)
    name, rest = (given[0], given[1:]) if given and given[0] in COMMANDS else ("photos", given)
    try:
        with command_words():
            code = _run(name, rest)
        sys.exit(code)
    except RestorerError as error:
        if "-v" in rest or "--verbose" in rest:
            import traceback

            traceback.print_exc()
        from restorer.cli.console import show_error

        show_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has gone; Python would complain again when it flushes
        sys.stderr.close()
        sys.exit(1)


def program() -> NoReturn:
    """Run the command that was typed, and end the process, which is for nothing else."""
    try:
        main()
    except SystemExit as end:
        if "torch" not in sys.modules:
            raise
        from restorer.cli.leaving import leave

        leave(end)


def _run(name: str, words: list[str]) -> int:
    """Run one command; return the exit code.

    Args:
        name: of the command; "photos" where none is named.
        words: behind it.
    """
    if name == "photos" and words in ([], ["-h"], ["help"]):
        from restorer.cli.help import show_first_page

        show_first_page()
        return 0
    from restorer.cli import typed

    if name == "photos" and words[0] == "help":
        typed.show_help(words[1:])
        return 0
    if typed.asks_for_help(words):
        typed.show_help([] if name == "photos" else [name, *words])
        return 0
    if not words and typed.is_group(name):
        typed.show_help([name])
        return 2
    typed.check(name, words)
    app = importlib.import_module(f"restorer.cli.{name}").app
    try:
        code = app(words, prog_name="restore" if name == "photos" else f"restore {name}", standalone_mode=False)
    except typed.ParserError as error:
        if not words:
            typed.show_help([name])
            return 2
        raise typed.explained(error, name, words) from error
    except typed.Unanswered as error:
        raise KeyboardInterrupt from error
    if code == 130 and name != "photos":  # which says so itself, with how far it came
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _write_what_cannot_be_encoded() -> None:
    """Let stdout and stderr take any text: what their encoding does not have is written in letters that it has.

    A file or pipe gets the encoding of the system's code page, and a name may hold letters of any script. Signs that
    have a plain form get it; any other letter is written as an escape, so that names stay different.
    """
    codecs.register_error("restorer", _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        errors, encoding = getattr(stream, "errors", None), getattr(stream, "encoding", None) or ""
        raw = errors == "surrogateescape" and encoding.lower().replace("-", "") == "utf8"  # bytes stay what they are
        if errors in ("strict", "surrogateescape", "backslashreplace") and not raw and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="restorer")


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for letters that an encoding does not have, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(each) or each.encode("unicode_escape").decode() for each in letters), error.end
