"""What the first bytes of a photo's file tell, without decoding it: for names and estimates."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from restorer.photo import formats
from restorer.photo.damage import DAMAGE, quiet_libraries
from restorer.photo.model import Note
from restorer.photo.reading import note_in


@dataclass(frozen=True)
class Header:
    """A file at a glance; only what it says of itself, which a damaged file may say wrongly.

    Attributes:
        format: as in `Photo.format`, by content; None when it is no picture.
        size: width and height in pixels, not turned upright; None when they cannot be told, or not `measured`.
        bytes: of the file.
        identity: what the file is on its disk, whatever name or link leads to it: its device and number.
    """

    format: str | None = None
    size: tuple[int, int] | None = None
    bytes: int = 0
    identity: tuple[int, int] | None = None


def read_header(path: Path) -> Header:
    """Return what a file's header tells; an empty `Header` for what cannot be opened or is no plain file."""
    return measured(glance(path), path)


def glance(path: Path) -> Header:
    """Return what a file's header tells without any library: all but its size in pixels; see `read_header`."""
    return look(path)[0]


def look(path: Path, *, note: bool = False, status: os.stat_result | None = None) -> tuple[Header, Note | None]:
    """Return what `glance` does, and the note of a file that this tool wrote, where that is asked for.

    Args:
        path: the file.
        note: whether the note is asked for.
        status: of the file, where it is known.
    """
    try:
        status = status or os.stat(path)  # noqa: PTH116 - quicker for a hundred thousand
        if not stat.S_ISREG(status.st_mode):
            return Header(), None
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - likewise
            kind = formats.sniff(stream.read(64))
            found = note_in(stream.fileno(), status.st_size, kind) if note and kind is not None else None
    except (OSError, ValueError):
        return Header(), None
    return Header(kind, None, status.st_size, (status.st_dev, status.st_ino)), found


def measured(header: Header, path: Path) -> Header:
    """Return a header with the size in pixels, for which libraries must be loaded."""
    if header.format is None or header.size is not None:
        return header
    return replace(header, size=_size(path, header.format))


def page_count(path: Path) -> int:
    """Return how many pages a file holds; 1 for all that hold no pages, and for what cannot be read."""
    kind = glance(path).format
    count = None if kind is None else formats.FORMATS[kind].pages
    try:
        return 1 if count is None else max(count(path), 1)
    except DAMAGE:
        return 1  # reading the photo says what is wrong with it


def _size(path: Path, kind: str) -> tuple[int, int] | None:
    try:
        with quiet_libraries():
            size = formats.FORMATS[kind].size(path)
    except DAMAGE:
        return None  # the header is damaged; reading the photo says how
    return size if size is not None and min(size) > 0 else None
