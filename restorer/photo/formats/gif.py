"""GIF, the first picture of it; it is not written, since it holds 256 colours."""

from __future__ import annotations

from collections.abc import Iterator

from restorer.photo import decoding
from restorer.photo.base import Format
from restorer.photo.builder import PhotoBuilder
from restorer.photo.decoding import UndecodableError
from restorer.photo.model import Photo

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_COMMENT, _PLAIN_TEXT, _CONTROL, _APPLICATION = 0xFE, 0x01, 0xF9, 0xFF
_XMP_TRAILER = 257  # bytes behind an XMP packet that lead readers of sub-blocks to its end (XMP part 3, 1.1.2)
_MOST_OF_A_BYTE = 4096  # pixels that a byte can stand for: the longest string of LZW, in a code of more than a byte
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def _blocks(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (kind, start, end) of each block behind the header: an extension by its label, a picture, the trailer.

    Sub-blocks lie between start and end. Stops at damage, which the decoder meets too where it matters.
    """
    at = 13 + (3 << ((data[10] & 7) + 1) if len(data) > 10 and data[10] & 0x80 else 0)
    while at + 2 <= len(data) or data[at : at + 1] == b";":
        if data[at] == _TRAILER:
            yield _TRAILER, at, at + 1
            return
        if data[at] == _EXTENSION:
            kind, start = data[at + 1], at + 2
        elif data[at] == _IMAGE and at + 10 <= len(data):
            flags = data[at + 9]
            kind, start = _IMAGE, at + 11 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
        else:
            return
        end = start
        while end < len(data) and data[end]:
            end += 1 + data[end]
        yield kind, start, min(end, len(data))
        at = end + 1


def _joined(data: bytes, start: int, end: int) -> bytes:
    """Return the content of the sub-blocks between two places."""
    parts = []
    while start < end:
        parts.append(data[start + 1 : start + 1 + data[start]])
        start += 1 + data[start]
    return b"".join(parts)


def _read_gif(data: bytes) -> Photo:
    builder = PhotoBuilder("GIF")
    frames, ended = 0, 0
    unknown: dict[str, None] = {}
    for kind, start, end in _blocks(data):
        if kind == _IMAGE:
            frames += 1
        elif kind == _TRAILER:
            ended = end
        elif kind == _COMMENT:
            builder.format_specific.append(("GIF comment", _joined(data, start, end)))
        elif kind == _APPLICATION:
            _take_application(builder, data, start, end, unknown)
        elif kind == _PLAIN_TEXT:
            unknown["text that is drawn over the picture"] = None
    if frames > 1:
        builder.warnings.append(f"The animation has {frames} frames; only the first picture was taken.")
    builder.warn_of_unknown("GIF", unknown)
    if ended:
        builder.warn_of_rest(data[ended:])
    else:
        builder.warnings.append("The GIF's end marker is missing; all pixels of its first picture are there.")
    with decoding.opened(data, "GIF") as image:
        if image.size[0] * image.size[1] > _MOST_OF_A_BYTE * len(data):
            raise UndecodableError(
                f"it claims {image.size[0]:,} x {image.size[1]:,} pixels, more than its data can tell"
            )
        decoded = decoding.from_pillow(image)
    return builder.photo(decoded)


def _take_application(builder: PhotoBuilder, data: bytes, start: int, end: int, unknown: dict[str, None]) -> None:
    name = data[start + 1 : start + 12]
    behind = start + 1 + data[start] if start < len(data) else end
    if name == b"XMP DataXMP":
        builder.take_xmp(data[behind : max(end - _XMP_TRAILER, behind)])
    elif name == b"ICCRGBG1012":
        builder.icc_profile = _joined(data, behind, end)
    elif name not in _LOOPS:
        unknown[f"data of {name[:8].decode('latin-1').strip()!r}"] = None


FORMAT = Format(
    "GIF",
    "GIF",
    (".gif",),
    recognise=lambda head: head[:6] in (b"GIF87a", b"GIF89a"),
    read=_read_gif,
    size=decoding.size_by_pillow("GIF"),
)
