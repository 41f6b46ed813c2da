"""AVIF, which is read at 8 bits."""

from __future__ import annotations

from PIL import features

from restorer.photo import decoding, isobmff
from restorer.photo.base import Format
from restorer.photo.builder import read_by_pillow
from restorer.photo.decoding import UndecodableError
from restorer.photo.model import Photo


def _read_avif(data: bytes) -> Photo:
    if not features.check("avif"):
        raise UndecodableError("this installation of Pillow was built without AVIF")
    photo = read_by_pillow(data, "AVIF")
    # The first "pixi" property lists the bits of each channel (ISO 23008-12, 6.5.6).
    at = data.find(b"pixi")
    if at >= 0 and max(data[at + 9 : at + 9 + min(data[at + 8], 4)], default=8) > 8:
        photo.warnings.append("AVIF of more than 8 bits a channel was reduced to 8.")
    return photo


FORMAT = Format(
    "AVIF",
    "AVIF",
    (".avif",),
    recognise=isobmff.is_avif,
    read=_read_avif,
    size=decoding.size_by_pillow("AVIF"),
)
