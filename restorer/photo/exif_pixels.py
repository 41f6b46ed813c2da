"""What EXIF counts in pixels or tells of the two axes: set right when the pixels are turned, or become more or fewer.

Coordinates are those of EXIF: from the upper left corner of the picture, to the right and down.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction

from restorer.photo import ifd
from restorer.photo.exif import X_RESOLUTION, Y_RESOLUTION, directories, set_integer

_IMAGE_WIDTH, _IMAGE_LENGTH, _PIXEL_X, _PIXEL_Y = 256, 257, 40962, 40963
_RELATED_WIDTH, _RELATED_LENGTH = 4097, 4098  # of the interoperability directory
_SUBJECT_AREA, _SUBJECT_LOCATION = 37396, 41492
_FOCAL_X, _FOCAL_Y = 41486, 41487
_PIXEL_SCALE, _TIE_POINTS = 33550, 33922  # GeoTIFF
_WIDTHS, _LENGTHS = (_IMAGE_WIDTH, _PIXEL_X, _RELATED_WIDTH), (_IMAGE_LENGTH, _PIXEL_Y, _RELATED_LENGTH)
_PAIRS = ((X_RESOLUTION, Y_RESOLUTION), (_FOCAL_X, _FOCAL_Y), *zip(_WIDTHS, _LENGTHS, strict=True))

Size = tuple[int, int]
"""Width and height in pixels."""


def turned_point(x: float, y: float, orientation: int, size: Size) -> tuple[float, float]:
    """Return where a point of a picture lies once the picture was turned upright.

    Args:
        x: pixels from the left edge.
        y: pixels from the upper edge.
        orientation: EXIF's, 1 to 8, of the picture as it lies.
        size: of the picture as it lies.
    """
    width, height = size
    if orientation >= 5:
        x, y, width, height = y, x, height, width
    if orientation in (2, 3, 6, 7):
        x = width - x
    if orientation in (3, 4, 7, 8):
        y = height - y
    return x, y


def turned(block: bytes, orientation: int, size: Size) -> bytes:
    """Return a sound block for the picture turned upright: where the subject is, and resolutions of the two axes.

    Args:
        block: of the picture as it lies.
        orientation: as the picture lies, 1 to 8.
        size: of the picture as it lies.
    """

    def place(values: Sequence[int]) -> list[int]:
        x, y = turned_point(values[0], values[1], orientation, size)
        return [round(x), round(y), *(reversed(values[2:4]) if orientation >= 5 else values[2:4])]

    data = bytearray(block)
    for directory in directories(block):
        _rewrite_subjects(data, directory, place)
        for across, down in _PAIRS if orientation >= 5 else ():
            x, y = directory.entries.get(across), directory.entries.get(down)
            if x is not None and y is not None and (x.kind, len(x.raw)) == (y.kind, len(y.raw)):
                ifd.overwrite(data, x, y.raw)
                ifd.overwrite(data, y, x.raw)
    return bytes(data)


def resized(block: bytes, before: Size, after: Size) -> bytes:
    """Return a sound block for the picture enlarged or reduced: dimensions, subject, pixels a length of the sensor.

    Dimensions become the new ones where the block tells any; a value that does not fit its type any more goes.
    """
    across, down = Fraction(after[0], before[0]), Fraction(after[1], before[1])

    def place(values: Sequence[int]) -> list[int]:
        factors = (across, down, across, down)
        if len(values) == 3:  # centre and diameter of a circle
            factors = (across, down, (across + down) / 2, down)
        return [round(value * factor) for value, factor in zip(values, factors, strict=False)]

    data = bytearray(block)
    for directory in directories(block):
        gone = _rewrite_subjects(data, directory, place)
        for tags, value in ((_WIDTHS, after[0]), (_LENGTHS, after[1])):
            for tag in tags:
                entry = directory.entries.get(tag)
                if entry is not None and entry.integers():
                    set_integer(data, entry, value)
        for tag, factor in ((_FOCAL_X, across), (_FOCAL_Y, down)):
            entry = directory.entries.get(tag)
            if entry is not None and not _rewrite_rational(data, entry, factor):
                gone.append(tag)
        _rewrite_doubles(data, directory.entries.get(_PIXEL_SCALE), (1 / across, 1 / down, Fraction(1)))
        tie = (across, down, *[Fraction(1)] * 4)
        _rewrite_doubles(data, directory.entries.get(_TIE_POINTS), tie)
        if gone:
            ifd.take_out(data, directory, gone)
    return bytes(data)


def _rewrite_subjects(
    data: bytearray, directory: ifd.Directory, place: Callable[[Sequence[int]], list[int]]
) -> list[int]:
    """Put subject areas elsewhere; return the tags whose new values do not fit their type."""
    gone = []
    for tag in (_SUBJECT_AREA, _SUBJECT_LOCATION):
        entry = directory.entries.get(tag)
        values = entry.integers() if entry is not None else ()
        if entry is None or not 2 <= len(values) <= 4:
            continue
        try:
            ifd.overwrite(data, entry, entry.packed(place(values)))
        except struct.error:
            gone.append(tag)
    return gone


def _rewrite_rational(data: bytearray, entry: ifd.Entry, factor: Fraction) -> bool:
    """Multiply a rational tag; return whether it could be."""
    if entry.kind != ifd.RATIONAL or len(entry.raw) != 8:
        return len(entry.raw) == 0 or factor == 1
    numerator, denominator = struct.unpack(f"{entry.order}II", entry.raw)
    if denominator == 0:
        return True  # it says nothing
    exact = Fraction(numerator, denominator) * factor
    value = exact
    for limit in (2**32 - 1, 1_000_000, 1_000, 1):
        value = exact.limit_denominator(limit)
        if value.numerator < 2**32:
            break
    else:
        return False
    ifd.overwrite(data, entry, struct.pack(f"{entry.order}II", value.numerator, value.denominator))
    return True


def _rewrite_doubles(data: bytearray, entry: ifd.Entry | None, factors: Sequence[Fraction]) -> None:
    """Multiply the values of a tag of DOUBLEs by factors that repeat."""
    if entry is None or entry.kind != ifd.DOUBLE or len(entry.raw) % 8:
        return
    layout = f"{entry.order}{len(entry.raw) // 8}d"
    values = struct.unpack(layout, entry.raw)
    changed = [value * float(factors[i % len(factors)]) for i, value in enumerate(values)]
    ifd.overwrite(data, entry, struct.pack(layout, *changed))
