"""What did the person type? One file a subcommand, and here the dispatch and the exit codes.

An argument that names no subcommand is a photo, so `restore photo.jpg` needs no verb. Only the module of the command
that runs is imported: `--version` answers without any of them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from restorer.errors import RestorerError, command_words
from restorer.version import __version__

COMMANDS = {
    "models": "list, download, verify and import weights",
    "demo": "try it: age a photograph and restore it, without any download",
    "faces": "number the faces of a photo, for --faces",
    "doctor": "check this machine: versions, devices, folders, weights, network",
    "config": "show which options are in force, and where each comes from",
    "completion": "print what lets your shell complete options and names",
    "man": "show the manual page",
    "train": "train a model from a recipe",
    "sample": "draw pictures from a prior",
    "evaluate": "measure a model on degraded pictures whose truth is known",
}
"""Subcommands with one line each for the help page; the module of that name has the typer app of each."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 all done, 1 some photos failed, 2 wrong usage, 3 weights, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _escape_what_cannot_be_encoded()
    if given == ["--version"]:
        print(f"restore {__version__}")
        sys.exit(0)
    name, rest = (given[0], given[1:]) if given and given[0] in COMMANDS else ("photos", given)
    if not given:
        rest = ["--help"]
    try:
        with command_words():
            app = importlib.import_module(f"restorer.cli.{name}").app
            app(rest, prog_name="restore" if name == "photos" else f"restore {name}")
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
    sys.exit(0)


def _escape_what_cannot_be_encoded() -> None:
    """Let stdout and stderr take any name: a letter that their encoding does not have is written as an escape.

    A file or pipe gets the encoding of the system's code page, and a name may hold letters of any script.
    """
    for stream in (sys.stdout, sys.stderr):
        errors, encoding = getattr(stream, "errors", None), getattr(stream, "encoding", None) or ""
        raw = errors == "surrogateescape" and encoding.lower().replace("-", "") == "utf8"  # bytes stay what they are
        if errors in ("strict", "surrogateescape") and not raw and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
