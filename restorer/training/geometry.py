"""Where the parts of an aligned face are in a training picture, also after it was turned, moved or enlarged."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from restorer.models.templates import FACEXLIB

Matrix = NDArray[np.float64]

COMPONENTS = {"left_eye": (0, 0.22), "right_eye": (1, 0.22), "mouth": (None, 0.33)}
"""GFP-GAN's facial components: the template's point (None: between the mouth corners), and the side of the square
around it as a fraction of the picture's (about 112 and 168 pixels of 512, as its eye and mouth regions)."""


def jitter(size: int, zoom: float, shift: float, turn: float, rng: np.random.Generator) -> Matrix:
    """Return a random similarity (2, 3) from a picture to itself about its middle, in edge coordinates.

    Args:
        size: side of the picture.
        zoom: largest change of scale, 0.1 for 0.9 to 1.1.
        shift: largest move, a fraction of the side.
        turn: largest angle in degrees.
        rng: decides it.
    """
    scale, angle = 1 + rng.uniform(-zoom, zoom), np.deg2rad(rng.uniform(-turn, turn))
    move = rng.uniform(-shift, shift, 2) * size
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, size / 2)
    return np.column_stack([linear, middle + move - linear @ middle])


def warp(picture: NDArray[np.uint8], matrix: Matrix) -> NDArray[np.uint8]:
    """Return the picture moved by a matrix (2, 3) in edge coordinates, mirrored at its edges."""
    centred = matrix.copy()  # OpenCV counts pixel centres as integers
    centred[:, 2] += matrix[:, :2] @ np.full(2, 0.5) - 0.5
    side = picture.shape[1], picture.shape[0]
    warped = cv2.warpAffine(picture, centred, side, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def component(pictures: Tensor, name: str, matrices: NDArray[np.float64], side: int) -> Tensor:
    """Return a facial component of each picture (n, 3, h, h) as (n, 3, side, side), differentiably."""
    size = pictures.shape[-1]
    index, extent = COMPONENTS[name]
    points = np.array(FACEXLIB.points)
    centre = (points[3] + points[4]) / 2 if index is None else points[index]
    # From [-1, 1] in the component to pixels of the moved picture, then to its own [-1, 1].
    box = np.array([[extent * size / 2, 0, centre[0] * size], [0, extent * size / 2, centre[1] * size], [0, 0, 1]])
    normal = np.array([[2 / size, 0, -1], [0, 2 / size, -1], [0, 0, 1]])
    theta = np.stack([(normal @ np.vstack([matrix, [0, 0, 1]]) @ box)[:2] for matrix in matrices])
    grid = F.affine_grid(torch.from_numpy(theta).to(pictures), [len(pictures), 3, side, side], align_corners=False)
    return F.grid_sample(pictures, grid, align_corners=False, padding_mode="border")
