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
    text = unicodedata.normalize("NFD", f"{_real(path.parent.absolute())}/{path.name}")
    return unicodedata.normalize("NFD", text.casefold())


@lru_cache(maxsize=4096)
def _real(folder: Path) -> str:
    return os.path.realpath(folder)
