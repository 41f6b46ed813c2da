"""What encoders share: channels laid out as a library wants them, and its call."""

from __future__ import annotations

import io
from typing import Any

from restorer.imaging.colour import Pixels
from restorer.imaging.libraries import Image, np
from restorer.photo import exif
from restorer.photo.base import EncodeInput


def to_bits(values: Pixels, bits: int) -> Pixels:
    """Return 16-bit values rounded to fewer bits, as uint32; white stays white."""
    top = (1 << bits) - 1
    result: Pixels = (values.astype(np.uint32) * top + 32767) // 65535
    return result


def channels_of(given: EncodeInput) -> Pixels:
    """Return (h, w), (h, w, 2), (h, w, 3) or (h, w, 4): grey or RGB, with alpha where there is one."""
    base = given.pixels[..., 0] if given.grey else given.pixels
    if given.alpha is None:
        return np.ascontiguousarray(base)
    return np.dstack((base, given.alpha))


def pillow_image(channels: Pixels) -> Image.Image:
    """Return 8-bit channels, as `channels_of` lays them out, as Pillow's picture."""
    mode = "L" if channels.ndim == 2 else {2: "LA", 3: "RGB", 4: "RGBA"}[channels.shape[2]]
    height, width = channels.shape[:2]
    return Image.frombuffer(mode, (width, height), np.ascontiguousarray(channels), "raw", mode, 0, 1)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of a file that Pillow writes."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def opencv_file(suffix: str, channels: Pixels, parameters: list[int]) -> bytes:
    """Return the bytes of a file that OpenCV writes, from (h, w), (h, w, 3) RGB or (h, w, 4) RGBA."""
    import cv2

    if channels.ndim == 3:
        code = cv2.COLOR_RGBA2BGRA if channels.shape[2] == 4 else cv2.COLOR_RGB2BGR
        channels = cv2.cvtColor(channels, code)
    encoded, content = cv2.imencode(suffix, channels, parameters)
    if not encoded:
        raise ValueError("OpenCV could not encode it")
    return bytes(content)


def with_rgb_for_alpha(channels: Pixels) -> Pixels:
    """Return grey with alpha as RGB with alpha: OpenCV knows no two-channel files, and no value changes."""
    if channels.ndim == 3 and channels.shape[2] == 2:
        return np.ascontiguousarray(channels[..., [0, 0, 0, 1]])
    return channels


def exif_with_resolution(given: EncodeInput) -> bytes | None:
    """Return the EXIF block with the resolution, for formats that have no other place for it."""
    return given.exif if given.dpi is None else exif.with_resolution(given.exif, given.dpi)
