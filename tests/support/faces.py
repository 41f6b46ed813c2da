"""What several tests of restorer/faces share: a smooth photo, landmarks of a known pose, the plain enlargement."""

from __future__ import annotations

import numpy as np
from PIL import Image

from restorer.models.base import Template

POINTS = ((193.0, 240.0), (319.0, 240.0), (256.5, 314.0), (201.5, 371.5), (313.0, 371.0))
TEMPLATE = Template("test-512", tuple((x / 512, y / 512) for x, y in POINTS))
EYES = 126.0  # their distance in the template at 512


def similarity(scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    """Return a map (2, 3) that scales and rotates, then shifts."""
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.hstack([turn, np.array(shift, float)[:, None]])


def landmarks(eyes: float, degrees: float, centre: tuple[float, float]) -> np.ndarray:
    """Return landmarks (5, 2) of a face with this distance of the eyes, turned, the crop's middle at `centre`."""
    turn = similarity(eyes / EYES, degrees, (0, 0))[:, :2]
    points: np.ndarray = (np.array(POINTS) - 256) @ turn.T + centre
    return points.astype(np.float32)


def smooth_photo(height: int, width: int, dtype: type = np.uint8, seed: int = 0, scale: float = 1) -> np.ndarray:
    """Return a sum of sines, none shorter than 32 px, that fills the type's range in each channel.

    With a scale, the very same picture at that many times the size: what a perfect enlargement would give.
    """
    photo = _sines(height, width, seed, 1)
    low, high = photo.min((0, 1)), photo.max((0, 1))
    if scale != 1:
        photo = np.clip(_sines(height, width, seed, scale), low, high)
    levels: np.ndarray = np.rint((photo - low) * (np.iinfo(dtype).max / (high - low))).astype(dtype)
    return levels


def _sines(height: int, width: int, seed: int, scale: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    y, x = (np.mgrid[: round(height * scale), : round(width * scale)] + 0.5) / scale
    photo = np.zeros((*y.shape, 3))
    for channel in range(3):
        for _ in range(6):
            period, angle = random.uniform(32, 200), random.uniform(0, np.pi)
            along = x * np.cos(angle) + y * np.sin(angle)
            photo[..., channel] += np.sin(2 * np.pi * along / period + random.uniform(0, 2 * np.pi))
    return photo


def enlarged(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a photo at another size by Lanczos, computed in float and rounded once."""
    planes = [
        np.asarray(Image.fromarray(photo[..., i].astype(np.float32)).resize(size, Image.Resampling.LANCZOS))
        for i in range(3)
    ]
    top = np.iinfo(photo.dtype).max
    levels: np.ndarray = np.clip(np.rint(np.stack(planes, -1)), 0, top).astype(photo.dtype)
    return levels


def in_crop(canvas: np.ndarray, matrix: np.ndarray, photo_size: tuple[int, int]) -> np.ndarray:
    """Return where the centres of a canvas's pixels lie in the crop, (H, W, 2)."""
    y, x = np.mgrid[: canvas.shape[0], : canvas.shape[1]] + 0.5
    photo = np.stack([x * photo_size[0] / canvas.shape[1], y * photo_size[1] / canvas.shape[0]], -1)
    crop: np.ndarray = photo @ matrix[:, :2].T + matrix[:, 2]
    return crop
