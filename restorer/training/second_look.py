"""Training the detector's second look, which sees the finds of the first one cut out and upright."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.tinydetector import CROP, STRIDES, SecondLook, cut, frames_of, place
from restorer.training.labelling import MIRRORED
from restorer.training.loop import backward
from restorer.training.recipe import Values
from restorer.training.targets import FACE, NOTHING, Batch

FAR = 1.5
"""Landmarks beyond this in a crop, whose sides are at 1, are no help: the first look was wrong by half a face."""
SEEN_AGAIN = (224, 64)
"""How many faces and errors of a batch the second look learns from."""


class SecondLookTraining:
    """Trains `SecondLook` on what the first look made of a batch.

    Args:
        network: what learns.
        optimiser: of its parameters.
        values: the recipe's.
        where: x, y and stride of the first look's cells, (cells, 3).
        size: side of the scenes.
        autocast: gives the context of forward passes.
        average: averages gradients over all processes.
    """

    def __init__(
        self,
        network: SecondLook,
        optimiser: torch.optim.Optimizer,
        values: Values,
        where: Tensor,
        size: int,
        autocast: Callable[[], AbstractContextManager[object]],
        average: Callable[[nn.Module], None],
    ) -> None:
        self._network = network
        self._optimiser = optimiser
        self._values = values
        self._where = where
        self._size = size
        self._autocast = autocast
        self._average = average

    def step(self, rows: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Train the second look on what the first one finds, and return its losses: faces, and the worst errors.

        It is small and learns quickly, so each batch of scenes serves it for several steps, on a part of the finds at
        a time, mirrored or not.
        """
        crops, truth, wanted = self._finds(rows, batch)
        weights = self._values["losses"]
        found: dict[str, list[Tensor]] = {"second_score": [], "second_landmarks": []}
        for _ in range(self._values["second_rounds"]):
            part = torch.randperm(len(crops))[: self._values["second_batch"]].to(crops.device)
            seen_by, points, right = crops[part], wanted[part], truth[part]
            if torch.rand(()) < 0.5:
                seen_by = seen_by.flip(3)
                points = points[:, MIRRORED] * points.new_tensor([-1, 1])
            with self._autocast():
                seen, logits = self._network(seen_by)
            score = F.binary_cross_entropy_with_logits(logits, right.float())
            near = (right & (points.abs().amax(dim=(1, 2)) < FAR)).float()
            off = F.smooth_l1_loss(seen, points, beta=0.02, reduction="none").mean(dim=(1, 2))
            landmarks = (off * near).sum() / near.sum().clamp(min=1)
            self._optimiser.zero_grad(set_to_none=True)
            backward(weights["second_score"] * score + weights["second_landmarks"] * landmarks)
            self._average(self._network)
            self._optimiser.step()
            found["second_score"].append(score.detach())
            found["second_landmarks"].append(landmarks.detach())
        return {name: torch.stack(values).mean() for name, values in found.items()}

    @torch.no_grad()
    def _finds(self, rows: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return crops (k, 3, 64, 64), whether they are of faces (k,), and the landmarks in the crops (k, 5, 2)."""
        what = batch.what.to(rows.device)
        faces = torch.nonzero(what == FACE)
        faces = faces[torch.randperm(len(faces)).to(faces.device)[: SEEN_AGAIN[0]]]
        scores = torch.where(what == NOTHING, rows[..., 4], -math.inf).flatten()
        worst = scores.topk(min(8 * SEEN_AGAIN[1], len(scores))).indices
        worst = torch.stack([worst // what.shape[1], worst % what.shape[1]], dim=1)
        worst = worst[self._points_at_nothing(rows, what, worst)][: SEEN_AGAIN[1]]
        index, cell = torch.cat([faces, worst]).unbind(dim=1)
        _, landmarks = place(rows[index, cell], self._where[cell])
        frames = frames_of(landmarks)
        pictures = batch.pictures.to(rows.device)
        crops = torch.empty(len(index), 3, CROP, CROP, device=rows.device)
        for number in sorted(set(index.tolist())):
            mine = index == number
            crops[mine] = cut(pictures[number], frames[mine])
        inverse = torch.linalg.inv(frames[:, :, :2])
        wanted = batch.landmarks.to(rows.device)[index, cell] - frames[:, None, :, 2]
        return crops, what[index, cell] == FACE, wanted @ inverse.transpose(1, 2)

    def _points_at_nothing(self, rows: Tensor, what: Tensor, picked: Tensor) -> Tensor:
        """Return for cells (k, 2: picture, cell) whether the box that they claim has its middle on no face (k,).

        A cell at the edge of a face is asked for nothing, but may well say where that face is.
        """
        index, cell = picked.unbind(dim=1)
        boxes, _ = place(rows[index, cell], self._where[cell])
        middle = ((boxes[:, :2] + boxes[:, 2:]) / 2).clamp(0, self._size - 1)
        nothing, first = torch.ones(len(picked), dtype=torch.bool, device=rows.device), 0
        for stride in STRIDES:
            across = self._size // stride
            column, row = (middle / stride).long().unbind(dim=1)
            nothing &= what[index, first + row * across + column] == NOTHING
            first += across * across
        return nothing
