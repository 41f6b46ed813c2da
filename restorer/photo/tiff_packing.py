"""Strips of a TIFF, unpacked as far as their bytes go, and packed again: no library tells where a cut strip ends."""

from __future__ import annotations

import zlib

from restorer.imaging.libraries import np

NONE, LZW, PACK_BITS = 1, 5, 32773
DEFLATE = (8, 32946)
_CLEAR, _END = 256, 257


def unpacked(method: int, packed: bytes, most: int) -> bytes:
    """Return what the beginning of a strip comes to; nothing where the method is not known here, or bytes are damaged.

    Args:
        method: the page's compression.
        packed: the bytes of the strip that are there.
        most: bytes of the whole strip.
    """
    if method == NONE:
        return packed[:most]
    if method in DEFLATE:
        try:
            return zlib.decompressobj().decompress(packed, most)
        except zlib.error:
            return b""
    if method == PACK_BITS:
        return _from_pack_bits(packed, most)
    return _from_lzw(packed, most) if method == LZW else b""


def packed(method: int, rows: bytes, row: int) -> bytes:
    """Return rows as a whole strip.

    Args:
        method: one that `unpacked` knows.
        rows: the bytes.
        row: how many of them are a row.
    """
    if method in DEFLATE:
        return zlib.compress(rows, 1)
    if method == PACK_BITS:
        lines = (rows[at : at + row] for at in range(0, len(rows), row))
        pieces = (line[at : at + 128] for line in lines for at in range(0, row, 128))
        return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)
    return _literal_lzw(rows) if method == LZW else rows


def _from_pack_bits(packed: bytes, most: int) -> bytes:
    """Return the bytes of runs (TIFF 6.0, section 9)."""
    out, at = bytearray(), 0
    while at < len(packed) and len(out) < most:
        count = packed[at]
        if count < 128:
            out += packed[at + 1 : at + 2 + count]
            at += 2 + count
        else:
            if count > 128 and at + 1 < len(packed):
                out += packed[at + 1 : at + 2] * (257 - count)
            at += 1 if count == 128 else 2
    return bytes(out[:most])


def _from_lzw(packed: bytes, most: int) -> bytes:
    """Return the bytes of codes (TIFF 6.0, section 13); nothing of the kind that writers before it had."""
    if len(packed) < 2 or (packed[0] == 0 and packed[1] & 1):
        return b""
    out = bytearray()
    single = [bytes([value]) for value in range(256)] + [b"", b""]
    table, width, before = single[:], 9, b""
    buffer, held, at = 0, 0, 0
    while len(out) < most:
        while held < width and at < len(packed):
            buffer, held, at = (buffer << 8 | packed[at]) & 0xFFFFFF, held + 8, at + 1
        if held < width:
            break
        code = buffer >> (held - width) & ((1 << width) - 1)
        held -= width
        if code == _END:
            break
        if code == _CLEAR:
            table, width, before = single[:], 9, b""
            continue
        if code < len(table) and code != _END:
            entry = table[code]
        elif code == len(table) and before:
            entry = before + before[:1]
        else:
            break  # no coder writes that
        out += entry
        if before:
            table.append(before + entry[:1])
        before = entry
        width = 12 if len(table) >= 2047 else 11 if len(table) >= 1023 else 10 if len(table) >= 511 else 9
    return bytes(out[:most])


def _literal_lzw(rows: bytes) -> bytes:
    """Return bytes as codes that stand for themselves: nine bits each, the table cleared before it asks for ten."""
    values = np.frombuffer(rows, np.uint8).astype(np.uint16)
    codes = np.append(np.insert(values, np.arange(0, len(values), 250), _CLEAR), _END)
    bits = (codes[:, None] >> np.arange(8, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).tobytes()
