"""RIFF files, the shell of WebP: a list of named chunks."""

from __future__ import annotations

import mmap

MOST_CHUNKS = 65_536
"""A film of an hour has as many; a list of those that bytes could be taken for would not fit into memory."""


def chunks(data: bytes | mmap.mmap) -> list[tuple[bytes, int, int]]:
    """Return (name, start of the payload, its end) of a RIFF file's chunks, at most `MOST_CHUNKS`."""
    found: list[tuple[bytes, int, int]] = []
    at = 12
    while at + 8 <= len(data) and len(found) < MOST_CHUNKS:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((bytes(data[at : at + 4]), at + 8, min(at + 8 + size, len(data))))
        at += 8 + size + size % 2
    return found


def end(data: bytes) -> int:
    """Return where a RIFF file says that it ends."""
    return min(8 + int.from_bytes(data[4:8], "little"), len(data))
