"""A search behind the interface of a face restorer: which prior, what is seen of its pictures, several answers."""

from __future__ import annotations

import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from restorer.engine import memory
from restorer.errors import OutOfMemoryError
from restorer.inversion.course import Found, Glimpse, Limits, OnStep
from restorer.models import REGISTRY
from restorer.models.base import CropSpec
from restorer.models.searching import SearchArchitecture

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.weights import Table

AT_ONCE = 4
"""Answers that are searched for side by side, where nobody says."""


@dataclass(frozen=True)
class Wish:
    """What is searched for.

    Attributes:
        picture: (3, s, s) in [0, 1], the face as the photo shows it, at the side that `FaceSearcher.side` gave.
        task: one of the searcher's.
        hole: (s, s), 1 where the picture is missing; None where it is whole.
        seeds: of the answers, one for each; an answer depends on its own seed only.
        steps: of each search; None = the searcher's own number.
        time_limit: seconds for all answers together.
        batch: answers that are searched for side by side.
    """

    picture: torch.Tensor
    task: str
    seeds: Sequence[int]
    hole: torch.Tensor | None = None
    steps: int | None = None
    time_limit: float | None = None
    batch: int = AT_ONCE


@dataclass(frozen=True)
class Setup:
    """What a searcher is made of.

    Attributes:
        table: of the search.
        prior: the prior's network, in eval mode on the device of the run, in fp32.
        arguments: of the search's architecture, all of them.
        load: gives the network of a table, for what the arguments name.
        parts: other networks that it needs, by what they are for: "mapping".
    """

    table: Table
    prior: nn.Module
    arguments: Mapping[str, Any]
    load: Callable[[Table], nn.Module]
    parts: Mapping[str, nn.Module] = field(default_factory=dict)


class FaceSearcher(ABC):
    """A face restorer that searches a prior."""

    def __init__(self, setup: Setup) -> None:
        architecture = REGISTRY.of_role(SearchArchitecture, setup.table)
        self.name = setup.table.name
        self.prior_name = str(setup.table.prior)
        self.tasks = architecture.tasks
        self.steps = architecture.steps_of(setup.arguments)
        self.task: str | None = None
        self.crop: CropSpec = architecture.crop(setup.arguments)
        self.arguments = setup.arguments

    @abstractmethod
    def side(self, native: float, task: str) -> int:
        """Return the side at which a face is taken from the photo.

        Args:
            native: how many pixels of the photo the side of the crop spans.
            task: what it is given.
        """

    @abstractmethod
    def search_once(self, wish: Wish, limits: Limits, on_step: OnStep | None) -> list[Found]:
        """Return what is found for each of the seeds, which are searched for side by side."""

    def search(self, wish: Wish, on_step: OnStep | None = None) -> list[Found]:
        """Return an answer for each seed; fewer where an interrupt ended the search.

        Where memory does not suffice for the answers side by side, fewer are searched for at once.

        Args:
            wish: what is searched for.
            on_step: told after each step how it goes, for the answers in hand; `steps` are those of all answers.

        Raises:
            OutOfMemoryError: memory does not suffice for a single answer.
            KeyboardInterrupt: there was no answer yet.
        """
        steps, batch = wish.steps or self.steps, max(1, min(wish.batch, len(wish.seeds)))
        begin = time.monotonic()
        found: list[Found] = []
        while len(found) < len(wish.seeds):
            seeds = wish.seeds[len(found) : len(found) + batch]
            share = (len(found) + len(seeds)) / len(wish.seeds)
            deadline = None if wish.time_limit is None else begin + wish.time_limit * share
            heard = _offset(on_step, steps, len(found), len(wish.seeds), len(seeds))
            try:
                found += self.search_once(replace(wish, seeds=seeds), Limits(steps, deadline, PATIENCE), heard)
            except KeyboardInterrupt:
                if not found:
                    raise
                found[-1] = replace(found[-1], stopped="interrupt")
                break
            except (RuntimeError, MemoryError) as error:
                if not memory.is_exhausted(error):
                    raise
                memory.release(self.device_kind)
                if batch == 1:
                    raise OutOfMemoryError(self.device_kind, self.name, str(error).splitlines()[0]) from error
                batch //= 2
                continue
            if found[-1].stopped == "interrupt":
                break
        return found

    @property
    @abstractmethod
    def device_kind(self) -> str:
        """Where it runs: "cpu", "cuda" or "mps"."""

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        """Return one answer for each crop (n, 3, s, s) in [-1, 1], with seed 0: for `task`, of so many `steps`.

        The crops are taken for faces of the photo at their own size, without a hole.
        """
        import torch
        from torch.nn import functional as F

        task, answers = self.task or self.tasks[0], []
        for crop in crops:
            side = self.side(crop.shape[-1], task)
            picture = (crop[None] + 1) / 2
            if side != crop.shape[-1]:
                picture = F.interpolate(picture, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
            answers.append(self.search(Wish(picture[0], task, seeds=(0,)))[0].picture)
        return torch.stack(answers)


PATIENCE = 15
"""Steps after which an answer that meets its constraint and becomes no better is left as it is."""


def _offset(on_step: OnStep | None, steps: int, done: int, total: int, batch: int) -> Callable[[Glimpse], None] | None:
    """Return what tells of the steps of some answers as a part of those of all answers."""
    if on_step is None:
        return None
    return lambda glimpse: on_step(replace(glimpse, step=done * steps + glimpse.step * batch, steps=total * steps))


def load_searcher(table: Table, load: Callable[[Table], nn.Module], arguments: Mapping[str, Any]) -> FaceSearcher:
    """Return the searcher of a table.

    Args:
        table: whose architecture is a search.
        load: gives the network of a table in fp32, on the device of the run; fetched and verified.
        arguments: of the architecture, all of them.

    Raises:
        WeightsError: the weights of the prior, or of what it needs, cannot be had.
    """
    from restorer.models.registry import prior_of
    from restorer.weights import resolve

    prior = prior_of(table)
    parts = {"mapping": load(resolve(prior.mapping))} if prior.mapping else {}
    kind: type[FaceSearcher] = importlib.import_module(f"restorer.inversion.{table.architecture}_faces").SEARCHER
    return kind(Setup(table, load(prior), arguments, load, parts))
