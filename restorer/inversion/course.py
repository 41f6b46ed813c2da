"""How a search goes: what is best so far, item by item, when an item is done, and what others may see of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Stopped = Literal["time limit", "interrupt"]


@dataclass(frozen=True)
class Glimpse:
    """What a search looks like after a step.

    Attributes:
        step: how many steps were taken.
        steps: how many there will be.
        losses: of each item, the best so far.
        errors: how far the best of each item is from what is known of the photo: root mean square, levels of 255.
        picture: gives the best pictures so far, (n, 3, size, size) in [-1, 1], on the CPU.
    """

    step: int
    steps: int
    losses: tuple[float, ...]
    errors: tuple[float, ...]
    picture: Callable[[], Tensor]


OnStep = Callable[[Glimpse], None]


@dataclass(frozen=True)
class Limits:
    """When a search ends.

    Attributes:
        steps: at most so many.
        deadline: a time of `time.monotonic` after which no step begins; None = there is none.
        patience: an item that meets its constraint ends when so many steps made it no better; 0 = it never does.
    """

    steps: int
    deadline: float | None = None
    patience: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the time has come."""
        return self.deadline is not None and time.monotonic() >= self.deadline


@dataclass(frozen=True)
class Found:
    """What a search found for one item.

    Attributes:
        picture: (3, size, size) in about [-1, 1], on the CPU.
        error: root mean square of what is seen of it against what is known, levels of 255.
        loss: of the search, at this picture.
        met: whether it meets the search's constraint; None where there is none.
        allowed: the error up to which it does, levels of 255.
        step: after how many steps it was found.
        steps: how many were taken for this item.
        stopped: what ended the search before its last step; None = nothing did.
    """

    picture: Tensor
    error: float
    loss: float
    met: bool | None
    allowed: float | None
    step: int
    steps: int
    stopped: Stopped | None = None


@dataclass
class Best:
    """The best pictures of a search so far, judged by the constraint first, then by the loss.

    Args:
        count: how many items there are.
        eps: mean squared error, in units of [0, 1], up to which an item meets the constraint; None = there is none.
    """

    count: int
    eps: float | None
    pictures: list[Tensor | None] = field(init=False)
    squared: list[float] = field(init=False)
    losses: list[float] = field(init=False)
    steps: list[int] = field(init=False)
    seen: list[int] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.pictures = [None] * self.count
        self.squared, self.losses = [float("inf")] * self.count, [float("inf")] * self.count
        self.steps, self.seen = [0] * self.count, [0] * self.count

    @torch.no_grad()
    def look(self, items: Tensor, pictures: Tensor, squared: Tensor, losses: Tensor, step: int) -> None:
        """Take in what a step shows.

        Args:
            items: the numbers of the items that are still searched for.
            pictures: of these, (k, 3, size, size).
            squared: their mean squared errors, in units of [0, 1], not clamped.
            losses: of the search.
            step: how many steps led there.
        """
        rows = zip(items.tolist(), pictures, squared.tolist(), losses.tolist(), strict=True)
        for item, picture, error, loss in rows:
            self.seen[item] = step
            if loss == loss and self._key(error, loss) < self._key(self.squared[item], self.losses[item]):
                self.pictures[item] = picture.detach().clone()
                self.squared[item], self.losses[item], self.steps[item] = error, loss, step

    def _key(self, squared: float, loss: float) -> tuple[bool, float]:
        """Return what is smaller for a better picture: one that meets the constraint goes before all that do not."""
        met = self.is_met(squared)
        return met is False, loss if met is not False else squared

    def is_met(self, squared: float) -> bool | None:
        """Return whether a mean squared error meets the constraint; None where there is none."""
        return None if self.eps is None else squared <= self.eps

    def open_items(self, items: Tensor, patience: int) -> Tensor:
        """Return those of the items that are not done: not met yet, or better than `patience` steps ago."""
        open_ = [
            item
            for item in items.tolist()
            if not (patience and self.is_met(self.squared[item]) and self.seen[item] - self.steps[item] >= patience)
        ]
        return torch.tensor(open_, dtype=torch.long)

    def glimpse(self, step: int, steps: int) -> Glimpse:
        """Return what the search looks like now."""
        errors = tuple(levels(each) for each in self.squared)
        return Glimpse(step, steps, tuple(self.losses), errors, self._stacked)

    def _stacked(self) -> Tensor:
        return torch.stack([_shown(each) for each in self.pictures if each is not None])

    def found(self, stopped: Stopped | None) -> list[Found]:
        """Return what was found, item by item."""
        result = []
        for item, picture in enumerate(self.pictures):
            if picture is None:
                raise FloatingPointError("the search found nothing but NaN")
            result.append(
                Found(
                    _shown(picture),
                    levels(self.squared[item]),
                    self.losses[item],
                    self.is_met(self.squared[item]),
                    None if self.eps is None else levels(self.eps),
                    self.steps[item],
                    self.seen[item] + 1,
                    stopped,
                )
            )
        return result


def levels(squared: float) -> float:
    """Return the root of a mean squared error in units of [0, 1] as levels of 255."""
    return float(255 * squared**0.5)


def _shown(picture: Tensor) -> Tensor:
    return picture.float().cpu()
