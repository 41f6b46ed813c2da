"""The outer shell of a PNG file: its chunks, taken apart and put together.

Pixels are left to Pillow and OpenCV. They are given files from which the metadata was taken out, so that a damaged
profile or comment can never stop a good picture from being read.
"""

from __future__ import annotations

import binascii
import re
import struct
import zlib
from collections.abc import Iterable, Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CRITICAL = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
PNG_COLOUR_KINDS = frozenset({"PNG gAMA", "PNG cHRM", "PNG sRGB", "PNG cICP", "PNG mDCV", "PNG cLLI"})
"""Kinds of `Photo.format_specific` that tell how a picture's colours are meant."""
_MOST_INFLATED, _MOST_TEXT = 2**27, 2**24


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yield (type, start of the payload, its end, whether the check sum holds); stops at damage.

    The check sum is computed for small chunks only; the decoder checks the pixels' own.
    """
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind = bytes(data[at + 4 : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            return
        sound = kind == b"IDAT" or zlib.crc32(data[at + 4 : end]) == struct.unpack_from(">I", data, end)[0]
        yield kind, at + 8, end, sound
        if kind == b"IEND":
            return
        at = end + 4


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """Return one chunk with its length and check sum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def inflate(packed: bytes, most: int = _MOST_INFLATED) -> bytes:
    """Return zlib data unpacked; raises ValueError when it is damaged or unpacks to more than `most` bytes."""
    inflater = zlib.decompressobj()
    try:
        unpacked = inflater.decompress(packed, most)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not inflater.eof:
        raise ValueError("it is cut off" if not inflater.unconsumed_tail else "it is too large")
    return unpacked


class Unpacker:
    """Unpacks the texts and profiles of one file, which come to so many bytes together as one of them may alone."""

    def __init__(self) -> None:
        self._left = _MOST_INFLATED

    def inflate(self, packed: bytes, most: int = _MOST_INFLATED) -> bytes:
        """Do as `inflate` does; what is refused as too large counts as well."""
        most = min(most, self._left)
        if most <= 0:
            raise ValueError("with the others it is too large")
        try:
            unpacked = inflate(packed, most)
        except ValueError:
            self._left -= min(most, 1100 * len(packed))  # zlib makes no more of them
            raise
        self._left -= len(unpacked)
        return unpacked


def png_text(kind: bytes, payload: bytes, unpacker: Unpacker | None = None) -> tuple[str, bytes]:
    """Return keyword and text bytes of a tEXt, zTXt or iTXt chunk; raises ValueError when it is damaged."""
    unpacker = unpacker or Unpacker()
    keyword, _, rest = payload.partition(b"\0")
    if kind == b"zTXt":
        rest = unpacker.inflate(rest[1:], _MOST_TEXT)
    elif kind == b"iTXt":
        if len(rest) < 2:
            raise ValueError("it is cut off")
        packed, rest = rest[0], rest[2:]
        rest = rest.partition(b"\0")[2].partition(b"\0")[2]
        if packed:
            rest = unpacker.inflate(rest, _MOST_TEXT)
    return keyword.decode("latin-1"), rest


def raw_profile(text: bytes) -> bytes:
    """Return the bytes of ImageMagick's "Raw profile type" texts; raises ValueError when they are damaged."""
    found = re.match(rb"\s*\w+\s+(\d{1,9})\s+", text)  # what follows is looked at once, not for each way to begin it
    digits = b"" if found is None else text[found.end() :].translate(None, b" \t\r\n\f\v")
    if found is None or len(digits) != 2 * int(found[1]):
        raise ValueError("it is cut off")
    return binascii.unhexlify(digits)


def join_png(picture: bytes, chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Put chunks into an encoded PNG, before its palette and pixels; ancillary chunks of the encoder's own go."""
    out = [PNG_SIGNATURE]
    for kind, start, end, _ in png_chunks(picture):
        if kind in PNG_CRITICAL:
            out.append(picture[start - 8 : end + 4])
        if kind == b"IHDR":
            out += [png_chunk(name, payload) for name, payload in chunks]
    return b"".join(out)
