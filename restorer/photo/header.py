"""What the first bytes of a photo's file tell, without decoding it: for names and estimates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from restorer.photo import formats
from restorer.photo.damage import DAMAGE, quiet_libraries


@dataclass(frozen=True)
class Header:
    """A file at a glance; only what it says of itself, which a damaged file may say wrongly.

    Attributes:
        format: as in `Photo.format`, by content; None when it is no picture.
        size: width and height in pixels, not turned upright; None when they cannot be told, or not `measured`.
        bytes: of the file.
    """

    format: str | None = None
    size: tuple[int, int] | None = None
    bytes: int = 0


def read_header(path: Path) -> Header:
    """Return what a file's header tells; an empty `Header` for what cannot be opened or is no plain file."""
    return measured(glance(path), path)


def glance(path: Path) -> Header:
    """Return what a file's header tells without any library: all but its size in pixels; see `read_header`."""
    try:
        if not path.is_file():
            return Header()
        length = path.stat().st_size
        with path.open("rb") as stream:
            kind = formats.sniff(stream.read(64))
    except OSError:
        return Header()
    return Header(kind, None, length)


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
