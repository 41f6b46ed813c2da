"""TIFF pages: which one is the photo, and the file that decoders are given of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from restorer.photo import exif, ifd
from restorer.photo.decoding import UndecodableError

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, SAMPLES, COUNTS = 256, 257, 258, 259, 262, 273, 277, 279
_SUBFILE, PLANAR, PREDICTOR, TILE_OFFSETS, TILE_COUNTS, EXTRA_SAMPLES, FORMAT = 254, 284, 317, 324, 325, 338, 339
_OLD_SUBFILE, ROWS, _COLOUR_MAP, TILE_WIDTH, TILE_LENGTH = 255, 278, 320, 322, 323
_SUB_DIRECTORIES, _LAYERS, _DNG_VERSION, _CREDENTIALS = 330, 37724, 50706, 52545
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, _MASK, CMYK, YCBCR, LAB, ICC_LAB = 0, 1, 2, 3, 4, 5, 6, 8, 9

# What a decoder needs to know; it is given files with these tags alone, so that no other can disturb it.
FOR_DECODERS = frozenset(
    {_SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, SAMPLES, COUNTS, PLANAR, PREDICTOR}
    | {TILE_OFFSETS, TILE_COUNTS, EXTRA_SAMPLES, FORMAT}
    | {
        266,
        278,
        292,
        293,
        320,
        322,
        323,
        332,
        336,
        347,
        512,
        513,
        514,
        515,
        517,
        518,
        519,
        520,
        521,
        529,
        530,
        531,
        532,
    }
)


class CameraRawError(UndecodableError):
    """Raised for a camera raw file, which only looks like TIFF."""


@dataclass(frozen=True)
class Page:
    """The photo in a TIFF file; `picture` is the file for decoders, without metadata and orientation."""

    data: bytes
    picture: bytes
    directory: ifd.Directory
    orientation: int
    warnings: list[str] = field(default_factory=list)

    @property
    def bits(self) -> int:
        """The most bits that a channel has."""
        return max(self.directory.integers(BITS, (1,)))

    def bytes_of(self, tag: int) -> bytes | None:
        """Return a tag's value as it stands in the file, or None."""
        entry = self.directory.entries.get(tag)
        return entry.raw if entry is not None and entry.raw else None


def chosen_page(data: Any) -> ifd.Directory:
    """Return the directory of the page that is the photo: the first that is neither a thumbnail nor a mask.

    Where all are marked as such, it is the one with the most pixels.

    Args:
        data: a file's bytes, or a mapped file.

    Raises:
        UndecodableError: there is none, or it is a camera raw file, which only looks like TIFF.
        DamagedDirectoryError: the file is no TIFF.
    """
    directories = _readable_pages(data)
    first = directories[0]
    reduced = _is_reduced(first) and _SUB_DIRECTORIES in first.entries
    if _DNG_VERSION in first.entries or reduced:
        raise CameraRawError("it is a camera raw file, which this tool does not read")
    photos = (page for page in directories if not _is_reduced(page) and not _is_mask(page))
    largest = max(directories, key=lambda page: page.integer(WIDTH, 0) * page.integer(LENGTH, 0))
    return ifd.whole(data, next(photos, None) or largest)


def _readable_pages(data: Any) -> list[ifd.Directory]:
    """Return the pages up to the first whose directory is damaged; raises when that is the first."""
    found: list[ifd.Directory] = []
    try:
        for directory in ifd.pages(data):
            found.append(directory)
    except ifd.DamagedDirectoryError:
        if not found:
            raise
    if not found:
        raise UndecodableError("it holds no picture")
    return found


def _is_reduced(page: ifd.Directory) -> bool:
    return bool(page.integer(_SUBFILE, 0) & 1) or page.integer(_OLD_SUBFILE, 1) == 2


def _is_reduced_at(data: bytes, position: int, page: ifd.Directory) -> bool:
    try:
        return _is_reduced(ifd.read_directory(data, position, page.order, page.big))
    except ifd.DamagedDirectoryError:
        return False


def _is_mask(page: ifd.Directory) -> bool:
    return bool(page.integer(_SUBFILE, 0) & 4) or page.integer(PHOTOMETRIC, BLACK_IS_ZERO) == _MASK


def photo_pages(data: Any) -> list[ifd.Directory]:
    """Return the pages that are photos, neither thumbnails nor masks; where all are marked so, the one with the most.

    Long values are left out (`ifd.whole` has them).

    Raises:
        UndecodableError: there is none, or it is a camera raw file, which only looks like TIFF.
        DamagedDirectoryError: the file is no TIFF.
    """
    first = chosen_page(data)
    return [page for page in _readable_pages(data) if not _is_reduced(page) and not _is_mask(page)] or [first]


def open_page(data: bytes, number: int | None = None) -> Page:
    """Return the page that is the photo, or the one of a number; raises `UndecodableError` when there is none."""
    try:
        chosen = chosen_page(data) if number is None else _numbered(data, number)
        directories = _readable_pages(data)
        picture = bare(data, chosen)
    except ifd.DamagedDirectoryError as error:
        raise UndecodableError(f"its TIFF structure is damaged: {error}") from error
    orientation = chosen.integer(exif.ORIENTATION, 1)
    page = Page(data, picture, chosen, orientation if 1 <= orientation <= 8 else 1)
    page.warnings.extend(_left_out(data, chosen, directories, alone=number is None))
    return page


def _numbered(data: bytes, number: int) -> ifd.Directory:
    pages = photo_pages(data)
    if not 1 <= number <= len(pages):
        raise UndecodableError(f"it has no page {number}, only {len(pages)}", "Take a page that it has.")
    return ifd.whole(data, pages[number - 1])


def _left_out(data: bytes, chosen: ifd.Directory, directories: list[ifd.Directory], *, alone: bool) -> Iterator[str]:
    """Say what else is in the file; thumbnails are no loss, and other pages none where pages were asked for."""
    others = [page for page in directories if page.position != chosen.position]
    pages = [page for page in others if not _is_reduced(page) and not _is_mask(page)]
    if pages and alone:
        which = "first" if directories[0].position == chosen.position else "first that is no thumbnail"
        yield f"The file holds {len(pages) + 1} pages; only the {which} was taken. --pages all takes each."
    if any(_is_mask(page) for page in others):
        yield "A transparency mask, a page of its own in the TIFF, was dropped."
    if _LAYERS in chosen.entries:
        yield "Photoshop layers were dropped; the flattened picture was taken."
    if any(not _is_reduced_at(data, position, chosen) for position in chosen.integers(_SUB_DIRECTORIES)):
        yield "Further pictures inside the TIFF's page were dropped."
    if _CREDENTIALS in chosen.entries:
        yield "Content Credentials (C2PA), which would not hold for the result, were dropped."
    if directories[-1].next and directories[-1].next not in {page.position for page in directories}:
        yield "The TIFF's further pages are damaged; they were passed over."


def bare(data: bytes, chosen: ifd.Directory) -> bytes:
    """Return the file for decoders, with a page of it alone; raises `DamagedDirectoryError` where none can be made."""
    if chosen.big:
        return _patched_big(data, chosen)
    changes: ifd.Tree = {}
    if (palette := _stretched_palette(chosen)) is not None:
        changes[_COLOUR_MAP] = ifd.shorts(*palette)
    counts = strip_counts(chosen, len(data))
    if counts != chosen.integers(COUNTS):
        changes[COUNTS] = ifd.longs(*counts)
    return ifd.append_directory(data, chosen, changes, set(chosen.entries) - FOR_DECODERS)


def strip_counts(page: ifd.Directory, size: int) -> tuple[int, ...]:
    """Return how many bytes each strip has; some writers claim more for the last one than it needs, and the file has.

    Args:
        page: the page's directory.
        size: of the file in bytes.
    """
    offsets, counts = page.integers(OFFSETS), page.integers(COUNTS)
    if page.integer(COMPRESSION, 1) != 1:
        return counts
    length = page.integer(LENGTH, 0)
    rows = max(min(page.integer(ROWS, length), length), 1)
    strips = max(-(-length // rows), 1)
    found = []
    for number, (at, count) in enumerate(zip(offsets, counts, strict=False)):
        needed = strip_bytes(page, min(rows, length - number % strips * rows))
        found.append(min(count, needed) if at + count > size else count)
    return tuple(found)


def strip_bytes(page: ifd.Directory, rows: int) -> int:
    """Return the bytes of so many rows of a strip, not compressed."""
    samples = page.integer(SAMPLES, 1) if page.integer(PLANAR, 1) == 1 else 1
    return (page.integer(WIDTH, 0) * samples * max(page.integers(BITS, (1,))) + 7) // 8 * rows


def _stretched_palette(page: ifd.Directory) -> list[int] | None:
    """Return a palette's entries as 16-bit values where old scanners wrote 8-bit ones, else None."""
    entries = page.integers(_COLOUR_MAP)
    if page.integer(PHOTOMETRIC, BLACK_IS_ZERO) != PALETTE or not entries or max(entries) > 255:
        return None
    return [value * 257 for value in entries]


def _patched_big(data: bytes, chosen: ifd.Directory) -> bytes:
    """Return a BigTIFF that begins with the page, upright; its directories cannot be laid out anew here."""
    changed = bytearray(data)
    little = chosen.order == "<"
    changed[8:16] = chosen.position.to_bytes(8, "little" if little else "big")
    entry = chosen.entries.get(exif.ORIENTATION)
    if entry is not None:
        ifd.overwrite(changed, entry, (1).to_bytes(len(entry.raw), "little" if little else "big"))
    entry = chosen.entries.get(_COLOUR_MAP)
    if entry is not None and (palette := _stretched_palette(chosen)) is not None:
        ifd.overwrite(changed, entry, entry.packed(palette))
    return bytes(changed)
