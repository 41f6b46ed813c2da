"""What the first bytes of a photo's file tell, without decoding it: for names and estimates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from restorer.photo import formats
from restorer.photo.damage import DAMAGE, quiet_libraries


@dataclass(frozen=True)
class Header:
    """A file at a glance; only what it says of itself, which a damaged file may say wrongly.

    Attributes:
        format: as in `Photo.format`, by content; None when it is no picture.
        size: width and height in pixels, not turned upright; None when they cannot be told.
        bytes: of the file.
    """

    format: str | None = None
    size: tuple[int, int] | None = None
    bytes: int = 0


def read_header(path: Path) -> Header:
    """Return what a file's header tells; an empty `Header` for what cannot be opened or is no plain file."""
    try:
        if not path.is_file():
            return Header()
        length = path.stat().st_size
        with path.open("rb") as stream:
            kind = formats.sniff(stream.read(64))
    except OSError:
        return Header()
    return Header(kind, None if kind is None else _size(path, kind), length)


def _size(path: Path, kind: str) -> tuple[int, int] | None:
    try:
        with quiet_libraries():
            size = formats.FORMATS[kind].size(path)
    except DAMAGE:
        return None  # the header is damaged; reading the photo says how
    return size if size is not None and min(size) > 0 else None
