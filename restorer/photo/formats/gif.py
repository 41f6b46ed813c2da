"""GIF, the first picture of it; it is not written, since it holds 256 colours."""

from __future__ import annotations

from restorer.photo import decoding
from restorer.photo.base import Format
from restorer.photo.builder import read_by_pillow
from restorer.photo.model import Photo


def _read_gif(data: bytes) -> Photo:
    return read_by_pillow(data, "GIF")


FORMAT = Format(
    "GIF",
    "GIF",
    (".gif",),
    recognise=lambda head: head[:6] in (b"GIF87a", b"GIF89a"),
    read=_read_gif,
    size=decoding.size_by_pillow("GIF"),
)
