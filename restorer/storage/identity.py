"""Which paths lead to one file: by links, by other spellings, on disks that mind no case."""

from __future__ import annotations

import os
import unicodedata
from functools import lru_cache
from pathlib import Path

Identity = tuple[int, int]
"""What a file is on its disk, whatever name or link leads to it."""


def identity(file: Path | int) -> Identity | None:
    """Return what a file is on its disk, whatever name or link leads to it; None for what is not there.

    Args:
        file: its path, or the number under which it is open.
    """
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except (OSError, ValueError):  # a name that no disk can hold is that of no file
        return None
    return found.st_dev, found.st_ino


def key(path: Path) -> str:
    """Return what two paths have in common when some disk takes them for one: case and the way accents are stored."""
    folder, name = os.path.split(path)
    absolute = os.path.isabs(folder)  # noqa: PTH117 - quicker for a hundred thousand
    text = f"{_real(folder or os.curdir, '' if absolute else _here())}/{name}"
    if text.isascii():  # no accents: nothing else tells two spellings apart
        return text.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def _here() -> str:
    return os.getcwd()  # noqa: PTH109 - likewise


@lru_cache(maxsize=4096)
def _real(folder: str, here: str) -> str:
    """Return a folder without links; `here` is the one that a relative path is seen from."""
    return os.path.realpath(os.path.join(here, folder))  # noqa: PTH118 - likewise
