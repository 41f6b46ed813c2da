"""Parts for the pipeline that need no weights, given through the Python API."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from restorer.models.base import CropSpec, Face
from restorer.models.templates import FACEXLIB

TEMPLATE = np.array(FACEXLIB.points)


def face_at(centre: tuple[float, float], eye_distance: float, degrees: float = 0.0, score: float = 0.99) -> Face:
    """Return a face whose landmarks are the template's, turned and scaled, around a centre."""
    unit = eye_distance / np.hypot(*(TEMPLATE[1] - TEMPLATE[0]))
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = ((TEMPLATE - 0.5) * unit @ turn.T + centre).astype(np.float32)
    half = 0.3 * unit
    x, y = centre
    return Face((x - half, y - half, x + half, y + half), landmarks, score)


class Detector:
    """Finds the faces that it was given."""

    name = "given"

    def __init__(self, faces: Sequence[Face]) -> None:
        self.faces = list(faces)

    def detect(self, pixels: np.ndarray) -> list[Face]:
        return list(self.faces)


class Identity:
    """Gives each crop back as it came."""

    name = "identity"

    def __init__(self, size: int = 512) -> None:
        self.crop = CropSpec(size, size, size, FACEXLIB)
        self.batches: list[int] = []

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(crops))
        return crops


class Colour(Identity):
    """Paints each crop in one colour, RGB in [-1, 1], so that what was pasted can be told."""

    name = "colour"

    def __init__(self, colour: tuple[float, float, float] = (1.0, -1.0, -1.0), size: int = 128) -> None:
        super().__init__(size)
        self.colour = colour

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        super().restore(crops)
        return torch.tensor(self.colour).view(1, 3, 1, 1).expand_as(crops).clone()


class Everything:
    """A mask that keeps the whole crop."""

    name = "everything"

    def __call__(self, restored: torch.Tensor, landmarks: np.ndarray) -> np.ndarray:
        return np.ones((len(restored), 64, 64), np.float32)
