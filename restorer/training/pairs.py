"""Pairs of a clean and a degraded picture, made ahead of the step that needs them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from restorer.imaging.sheets import Picture
from restorer.imaging.tensors import to_tensor
from restorer.training.datasets import PictureSet
from restorer.training.geometry import jitter, warp
from restorer.training.recipe import Values


class Degrade(Protocol):
    """What is needed of a degradation: called with a picture (h, w, 3) and a generator, it gives a worse one."""

    def __call__(self, picture: Picture, rng: np.random.Generator, /) -> Worse:
        """Return the worse picture."""
        ...


class Worse(Protocol):
    """A degraded picture."""

    def enlarged(self) -> Picture:
        """Return it at its former size."""
        ...

    def truth(self, picture: Picture, /) -> Picture:
        """Return what should be made of it, given what it was."""
        ...


_STILL = np.array([[1.0, 0, 0], [0, 1, 0]])


@dataclass(frozen=True)
class Pairs:
    """A batch: degraded and clean pictures (n, 3, h, w) in [-1, 1], and how each was moved, (n, 2, 3)."""

    degraded: Tensor
    clean: Tensor
    moved: NDArray[np.float64]


class PairMaker:
    """Draws pictures and degrades them; the batch of a step depends on the step's random generator only.

    Args:
        pictures: the clean pictures.
        degradation: what happens to them.
        data: the recipe's data table: mirror, jitter (how often a picture is moved), zoom, shift, turn.
        batch: pictures a step.
        rng: gives the generator of a step.
    """

    def __init__(
        self,
        pictures: PictureSet,
        degradation: Degrade,
        data: Values,
        batch: int,
        rng: Callable[[int], np.random.Generator],
    ) -> None:
        self._pictures = pictures
        self._degradation = degradation
        self._data = data
        self._batch = batch
        self._rng = rng
        self._pool = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[Pairs]] = {}

    def of(self, step: int) -> Pairs:
        """Return the batch of a step, and begin with the next one in the background."""
        future = self._ahead.pop(step, None)
        self._ahead = {step + 1: self._pool.submit(self._make, step + 1)}
        return future.result() if future else self._make(step)

    def _make(self, step: int) -> Pairs:
        rng = self._rng(step)
        clean: list[Picture] = []
        degraded: list[Picture] = []
        moved = []
        for picture in self._pictures.draw(self._batch, rng, mirror=self._data["mirror"]):
            matrix = _STILL
            picture = np.ascontiguousarray(picture)
            if rng.random() < self._data["jitter"]:
                matrix = jitter(self._pictures.size, self._data["zoom"], self._data["shift"], self._data["turn"], rng)
                picture = warp(picture, matrix)
            worse = self._degradation(picture, rng)
            clean.append(worse.truth(picture))
            degraded.append(worse.enlarged())
            moved.append(matrix)
        return Pairs(to_tensor(degraded), to_tensor(clean), np.stack(moved))


def fixed_pairs(pictures: PictureSet, degradation: Degrade, count: int, seed: int) -> Pairs:
    """Return the first pictures of a set, each degraded as its place and the seed say: for sheets and evaluations."""
    clean, degraded = [], []
    for index in range(min(count, len(pictures))):
        picture = pictures[index]
        worse = degradation(picture, np.random.default_rng([seed, index]))
        clean.append(worse.truth(picture))
        degraded.append(worse.enlarged())
    return Pairs(to_tensor(degraded), to_tensor(clean), np.stack([_STILL] * len(clean)))
