"""Photoshop's image resources, in which JPEG and TIFF files keep IPTC-IIM records (Adobe Photoshop File Formats)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

IPTC_RESOURCE = 0x0404
# Thumbnails, and copies of what is kept elsewhere and would grow stale: ICC, EXIF (two), XMP.
_STALE_RESOURCES = frozenset({0x0409, 0x040C, 0x040F, 0x0422, 0x0423, 0x0424})


def photoshop_resources(block: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (number, start, end) of each image resource, its header and padding included; stops at damage."""
    at = 0
    while block[at : at + 4] == b"8BIM" and at + 12 <= len(block):
        number = int.from_bytes(block[at + 4 : at + 6], "big")
        name = 1 + block[at + 6]
        length_at = at + 6 + name + name % 2
        length = int.from_bytes(block[length_at : length_at + 4], "big")
        end = length_at + 4 + length + length % 2
        if length_at + 4 + length > len(block):
            return
        yield number, at, min(end, len(block))
        at = end


def fresh_resources(block: bytes) -> bytes | None:
    """Return the resources without thumbnails and without copies of other metadata; None when none is left."""
    spans = photoshop_resources(block)
    kept = b"".join(block[start:end] for number, start, end in spans if number not in _STALE_RESOURCES)
    return kept or None


def iptc_of(block: bytes) -> bytes | None:
    """Return the IPTC-IIM record inside image resources, or None."""
    for number, start, end in photoshop_resources(block):
        if number == IPTC_RESOURCE:
            name = 1 + block[start + 6]
            length_at = start + 6 + name + name % 2
            length = int.from_bytes(block[length_at : length_at + 4], "big")
            return block[length_at + 4 : min(length_at + 4 + length, end)] or None
    return None


def iptc_resource(record: bytes) -> bytes:
    """Return an IPTC-IIM record as an image resource."""
    head = b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(record))
    return head + record + b"\0" * (len(record) % 2)
