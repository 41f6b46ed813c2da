"""What is left of a TIFF page whose end is missing: the strips and tiles that are there, as a page that decoders take.

Rows that are missing at the bottom make the page shorter. Tiles that are missing, and strips in the midst of others,
are given the bytes of one that is there, and painted grey once the page is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from restorer.imaging.colour import Pixels
from restorer.imaging.libraries import np
from restorer.photo import ifd, tiff_packing
from restorer.photo.damage import LEAST_LEFT, cut_off, middle_of
from restorer.photo.decoding import Decoded, UndecodableError
from restorer.photo.tiff_page import (
    BITS,
    COMPRESSION,
    COUNTS,
    FOR_DECODERS,
    LENGTH,
    OFFSETS,
    PHOTOMETRIC,
    PLANAR,
    ROWS,
    SAMPLES,
    TILE_COUNTS,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    YCBCR,
    Page,
    bare,
    strip_counts,
)

_FILL_ORDER = 266


@dataclass(frozen=True)
class Salvaged:
    """A page without what is missing of another one.

    Attributes:
        page: what can be decoded.
        size: (width, height) of the whole page.
        rows: how many there are from the top; below, nothing is there.
        missing: (top, bottom, left, right) of the parts above that are not there either.
    """

    page: Page
    size: tuple[int, int]
    rows: int
    missing: list[tuple[int, int, int, int]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The share of the pixels that are there."""
        width, height = self.size
        lost = sum((bottom - top) * (right - left) for top, bottom, left, right in self.missing)
        return (self.rows * width - lost) / (width * height)

    def fill(self, decoded: Decoded) -> None:
        """Paint what is missing grey, and say how much is there."""
        decoded.pixels = self._filled(decoded.pixels, middle_of(decoded.pixels))
        if decoded.alpha is not None:
            decoded.alpha = self._filled(decoded.alpha, int(np.iinfo(decoded.alpha.dtype).max))
        if self.missing:
            told = f"The TIFF is cut off: {self.share:.0%} of its pixels are there; the rest is grey."
        else:
            told = cut_off("TIFF", self.rows, self.size[1])
        decoded.warnings.append(told)

    def _filled(self, pixels: Pixels, empty: int) -> Pixels:
        width, height = self.size
        filled = np.full((height, width, *pixels.shape[2:]), empty, pixels.dtype)
        filled[: self.rows] = pixels[: self.rows]
        for top, bottom, left, right in self.missing:
            filled[top:bottom, left:right] = empty
        return filled


def salvaged(page: Page) -> Salvaged:
    """Return what is left of a page that is cut off.

    Args:
        page: whose strips or tiles lie, in part, beyond the end of the file.

    Raises:
        UndecodableError: next to nothing is there, or its parts are not where they must be.
    """
    size = len(page.data)
    if page.directory.big:
        page = _with(page, {}, data=_classic(page))  # whose new directory lies behind all strips
    found = _tiles(page, size) if TILE_OFFSETS in page.directory.entries else _strips(page, size)
    if found is None or found.share < LEAST_LEFT:
        raise UndecodableError("it is cut off before its last pixels, and next to none are there")
    return found


def _classic(page: Page) -> bytes:
    try:
        return ifd.as_classic(page.data, page.directory, FOR_DECODERS)
    except ifd.DamagedDirectoryError as error:
        raise UndecodableError("it is cut off before its last pixels") from error


def _with(page: Page, changes: ifd.Tree, *, data: bytes | None = None) -> Page:
    """Return a page with other tags."""
    if data is None:
        data = ifd.append_directory(page.data, page.directory, changes)
    order, big, position = ifd.header(data)
    directory = ifd.read_directory(data, position, order, big)
    return Page(data, bare(data, directory), directory, page.orientation, page.warnings)


def _there(size: int, offsets: Sequence[int], counts: Sequence[int], number: int) -> list[bool]:
    """Return which of `number` parts are in a file of this size, each in all planes of the page."""
    planes = len(offsets) // number
    return [
        all(0 < offsets[i + number * p] + counts[i + number * p] <= size for p in range(planes)) for i in range(number)
    ]


def _parts(page: Page, number: int, offsets: Sequence[int], counts: Sequence[int]) -> bool:
    """Return whether the tags tell of each part of each plane."""
    samples = page.directory.integer(SAMPLES, 1)
    planes = samples if samples > 1 and page.directory.integer(PLANAR, 1) == 2 else 1
    return number > 0 and len(offsets) == len(counts) == number * planes


def spare_parts(page: Page) -> int:
    """Return how many strips or tiles the page has beyond those that its size asks for; below zero: it lacks so many.

    Decoders leave what is missing black, and do not agree on what is too much.
    """
    directory = page.directory
    width, height = directory.integer(WIDTH, 0), directory.integer(LENGTH, 0)
    samples = directory.integer(SAMPLES, 1)
    planes = samples if samples > 1 and directory.integer(PLANAR, 1) == 2 else 1
    if TILE_OFFSETS in directory.entries:
        wide, high = directory.integer(TILE_WIDTH, 0), directory.integer(TILE_LENGTH, 0)
        number = -(-width // wide) * -(-height // high) if wide and high else 0
        return len(directory.integers(TILE_OFFSETS)) - number * planes
    rows = min(directory.integer(ROWS, height) or height, height)
    number = -(-height // rows) if rows else 0
    offsets = directory.integers(OFFSETS)
    return len(offsets) - number * planes if offsets else 0


# ------------------------------------------------------------------------------------------------------------- tiles


def _tiles(page: Page, size: int) -> Salvaged | None:
    directory = page.directory
    width, height = directory.integer(WIDTH, 0), directory.integer(LENGTH, 0)
    wide, high = directory.integer(TILE_WIDTH, 0), directory.integer(TILE_LENGTH, 0)
    if not (width and height and wide and high):
        return None
    across, down = -(-width // wide), -(-height // high)
    offsets, counts = directory.integers(TILE_OFFSETS), directory.integers(TILE_COUNTS)
    if not _parts(page, across * down, offsets, counts):
        return None
    there = _there(size, offsets, counts, across * down)
    if not any(there):
        return None
    changed = _lent(there, TILE_OFFSETS, TILE_COUNTS, offsets, counts)
    corners = [(i // across * high, i % across * wide) for i, each in enumerate(there) if not each]
    missing = [(top, min(top + high, height), left, min(left + wide, width)) for top, left in corners]
    return Salvaged(_with(page, changed), (width, height), height, missing)


def _lent(there: list[bool], offset: int, count: int, offsets: Sequence[int], counts: Sequence[int]) -> ifd.Tree:
    """Return tags in which every part that is missing has the bytes of one of its plane that is there."""
    number, lender = len(there), there.index(True)
    source = [i if there[i % number] else i // number * number + lender for i in range(len(offsets))]
    return {offset: ifd.longs(*(offsets[i] for i in source)), count: ifd.longs(*(counts[i] for i in source))}


# ------------------------------------------------------------------------------------------------------------ strips


def _strips(page: Page, size: int) -> Salvaged | None:
    directory = page.directory
    width, height = directory.integer(WIDTH, 0), directory.integer(LENGTH, 0)
    rows = min(directory.integer(ROWS, height) or height, height)
    if not (width and height):
        return None
    number = -(-height // rows)
    offsets, counts = directory.integers(OFFSETS), strip_counts(directory, size)
    if len(offsets) == len(counts) and LEAST_LEFT * number < len(offsets) < number:  # of one plane
        offsets += (size,) * (number - len(offsets))
        counts += (1,) * (number - len(counts))
    if not _parts(page, number, offsets, counts):
        return None
    there = _there(size, offsets, counts, number)
    first = there.index(False)
    if any(there[first:]):  # strips need not lie in their order
        changed = _lent(there, OFFSETS, COUNTS, offsets, counts)
        missing = [(i * rows, min(i * rows + rows, height), 0, width) for i, each in enumerate(there) if not each]
        return Salvaged(_with(page, changed), (width, height), height, missing)
    more = b""
    if len(offsets) == number and offsets[first] < size:
        end = min(offsets[first] + counts[first], size)
        more = _rows_of(page, offsets[first], end, min(rows, height - first * rows))
    if not first and not more:
        return None
    planes = len(offsets) // number
    kept = [i + p * number for p in range(planes) for i in range(first)]
    starts, lengths = [offsets[i] for i in kept], [counts[i] for i in kept]
    if more:
        packed = tiff_packing.packed(directory.integer(COMPRESSION, 1), more, _row(page))
        starts, lengths = [*starts, len(page.data)], [*lengths, len(packed)]
        page = replace(page, data=page.data + packed)
    there_are = first * rows + len(more) // max(_row(page), 1)
    changes = {LENGTH: ifd.longs(there_are), OFFSETS: ifd.longs(*starts), COUNTS: ifd.longs(*lengths)}
    return Salvaged(_with(page, {**changes, ROWS: ifd.longs(rows)}), (width, height), there_are)


def _rows_of(page: Page, start: int, end: int, most: int) -> bytes:
    """Return the whole rows of a strip that is cut in two, unpacked; differences between neighbours stay such.

    Args:
        page: the page.
        start: of the strip in the file.
        end: of what is there of it.
        most: rows of the whole strip.
    """
    directory, row = page.directory, _row(page)
    if directory.integer(PHOTOMETRIC, 1) == YCBCR or directory.integer(_FILL_ORDER, 1) != 1 or not row:
        return b""  # rows that share their colours; bits that stand the other way round
    part = tiff_packing.unpacked(directory.integer(COMPRESSION, 1), page.data[start:end], row * most)
    return part[: len(part) // row * row]


def _row(page: Page) -> int:
    """Return the bytes of an unpacked row."""
    directory = page.directory
    samples = directory.integer(SAMPLES, 1) if directory.integer(PLANAR, 1) == 1 else 1
    return (directory.integer(WIDTH, 0) * samples * max(directory.integers(BITS, (1,))) + 7) // 8
