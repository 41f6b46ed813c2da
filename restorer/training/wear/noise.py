"""Noise of sensors and film: white or correlated, grey or coloured, even or as the light is."""

from __future__ import annotations

import cv2
import numpy as np

from restorer.imaging.colour import LUMA
from restorer.training.wear.blur import Float


def field(rng: np.random.Generator, height: int, width: int, channels: int, size: float = 0.0) -> Float:
    """Return normal noise (height, width, channels) of mean 0 and deviation 1.

    Args:
        rng: draws it.
        height: rows.
        width: columns.
        channels: 1 or 3.
        size: the grains' Gaussian deviation in pixels; 0 for white noise.
    """
    noise = rng.standard_normal((height, width, channels), dtype=np.float32)
    if size < 0.3:
        return noise
    noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), size, borderType=cv2.BORDER_REFLECT_101), np.float32)
    noise = noise.reshape(height, width, channels)  # OpenCV drops a single channel
    result: Float = noise / (noise.std() + 1e-6)
    return result


def sensor(picture: Float, rng: np.random.Generator, strength: float, *, grey: bool, size: float = 0.0) -> Float:
    """Return the picture with even noise.

    Args:
        picture: (h, w, 3).
        rng: draws it.
        strength: its deviation in levels.
        grey: the same in all channels.
        size: as in `field`.
    """
    height, width = picture.shape[:2]
    return picture + np.float32(strength) * field(rng, height, width, 1 if grey else 3, size)


def coloured(picture: Float, rng: np.random.Generator, strength: float, size: float) -> Float:
    """Return the picture with blotches of colour that leave its luma as it is: `strength` levels, `size` as `field`."""
    height, width = picture.shape[:2]
    noise = field(rng, height, width, 3, size)
    luma: Float = noise @ LUMA[:, None]
    return picture + np.float32(strength) * (noise - luma)


def film(picture: Float, rng: np.random.Generator, strength: float, size: float, *, grey: bool = True) -> Float:
    """Return the picture with film grain: strongest in middle tones, none in pure black and white.

    Args:
        picture: (h, w, 3).
        rng: draws it.
        strength: deviation in the middle tones, levels.
        size: the grains' deviation in pixels.
        grey: silver grains rather than dye clouds.
    """
    height, width = picture.shape[:2]
    tone = np.clip(picture.mean(axis=2, keepdims=True) / 255, 0, 1)
    result: Float = picture + np.float32(strength) * np.sqrt(4 * tone * (1 - tone)) * field(
        rng, height, width, 1 if grey else 3, size
    )
    return result


def shot(picture: Float, rng: np.random.Generator, photons: float) -> Float:
    """Return the picture as a sensor counts it: its noise grows with the root of the light; `photons` make white."""
    light = np.clip(picture, 0, 255) / 255
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    result: Float = picture + np.float32(255) * np.sqrt(light / np.float32(photons)).astype(np.float32) * noise
    return result
