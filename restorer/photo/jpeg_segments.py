"""The outer shell of a JPEG file: its segments, taken apart and put together.

Pixels are left to Pillow. It is given a file from which the metadata was taken out, so that a damaged profile or
comment can never stop a good picture from being read.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from restorer.photo import ifd

_EXIF_HEADER = b"Exif\0\0"
XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP_HEADER = b"http://ns.adobe.com/xmp/extension/\0"
_ICC_HEADER = b"ICC_PROFILE\0"
_PHOTOSHOP_HEADER = b"Photoshop 3.0\0"
_SEGMENT = 65_533  # a segment's length counts its own two bytes
XMP_LIMIT = _SEGMENT - len(XMP_HEADER)
EXIF_LIMIT = _SEGMENT - len(_EXIF_HEADER)
ICC_LIMIT = 255 * (_SEGMENT - len(_ICC_HEADER) - 2)


@dataclass
class JpegParts:
    """A JPEG's segments, sorted. `picture` is the same file without metadata, for the decoder."""

    picture: bytes
    exif: bytes | None = None
    xmp: bytes | None = None
    extended_xmp: bytes | None = None
    icc_profile: bytes | None = None
    photoshop: bytes = b""
    comments: list[bytes] = field(default_factory=list)
    pictures: int = 1
    precision: int = 8
    unknown: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def jpeg_segments(data: Any) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start of the payload, its end) up to and including the start of scan.

    Bytes that belong to no segment are passed over up to the next marker, as decoders do.

    Args:
        data: bytes or a mapped file.
    """
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at = data.find(b"\xff", at)
            if at < 0:
                return
            continue
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0:  # no marker
            at += 2
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # without length
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if length < 2 or end > len(data):
            return
        yield marker, at + 4, end
        if marker in (0xDA, 0xD9):
            return
        at = end


def split_jpeg(data: bytes) -> JpegParts:
    """Take a JPEG apart."""
    parts = JpegParts(b"")
    kept = [data[:2]]
    rest = 2
    icc: dict[int, bytes] = {}
    icc_count = 0
    extended: dict[bytes, dict[int, bytes]] = {}
    between = 0
    for marker, start, end in jpeg_segments(data):
        between += len(data[rest : start - 4].rstrip(b"\xff"))  # fill bytes before a marker are as they should be
        if marker == 0xDA:
            rest = start - 4
            break
        payload = bytes(data[start:end])
        rest = end
        if marker == 0xE1 and payload.startswith(b"Exif\0"):
            if parts.exif:
                parts.unknown.append("a second EXIF block")
            parts.exif = parts.exif or payload[len(_EXIF_HEADER) :]
        elif marker == 0xE1 and payload.startswith(XMP_HEADER):
            if parts.xmp:
                parts.unknown.append("a second XMP packet")
            parts.xmp = parts.xmp or payload[len(XMP_HEADER) :]
        elif marker == 0xE1 and payload.startswith(_EXTENDED_XMP_HEADER):
            head = len(_EXTENDED_XMP_HEADER)
            digest, _, offset = struct.unpack_from(">32sII", payload.ljust(head + 40, b"\0"), head)
            extended.setdefault(digest, {})[offset] = payload[head + 40 :]
        elif marker == 0xE2 and payload.startswith(_ICC_HEADER) and len(payload) >= 14:
            icc[payload[12]], icc_count = payload[14:], payload[13]
        elif marker == 0xE2 and payload.startswith(b"MPF\0"):
            parts.pictures = _mpf_count(payload[4:])
        elif marker == 0xED and payload.startswith(_PHOTOSHOP_HEADER):
            parts.photoshop += payload[len(_PHOTOSHOP_HEADER) :]
        elif marker == 0xFE:
            parts.comments.append(payload)
        elif 0xE0 <= marker <= 0xEF and not _is_for_decoders(marker, payload):
            if not _says_nothing(payload):
                parts.unknown.append(_described(marker, payload))
        else:
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and payload:
                parts.precision = payload[0]
            kept.append(data[start - 4 : end])
    parts.picture = b"".join((*kept, data[rest:]))
    if between:
        parts.problems.append(f"{between} bytes between the JPEG's segments make no sense; they were passed over.")
    if icc:
        if sorted(icc) == list(range(1, icc_count + 1)):
            parts.icc_profile = b"".join(icc[number] for number in sorted(icc))
        else:
            parts.problems.append("Parts of the ICC profile are missing; it was dropped.")
    parts.extended_xmp = _joined_extension(parts, extended)
    return parts


def _is_for_decoders(marker: int, payload: bytes) -> bool:
    """Whether an APPn segment is one that tells about the pixels: JFIF's, and Adobe's about CMYK."""
    return (marker == 0xE0 and payload.startswith(b"JFIF\0")) or (marker == 0xEE and payload.startswith(b"Adobe"))


def _says_nothing(payload: bytes) -> bool:
    """Whether an APPn segment is a thumbnail, or the quality alone that Photoshop saved with."""
    if payload.startswith(b"Ducky"):
        return payload[5:7] == b"\0\1" and payload[13:].strip(b"\0") == b""
    return payload.startswith(b"JFXX\0")


def _described(marker: int, payload: bytes) -> str:
    """Name an APPn segment that is not known, by what it calls itself."""
    if b"c2pa" in payload[:64]:
        return "Content Credentials (C2PA), which would not hold for the result"
    if marker == 0xEB and payload.startswith(b"JP"):
        return f"APP{marker - 0xE0} (JUMBF)"
    label = re.match(rb"[ -~]{2,40}", payload)
    return f"APP{marker - 0xE0} ({label[0].decode().strip() if label else f'{len(payload)} bytes'})"


def _joined_extension(parts: JpegParts, extended: dict[bytes, dict[int, bytes]]) -> bytes | None:
    """Return the extended XMP that belongs to the main packet, when all of it is there."""
    for digest, pieces in extended.items():
        if digest not in (parts.xmp or b""):  # belongs to another picture of the file
            parts.unknown.append("extended XMP that the XMP does not name")
            continue
        whole = b"".join(pieces[offset] for offset in sorted(pieces))
        if hashlib.md5(whole, usedforsecurity=False).hexdigest().upper().encode() == digest:
            return whole
        parts.problems.append("The extended part of the XMP is damaged; it was dropped.")
    return None


def _mpf_count(block: bytes) -> int:
    """Return how many pictures a multi-picture index names (CIPA DC-007: tag 0xB001)."""
    try:
        order, big, position = ifd.header(block)
        return max(1, ifd.read_directory(block, position, order, big).integer(0xB001, 1))
    except ifd.DamagedDirectoryError:
        return 1  # the pictures behind the first are out of reach, and were not asked for


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def join_jpeg(
    picture: bytes,
    *,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    extended_xmp: bytes | None = None,
    icc_profile: bytes | None = None,
    photoshop: bytes | None = None,
    comments: Iterable[bytes] = (),
) -> bytes:
    """Put metadata into an encoded JPEG, behind its JFIF segment. Blocks must fit `EXIF_LIMIT` and `XMP_LIMIT`."""
    out: list[bytes] = []
    if exif is not None:
        out.append(_segment(0xE1, _EXIF_HEADER + exif))
    if xmp is not None:
        out.append(_segment(0xE1, XMP_HEADER + xmp))
    if extended_xmp is not None:
        digest = hashlib.md5(extended_xmp, usedforsecurity=False).hexdigest().upper().encode()
        step = _SEGMENT - len(_EXTENDED_XMP_HEADER) - 40
        for at in range(0, len(extended_xmp), step):
            head = _EXTENDED_XMP_HEADER + digest + struct.pack(">II", len(extended_xmp), at)
            out.append(_segment(0xE1, head + extended_xmp[at : at + step]))
    if icc_profile:
        step = _SEGMENT - len(_ICC_HEADER) - 2
        pieces = [icc_profile[at : at + step] for at in range(0, len(icc_profile), step)]
        out += [_segment(0xE2, _ICC_HEADER + bytes((n, len(pieces))) + piece) for n, piece in enumerate(pieces, 1)]
    if photoshop:
        step = _SEGMENT - len(_PHOTOSHOP_HEADER)
        pieces = [photoshop[at : at + step] for at in range(0, len(photoshop), step)]
        out += [_segment(0xED, _PHOTOSHOP_HEADER + piece) for piece in pieces]
    for comment in comments:
        out += [_segment(0xFE, comment[at : at + _SEGMENT]) for at in range(0, max(len(comment), 1), _SEGMENT)]
    behind = 2
    for marker, _, end in jpeg_segments(picture):
        if marker != 0xE0:
            break
        behind = end
    return b"".join((picture[:behind], *out, picture[behind:]))
