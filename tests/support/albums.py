"""Runs of `restore` over albums, as those that `python -m restorer.bench album` makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from restorer.bench.tools.albums import ROOT, Album, album, command, environment, files, picture

__all__ = ["PLAIN", "ROOT", "Album", "album", "command", "environment", "files", "picture", "run"]

PLAIN = ("--model", "none", "--background", "lanczos")


def run(folder: Path, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run `restore` in a folder and return the finished process."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=folder, env=environment(), timeout=240, check=False
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done
