"""What a picture format declares of itself, and what its encoder is given.

A format is one module of `restorer.photo.formats` with a `FORMAT`; nothing else in the program knows it by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from restorer.imaging.colour import Pixels
from restorer.imaging.layers import Layer
from restorer.photo.model import Photo

Metadata = Literal["icc", "exif", "xmp", "iptc", "dpi"]


@dataclass
class EncodeInput:
    """What goes into a file: channels at the depth that it can hold, and metadata that it has a place for.

    Attributes:
        pixels: (h, w, 3) RGB, uint8 or uint16.
        alpha: (h, w), same type, or None.
        grey: whether the three channels are equal and are to be written as one.
        format_specific: as in `Photo`; what this format has no place for is left out by its encoder.
        warnings: what the encoder had to leave out, in words; it adds to them.
        layers: what the pixels are made of, from the bottom, of the same type; empty where nobody asked for them.
    """

    pixels: Pixels
    alpha: Pixels | None
    grey: bool
    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    photoshop: bytes | None = None
    dpi: tuple[float, float] | None = None
    format_specific: tuple[tuple[str, bytes], ...] = ()
    warnings: list[str] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)


@dataclass(frozen=True)
class EncodeChoices:
    """How lossy formats are written: quality 1 to 100, chroma subsampling ("4:4:4"), or without any loss."""

    quality: int
    subsampling: str
    lossless: bool


def _everywhere(_path: Path | str | None) -> None:
    """Most formats need nothing that could be missing."""


def _no_note(_data: Any) -> bytes | None:
    """Most formats that are only read have no place where this tool could have left a note."""
    return None


def _by_kind(kind: str, _payload: bytes, _has_profile: bool) -> str | None:
    return f"the {kind}"


@dataclass(frozen=True)
class Format:
    """A format that is read, and for most also written.

    Attributes:
        name: as in `Photo.format`, and in records and messages about files.
        title: as people write it.
        suffixes: lower case, with their dot; the first is the one that new files get.
        other_suffixes: of files that are read, and that no new file gets.
        recognise: whether a file's first 64 bytes are those of this format; its name plays no part.
        read: makes a photo of a file's bytes; raises `UndecodableError` or what its library raises.
        size: width and height that a file's header tells, not turned upright, without decoding; None = not told.
        pages: how many pages a file holds, thumbnails and masks apart; None where files hold one.
        read_page: makes a photo of one of them, from 1; None where files hold one.
        find_xmp: the XMP packet of a mapped file (for the note of what was done), reading only what leads to it.
        check: raises `MissingSupportError`, naming the path, when this installation cannot read the format.
        check_writing: the same for writing.
        instead: the format that a photo's result is kept in where this one cannot be written; "" = there is always one.
        aliases: other values that `Photo.format` has for files that are written in this format (MPO for JPEG).
        requests: values of `--format` that mean it, the usual one first.
        encode: makes a file's bytes; None for a format that is only read.
        describe: names a format-specific thing (kind, bytes, whether the result has an ICC profile) that another format
            has no place for; None when nothing is lost without it.
        takes: kinds of format-specific things of other formats that it has a place for all the same.
        max_side: pixels a side that the format, as the library writes it, can hold.
        max_bytes: bytes of uncompressed pixels, None where there is no limit below the side's.
        bits: most bits a channel that a written file keeps.
        alpha: whether a written file keeps transparency.
        layers: whether a written file holds layers beside the picture.
        holds: the metadata that a written file keeps.
        offered: whether messages name it as a way out; every program opens it.
        bytes_per_pixel: of a result at scale 1, measured on photographs; for estimates.
        encoding_seconds: for a megapixel of the result on one core of a server; for estimates.
        lossless: whether written files are always lossless and compressed, so that the input's size tells the output's.
        compressed: whether a smoother picture makes a smaller file.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    recognise: Callable[[bytes], bool]
    read: Callable[[bytes], Photo]
    size: Callable[[Path], tuple[int, int] | None]
    pages: Callable[[Path], int] | None = None
    read_page: Callable[[bytes, int], Photo] | None = None
    find_xmp: Callable[[Any], bytes | None] = _no_note
    check: Callable[[Path | str | None], None] = _everywhere
    check_writing: Callable[[Path | str | None], None] = _everywhere
    instead: str = ""
    other_suffixes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    encode: Callable[[EncodeInput, EncodeChoices], bytes] | None = None
    describe: Callable[[str, bytes, bool], str | None] = _by_kind
    takes: frozenset[str] = frozenset()
    max_side: int = 0
    max_bytes: int | None = None
    bits: int = 8
    alpha: bool = False
    layers: bool = False
    holds: frozenset[Metadata] = frozenset()
    offered: bool = False
    bytes_per_pixel: float = 1.0
    encoding_seconds: float = 0.1
    lossless: bool = False
    compressed: bool = True

    @property
    def writable(self) -> bool:
        """Whether files of this format are written."""
        return self.encode is not None

    def fits(self, width: int, height: int, channels: int, bits: int) -> bool:
        """Whether a written file can hold so many pixels of 1, 3 or 4 channels of 8 or 16 bits."""
        # Rows of a BMP are padded to four bytes; a channel holds 8 bits there whatever came in.
        sample = 2 if bits > 8 and self.bits > 8 else 1
        size = (width * channels * sample + 3) * height
        return max(width, height) <= self.max_side and (self.max_bytes is None or size <= self.max_bytes)


FOUR_GIB = 2**32 - 2**20
"""What files with 32-bit lengths hold; a margin of 1 MiB is left for headers and metadata."""
