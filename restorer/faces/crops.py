"""Faces on their way between a photo, the crops that networks see, and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from restorer.faces import align
from restorer.imaging.colour import LUMA

if TYPE_CHECKING:
    import torch

    from restorer.models.base import CropSpec
    from restorer.photo import Photo
    from restorer.upscaling.lanczos import Background


def relative(landmarks: np.ndarray, matrix: np.ndarray, align_size: int) -> np.ndarray:
    """Return landmarks of the photo (5, 2) as they lie in the aligned crop, 0 to 1 across it."""
    moved: np.ndarray = (landmarks @ matrix[:, :2].T + matrix[:, 2]) / align_size
    return moved


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as float32 in [0, 1]."""
    scaled: np.ndarray = pixels.astype(np.float32) / (np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1)
    return scaled


def from_unit(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return values in [0, 1] as an integer type, rounded and clipped."""
    top = np.iinfo(dtype).max
    rounded: np.ndarray = np.clip(np.rint(values * top), 0, top).astype(dtype)
    return rounded


def crop_of(photo: Photo, matrix: np.ndarray, crop: CropSpec) -> np.ndarray:
    """Return the aligned crop of a face as the network takes it, float32 (s, s, 3) in [0, 1]."""
    import cv2

    face: np.ndarray = align.extract(photo.pixels, matrix, crop.align_size)
    if crop.input_size != crop.align_size:
        face = cv2.resize(face, (crop.input_size, crop.input_size), interpolation=cv2.INTER_AREA)
    return face


def stacked(crops: list[np.ndarray]) -> torch.Tensor:
    """Return crops in [0, 1] as a batch (n, 3, s, s) in [-1, 1]."""
    import torch

    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous() * 2 - 1


def to_picture(output: torch.Tensor, *, monochrome: bool) -> np.ndarray:
    """Return a network's output (3, S, S) in about [-1, 1] as float32 (S, S, 3) in [0, 1]."""
    picture: np.ndarray = (output.clamp(-1, 1) * 0.5 + 0.5).permute(1, 2, 0).numpy()
    return np.repeat((picture @ LUMA)[..., None], 3, axis=2) if monochrome else picture


def pitch(matrix: np.ndarray) -> float:
    """Return how many pixels of the aligned crop one pixel of the photo spans."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def enlarged(
    face: np.ndarray, matrix: np.ndarray, crop: CropSpec, image: np.ndarray, photo: Photo, background: Background
) -> np.ndarray:
    """Enlarge a restored crop that is smaller than its place in the result, by its surroundings' upscaler."""
    wanted = crop.align_size / pitch(matrix) * image.shape[1] / photo.size[0]
    if wanted <= face.shape[0] * 1.1:
        return face
    side = round(wanted)
    return background.upscale(face, (side, side))
