"""What the detector's cells are asked for, and the batches of scenes that ask it.

A cell is asked for a face when it lies near the middle of one whose size is its stride's (FCOS, Tian et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from restorer.networks.tinydetector import STRIDES, cells
from restorer.training.scenes import Composer, Scene, mirrored
from restorer.training.workers import batches_from

REACH = 0.2
"""Cells within this share of a face's size from its middle are its own, and the nearest one always is."""
NEAREST = 0.75
"""The least reach, in strides."""
RING = 0.36
"""Cells within this share are no background either: they may be right."""
BETWEEN = 1.25
"""A face whose size is beyond its stride's by less than this factor is no background for the next stride."""
LIMITS = (0.0, 44.0, 120.0, math.inf)
"""The faces of stride 8, 16 and 32 by size, the root of the box's area, in pixels."""
NOTHING, UNKNOWN, FACE = 0.0, -1.0, 1.0


@dataclass(frozen=True)
class Batch:
    """Scenes as tensors.

    Attributes:
        pictures: (n, 3, size, size) in [-1, 1].
        what: (n, cells) of NOTHING, UNKNOWN or FACE.
        boxes: (n, cells, 4) in pixels, where a cell is a face's.
        landmarks: (n, cells, 5, 2), likewise.
    """

    pictures: Tensor
    what: Tensor
    boxes: Tensor
    landmarks: Tensor


class Scenes(Dataset[tuple[np.ndarray, ...]]):
    """Batches of scenes by step: pictures uint8, and what, boxes and landmarks as in `Batch`, each stacked."""

    def __init__(self, composer: Composer, batch: int, size: int, seed: tuple[int, int]) -> None:
        self._composer = composer
        self._batch = batch
        self._seed = seed  # of the training, and the rank of this process
        self._cells = cells(size, size).numpy()
        self._former: tuple[int, list[Scene]] = (-1, [])

    def __getitem__(self, step: int) -> tuple[np.ndarray, ...]:
        """Return the batch of a step: half of it new scenes, half those that were new in the step before, mirrored."""
        if self._former[0] != step - 1:
            self._former = (step - 1, self._compose(step - 1))
        fresh = self._compose(step)
        scenes = [*fresh, *(mirrored(scene) for scene in self._former[1])][: self._batch]
        self._former = (step, fresh)
        wanted = [assign(scene, self._cells) for scene in scenes]
        return np.stack([scene.picture for scene in scenes]), *(np.stack(part) for part in zip(*wanted, strict=True))

    def _compose(self, step: int) -> list[Scene]:
        rng = np.random.default_rng([self._seed[0], step, self._seed[1], 0])
        return [self._composer.draw(rng) for _ in range(-(-self._batch // 2))]


class Ahead:
    """Batches in the order of the steps, made ahead by a process of its own: composing needs as long as learning."""

    def __init__(self, scenes: Scenes, workers: int, last: int) -> None:
        self._scenes = scenes
        self._workers = workers
        self._last = last
        self._next = 0
        self._batches: Iterator[tuple[np.ndarray, ...]] = iter(())

    def of(self, step: int) -> Batch:
        """Return the batch of a step; steps that follow each other are ready when they are asked for."""
        if step != self._next:
            self._batches = iter(batches_from(self._scenes, step, self._last, self._workers))
        pictures, what, boxes, landmarks = next(self._batches)
        self._next = step + 1
        # Seen as (n, 3, h, w), these pictures have the layout already in which convolutions are fastest.
        tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        return Batch(tensor, *(torch.from_numpy(part) for part in (what, boxes, landmarks)))


def assign(scene: Scene, where: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what each cell has to say of a scene: FACE, NOTHING or UNKNOWN (cells,), box (cells, 4), landmarks.

    Of two faces that claim a cell the one with the nearer middle has it.

    Args:
        scene: the scene.
        where: x, y and stride of its cells, (cells, 3).
    """
    count = len(where)
    what = np.full(count, NOTHING, np.float32)
    boxes, landmarks = np.zeros((count, 4), np.float32), np.zeros((count, 5, 2), np.float32)
    if not len(scene.boxes):
        return what, boxes, landmarks
    stride = where[:, 2]
    low, high = (np.array(edge)[np.searchsorted(STRIDES, stride)] for edge in (LIMITS[:-1], LIMITS[1:]))
    sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
    size = np.sqrt(sides.prod(axis=1))
    middle = (scene.boxes[:, :2] + scene.boxes[:, 2:]) / 2
    form = sides / size[:, None]
    across, down = ((where[:, None, i] - middle[:, i]) / form[:, i] for i in (0, 1))
    away = np.sqrt(across * across + down * down)  # (cells, faces)
    fits = (size >= low[:, None]) & (size < high[:, None])
    nearly = (size >= low[:, None] / BETWEEN) & (size < high[:, None] * BETWEEN)
    inside = np.maximum(RING * size, NEAREST * stride[:, None])
    for face in np.flatnonzero(~scene.wanted):
        box = scene.boxes[face]
        within = ((where[:, :2] >= box[:2]) & (where[:, :2] <= box[2:])).all(axis=1)
        what[within | (away[:, face] < inside[:, face])] = UNKNOWN
    kept = np.flatnonzero(scene.wanted)
    if not len(kept):
        return what, boxes, landmarks
    what[((away < inside) & nearly)[:, kept].any(axis=1)] = UNKNOWN
    claimed = fits & (away < np.maximum(REACH * size, NEAREST * stride[:, None]))
    cost = np.where(claimed[:, kept], away[:, kept] / size[kept], np.inf)
    owner = kept[cost.argmin(axis=1)]
    own = np.isfinite(cost.min(axis=1))
    what[own] = FACE
    boxes[own], landmarks[own] = scene.boxes[owner[own]], scene.landmarks[owner[own]]
    return what, boxes, landmarks


def overlaps(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return intersection over union of pairs of boxes (n, 4), and DIoU: less the distance of their middles."""
    low, high = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) + (others[:, 2:] - others[:, :2]).prod(dim=1)
    shares = common / (areas - common + 1e-6)
    around = torch.maximum(boxes[:, 2:], others[:, 2:]) - torch.minimum(boxes[:, :2], others[:, :2])
    apart = (boxes[:, :2] + boxes[:, 2:] - others[:, :2] - others[:, 2:]).square().sum(dim=1) / 4
    return shares, shares - apart / (around.square().sum(dim=1) + 1e-6)
