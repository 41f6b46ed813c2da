"""The stages of one photo, a file each; the story calls them in their order and knows none by name.

A module names its stage as `STAGE`. A stage on the whole photo is such a file and its fields in `Options`.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from restorer.pipeline.events import Step

if TYPE_CHECKING:
    from restorer.pipeline.canvas import Canvas, Work


class Stage(ABC):
    """One thing that happens to a photo.

    Attributes:
        name: as progress tells it.
        words: what it does, for people.
        order: stages with smaller numbers come first.
        weight: how much of a photo's time it takes, roughly, beside those of the other stages.
        steps: what a record's `seconds` says of it.
    """

    name: ClassVar[str]
    words: ClassVar[str]
    order: ClassVar[int]
    weight: ClassVar[float]
    steps: ClassVar[tuple[Step, ...]]

    @abstractmethod
    def is_wanted(self, work: Work) -> bool:
        """Whether it has anything to do with this photo."""

    @abstractmethod
    def run(self, canvas: Canvas, work: Work) -> Canvas:
        """Return the canvas with what this stage does to it, and write into the record what it did.

        Raises:
            RestorerError: what the stage is for cannot be done; the photo fails.
        """


@cache
def stages() -> tuple[Stage, ...]:
    """Return all stages in their order."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    found: list[Stage] = [importlib.import_module(f"{__name__}.{name}").STAGE for name in names]
    return tuple(sorted(found, key=lambda stage: stage.order))


def steps() -> tuple[Step, ...]:
    """Return what a record's `seconds` may name, in the order of the work, without reading and writing."""
    return tuple(step for stage in stages() for step in stage.steps)
