"""Faces on their way between a photo, the crops that networks see, and the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from restorer.faces import align
from restorer.imaging.colour import LUMA, top_of
from restorer.imaging.resize import to_type
from restorer.imaging.sampling import PLAIN, Sampling

if TYPE_CHECKING:
    import torch

    from restorer.models.base import CropSpec


WORTH_ENLARGING = 1.1
"""A face whose place is larger by less than this is left to the warp, which loses nothing visible. Chosen by eye."""


def relative(landmarks: np.ndarray, matrix: np.ndarray, align_size: int) -> np.ndarray:
    """Return landmarks of the photo (5, 2) as they lie in the aligned crop, 0 to 1 across it."""
    moved: np.ndarray = (landmarks @ matrix[:, :2].T + matrix[:, 2]) / align_size
    return moved


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """Return pixels, uint8 or uint16 of any shape, as float32 in [0, 1]; floating point comes back as float32."""
    scaled: np.ndarray = pixels.astype(np.float32) / top_of(pixels.dtype)
    return scaled


def from_unit(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return values in [0, 1] of any shape as an integer type (uint8, uint16), rounded and clipped."""
    return to_type(values * top_of(dtype), dtype)


def crop_of(pixels: np.ndarray, matrix: np.ndarray, crop: CropSpec, sampling: Sampling = PLAIN) -> np.ndarray:
    """Return the aligned crop of a face as the network takes it.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16, of the photo.
        matrix: (2, 3), from the photo to the crop at `crop.align_size`.
        crop: what the network takes.
        sampling: what samples it, and where.

    Returns:
        float32 (s, s, 3) in [0, 1], s = `crop.input_size`.
    """
    import cv2

    face: np.ndarray = align.extract(pixels, matrix, crop.align_size, sampling)
    if crop.input_size != crop.align_size:
        face = cv2.resize(face, (crop.input_size, crop.input_size), interpolation=cv2.INTER_AREA)
    return face


def stacked(crops: list[np.ndarray]) -> torch.Tensor:
    """Return n crops, float32 (s, s, 3) in [0, 1], as a batch (n, 3, s, s) in [-1, 1]."""
    import torch

    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous() * 2 - 1


def to_picture(output: torch.Tensor, *, monochrome: bool) -> np.ndarray:
    """Return a network's output (3, S, S) in about [-1, 1] as float32 (S, S, 3) in [0, 1]."""
    picture: np.ndarray = (output.clamp(-1, 1) * 0.5 + 0.5).permute(1, 2, 0).numpy()
    return np.repeat((picture @ LUMA)[..., None], 3, axis=2) if monochrome else picture


def scale_of(matrix: np.ndarray) -> float:
    """Return how many pixels of the aligned crop one pixel of the photo spans."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def enlarged(
    face: np.ndarray, wanted: float, upscale: Callable[[np.ndarray, tuple[int, int]], np.ndarray]
) -> np.ndarray:
    """Return a restored crop, enlarged by its surroundings' upscaler where it is smaller than its place in the result.

    Args:
        face: float32 (S, S, 3) in [0, 1].
        wanted: side of its place in the result, in pixels.
        upscale: brings a picture to a size (width, height).
    """
    if wanted <= face.shape[0] * WORTH_ENLARGING:
        return face
    side = round(wanted)
    return upscale(face, (side, side))
