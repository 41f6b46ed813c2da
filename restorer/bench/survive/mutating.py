"""Files changed by a bad disk, a bad program or a bad person: bytes, lengths, counts, the order and nesting of parts.

Half of the changes know what they change: the segments, chunks, boxes and directories of a file are found, and moved,
doubled, dropped, cut, put into each other, or given lengths and positions that lie; check sums are set right again, so
that what stands behind them is reached. A case is found again by its kind, seed and number.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np

from restorer.bench.survive.samples import SUFFIXES, kinds, samples
from restorer.photo import ifd, isobmff, jpeg_segments, png_chunks, riff

_SPREAD = (0, 1, 2, 3, 4, 127, 128, 254, 255)  # values of a byte at which counts and signs turn
_COUNTS = (0, 1, 2, 0x7F, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)
Random = np.random.Generator
Span = tuple[int, int]


def mutated(kind: str, seed: int, number: int) -> bytes:
    """Return the file of a case, the same each time."""
    rng = np.random.default_rng((seed, list(SUFFIXES).index(kind), number))
    sources = samples(kind)
    return changed(sources[int(rng.integers(len(sources)))], kind, rng)


def changed(source: bytes, kind: str, rng: Random) -> bytes:
    """Return a file of a kind with up to four changes."""
    data = bytearray(source)
    for _ in range(1 if rng.integers(3) else int(rng.integers(2, 5))):
        if not data:
            break
        way = _STRUCTURED if rng.integers(2) else _BLIND
        way[int(rng.integers(len(way)))](data, kind, rng)
    return sealed(bytes(data)) if kind == "PNG" and rng.integers(4) else bytes(data)


# ---------------------------------------------------------------------------------------------- without looking


def _place(data: bytearray, rng: Random) -> int:
    """Return a place; half of them lie in the first kilobyte, where headers and metadata are."""
    return int(rng.integers(min(len(data), 1024) if rng.integers(2) else len(data)))


def _bytes(data: bytearray, _: str, rng: Random) -> None:
    for _number in range(int(rng.integers(1, 5))):
        data[_place(data, rng)] = int(rng.choice(_SPREAD) if rng.integers(2) else rng.integers(256))


def _bits(data: bytearray, _: str, rng: Random) -> None:
    for _number in range(int(rng.integers(1, 9))):
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))


def _noise(data: bytearray, _: str, rng: Random) -> None:
    at = _place(data, rng)
    piece = rng.integers(0, 256, int(rng.integers(1, 40)), np.uint8).tobytes()
    data[at : at + len(piece)] = piece


def _zeros(data: bytearray, _: str, rng: Random) -> None:
    at = _place(data, rng)
    data[at : at + 300] = bytes(len(data[at : at + int(rng.integers(1, 300))]))


def _cut(data: bytearray, _: str, rng: Random) -> None:
    del data[_place(data, rng) :]


def _insert(data: bytearray, _: str, rng: Random) -> None:
    at = _place(data, rng)
    data[at:at] = rng.integers(0, 256, int(rng.integers(1, 20)), np.uint8).tobytes()


def _copy(data: bytearray, _: str, rng: Random) -> None:
    at, other, size = _place(data, rng), _place(data, rng), int(rng.integers(1, 60))
    data[at : at + size] = data[other : other + size]


def _number(data: bytearray, _: str, rng: Random) -> None:
    """Put a number that lies somewhere: two, four or eight bytes, in either order."""
    at, value = _place(data, rng), int(rng.choice(_COUNTS))
    size = int(rng.choice((2, 4, 8)))
    piece = (value % 256**size).to_bytes(size, "little" if rng.integers(2) else "big")
    data[at : at + size] = piece[: max(len(data) - at, 0)]


def _splice(data: bytearray, kind: str, rng: Random) -> None:
    """Let another file, as a rule of the same kind, follow from some place on."""
    names = kinds()
    other = samples(kind if rng.integers(4) else names[int(rng.integers(len(names)))])
    source = other[int(rng.integers(len(other)))]
    at = _place(data, rng)
    data[at:] = source[int(rng.integers(len(source))) if rng.integers(2) else min(at, len(source)) :]


# ------------------------------------------------------------------------------------------------- with a look


def spans(data: bytes, kind: str) -> list[Span]:
    """Return where the parts of a file lie, their heads included; what is nested comes behind what holds it."""
    if kind in ("JPEG", "MPO"):
        return [(start - 4, end) for _, start, end in jpeg_segments.jpeg_segments(data)]
    if kind == "PNG":
        return [(start - 8, end + 4) for _, start, end, _ in png_chunks.png_chunks(data)]
    if kind == "WEBP":
        return [(start - 8, end + (end - start) % 2) for _, start, end in riff.chunks(data)]
    if kind in ("HEIC", "AVIF"):
        return _boxes(data, 0, len(data), 0)
    if kind in ("TIFF", "BigTIFF"):
        return _entries(data)
    return []


def _boxes(data: bytes, start: int, end: int, depth: int) -> list[Span]:
    found = []
    heads = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"iinf": 6, b"iref": 4, b"moov": 0, b"dinf": 0}
    for name, first, last in isobmff.boxes(data, start, end):
        found.append((first - 8, last))
        if name in heads and depth < 4:
            found += _boxes(data, first + heads[name], last, depth + 1)
    return found


def _entries(data: bytes) -> list[Span]:
    """Return the entries of all directories that are found from the first on, EXIF's and GPS's too."""
    found: list[Span] = []
    try:
        order, big, position = ifd.header(data)
        queue, seen = [position], set[int]()
        while queue and len(seen) < 8:
            at = queue.pop()
            if at in seen or at == 0:
                continue
            seen.add(at)
            directory = ifd.read_directory(data, at, order, big)
            size = 20 if big else 12
            found += [(entry.position, entry.position + size) for entry in directory.entries.values()]
            queue += [directory.next, *(p for tag in ifd.SUB_DIRECTORIES for p in directory.integers(tag)[:1])]
    except ifd.DamagedDirectoryError:
        pass  # what was found until then will do
    return found


def _part(data: bytearray, kind: str, rng: Random) -> Span | None:
    found = spans(bytes(data), kind)
    return found[int(rng.integers(len(found)))] if found else None


def _drop_part(data: bytearray, kind: str, rng: Random) -> None:
    if (span := _part(data, kind, rng)) is not None:
        del data[span[0] : span[1]]


def _double_part(data: bytearray, kind: str, rng: Random) -> None:
    if (span := _part(data, kind, rng)) is not None and span[1] - span[0] < 5000:
        at = span[1] if rng.integers(2) else (_part(data, kind, rng) or span)[0]
        data[at:at] = data[span[0] : span[1]] * int(rng.choice((1, 1, 2, 40)))


def _swap_parts(data: bytearray, kind: str, rng: Random) -> None:
    one, other = _part(data, kind, rng), _part(data, kind, rng)
    if one is None or other is None or one[1] > other[0]:
        return
    first, second = data[one[0] : one[1]], data[other[0] : other[1]]
    data[one[0] : other[1]] = second + data[one[1] : other[0]] + first


def _nest_part(data: bytearray, kind: str, rng: Random) -> None:
    """Put a part into another one, whose own length stays or grows."""
    one, other = _part(data, kind, rng), _part(data, kind, rng)
    if one is None or other is None:
        return
    at = other[0] + min(12, other[1] - other[0])
    data[at:at] = data[one[0] : one[1]]


def _lie_about_length(data: bytearray, kind: str, rng: Random) -> None:
    """Change the length that a part tells of itself, by a little or to nonsense."""
    span = _part(data, kind, rng)
    if span is None:
        return
    at, size, order = {
        "JPEG": (2, 2, ">H"), "MPO": (2, 2, ">H"), "PNG": (0, 4, ">I"), "WEBP": (4, 4, "<I"), "HEIC": (0, 4, ">I"),
        "AVIF": (0, 4, ">I"), "TIFF": (4, 4, "<I"), "BigTIFF": (4, 8, "<Q"),
    }[kind]  # fmt: skip
    place = span[0] + at
    if place + size > len(data):
        return
    (told,) = struct.unpack_from(order, data, place)
    value = told + int(rng.integers(-9, 10)) if rng.integers(2) else int(rng.choice(_COUNTS))
    struct.pack_into(order, data, place, value % 256**size)


def _lie_inside(data: bytearray, kind: str, rng: Random) -> None:
    """Put a number that lies at the beginning of a part, where its own counts and positions stand."""
    span = _part(data, kind, rng)
    if span is None:
        return
    at = span[0] + int(rng.integers(0, min(40, span[1] - span[0])))
    value, size = int(rng.choice(_COUNTS)), int(rng.choice((1, 2, 4)))
    piece = (value % 256**size).to_bytes(size, "little" if rng.integers(2) else "big")
    data[at : at + size] = piece[: max(len(data) - at, 0)]


def _point_elsewhere(data: bytearray, kind: str, rng: Random) -> None:
    """Let a directory's entry, inside EXIF too, point at another directory, at itself, or at the file's head."""
    blocks = [0] if kind in ("TIFF", "BigTIFF") else []
    at = -1
    while len(blocks) < 8 and (at := data.find(b"II*\0", at + 1)) >= 0:
        blocks.append(at)
    if not blocks:
        return
    base = int(rng.choice(blocks))
    block = bytes(data[base : base + 2**16])
    found = _entries(block)
    if not found:
        return
    one, other = (found[int(rng.integers(len(found)))] for _ in range(2))
    big = block[2:3] == b"+"
    size = 8 if big else 4
    target = int(rng.choice((8, one[0] - 2, other[0] - 2, other[0], len(block) - 1, 0)))
    place = base + one[1] - size
    if place + size <= len(data):
        data[place : place + size] = (target % 256**size).to_bytes(size, "little")
    if rng.integers(2):  # and call it a directory below
        data[base + one[0] : base + one[0] + 2] = struct.pack("<H", int(rng.choice((34665, 34853, 40965, 330))))


_BLIND: tuple[Callable[[bytearray, str, Random], None], ...] = (
    _bytes, _bits, _noise, _zeros, _cut, _insert, _copy, _number, _splice,
)  # fmt: skip
_STRUCTURED: tuple[Callable[[bytearray, str, Random], None], ...] = (
    _drop_part, _double_part, _swap_parts, _nest_part, _lie_about_length, _lie_about_length, _lie_inside, _lie_inside,
    _point_elsewhere,
)  # fmt: skip


def blind(source: bytes, rng: Random) -> bytes:
    """Return any file with changes that do not know what they change: no splices."""
    data = bytearray(source)
    for _ in range(int(rng.integers(1, 4))):
        if data:
            _BLIND[int(rng.integers(len(_BLIND) - 1))](data, "", rng)
    return bytes(data) + (bytes(int(rng.integers(1, 99))) if rng.integers(8) == 0 else b"")


def sealed(data: bytes) -> bytes:
    """Return a PNG of which the chunks have the check sums that their bytes ask for, as far as chunks can be found."""
    out, at = [data[:8]], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        out += [data[at:end], struct.pack(">I", zlib.crc32(data[at + 4 : end]))]
        at = end + 4
    return b"".join((*out, data[at:]))
