"""How far a photo is: what stages tell, and what is known of a stage before it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

OnStage = Callable[[str, float], None]
"""Called with a stage's name and the fraction of it that is done, 0 to 1: where things are counted a `Counted`."""

Cost = Literal["photo", "megapixel", "face"]
"""What the seconds of a step grow with."""


BATCH_ON_GPU = 16
"""Faces of a batch on a GPU, where the options do not say otherwise; on a CPU a batch is no quicker."""


@dataclass(frozen=True)
class Step:
    """A part of a stage that a record's `seconds` names.

    Attributes:
        name: the key in `seconds`.
        cost: what its seconds grow with.
        words: what it does, for people.
    """

    name: str
    cost: Cost
    words: str


class Counted(float):
    """A fraction of things that are counted, such as the faces of a crowd: 5 of 29.

    Args:
        done: how many are done.
        total: how many there are; of none, all are done.
    """

    done: int
    total: int

    def __new__(cls, done: int, total: int) -> Counted:
        """Return done / total as a number that remembers both."""
        self = super().__new__(cls, done / total if total else 1.0)
        self.done, self.total = done, total
        return self


class Stepped(Counted):
    """A fraction of the steps of searches, with what is to be said and seen of the one in hand.

    Args:
        done: how many steps are done.
        total: how many there are.
        words: how the search goes.
        picture: gives the best pictures so far, (n, 3, s, s) in [-1, 1].
    """

    words: str
    picture: Callable[[], torch.Tensor]

    def __new__(cls, done: int, total: int, words: str, picture: Callable[[], torch.Tensor]) -> Stepped:
        """Return done / total as a number that remembers all of it."""
        self = super().__new__(cls, done, total)
        assert isinstance(self, Stepped)
        self.words, self.picture = words, picture
        return self


def unheard(stage: str, fraction: float) -> None:
    """Stand for an `OnStage` where nobody listens."""
