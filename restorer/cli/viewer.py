"""What happens when a run is over: the result is shown, and the terminal tells whoever has turned to something else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from restorer.cli.console import Lines, messages, note

LONG = 30.0
"""Seconds from which on the end of a run is worth a notification."""
NOTIFYING = frozenset({"iTerm.app", "WezTerm", "ghostty"})
"""Terminals by $TERM_PROGRAM that show the text of OSC 9 as a notification; others get a bell."""


def show(results: Sequence[Path], report: Path | None) -> None:
    """Open what a run has made: its report, else its one result, else the folder that holds them all."""
    if report is not None:
        _open(report)
    elif len(results) == 1:
        _open(results[0])
    elif results:
        _open(Path(os.path.commonpath([path.absolute().parent for path in results])))


def _open(path: Path) -> None:
    """Open a file or folder with the program that this system has for it, and do not wait for that."""
    if sys.platform == "win32":
        os.startfile(path.absolute())
        return
    program = "open" if sys.platform == "darwin" else "xdg-open"
    found = shutil.which(program)
    if found is None:
        note(f"--open: this system has no `{program}`, which shows files; open {path} yourself.")
        return
    quiet = subprocess.DEVNULL
    subprocess.Popen([found, str(path.absolute())], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def notify(text: str, seconds: float, console: Lines = messages) -> None:
    """Tell that a run is over, on a terminal, after one that was long: as a notification, or by its bell."""
    if seconds < LONG or not console.is_terminal or console.is_dumb_terminal:
        return
    named = os.environ.get("TERM_PROGRAM") in NOTIFYING or os.environ.get("TERM", "").startswith("xterm-kitty")
    console.file.write(f"\x1b]9;{text}\x1b\\" if named else "\a")
    console.file.flush()
