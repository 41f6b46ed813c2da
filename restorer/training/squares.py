"""Batches for a restorer of faces: squares of degraded faces and of photographs without any, with weights of pixels.

A picture is shown no larger than it was taken: one whose face had 170 pixels across teaches at 187, not at 256, where
it would teach that faces are soft.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from restorer.imaging.sheets import Picture
from restorer.imaging.tensors import to_tensor
from restorer.models.templates import FACEXLIB
from restorer.training.geometry import Matrix, jitter, warp
from restorer.training.people import HONEST
from restorer.training.recipe import Values
from restorer.training.wear.mixture import Mixture
from restorer.training.workers import batches_from

EYES, MOUTH = 0.11, (0.16, 0.10)
"""Half the extents of an eye's and the mouth's region, as fractions of the picture's side."""
DRAWS = {"mirror": True, "zoom": [0.75, 1.1], "jitter": 0.5, "turn": 10.0, "shift": 0.03}
"""How a face is drawn: scales (of squares only), and how often it is turned and moved by how much at most."""


@dataclass(frozen=True)
class Squares:
    """A batch: degraded and clean (n, 3, s, s) in [-1, 1], weights of pixels (n, 1, s, s), and how each was moved.

    Attributes:
        degraded: what the network sees.
        clean: what it should make of it.
        weights: above 1 at eyes and mouth.
        moved: (n, 2, 3) from the picture as it lies in its file, at the square's scale, to the square.
        faces: (n,) whether it is a face.
    """

    degraded: Tensor
    clean: Tensor
    weights: Tensor
    moved: NDArray[np.float64]
    faces: NDArray[np.bool_]


@dataclass(frozen=True)
class Shown:
    """Faces to draw from.

    Attributes:
        pictures: (n, s, s, 3) uint8, aligned.
        native: (n,) sides that they were taken at, pixels.
        weights: (n,) how often each is drawn against the others.
    """

    pictures: NDArray[np.uint8]
    native: NDArray[np.int64]
    weights: NDArray[np.float64]

    def honest(self, size: int) -> Shown:
        """Return those that may be shown at a size."""
        kept = self.native * HONEST >= size
        return Shown(self.pictures[kept], self.native[kept], self.weights[kept])


@dataclass(frozen=True)
class Plan:
    """The squares of consecutive steps: up to and with step `last` they have this side, `batch` a step."""

    last: int
    side: int
    batch: int


class SquareMaker(Dataset[Squares]):
    """Draws and degrades; the batch of a step depends on the seed and the step only.

    Args:
        faces: aligned faces of one size.
        photos: photographs without faces, each at least as large as a face; may be empty.
        mixture: what happens to them.
        draws: as `DRAWS`.
        photo_share: share of squares from photographs.
        emphasis: weight of pixels in eyes and mouth; 1 for no difference.
        plans: the steps' squares, in their order.
        seed: of the training, and the rank of this process.
    """

    def __init__(
        self,
        faces: Shown,
        photos: Sequence[Picture],
        mixture: Mixture,
        draws: Values,
        photo_share: float,
        emphasis: float,
        plans: Sequence[Plan],
        seed: tuple[int, int],
    ) -> None:
        self._size = faces.pictures.shape[1]
        self._faces = faces
        self._whole = faces.honest(self._size)
        self._photos = list(photos)
        self._mixture = mixture
        self._draws = draws
        self._photo_share = photo_share if self._photos else 0.0
        self._emphasis = emphasis
        self._plans = list(plans)
        self._seed = seed

    def __getitem__(self, step: int) -> Squares:
        """Return the batch of a step."""
        plan = next((plan for plan in self._plans if step <= plan.last), self._plans[-1])
        side, batch = plan.side, plan.batch
        rng = np.random.default_rng([self._seed[0], step, self._seed[1], 0])
        # Two squares of each picture: degrading costs more than cutting out.
        each = 1 if side == self._size else 2
        degraded: list[Picture] = []
        clean: list[Picture] = []
        weights, moved, faces = [], [], []
        while len(clean) < batch:
            is_face = bool(rng.random() >= self._photo_share)
            picture, matrix = self._face(side, rng) if is_face else (self._photo(rng), _still())
            pair = self._mixture(picture, rng)
            for _ in range(min(each, batch - len(clean))):
                corner = _corner(picture.shape[0], side, rng)
                rows, columns = (slice(start, start + side) for start in corner)
                degraded.append(pair.picture[rows, columns])
                clean.append(pair.clean[rows, columns])
                here = matrix.copy()
                here[:, 2] -= corner[1], corner[0]
                moved.append(here)
                faces.append(is_face)
                strength = self._emphasis if is_face else 1.0
                weights.append(emphasised(here, picture.shape[0], side, strength))
        return Squares(
            to_tensor(degraded),
            to_tensor(clean),
            torch.from_numpy(np.stack(weights))[:, None],
            np.stack(moved),
            np.array(faces),
        )

    def _face(self, side: int, rng: np.random.Generator) -> tuple[Picture, Matrix]:
        """Return a face and how it was moved: at its size for whole pictures, at some honest scale for squares."""
        whole = side == self._size
        shown = self._whole if whole else self._faces
        index = int(rng.choice(len(shown.weights), p=shown.weights / shown.weights.sum()))
        picture = shown.pictures[index]
        if self._draws["mirror"] and rng.random() < 0.5:
            picture = picture[:, ::-1]
        scale = rng.uniform(*self._draws["zoom"])
        if not whole:
            most = min(self._size * scale, shown.native[index] * HONEST)
            length = max(round(most), side)
            method = cv2.INTER_AREA if length < self._size else cv2.INTER_CUBIC
            picture = np.asarray(cv2.resize(picture, (length, length), interpolation=method), np.uint8)
        matrix = _still()
        picture = np.ascontiguousarray(picture)
        if rng.random() < self._draws["jitter"]:
            zoom = 0.1 if whole else 0.0
            matrix = jitter(picture.shape[0], zoom, self._draws["shift"], self._draws["turn"], rng)
            picture = warp(picture, matrix)
        return picture, matrix

    def _photo(self, rng: np.random.Generator) -> Picture:
        """Return a square of a photograph, of the faces' size, from a part of it up to twice as large."""
        photo = self._photos[int(rng.integers(len(self._photos)))]
        seen = min(round(self._size * rng.uniform(1.0, 2.0)), *photo.shape[:2])
        top, left = (int(rng.integers(length - seen + 1)) for length in photo.shape[:2])
        square = photo[top : top + seen, left : left + seen]
        if rng.random() < 0.5:
            square = square[:, ::-1]
        return np.asarray(cv2.resize(square, (self._size, self._size), interpolation=cv2.INTER_AREA), np.uint8)


class Ahead:
    """Batches in the order of the steps, made ahead: by a thread, or by processes where a GPU would wait for one.

    Args:
        maker: makes the batch of a step.
        workers: processes; 0 for a thread.
        last: the last step that will be asked for.
    """

    def __init__(self, maker: SquareMaker, workers: int, last: int) -> None:
        self._maker = maker
        self._workers = workers
        self._last = last
        self._pool = ThreadPoolExecutor(1)
        self._following: dict[int, Future[Squares]] = {}
        self._next = 0
        self._batches: Iterator[Squares] = iter(())

    def of(self, step: int) -> Squares:
        """Return the batch of a step; steps that follow each other are ready when they are asked for."""
        if not self._workers:
            future = self._following.pop(step, None)
            self._following = {step + 1: self._pool.submit(self._maker.__getitem__, step + 1)}
            return future.result() if future else self._maker[step]
        if step != self._next:
            self._batches = iter(batches_from(self._maker, step, self._last, self._workers))
        self._next = step + 1
        return next(self._batches)


def emphasised(matrix: Matrix, size: int, side: int, strength: float) -> NDArray[np.float32]:
    """Return weights (side, side) of pixels: `strength` inside eyes and mouth of a face, 1 elsewhere, softly between.

    Args:
        matrix: (2, 3) from the aligned face, `size` pixels large, to the square.
        size: side of the aligned face.
        side: of the square.
        strength: 1 for no difference.
    """
    weights = np.ones((side, side), np.float32)
    if strength == 1.0:
        return weights
    points = np.array(FACEXLIB.points) * size
    places = [(points[0], (EYES, EYES)), (points[1], (EYES, EYES)), ((points[3] + points[4]) / 2, MOUTH)]
    pixels = np.arange(side) + 0.5
    scale = float(np.hypot(*matrix[:, 0]))
    for point, (across, down) in places:
        x, y = matrix[:, :2] @ point + matrix[:, 2]
        u = (pixels - x) / (across * size * scale)
        v = (pixels - y) / (down * size * scale)
        inside = np.exp(-((u[None, :] ** 2 + v[:, None] ** 2) ** 2)).astype(np.float32)
        weights = np.maximum(weights, 1 + np.float32(strength - 1) * inside)
    return weights


def _corner(length: int, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return the upper left corner (row, column) of a square, mostly near the middle, where faces are."""
    room = length - side
    if rng.random() < 0.3:
        return int(rng.integers(room + 1)), int(rng.integers(room + 1))
    middle = np.clip(rng.normal(0.5, 0.22, 2), 0, 1)
    return math.floor(middle[0] * (room + 0.999)), math.floor(middle[1] * (room + 0.999))


def _still() -> Matrix:
    return np.array([[1.0, 0, 0], [0, 1, 0]])
