"""Files and screens: JPEG, changes of size, sharpening, interlaced video; and the print's tones."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from restorer.imaging.colour import LUMA
from restorer.training.wear.blur import Float

METHODS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_LANCZOS4)


def jpeg(picture: Float, quality: int, subsampling: int = 2, offset: tuple[int, int] = (0, 0)) -> Float:
    """Return the picture after JPEG.

    Args:
        picture: (h, w, 3).
        quality: 1 to 100.
        subsampling: 0 keeps all colour, 1 halves it across, 2 both ways, as most cameras do.
        offset: rows and columns by which the 8 px blocks begin outside the picture.
    """
    pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    if any(offset):
        pixels = np.pad(pixels, ((offset[0], 0), (offset[1], 0), (0, 0)), mode="symmetric")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(file) as image:
        decoded = np.asarray(image.convert("RGB"), np.float32)
    return decoded[offset[0] :, offset[1] :]


def any_jpeg(picture: Float, rng: np.random.Generator, low: int = 10, high: int = 95) -> Float:
    """Return the picture after JPEG of some quality, colour halved in three of four, blocks anywhere in half."""
    quality = int(rng.integers(low, high + 1))
    offset = (int(rng.integers(8)), int(rng.integers(8))) if rng.random() < 0.5 else (0, 0)
    return jpeg(picture, quality, int(rng.choice([0, 1, 2, 2])), offset)


def resized(picture: Float, width: int, height: int, method: int) -> Float:
    """Return the picture in another size by one of OpenCV's methods."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), np.float32)


def haloed(picture: Float, amount: float, sigma: float) -> Float:
    """Return the picture sharpened too much: `amount` times what a blur of `sigma` pixels takes from it is added."""
    soft = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), np.float32)
    result: Float = np.clip(picture + np.float32(amount) * (picture - soft), 0, 255)
    return result


def interlaced(picture: Float, shift: int) -> Float:
    """Return the picture as a frame of two fields: every second row is `shift` pixels farther."""
    result = picture.copy()
    result[1::2] = np.roll(picture[1::2], shift, axis=1)
    return result


def greyed(picture: Float) -> Float:
    """Return the picture's luma (BT.601) in all three channels."""
    return np.repeat((picture @ LUMA)[..., None], 3, axis=2)


def any_tone(rng: np.random.Generator) -> Float:
    """Return the curves (256, 3) of a faded or cast print, in levels: black lifted, white dulled, colours apart."""
    ramp = np.linspace(0, 1, 256)[:, None]
    black, white = rng.uniform(0, 0.3), rng.uniform(0.7, 1.0)
    spread = rng.uniform(0, 0.1)
    low = np.clip(black + rng.uniform(-spread, spread, 3), 0, 1)
    high = np.clip(white + rng.uniform(-spread, spread, 3), 0, 1)
    gamma = np.exp(rng.normal(0, 0.2) + rng.uniform(-spread, spread, 3))
    result: Float = (255 * (low + (high - low) * ramp**gamma)).astype(np.float32)
    return result


def toned(picture: Float, curves: Float) -> Float:
    """Return the picture (h, w, 3) after curves (256, 3), between whose steps it is drawn straight."""
    place = np.clip(picture, 0, 255)
    low = np.minimum(place.astype(np.int32), 254)
    part = place - low
    channel = np.arange(3)
    result: Float = curves[low, channel] * (1 - part) + curves[low + 1, channel] * part
    return result
