"""The shell of HEIF and AVIF files: boxes of the ISO base media file format (ISO 14496-12, 23008-12)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

from restorer.photo.damage import DAMAGE, is_blanked

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_MOST_NAMES = 8
_PLAIN_BOXES = frozenset({b"ftyp", b"mdat", b"free", b"skip", b"wide", b"idat", b"pdin", b"styp", b"moov"})
_KNOWN_ITEMS = frozenset({"Exif", "application/rdf+xml", "hvc1", "av01", "grid", "iden", "iovl"})
_CREDENTIALS = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
# Of H.273: sRGB's and the older television's primaries, or none told; their curves, which readers take for sRGB's.
_USUAL_PRIMARIES, _USUAL_TRANSFER = frozenset({0, 1, 2, 5, 6}), frozenset({0, 1, 2, 6, 13, 14, 15})
_PRIMARIES, _TRANSFER = frozenset({1, 2, *range(4, 13), 22}), frozenset({1, 2, *range(4, 19)})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"})


def brands(head: bytes) -> set[bytes]:
    """Return the brands that a file's first bytes name, none when it is no such file."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(len(head), int.from_bytes(head[:4], "big"))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}


def is_avif(head: bytes) -> bool:
    """Whether the brands say AVIF."""
    return bool(_AVIF_BRANDS & brands(head))


def is_heif(head: bytes) -> bool:
    """Whether the brands say HEIF, and not AVIF, which is a kind of it."""
    return bool(_HEIF_BRANDS & brands(head)) and not is_avif(head)


@dataclass
class Contents:
    """What a HEIF or AVIF file holds beside its main picture's pixels.

    Attributes:
        colour: (primaries, transfer) of the main picture's nclx box (ITU-T H.273), None without one.
        light: kinds and payloads of PNG chunks that say the same as its boxes of light levels.
        lost: what is dropped, in words.
        rest: what stands behind the last box.
        blanked: whether coded pictures have runs of zeros, which no coder writes.
    """

    colour: tuple[int, int] | None = None
    light: list[tuple[str, bytes]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    rest: bytes = b""
    blanked: bool = False


@dataclass
class _Meta:
    """The item tables of a `meta` box."""

    primary: int = 0
    types: dict[int, str] = field(default_factory=dict)
    references: list[tuple[str, int, list[int]]] = field(default_factory=list)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    owned: dict[int, list[int]] = field(default_factory=dict)
    places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def of(self, item: int) -> list[tuple[bytes, bytes]]:
        """Return the properties of an item, as (name, payload)."""
        return [self.properties[i - 1] for i in self.owned.get(item, []) if 0 < i <= len(self.properties)]


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start of the payload, its end) of the boxes between two places; stops at damage."""
    while start + 8 <= end:
        size, head = int.from_bytes(data[start : start + 4], "big"), 8
        name = bytes(data[start + 4 : start + 8])
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            return
        yield name, start + head, start + size
        start += size


def has_unreadable_kinds(data: bytes) -> bool:
    """Whether the kind of an item is no text (UTF-8), which only damage makes of it.

    Every `infe` is looked at, wherever it stands, since a damaged size may lead a decoder elsewhere than `boxes`.
    """
    at = data.find(b"infe")
    while at >= 0:
        version = data[at + 4 : at + 5]
        kind = at + {b"\x02": 12, b"\x03": 14}.get(version, len(data))
        # Of a "mime" item the content's type counts too: the second of the texts that end with a zero.
        content = data[kind + 4 : kind + 516].split(b"\0")[1:2] if data[kind : kind + 4] == b"mime" else []
        if not all(_is_text(text) for text in (data[kind : kind + 4], *content)):
            return True
        at = data.find(b"infe", at + 4)
    return False


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def contents(data: bytes) -> Contents:
    """Look at a file's boxes; what is damaged in them is left to the decoder."""
    found = Contents()
    try:
        _look(data, found)
    except DAMAGE as error:
        found.lost.append(f"what could not be read of its boxes ({error})")
    return found


def _look(data: bytes, found: Contents) -> None:
    behind, unknown = 0, dict[str, None]()
    for name, start, behind in boxes(data, 0, len(data)):
        if name == b"meta":
            meta = _read_meta(data, start + 4, behind)
            _sort(found, meta)
            found.blanked = found.blanked or _is_blanked(data, meta)
        elif name == b"mpvd" or (name == b"mdat" and b"ftyp" in data[start : start + 64]):
            found.lost.append("a short video")
        elif name == b"uuid" and data[start : start + 16] == _CREDENTIALS:
            found.lost.append("Content Credentials (C2PA), which would not hold for the result")
        elif name not in _PLAIN_BOXES:
            unknown[f"the box {name.decode('latin-1')!r}"] = None
    found.lost += _first_of(unknown)
    found.rest = data[behind:]


def _first_of(names: dict[str, None]) -> list[str]:
    """Return not more names than people read."""
    left = len(names) - _MOST_NAMES
    return [*list(names)[:_MOST_NAMES], *([f"and {left} more"] if left > 0 else [])]


def _is_blanked(data: bytes, meta: _Meta) -> bool:
    """Whether a coded picture has a run of zeros; where its pieces overlap many times over, that is none of a coder."""
    left = 2 * len(data)
    for item in (item for item, kind in meta.types.items() if kind in ("hvc1", "av01")):
        for start, end in meta.places.get(item, []):
            left -= max(min(end, len(data)) - start, 0)
            if left < 0 or is_blanked(data, start, end):
                return True
    return False


def _read_meta(data: bytes, start: int, end: int) -> _Meta:
    meta = _Meta()
    for name, at, stop in boxes(data, start, end):
        version = data[at] if at < stop else 0
        wide = 4 if version else 2
        if name == b"pitm":
            meta.primary = int.from_bytes(data[at + 4 : at + 4 + wide], "big")
        elif name == b"iinf":
            for entry, first, last in boxes(data, at + 4 + wide, stop):
                if entry == b"infe" and data[first] >= 2:
                    size = 4 if data[first] == 3 else 2
                    item = int.from_bytes(data[first + 4 : first + 4 + size], "big")
                    meta.types[item] = _item_type(data[first + 6 + size : last])
        elif name == b"iloc":
            _take_places(meta, data[at:stop])
        elif name == b"iref":
            for kind, first, last in boxes(data, at + 4, stop):
                count = int.from_bytes(data[first + wide : first + wide + 2], "big")
                numbers = [int.from_bytes(data[i : i + wide], "big") for i in range(first + wide + 2, last, wide)]
                source = int.from_bytes(data[first : first + wide], "big")
                meta.references.append((kind.decode("latin-1"), source, numbers[:count]))
        elif name == b"iprp":
            for part, first, last in boxes(data, at, stop):
                if part == b"ipco":
                    meta.properties += [(prop, data[a:b]) for prop, a, b in boxes(data, first, last)]
                elif part == b"ipma":
                    _take_owners(meta, data[first:last])
    return meta


def _take_places(meta: _Meta, table: bytes) -> None:
    """Read where the items of a file lie: (start, end) of each piece; those that lie elsewhere are left out."""
    stream = io.BytesIO(table)
    version = stream.read(4)[0]
    sizes = stream.read(2)
    offset, length, base, index = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4, sizes[1] & 15 if version else 0

    def number(size: int) -> int:
        return int.from_bytes(stream.read(size), "big")

    wide = 4 if version == 2 else 2
    for _ in range(min(number(wide), 65_536)):
        item, method = number(wide), number(2) & 15 if version else 0
        number(2)  # of the file, 0 for this one
        start = number(base)
        for _ in range(number(2)):
            if not length or stream.tell() >= len(table):  # nothing of a length comes of any more of them
                break
            number(index)
            at, size = start + number(offset), number(length)
            if method == 0 and size:
                meta.places.setdefault(item, []).append((at, at + size))


def _item_type(entry: bytes) -> str:
    """Return an item's type; for a MIME item, its content type."""
    kind = entry[:4].decode("latin-1")
    if kind != "mime":
        return kind
    return entry[4:].split(b"\0")[1].decode("latin-1") if entry[4:].count(b"\0") else kind


def _take_owners(meta: _Meta, data: bytes) -> None:
    version, wide_index = data[0], data[3] & 1
    size = 4 if version else 2
    count, at = int.from_bytes(data[4:8], "big"), 8
    for _ in range(min(count, 65_536)):
        item = int.from_bytes(data[at : at + size], "big")
        number, at = data[at + size], at + size + 1
        step = 2 if wide_index else 1
        mask = 0x7FFF if wide_index else 0x7F
        meta.owned[item] = [
            int.from_bytes(data[at + i * step : at + (i + 1) * step], "big") & mask for i in range(number)
        ]
        at += number * step


def _sort(found: Contents, meta: _Meta) -> None:
    lost: dict[str, None] = {}
    beside = {source for kind, source, _ in meta.references if kind in ("auxl", "thmb", "cdsc")}
    parts = {target for kind, _, targets in meta.references if kind == "dimg" for target in targets}
    for item, kind in meta.types.items():
        auxiliary = next((payload[4:].split(b"\0")[0] for name, payload in meta.of(item) if name == b"auxC"), None)
        if kind == "tmap":
            lost["an HDR gain map"] = None
        elif auxiliary is not None:
            words = _auxiliary(auxiliary.decode("latin-1"))
            if words is not None:
                lost[words] = None
        elif kind not in _KNOWN_ITEMS and item not in beside | parts and item != meta.primary:
            lost[f"an item of the type {kind!r}"] = None
    found.lost += _first_of(lost)
    for name, payload in meta.of(meta.primary):
        if name == b"colr" and payload[:4] == b"nclx" and len(payload) >= 8:
            found.colour = int.from_bytes(payload[4:6], "big"), int.from_bytes(payload[6:8], "big")
        elif name == b"clli" and len(payload) >= 4:
            levels = (10_000 * int.from_bytes(payload[i : i + 2], "big") for i in (0, 2))
            found.light.append(("PNG cLLI", b"".join(level.to_bytes(4, "big") for level in levels)))
        elif name == b"mdcv" and len(payload) >= 24:  # its primaries stand as green, blue, red
            found.light.append(("PNG mDCV", payload[8:12] + payload[:8] + payload[12:24]))


def _auxiliary(urn: str) -> str | None:
    """Say what an auxiliary picture is; None for transparency, which is read."""
    lower = urn.lower()
    if lower.endswith(("auxid:1", ":alpha")):
        return None
    if lower.endswith("auxid:2") or "depth" in lower or "disparity" in lower:
        return "a depth map"
    if "gainmap" in lower:
        return "an HDR gain map"
    if "matte" in lower:
        return "mattes"
    return f"an auxiliary picture ({urn})"


def colour_chunks(found: Contents) -> list[tuple[str, bytes]]:
    """Return what an nclx box tells of the colours, as PNG chunks; nothing for those of sRGB."""
    if found.colour is None:
        return []
    primaries, transfer = found.colour
    if primaries in _USUAL_PRIMARIES and transfer in _USUAL_TRANSFER:
        return []
    if primaries not in _PRIMARIES or transfer not in _TRANSFER:
        found.lost.append(f"a colour space of no known meaning (nclx {primaries}, {transfer})")
        return []
    return [("PNG cICP", bytes((primaries & 255, transfer & 255, 0, 1))), *found.light]
