"""TIFF directories: the tag lists inside TIFF files and EXIF blocks (TIFF 6.0 section 2; BigTIFF for reading).

Values stay raw bytes, so that nothing is lost or retyped on the way through. Two ways to change a file:
`append_directory` leaves every byte where it is and adds a new first directory at the end (offsets inside a camera's
maker note stay right); `read_tree` and `pack_tree` lift a directory out and lay it down elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, Union

Order = Literal["<", ">"]

SHORT, LONG, RATIONAL, UNDEFINED, BYTE, DOUBLE = 3, 4, 5, 7, 1, 12
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SWAP_UNITS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}

EXIF, GPS, INTEROP = 34665, 34853, 40965
SUB_DIRECTORIES = frozenset({EXIF, GPS, INTEROP})
_MOST_ENTRIES = 4096
_MOST_PAGES = 10_000
_LONG_VALUE = 4096  # bytes; pages may share such values, and thousands of copies would not fit into memory
_MOST_TAGS = 500_000  # of all pages together
_SPARE = 2**20  # bytes of values beyond twice the file's own size, which only tags that share them come to


class DamagedDirectoryError(ValueError):
    """Raised when bytes do not hold the directory that they promise; never leaves this package."""


@dataclass(frozen=True)
class Entry:
    """One tag. `raw` are its value's bytes in the file's order, `position` is where its 12 (20) bytes stand."""

    tag: int
    kind: int
    raw: bytes
    position: int
    value_position: int
    order: Order

    def integers(self) -> tuple[int, ...]:
        """Return the values of an integer tag; empty for any other kind."""
        code = _INTEGERS.get(self.kind)
        if code is None:
            return ()
        count = len(self.raw) // _SIZES[self.kind]
        return struct.unpack(f"{self.order}{count}{code}", self.raw[: count * _SIZES[self.kind]])

    def packed(self, values: Sequence[int]) -> bytes:
        """Return integers as bytes of this tag's kind and order; raises `struct.error` when one does not fit."""
        return struct.pack(f"{self.order}{len(values)}{_INTEGERS[self.kind]}", *values)

    def rationals(self) -> tuple[float, ...]:
        """Return the values of a (signed) rational tag; a zero denominator gives 0; empty for any other kind."""
        if self.kind not in (5, 10):
            return tuple(float(value) for value in self.integers())
        code = "I" if self.kind == RATIONAL else "i"
        parts = struct.unpack(f"{self.order}{len(self.raw) // 4}{code}", self.raw[: len(self.raw) // 4 * 4])
        return tuple(a / b if b else 0.0 for a, b in zip(parts[::2], parts[1::2], strict=False))


@dataclass(frozen=True)
class Directory:
    """The tags at one position; `next` is the position of the directory behind it, 0 for none."""

    order: Order
    big: bool
    position: int
    entries: Mapping[int, Entry]
    next: int
    next_position: int
    damaged: tuple[int, ...] = ()

    def integers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return the integers of a tag, or `default`."""
        entry = self.entries.get(tag)
        return (entry.integers() if entry else ()) or default

    def integer(self, tag: int, default: int) -> int:
        """Return the first integer of a tag, or `default`."""
        return self.integers(tag, (default,))[0]


@dataclass(frozen=True)
class Value:
    """A tag's kind and its value's bytes in little-endian order."""

    kind: int
    raw: bytes


Tree: TypeAlias = dict[int, Union[Value, "Tree"]]


def shorts(*values: int) -> Value:
    """Return SHORT values; LONG where one does not fit."""
    kind = SHORT if max(values) < 65536 else LONG
    return Value(kind, struct.pack(f"<{len(values)}{_INTEGERS[kind]}", *values))


def longs(*values: int) -> Value:
    """Return LONG values."""
    return Value(LONG, struct.pack(f"<{len(values)}I", *values))


def rational(numerator: int, denominator: int) -> Value:
    """Return one RATIONAL."""
    return Value(RATIONAL, struct.pack("<II", numerator, denominator))


def header(data: bytes) -> tuple[Order, bool, int]:
    """Return byte order, whether it is BigTIFF, and the position of the first directory.

    Raises:
        DamagedDirectoryError: it is no TIFF header, or is cut off.
    """
    order: Order
    if data[:2] == b"II":
        order = "<"
    elif data[:2] == b"MM":
        order = ">"
    else:
        raise DamagedDirectoryError("it does not begin with II or MM")
    try:
        (magic,) = struct.unpack_from(f"{order}H", data, 2)
        if magic == 43:
            return order, True, struct.unpack_from(f"{order}Q", data, 8)[0]
        if magic != 42:
            raise DamagedDirectoryError(f"its magic number is {magic}, not 42")
        return order, False, struct.unpack_from(f"{order}I", data, 4)[0]
    except struct.error as error:
        raise DamagedDirectoryError("its header is cut off") from error


def read_directory(
    data: bytes, position: int, order: Order, big: bool = False, *, largest: int | None = None
) -> Directory:
    """Read the directory at a position; tags whose value lies outside of the data are named in `damaged`.

    Args:
        data: the whole block, of which positions count from its first byte.
        position: of the directory.
        order: byte order.
        big: whether it is BigTIFF's, with 64-bit counts and positions.
        largest: bytes; tags with a longer value are there without it. None = all have theirs.

    Raises:
        DamagedDirectoryError: the directory lies outside of the data, is cut off, or claims too many tags.
    """
    count_code, entry_size, next_code, inline = ("Q", 20, "Q", 8) if big else ("H", 12, "I", 4)
    try:
        (count,) = struct.unpack_from(order + count_code, data, position)
    except (struct.error, OverflowError) as error:  # beyond what any memory has, too
        raise DamagedDirectoryError("a directory lies outside of it") from error
    if count > _MOST_ENTRIES:
        raise DamagedDirectoryError(f"a directory claims {count} tags")
    first = position + struct.calcsize(order + count_code)
    entries: dict[int, Entry] = {}
    damaged: list[int] = []
    room = 2 * len(data) + _SPARE
    for index in range(count):
        at = first + index * entry_size
        try:
            tag, kind, length = struct.unpack_from(f"{order}HH{'Q' if big else 'I'}", data, at)
            size = _SIZES.get(kind, 0) * length
            value_at = at + entry_size - inline
            if size > inline:
                (value_at,) = struct.unpack_from(order + next_code, data, value_at)
        except struct.error as error:
            raise DamagedDirectoryError("a directory is cut off") from error
        if kind not in _SIZES or value_at + size > len(data) or size > room:
            damaged.append(tag)
        else:
            size = size if largest is None or size <= largest else 0
            room -= size
            entries.setdefault(tag, Entry(tag, kind, bytes(data[value_at : value_at + size]), at, value_at, order))
    next_at = first + count * entry_size
    try:
        (following,) = struct.unpack_from(order + next_code, data, next_at)
    except struct.error:
        following = 0  # many writers leave it out of an EXIF block's last directory
    return Directory(order, big, position, entries, following, next_at, tuple(damaged))


def pages(data: bytes) -> Iterator[Directory]:
    """Yield the directories of the chain, at most 10,000 and none twice; long values are left out, see `whole`.

    Raises:
        DamagedDirectoryError: the file, or one of its directories, is none.
    """
    order, big, position = header(data)
    seen: set[int] = set()
    tags = 0
    while position and position not in seen and len(seen) < _MOST_PAGES and tags < _MOST_TAGS:
        seen.add(position)
        directory = read_directory(data, position, order, big, largest=_LONG_VALUE)
        tags += len(directory.entries)
        yield directory
        position = directory.next


def whole(data: bytes, directory: Directory) -> Directory:
    """Return one of the directories that `pages` yields with all of its values."""
    return read_directory(data, directory.position, directory.order, directory.big)


def _swapped(raw: bytes, kind: int) -> bytes:
    unit = _SWAP_UNITS.get(kind, 1)
    if unit == 1:
        return raw
    return b"".join(raw[at : at + unit][::-1] for at in range(0, len(raw), unit))


@dataclass
class TreeReading:
    """The outcome of `read_tree`: the tags, and what could not be read, in words."""

    tree: Tree
    problems: list[str] = field(default_factory=list)


def read_tree(data: bytes, directory: Directory, depth: int = 0) -> TreeReading:
    """Lift a directory and the EXIF, GPS and interoperability directories below it out of the data."""
    reading = TreeReading({})
    if directory.damaged:
        reading.problems.append(f"damaged tags ({', '.join(map(str, directory.damaged))})")
    for tag, entry in directory.entries.items():
        if tag in SUB_DIRECTORIES:
            try:
                if depth > 1:
                    raise DamagedDirectoryError("directories are nested too deep")
                position = entry.integers()[0]
                below = read_tree(data, read_directory(data, position, directory.order, directory.big), depth + 1)
            except (DamagedDirectoryError, IndexError) as error:
                reading.problems.append(f"a damaged directory (tag {tag}: {error})")
                continue
            reading.tree[tag] = below.tree
            reading.problems += below.problems
        else:
            raw = entry.raw if directory.order == "<" else _swapped(entry.raw, entry.kind)
            reading.tree[tag] = Value(entry.kind, raw)
    return reading


def _pack(kept: Mapping[int, bytes], tree: Tree, position: int, order: Order) -> bytes:
    """Return a directory for `position`: `kept` are 12-byte entries as they stand, `tree` is laid down behind it."""
    tags = sorted({*kept, *tree})
    beside = position + 2 + 12 * len(tags) + 4
    out = [struct.pack(f"{order}H", len(tags))]
    tail: list[bytes] = []
    for tag in tags:
        if tag not in tree:
            out.append(kept[tag])
            continue
        node = tree[tag]
        if isinstance(node, dict):
            raw = _pack({}, node, beside, order)
            out.append(struct.pack(f"{order}HHII", tag, LONG, 1, beside))
        else:
            raw = node.raw if order == "<" else _swapped(node.raw, node.kind)
            start = struct.pack(f"{order}HHI", tag, node.kind, len(raw) // _SIZES[node.kind])
            if len(raw) <= 4:
                out.append(start + raw.ljust(4, b"\0"))
                continue
            out.append(start + struct.pack(f"{order}I", beside))
        raw += b"\0" * (len(raw) % 2)
        tail.append(raw)
        beside += len(raw)
    out.append(struct.pack(f"{order}I", 0))
    return b"".join(out + tail)


def pack_tree(tree: Tree) -> bytes:
    """Return a whole EXIF block (little-endian header and directories) that holds the tree."""
    return b"II*\0" + struct.pack("<I", 8) + _pack({}, tree, 8, "<")


def overwrite(data: bytearray, entry: Entry, raw: bytes) -> None:
    """Put a value (bytes in the file's order) in the place of a tag's own, which is as long; its kind stays."""
    assert len(raw) == len(entry.raw)
    data[entry.value_position : entry.value_position + len(raw)] = raw


def take_out(data: bytearray, directory: Directory, tags: Collection[int]) -> None:
    """Remove tags from a classic directory where it stands; what follows it in the data stays where it is."""
    first = directory.position + 2
    count = (directory.next_position - first) // 12
    slots = [bytes(data[at : at + 12]) for at in range(first, directory.next_position, 12)]
    kept = [slot for slot in slots if struct.unpack(f"{directory.order}H", slot[:2])[0] not in tags]
    following = bytes(data[directory.next_position : directory.next_position + 4])
    struct.pack_into(f"{directory.order}H", data, directory.position, len(kept))
    block = (b"".join(kept) + following).ljust(12 * count + len(following), b"\0")
    data[first : first + len(block)] = block


def append_directory(data: bytes, directory: Directory, changes: Tree, remove: Collection[int] = ()) -> bytes:
    """Return the data with a new first directory at its end: the old one's tags, changed, and no directory behind it.

    Raises:
        DamagedDirectoryError: the data is BigTIFF, or longer than 4 GiB.
    """
    kept = {
        tag: bytes(data[entry.position : entry.position + 12])
        for tag, entry in directory.entries.items()
        if tag not in remove and tag not in changes
    }
    position = len(data) + len(data) % 2
    if directory.big or position > 0xFFFFFFFF - 1_000_000:
        raise DamagedDirectoryError("only classic TIFF below 4 GiB can be changed")
    start = bytes(data[:4]) + struct.pack(f"{directory.order}I", position)
    return b"".join((start, data[8:], b"\0" * (len(data) % 2), _pack(kept, changes, position, directory.order)))


def as_classic(data: bytes, directory: Directory, tags: Collection[int]) -> bytes:
    """Return the data of a BigTIFF as a classic TIFF with some tags of one directory; other bytes stay where they are.

    Raises:
        DamagedDirectoryError: the data is longer than 4 GiB.
    """
    position = len(data) + len(data) % 2
    if position > 0xFFFFFFFF - 1_000_000:
        raise DamagedDirectoryError("only TIFF below 4 GiB can be changed")
    tree: Tree = {}
    for tag, entry in directory.entries.items():
        if tag in tags:
            raw = entry.raw if directory.order == "<" else _swapped(entry.raw, entry.kind)
            tree[tag] = (
                longs(*entry.integers()) if _SIZES[entry.kind] == 8 and entry.integers() else Value(entry.kind, raw)
            )
    start = bytes(data[:2]) + struct.pack(f"{directory.order}HI", 42, position)
    return b"".join((start, data[8:], b"\0" * (len(data) % 2), _pack({}, tree, position, directory.order)))
