"""The coded picture inside a JPEG file: where its parts lie, and whether the decoder uses each of them up exactly.

libjpeg fills in whatever is missing or makes no sense, and Pillow does not pass on its complaints. A sound part (the
whole of a plain JPEG, else what lies between two restart markers, or one scan) holds neither too few nor too many bits;
one that was overwritten falls out of step, and then holds the wrong number of them. That can be seen from outside: by
what the decoder has read when it is done, or by whether the picture depends on bits where it must, or must not.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from restorer.imaging.colour import Pixels
from restorer.imaging.libraries import Image, np
from restorer.photo.damage import DAMAGE, is_blanked
from restorer.photo.decoding import UndecodableError

_MARKER = re.compile(rb"\xff+[^\x00\xff]")
_NO_RESTART = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_END = b"\xff\xd9"
# Behind the data, bits that are no code at all: the decoder looks ahead by up to eight bytes, and uses none of these.
_BEYOND = b"\xff\x00" * 9
_TAIL, _SCAN_TAIL = 8, 48
"""Bytes at the end of a part, and of a scan of a progressive JPEG, whose change must show in the picture."""
_JUNK = 4
"""Bytes behind the last code that do no harm and are no sign of damage: some cameras pad their files."""
_MOST_CHECKED = 4_000_000
"""Pixels up to which each scan of a progressive JPEG is checked by a decoding of its own."""
_MOST_CHECKED_TWICE = 1_000_000
"""Pixels up to which a plain JPEG is decoded a second time, to see whether its last bytes are there."""
_FEW_SCANS, _MOST_WORK = 100, 2**31
"""Scans that no encoder comes to, and pixels that so many may go over: a decoder goes over all of them in each scan."""


@dataclass
class Coded:
    """What lies between a JPEG's first scan header and its end.

    Attributes:
        data: the file up to and including its end marker, which is put there when it was missing.
        parts: (start, end) of each run of coded bytes that ends at a marker.
        restarts: whether parts are divided by restart markers.
        disordered: whether these do not follow each other as they must: one is missing, or one too many.
        frame: the marker of the frame header, 0xC0 to 0xCF.
        size: width and height that it claims.
        odd_codes: whether a Huffman table has two codes for one symbol, which no coder makes.
        shortest: the symbols whose codes are nothing but zeros, one of each Huffman table.
        ended: whether the end marker was there.
        behind: what follows it.
        finished: whether the scans refine every coefficient to its last bit, as far as they tell.
    """

    data: bytes
    parts: list[tuple[int, int]] = field(default_factory=list)
    restarts: bool = False
    disordered: bool = False
    frame: int = 0
    size: tuple[int, int] = (0, 0)
    odd_codes: bool = False
    shortest: set[int] = field(default_factory=set)
    ended: bool = False
    behind: bytes = b""
    finished: bool = True

    @property
    def checkable(self) -> bool:
        """Whether its bits are Huffman codes (not arithmetic ones), of 8 bits a sample in one of the common ways."""
        return self.frame in (0xC0, 0xC1, 0xC2) and bool(self.parts)

    @property
    def blanked(self) -> bool:
        """Whether bytes were overwritten by zeros; where the shortest codes mean "no change", coders write them too."""
        changes = any(symbol & 15 for symbol in self.shortest)  # the low half counts the bits of a value that follows
        return (
            changes
            and self.frame in (0xC0, 0xC1)
            and any(is_blanked(self.data, start, end) for start, end in self.parts)
        )

    @property
    def plain(self) -> bool:
        """Whether one decoding suffices to see how much was read: one scan, sequential, without restart markers."""
        return self.frame in (0xC0, 0xC1) and len(self.parts) == 1


def coded(picture: bytes) -> Coded:
    """Find the coded parts of a JPEG without metadata.

    Raises:
        UndecodableError: it has so many scans over so many pixels that decoding it would not end.
    """
    picture = picture.rstrip(b"\xff")
    found, scans = Coded(picture), 0
    left: set[tuple[int, int]] = set()  # (component, coefficient) of a progressive JPEG that are not complete yet
    at = 2
    while (mark := _MARKER.search(picture, at)) is not None and mark.start() == at:
        marker, at = picture[mark.end() - 1], mark.end()
        if marker == 0xD9:
            found.ended = True
            found.data, found.behind = picture[:at], picture[at:]
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        payload = _payload(picture, at)
        if payload is None:
            break
        at += 2 + len(payload)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            found.frame = found.frame or marker
            if len(payload) > 5:
                found.size = int.from_bytes(payload[3:5], "big"), int.from_bytes(payload[1:3], "big")
            if marker == 0xC2 and len(payload) > 5:
                left = {(payload[6 + 3 * i], k) for i in range((len(payload) - 6) // 3) for k in range(64)}
        elif marker == 0xC4:
            found.shortest |= {symbols[0] for symbols in _symbols(payload) if symbols}
            found.odd_codes |= any(len(set(symbols)) < len(symbols) for symbols in _symbols(payload))
        elif marker == 0xDA:
            left -= _completed(payload)
            scans += 1
            if scans > _FEW_SCANS and scans * found.size[0] * found.size[1] > _MOST_WORK:
                raise UndecodableError(
                    f"its {scans} and more scans over {found.size[0]:,} x {found.size[1]:,} pixels "
                    "are more than any program writes"
                )
            at = _take_parts(found, picture, at)
    found.finished = not left
    if not found.ended:
        found.data = picture + _END
    return found


def _payload(data: bytes, at: int) -> bytes | None:
    if at + 2 > len(data):
        return None
    (length,) = struct.unpack_from(">H", data, at)
    return data[at + 2 : at + length] if 2 <= length <= len(data) - at else None


def _symbols(tables: bytes) -> Iterator[bytes]:
    """Yield the symbols of each Huffman table of a DHT segment, those of the shortest codes first."""
    at = 0
    while at + 17 < len(tables):
        count = sum(tables[at + 1 : at + 17])
        yield tables[at + 17 : at + 17 + count]
        at += 17 + count


def _completed(scan: bytes) -> set[tuple[int, int]]:
    """Return the (component, coefficient) pairs that a scan brings to their last bit."""
    count = scan[0] if scan else 0
    if len(scan) < 4 + 2 * count:
        return set()
    first, last, bits = scan[1 + 2 * count], scan[2 + 2 * count], scan[3 + 2 * count]
    if bits & 15:
        return set()
    return {(scan[1 + 2 * i], k) for i in range(count) for k in range(first, min(last, 63) + 1)}


def _take_parts(found: Coded, data: bytes, at: int) -> int:
    """Add the parts of the scan whose coded bytes begin at `at`; return where the marker behind it stands."""
    units = -(-found.size[0] // 8) * -(-found.size[1] // 8) * 4
    for number, mark in enumerate(_MARKER.finditer(data, at)):
        if number > units:  # more runs than units of the picture: what is behind them belongs to nothing
            found.disordered = True
            return next((m.start() for m in _NO_RESTART.finditer(data, mark.start())), len(data))
        found.parts.append((at, mark.start()))
        found.disordered |= data[mark.end() - 1] in range(0xD0, 0xD8) and data[mark.end() - 1] & 7 != number % 8
        if not 0xD0 <= data[mark.end() - 1] <= 0xD7:
            return mark.start()
        found.restarts = True
        at = mark.end()
    found.parts.append((at, len(data)))  # `coded` has seen to it that no half marker is left at the end
    return len(data)


@dataclass(frozen=True)
class Soundness:
    """Whether parts of a picture have too few bits (the last one may be cut off), or too many."""

    too_short: bool = False
    too_long: bool = False


class Feed(io.BytesIO):
    """A plain JPEG for one decoding, given out so that it shows how far the decoder had to read.

    Args:
        picture: whose `plain` is true.
    """

    def __init__(self, picture: Coded) -> None:
        start, end = picture.parts[0]
        data = picture.data
        body = data[start:end]
        spare = _JUNK + len(body) - len(body.rstrip(b"\0\xff"))
        self._early = max(end - spare, start)
        self._late = end + len(_BEYOND)
        self._furthest = 0
        super().__init__(data[:end] + _BEYOND + data[end:])

    def read(self, size: int | None = -1) -> bytes:
        """Return bytes, but never across one of the two places that tell."""
        at = self.tell()
        limit = next((stop - at for stop in (self._early, self._late) if at < stop), None)
        if limit is not None and (size is None or size < 0 or size > limit):
            size = limit
        found = super().read(size)
        self._furthest = max(self._furthest, at + len(found))
        return found

    def soundness(self) -> Soundness:
        """Return what the decoding has shown: read beyond the coded bytes, or complete before them."""
        return Soundness(self._furthest > self._late, self._furthest <= self._early)


def check_end(picture: Coded, pixels: Pixels) -> Soundness:
    """Return whether a plain picture that `Feed` found nothing wrong with is short of a few bytes after all.

    The decoder looks ahead by up to eight bytes, so that where it read to does not tell of fewer. They are worth a few
    blocks, which count in a small picture alone; of a large one nothing is checked.

    Args:
        picture: what was decoded.
        pixels: as for `check`.
    """
    if pixels.shape[0] * pixels.shape[1] > _MOST_CHECKED_TWICE:
        return Soundness()
    others = (_decoded(_rebuilt(picture, {0: more}, keep=True)) for more in (_noise(), bytes(64)))
    return Soundness(too_short=any(other is None or not np.array_equal(other, pixels) for other in others))


def check(picture: Coded, pixels: Pixels) -> Soundness:
    """Compare a decoded picture of several parts with what comes of it when the parts are changed.

    Args:
        picture: what was decoded.
        pixels: (h, w) or (h, w, channels) as Pillow decoded it, before any conversion.
    """
    if not picture.checkable:
        return Soundness()
    if picture.disordered:
        return Soundness(too_short=True)
    longer = _decoded(_rebuilt(picture, dict.fromkeys(range(len(picture.parts)), _noise()), keep=True))
    if longer is None or not np.array_equal(longer, pixels):
        return Soundness(too_short=True)
    if picture.frame == 0xC2 or not picture.restarts:
        few = len(picture.parts) <= _FEW_SCANS
        if picture.restarts or not few or pixels.shape[0] * pixels.shape[1] > _MOST_CHECKED:
            return Soundness()
        return Soundness(too_long=any(_idle(picture, number, pixels) for number in _long_parts(picture, _SCAN_TAIL)))
    changed = _decoded(_rebuilt(picture, dict.fromkeys(_long_parts(picture, _TAIL), _noise()[:_TAIL]), keep=False))
    return Soundness(too_long=changed is not None and _some_unchanged(picture, pixels, changed))


def _long_parts(picture: Coded, tail: int) -> Iterator[int]:
    return (i for i, (start, end) in enumerate(picture.parts) if end - start >= 2 * tail)


def _idle(picture: Coded, number: int, pixels: Pixels) -> bool:
    """Whether a part's last bytes can be others without any change."""
    changed = _decoded(_rebuilt(picture, {number: _noise()[:_SCAN_TAIL]}, keep=False))
    return changed is not None and np.array_equal(changed, pixels)


def _rebuilt(picture: Coded, noise: dict[int, bytes], *, keep: bool) -> bytes:
    """Return the file with bytes behind parts (`keep`), or in place of their last ones."""
    data, out, at = picture.data, [], 0
    for number, (_, end) in enumerate(picture.parts):
        if number not in noise:
            continue
        stop = end if keep else end - len(noise[number])
        if not keep and data[stop - 1] == 0xFF:  # a stuffed byte must not lose its zero
            stop -= 1
        out += [data[at:stop], noise[number]]
        at = end
    return b"".join((*out, data[at:]))


def _decoded(data: bytes) -> Pixels | None:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return np.asarray(image)
    except DAMAGE:
        return None


def _some_unchanged(picture: Coded, before: Pixels, after: Pixels) -> bool:
    """Whether there is a run between restart markers, of those that were changed, in which every pixel stayed."""
    interval, wide, high = _grid(picture.data)
    if before.shape != after.shape or not interval:
        return False
    first = (slice(None), slice(None), 0) if before.ndim == 3 else (slice(None), slice(None))
    plane = before[first] != after[first]  # the last block of a unit shows in the first channel: grey, or red
    height, width = plane.shape
    rows, columns = -(-height // high), -(-width // wide)
    padded = np.zeros((rows * high, columns * wide), bool)
    padded[:height, :width] = plane
    # At its border a unit's colours are mixed with its neighbours', so only what is inside tells of itself.
    inside = padded.reshape(rows, high, columns, wide)[:, 1:-1, :, 1:-1]
    units = np.any(inside, axis=(1, 3)).ravel()
    runs = np.logical_or.reduceat(units, np.arange(0, units.size, interval))
    ends = np.minimum(np.arange(interval, units.size + interval, interval), units.size) - 1
    # Units that lie for the most part beyond the picture's edge may change without showing it.
    seen_high, seen_wide = height - ends // columns * high, width - ends % columns * wide
    enough = (seen_high > high // 2) & (seen_wide > wide // 2)
    return any(number < runs.size and enough[number] and not runs[number] for number in _long_parts(picture, _TAIL))


def _grid(data: bytes) -> tuple[int, int, int]:
    """Return the restart interval in coded units, and the width and height of a unit in pixels."""
    interval, wide, high, at = 0, 8, 8, 2
    while (mark := _MARKER.match(data, at)) is not None:
        marker, at = data[mark.end() - 1], mark.end()
        payload = _payload(data, at)
        if payload is None or marker == 0xDA:
            break
        at += 2 + len(payload)
        if marker == 0xDD and len(payload) >= 2:
            interval = int.from_bytes(payload[:2], "big")
        elif marker in (0xC0, 0xC1, 0xC2) and len(payload) >= 9:
            factors = [payload[7 + 3 * i] for i in range((len(payload) - 6) // 3)]
            if len(factors) > 1:  # a single component is coded block by block, whatever its factors
                wide, high = 8 * max(f >> 4 for f in factors), 8 * max(f & 15 for f in factors)
    return interval, wide, high


@cache
def _noise() -> bytes:
    """Return bytes in place of others, or behind them, that decode as something; none is FF, which begins a marker."""
    return np.random.default_rng(7).integers(1, 255, 64, np.uint8).tobytes()
