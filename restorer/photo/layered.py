"""Layers in a TIFF, as Photoshop keeps them there (tag 37724) and other retouchers read them.

The tag holds blocks of Photoshop's own format in the byte order of the TIFF (Adobe Photoshop TIFF Technical Notes; File
Formats Specification, "Layer info"). The page is the flattened picture, for all who know no layers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from restorer.imaging.colour import top_of
from restorer.imaging.layers import Layer
from restorer.imaging.libraries import np

if TYPE_CHECKING:
    from restorer.imaging.colour import Pixels
    from restorer.photo.ifd import Order

TAG = 37724
_HEAD = b"Adobe Photoshop Document Data Block\0"
_TRANSPARENCY, _MASK = -1, -2
_ZIP = 2  # how channels are compressed: 0 not at all, 1 PackBits, 2 zlib, 3 zlib of differences
_SHOWN = 8  # flags of a layer: seen, and the flag for "shows pixels" has a meaning


def document_data(layers: Sequence[Layer], alpha: Pixels | None, *, grey: bool, order: Order) -> bytes:
    """Return the value of the tag.

    Args:
        layers: from the bottom; the first is the whole picture, the others are clipped to what it shows.
        alpha: (h, w), of the picture; None = opaque.
        grey: whether the TIFF's page has one channel.
        order: "<" or ">", of the TIFF.
    """
    records, data = [], []
    for number, layer in enumerate(layers):
        channels = _channels(layer, alpha if number == 0 else None, grey)
        packed = [(kind, _packed(plane, order)) for kind, plane in channels]
        records.append(_record(layer, packed, clipped=number > 0, order=order))
        data += [content for _, content in packed]
    # A number of layers below zero says that the first channel beside the colours is the flattened picture's alpha.
    count = -len(layers) if alpha is not None else len(layers)
    info = struct.pack(f"{order}h", count) + b"".join(records + data)
    info += bytes(-len(info) % 4)
    kind = b"Layr" if layers[0].pixels.dtype == np.uint8 else b"Lr16"
    return _HEAD + _tag(b"8BIM", order) + _tag(kind, order) + struct.pack(f"{order}I", len(info)) + info


def _channels(layer: Layer, alpha: Pixels | None, grey: bool) -> list[tuple[int, Pixels]]:
    opaque = np.full(layer.pixels.shape[:2], top_of(layer.pixels.dtype), layer.pixels.dtype)
    found = [(_TRANSPARENCY, opaque if alpha is None else alpha)]
    found += [(channel, layer.pixels[..., channel]) for channel in range(1 if grey else 3)]
    return found if layer.mask is None else [*found, (_MASK, layer.mask)]


def _packed(plane: Pixels, order: Order) -> bytes:
    values = plane if plane.dtype == np.uint8 else plane.astype(">u2")  # pixels alone are big-endian in either order
    return struct.pack(f"{order}H", _ZIP) + zlib.compress(np.ascontiguousarray(values).tobytes(), 6)


def _record(layer: Layer, channels: list[tuple[int, bytes]], *, clipped: bool, order: Order) -> bytes:
    height, width = layer.pixels.shape[:2]
    place = struct.pack(f"{order}4i", layer.top, layer.left, layer.top + height, layer.left + width)
    head = place + struct.pack(f"{order}H", len(channels))
    head += b"".join(struct.pack(f"{order}hI", kind, len(content)) for kind, content in channels)
    head += _tag(b"8BIM", order) + _tag(b"norm", order) + bytes([255, clipped, _SHOWN, 0])
    mask = struct.pack(f"{order}I", 20) + place + bytes(4) if layer.mask is not None else bytes(4)
    name = layer.name.encode("ascii", "replace")[:255]
    short = bytes([len(name)]) + name
    wide = layer.name.encode("utf-16-le" if order == "<" else "utf-16-be")
    unicode = struct.pack(f"{order}I", len(wide) // 2) + wide
    unicode += bytes(-len(unicode) % 4)
    extra = mask + bytes(4) + short + bytes(-len(short) % 4)
    extra += _tag(b"8BIM", order) + _tag(b"luni", order) + struct.pack(f"{order}I", len(unicode)) + unicode
    return head + struct.pack(f"{order}I", len(extra)) + extra


def _tag(name: bytes, order: Order) -> bytes:
    """Return a name of four letters as it stands in the file: a number of its byte order."""
    return name if order == ">" else name[::-1]
