"""AVIF, which is read at 8 bits."""

from __future__ import annotations

from restorer.photo import decoding, isobmff
from restorer.photo.base import Format
from restorer.photo.builder import PhotoBuilder, take_pillow_info
from restorer.photo.decoding import UndecodableError
from restorer.photo.model import Photo


def _read_avif(data: bytes) -> Photo:
    from PIL import features

    if not features.check("avif"):
        raise UndecodableError("this installation of Pillow was built without AVIF")
    builder = PhotoBuilder("AVIF")
    with decoding.opened(data, "AVIF") as image:
        take_pillow_info(builder, image)
        builder.take_boxes(isobmff.contents(data))
        decoded = decoding.from_pillow(image)
    photo = builder.photo(decoded)
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
