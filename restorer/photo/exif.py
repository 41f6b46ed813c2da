"""EXIF blocks: orientation taken out once, the thumbnail dropped, dimensions told anew; all else stays where it is."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from restorer.photo import ifd

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
REWRITTEN = frozenset({X_RESOLUTION, Y_RESOLUTION, 37396, 41492, 41486, 41487, 33550, 33922})
"""Tags whose values `exif_pixels` changes where they lie."""
_MAKER_NOTE = 37500
_COLOUR_TAGS = frozenset({301, 318, 319, 42240})  # transfer function, white point, primaries, gamma
_INTEROP_INDEX, _COLOUR_SPACE, _ADOBE_RGB = 1, 40961, 2
_INCH, _CENTIMETRE = 2, 3

# Tags of a TIFF's first directory that describe how its pixels are stored, or that have a place of their own in
# `Photo`; the rest is what a photographer means by EXIF.
_STRUCTURE = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291, 292}
    | {293, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 333, 334, 336, 337, 338, 339, 340, 341}
    | {342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532}
    | {700, 33723, 34377, 34675, 37724, 50255, 50784, 52545}
)


@dataclass
class CleanExif:
    """What `clean` found: the block without prefix (None when nothing could be kept), upright and without thumbnail."""

    data: bytes | None
    orientation: int = 1
    has_orientation: bool = False
    problems: list[str] = field(default_factory=list)


def clean(block: bytes) -> CleanExif:
    """Take the orientation out of an EXIF block (it is set to 1) and drop the thumbnail; every other byte stays.

    Only a block of which a directory is damaged, or of which parts lie on top of each other that may be changed one by
    one, is laid out anew, from what can be read of it.

    Args:
        block: with or without the "Exif" prefix of JPEG.
    """
    prefix = 0
    while block.startswith(b"Exif\0", prefix):
        prefix += 6
    block = block[prefix:]
    try:
        order, big, position = ifd.header(block)
        if big:
            raise ifd.DamagedDirectoryError("it is BigTIFF")
        first = ifd.read_directory(block, position, order)
    except ifd.DamagedDirectoryError as error:
        return CleanExif(None, problems=[f"The EXIF block is damaged ({error}) and was dropped."])
    result = CleanExif(None)
    reading = ifd.read_tree(block, first)
    if reading.problems:
        result.problems.append(f"The EXIF has {', and '.join(reading.problems)}; the rest was kept.")
    if reading.problems or _is_tangled(block):
        block = ifd.pack_tree(reading.tree)
        first = ifd.read_directory(block, ifd.header(block)[2], "<")
    data = bytearray(block)
    entry = first.entries.get(ORIENTATION)
    if entry is not None:
        values = entry.integers()
        if values and 1 <= values[0] <= 8:
            result.orientation, result.has_orientation = values[0], True
        elif values and values[0] != 0:  # some cameras write 0 for "unknown"
            result.problems.append(f"The EXIF orientation {values[0]} has no meaning; the photo was taken as upright.")
        set_integer(data, entry, 1)
    result.data = _without_thumbnail(data, block, first, result.problems)
    return result


def set_integer(data: bytearray, entry: ifd.Entry, value: int) -> None:
    """Write one integer over a tag's entry, inside its 12 bytes; LONG stays LONG."""
    new = ifd.longs(value) if entry.kind == ifd.LONG else ifd.shorts(value)
    raw = new.raw if entry.order == "<" else new.raw[::-1]
    start = struct.pack(f"{entry.order}HHI", entry.tag, new.kind, 1)
    data[entry.position : entry.position + 12] = start + raw.ljust(4, b"\0")


def directories(block: bytes) -> list[ifd.Directory]:
    """Return the first directory of a sound block, and the EXIF, GPS and interoperability directories below it."""
    order, _, position = ifd.header(block)
    found: dict[int, ifd.Directory] = {}
    queue = [position]
    while queue:
        directory = ifd.read_directory(block, queue.pop(), order)
        if directory.position not in found:
            found[directory.position] = directory
            queue += [at for tag in ifd.SUB_DIRECTORIES for at in directory.integers(tag)[:1]]
    return list(found.values())


def _is_tangled(block: bytes) -> bool:
    """Whether a value lies on a directory, or one that is changed in its place (`REWRITTEN`) on another value."""
    found = directories(block)
    fixed = [(0, 8), *((each.position, each.next_position + 4) for each in found)]
    if any(one[1] > other[0] for one, other in pairwise(sorted(fixed))):
        return True
    values = [(e.value_position, e.value_position + len(e.raw), e.tag)
              for each in found for e in each.entries.values() if len(e.raw) > 4]  # fmt: skip
    changed = [value for value in values if value[2] in REWRITTEN]
    return any(start < end_ and start_ < end for start, end, _ in values for start_, end_ in fixed) or any(
        one is not other and one[0] < other[1] and other[0] < one[1] and not _is_one_resolution(one, other)
        for one in changed
        for other in values
    )


def _is_one_resolution(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Whether both resolutions are one value, which some write; they are only ever put in each other's place."""
    return one[:2] == other[:2] and {one[2], other[2]} == {X_RESOLUTION, Y_RESOLUTION}


def _ranges(directory: ifd.Directory) -> list[tuple[int, int]]:
    own = (directory.position, directory.next_position + 4)
    return [own, *((e.value_position, e.value_position + len(e.raw)) for e in directory.entries.values())]


def _without_thumbnail(data: bytearray, block: bytes, first: ifd.Directory, problems: list[str]) -> bytes:
    """Cut the second directory off and blank its bytes, where nothing else of the block lies."""
    if first.next == 0:
        return bytes(data)
    data[first.next_position : first.next_position + 4] = bytes(4)
    try:
        second = ifd.read_directory(block, first.next, first.order)
    except ifd.DamagedDirectoryError as error:
        problems.append(f"The EXIF thumbnail is damaged ({error}); it was cut off.")
        return bytes(data)
    gone = _ranges(second)
    for offsets, lengths in ((513, 514), (273, 279)):
        pairs = zip(second.integers(offsets), second.integers(lengths), strict=False)
        gone += [(at, at + length) for at, length in pairs]
    kept = _united(span for directory in directories(block) for span in _ranges(directory))
    for start, end in reversed(_united((start, min(end, len(block))) for start, end in gone)):
        for begin, stop in _without(start, end, kept):
            if stop == len(data):
                del data[begin:]
            elif stop < len(data):
                data[begin:stop] = bytes(stop - begin)
    return bytes(data)


def _united(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in their order, with those that touch or overlap as one; empty ones are left out."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def _without(start: int, end: int, kept: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what is left of a span without others, the last piece first."""
    pieces, at = [], end
    for first, last in reversed(kept[: bisect_left(kept, (end, end))]):
        if last <= start:
            break
        if last < at:
            pieces.append((last, at))
        at = min(at, first)
    return [*pieces, (start, at)] if start < at else pieces


def resolution(block: bytes) -> tuple[float, float] | None:
    """Return the dots per inch that the block tells, or None."""
    order, _, position = ifd.header(block)
    return directory_resolution(ifd.read_directory(block, position, order))


def tells_only_resolution(block: bytes) -> bool:
    """Whether the block is no more than the place that a format without one of its own has for the resolution."""
    order, _, position = ifd.header(block)
    return set(ifd.read_directory(block, position, order).entries) == {X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}


def names_adobe_rgb(block: bytes) -> bool:
    """Whether a sound block says that the pixels are in Adobe RGB: by DCF's option file "R03", or the old value 2."""
    for directory in directories(block):
        entry = directory.entries.get(_INTEROP_INDEX)
        if entry is not None and entry.raw[:3] == b"R03":
            return True
        if directory.integer(_COLOUR_SPACE, 1) == _ADOBE_RGB:
            return True
    return False


def tells_primaries(block: bytes) -> bool:
    """Whether a sound block tells primaries, a white point or curves of its own."""
    return any(_COLOUR_TAGS & directory.entries.keys() for directory in directories(block))


def directory_resolution(directory: ifd.Directory) -> tuple[float, float] | None:
    """Return the dots per inch that a directory tells, or None."""
    factor = {_INCH: 1.0, _CENTIMETRE: 2.54}.get(directory.integer(RESOLUTION_UNIT, _INCH))
    x, y = (directory.entries.get(tag) for tag in (X_RESOLUTION, Y_RESOLUTION))
    if factor is None or x is None or y is None:
        return None
    across, down = x.rationals()[:1], y.rationals()[:1]
    return (across[0] * factor, down[0] * factor) if across and down and across[0] > 0 and down[0] > 0 else None


def resolution_tags(dpi: tuple[float, float]) -> ifd.Tree:
    """Return the three tags that tell a resolution in dots per inch."""
    x, y = (Fraction(value).limit_denominator(10_000) for value in dpi)
    return {
        X_RESOLUTION: ifd.rational(x.numerator, x.denominator),
        Y_RESOLUTION: ifd.rational(y.numerator, y.denominator),
        RESOLUTION_UNIT: ifd.shorts(_INCH),
    }


def with_resolution(block: bytes | None, dpi: tuple[float, float], *, anew: bool = False) -> bytes:
    """Return the block with a resolution; without a block, one that tells nothing else.

    Args:
        block: a sound one.
        dpi: dots per inch, (horizontal, vertical).
        anew: replace what the block tells of it.
    """
    if block is None:
        return ifd.pack_tree(resolution_tags(dpi))
    if resolution(block) is not None and not anew:
        return block
    order, _, position = ifd.header(block)
    return ifd.append_directory(block, ifd.read_directory(block, position, order), resolution_tags(dpi))


def without_maker_note(block: bytes) -> bytes:
    """Return a smaller block: laid out anew, without the camera's maker note."""
    order, _, position = ifd.header(block)
    tree = ifd.read_tree(block, ifd.read_directory(block, position, order)).tree
    below = tree.get(ifd.EXIF)
    if isinstance(below, dict):
        below.pop(_MAKER_NOTE, None)
    return ifd.pack_tree(tree)


def from_tiff(data: bytes, directory: ifd.Directory) -> tuple[bytes | None, list[str]]:
    """Return the EXIF block that a TIFF page's descriptive tags make (None when it has none), and what was damaged."""
    reading = ifd.read_tree(data, directory)
    tree = {tag: node for tag, node in reading.tree.items() if tag not in _STRUCTURE}
    tree.pop(ORIENTATION, None)
    problems = [f"The TIFF has {problem}; the rest was kept." for problem in reading.problems]
    return (ifd.pack_tree(tree) if tree else None), problems


def to_tiff(block: bytes) -> tuple[ifd.Tree, list[str]]:
    """Return the tags that an EXIF block gives a TIFF page, and what was damaged."""
    order, _, position = ifd.header(block)
    reading = ifd.read_tree(block, ifd.read_directory(block, position, order))
    tree = {tag: node for tag, node in reading.tree.items() if tag not in _STRUCTURE}
    return tree, [f"The EXIF has {problem}; the rest was kept." for problem in reading.problems]
