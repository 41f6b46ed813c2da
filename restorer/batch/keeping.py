"""Files in which a run writes about itself as it goes on: which names they may have, and whose they are."""

from __future__ import annotations

import stat
from pathlib import Path

from restorer.errors import UsageError
from restorer.photo import PICTURE_SUFFIXES, UNSUPPORTED_SUFFIXES
from restorer.photo.strangers import DOCUMENT_SUFFIXES


def check_name(path: Path, flag: str) -> None:
    """Refuse a file that is, or would be taken for, something else than what a run writes about itself.

    Raises:
        UsageError: it is named like a picture, is a folder, or stands for a stream.
    """
    remedy = f"Name a file of its own: {flag} run{'.log' if flag == '--log' else '.json'}"
    if str(path) == "-":
        raise UsageError(f"{flag} - is no file; what is said goes to stderr in any case.", remedy)
    if path.suffix.lower() in PICTURE_SUFFIXES | UNSUPPORTED_SUFFIXES | DOCUMENT_SUFFIXES:
        raise UsageError(f"{flag} {path} is named like a picture.", remedy)
    if path.is_dir():
        raise UsageError(f"{flag} {path} is a folder.", remedy)


def beginning(path: Path, flag: str, count: int = 1000) -> bytes | None:
    """Return the first bytes of a plain file; None where there is none, or a pipe or device that takes what is written.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
            return None
        with path.open("rb") as stream:
            return stream.read(count)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{flag} {path} cannot be used: {error.strerror or error}.", "Name another file.") from error
