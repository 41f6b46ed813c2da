"""What is left of a PNG whose end is missing: the rows that are whole, as a file that decoders take.

The rows that are missing are put there as zeros, and painted grey once the picture is decoded. Of an interlaced picture
(Adam7: seven passes, each finer than the one before) every pass may end early; a pixel that is missing is then taken
from the last coarser pass that has it, as viewers show such a picture while it loads.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from restorer.imaging.colour import Pixels
from restorer.imaging.libraries import np
from restorer.photo import png_chunks
from restorer.photo.damage import LEAST_LEFT, cut_off, middle_of
from restorer.photo.decoding import Decoded, UndecodableError

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PIECE = 2**20
_LAST_FILTER = 4
_Grid = tuple[int, int, int, int, int, int]
# Of each pass: its first row and column, the steps between its rows and columns, and the block that a pixel stands for.
_ADAM7 = (
    (0, 0, 8, 8, 8, 8), (0, 4, 8, 8, 8, 4), (4, 0, 8, 4, 4, 4), (0, 2, 4, 4, 4, 2), (2, 0, 4, 2, 2, 2),
    (0, 1, 2, 2, 2, 1), (1, 0, 2, 1, 1, 1),
)  # fmt: skip
_WHOLE = ((0, 0, 1, 1, 1, 1),)


@dataclass(frozen=True)
class _Pass:
    """A pass over the picture: its place in the grid, its size, and how many of its rows are there."""

    grid: _Grid
    columns: int
    rows: int
    there: int


@dataclass(frozen=True)
class Salvaged:
    """A PNG that is whole, in which what was missing is zeros.

    Attributes:
        file: for decoders.
        size: (width, height).
        passes: what there is of each.
    """

    file: bytes
    size: tuple[int, int]
    passes: tuple[_Pass, ...]

    @property
    def is_whole(self) -> bool:
        """Whether no pixel is missing."""
        return all(each.there == each.rows for each in self.passes)

    @property
    def share(self) -> float:
        """The share of the pixels that are there."""
        return sum(each.there * each.columns for each in self.passes) / (self.size[0] * self.size[1])

    def fill(self, decoded: Decoded) -> None:
        """Put something into the place of what is missing, and say so: the nearest coarser pixel, else grey."""
        decoded.pixels = self._filled(decoded.pixels, middle_of(decoded.pixels))
        if decoded.alpha is not None:
            decoded.alpha = self._filled(decoded.alpha, int(np.iinfo(decoded.alpha.dtype).max))
        decoded.warnings.append(self.words())

    def words(self) -> str:
        """Return the warning about what is missing."""
        if len(self.passes) == 1:
            return cut_off("PNG", self.passes[0].there, self.size[1])
        return (
            f"The PNG is cut off: {self.share:.0%} of its pixels, which are stored from coarse to fine, are there; "
            "the others repeat their neighbours, or are grey."
        )

    def _filled(self, pixels: Pixels, empty: int) -> Pixels:
        filled = np.full_like(pixels, empty)
        for each in self.passes:
            row, column, down, across, high, wide = each.grid
            found = pixels[row::down, column::across][: each.there]
            for i in range(high):
                for j in range(wide):
                    place = filled[row + i :: down, column + j :: across]
                    place[: each.there] = found[: len(place), : place.shape[1]][: len(place[: each.there])]
        return filled


def salvaged(data: bytes) -> Salvaged | None:
    """Return what is left of a PNG without an end; None where that is not what is wrong with it.

    Raises:
        UndecodableError: next to nothing is there, or what is there is damaged.
    """
    head, parts, end = b"", [], len(png_chunks.PNG_SIGNATURE)
    before: list[bytes] = []
    for kind, start, stop, sound in png_chunks.png_chunks(data):
        end = stop + 4
        if kind == b"IHDR":
            head = data[start:stop]
        elif kind == b"IDAT":
            if zlib.crc32(data[start - 4 : stop]) != int.from_bytes(data[stop : stop + 4], "big"):
                raise UndecodableError("it is damaged: the check sum of its pixels is wrong")
            parts.append(data[start:stop])
        elif kind == b"PLTE" or (kind == b"tRNS" and sound):
            before.append(data[start - 8 : stop + 4])
        elif kind == b"IEND":
            return None
    if data[end + 4 : end + 8] == b"IDAT":
        (length,) = struct.unpack_from(">I", data, end)
        parts.append(data[end + 8 : end + 8 + length])
    if len(head) < 13 or not parts:
        raise UndecodableError("it is cut off before its first pixels")
    grids, sizes, lengths = _layout(head)
    width, height = struct.unpack(">II", head[:8])
    rows = _inflated(parts, _total(sizes, lengths))
    passes, at = [], 0
    for grid, (columns, count), length in zip(grids, sizes, lengths, strict=True):
        if length and count > 0:
            there = min(max(len(rows) - at, 0) // length, count)
            passes.append(_Pass(grid, columns, count, there))
            at += length * count
    share = sum(each.there * each.columns for each in passes) / (width * height) if width and height else 0.0
    if share < LEAST_LEFT:  # before the rest of it is filled up, which may be very much
        raise UndecodableError("it is cut off before its last pixels, and next to none are there")
    kept = b"".join(_rows_of(rows, passes, lengths, grids))
    file = [png_chunks.PNG_SIGNATURE, png_chunks.png_chunk(b"IHDR", head), *before]
    packed = zlib.compress(kept, 1)
    file += [png_chunks.png_chunk(b"IDAT", packed[i : i + _PIECE]) for i in range(0, len(packed), _PIECE)]
    return Salvaged(b"".join((*file, png_chunks.png_chunk(b"IEND", b""))), (width, height), tuple(passes))


def _layout(head: bytes) -> tuple[tuple[_Grid, ...], list[tuple[int, int]], list[int]]:
    """Return the passes' grids, their (columns, rows), and the bytes of a row of each, as an IHDR chunk tells them.

    Raises:
        UndecodableError: it makes no sense.
    """
    width, height, bits, colour, method, filtering, interlaced = struct.unpack(">IIBBBBB", head[:13])
    if colour not in _CHANNELS or method or filtering or interlaced > 1:
        raise UndecodableError("its header is damaged")
    depth = bits * _CHANNELS[colour]
    grids = _ADAM7 if interlaced else _WHOLE
    sizes = [(-(-(width - grid[1]) // grid[3]), -(-(height - grid[0]) // grid[2])) for grid in grids]
    return grids, sizes, [1 + (columns * depth + 7) // 8 if columns > 0 else 0 for columns, _ in sizes]


def _total(sizes: list[tuple[int, int]], lengths: list[int]) -> int:
    return sum(length * max(rows, 0) for length, (_, rows) in zip(lengths, sizes, strict=True))


def length_of_rows(head: bytes) -> int:
    """Return the bytes that the rows of a picture come to, by its IHDR chunk; raises `UndecodableError`."""
    _, sizes, lengths = _layout(head)
    return _total(sizes, lengths)


class FilterBytes:
    """The byte in front of each row, which says how the row is coded: 0 to 4 (PNG, section 9).

    Args:
        head: the payload of the IHDR chunk.

    Raises:
        UndecodableError: it makes no sense.
    """

    def __init__(self, head: bytes) -> None:
        _, sizes, lengths = _layout(head)
        self._left = [(length, rows) for length, (_, rows) in zip(lengths, sizes, strict=True) if length and rows > 0]
        self._next = 0  # where the next one lies, seen from what comes next

    def check(self, piece: bytes) -> None:
        """Raise `UndecodableError` where a row is coded in no known way; pieces follow upon each other."""
        while self._left and self._next < len(piece):
            length, rows = self._left[0]
            here = min(-(-(len(piece) - self._next) // length), rows)
            if max(piece[self._next : self._next + (here - 1) * length + 1 : length]) > _LAST_FILTER:
                raise UndecodableError("it is damaged: a row of its pixels is coded in no known way")
            self._next += here * length
            self._left[0] = (length, rows - here)
            if rows == here:
                del self._left[0]
        self._next = max(self._next - len(piece), 0)


def _rows_of(rows: bytes, passes: list[_Pass], lengths: list[int], grids: tuple[_Grid, ...]) -> Iterator[bytes]:
    """Yield what there is of each pass, and zeros for the rest of it."""
    at = 0
    length_of = dict(zip(grids, lengths, strict=True))
    for each in passes:
        length = length_of[each.grid]
        yield rows[at : at + each.there * length]
        yield bytes((each.rows - each.there) * length)
        at += each.rows * length


def _inflated(parts: list[bytes], most: int) -> bytes:
    """Return as many of the rows' bytes as the coded ones come to, at most so many.

    Raises:
        UndecodableError: they are damaged, not only cut off.
    """
    inflater, out, count = zlib.decompressobj(), [], 0
    try:
        for part in parts:
            left = part
            while left and count < most and not inflater.eof:
                out.append(inflater.decompress(left, min(_PIECE, most - count)))
                count += len(out[-1])
                left = inflater.unconsumed_tail
    except zlib.error as error:
        raise UndecodableError(f"it is damaged ({error}), and its end is missing") from error
    return b"".join(out)
