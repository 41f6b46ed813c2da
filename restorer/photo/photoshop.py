"""Photoshop's image resources, in which JPEG and TIFF files keep IPTC-IIM records (Adobe Photoshop File Formats)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

IPTC_RESOURCE, ICC_RESOURCE, EXIF_RESOURCE, XMP_RESOURCE = 0x0404, 0x040F, 0x0422, 0x0424
_RESOLUTION, _GUIDES, _COPYRIGHT_URL = 0x03ED, 0x0408, 0x040B
_PATHS = range(2000, 2998)
# Thumbnails, and copies of what is kept elsewhere and would grow stale: ICC, EXIF (two), XMP.
_STALE_RESOURCES = frozenset({0x0409, 0x040C, ICC_RESOURCE, EXIF_RESOURCE, 0x0423, XMP_RESOURCE})


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


def fresh_resources(block: bytes) -> tuple[bytes | None, list[str]]:
    """Return the resources without thumbnails and without copies of other metadata (None when none is left).

    Returns:
        The resources, and what was lost with them, in words.
    """
    kept, behind = [], 0
    problems: list[str] = []
    for number, start, behind in photoshop_resources(block):
        if number not in _STALE_RESOURCES:
            kept.append(block[start:behind])
    if block[behind:].strip(b"\0"):
        problems.append("Photoshop's image resources are damaged; those behind the damage were dropped.")
    return b"".join(kept) or None, problems


def turned(block: bytes, *, sideways: bool) -> tuple[bytes | None, list[str]]:
    """Return the resources of a picture that was turned upright: the axes' resolutions exchanged, paths left out.

    Args:
        block: the resources.
        sideways: whether width and height have changed places.
    """
    kept, problems = [], []
    for number, start, end in photoshop_resources(block):
        piece = block[start:end]
        told = content(piece)
        if number in _PATHS or (number == _GUIDES and int.from_bytes(told[12:16], "big")):
            problems = ["Photoshop's paths and guides were drawn on the photo as it lay; they were dropped."]
            continue
        if number == _RESOLUTION and sideways and len(told) == 16:
            piece = piece.replace(told, told[8:] + told[:8])
        kept.append(piece)
    return b"".join(kept) or None, problems


def with_resolution(block: bytes, dpi: float) -> bytes:
    """Return the resources with another resolution, where they tell one."""
    pieces = []
    for number, start, end in photoshop_resources(block):
        piece = block[start:end]
        told = content(piece)
        if number == _RESOLUTION and len(told) == 16:
            fixed = min(round(dpi * 65536), 2**32 - 1)  # 16 bits before the point, 16 behind it; 1 = dots per inch
            axis = struct.pack(">IH", fixed, 1)
            piece = piece.replace(told, axis + told[6:8] + axis + told[14:16])
        pieces.append(piece)
    return b"".join(pieces)


def resized(block: bytes, across: float, down: float) -> bytes:
    """Return the resources of a picture that is so many times as wide and as high: guides lie where they lay."""
    kept = []
    for number, start, end in photoshop_resources(block):
        piece = block[start:end]
        told = content(piece)
        if number == _GUIDES and len(told) >= 16:
            guides = bytearray(told)
            for at in range(16, len(told) - 4, 5):  # a place in 1/32 pixel, and 0 for upright lines
                place = round(int.from_bytes(told[at : at + 4], "big") * (down if told[at + 4] else across))
                guides[at : at + 4] = min(place, 2**32 - 1).to_bytes(4, "big")
            piece = piece.replace(told, bytes(guides))
        kept.append(piece)
    return b"".join(kept)


def content(piece: bytes) -> bytes:
    """Return what one image resource holds."""
    name = 1 + piece[6]
    at = 6 + name + name % 2
    length = int.from_bytes(piece[at : at + 4], "big")
    return piece[at + 4 : at + 4 + length]


def resource(block: bytes, wanted: int) -> bytes | None:
    """Return the content of the first image resource of a number, or None."""
    spans = photoshop_resources(block)
    return next((content(block[start:end]) or None for number, start, end in spans if number == wanted), None)


def iptc_of(block: bytes) -> bytes | None:
    """Return the IPTC-IIM record inside image resources, or None."""
    return resource(block, IPTC_RESOURCE)


def drawn_on(block: bytes) -> list[str]:
    """Name what else people have put into the resources and would miss."""
    numbers = {number for number, _, _ in photoshop_resources(block)}
    paths = ["Photoshop's paths"] if numbers.intersection(_PATHS) else []
    return paths + (["the address of the copyright"] if _COPYRIGHT_URL in numbers else [])


def iptc_resource(record: bytes) -> bytes:
    """Return an IPTC-IIM record as an image resource."""
    head = b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(record))
    return head + record + b"\0" * (len(record) % 2)
