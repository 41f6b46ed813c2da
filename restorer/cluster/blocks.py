"""Which photos go to a worker together: about the same megapixels in each block, smaller ones towards the end.

A block is what the cluster hands out and, when a worker dies, hands to another one. The first ones are large, so that
few of them make up millions of photos; each takes a share of what is left, so that the last ones are small and no
worker waits long for another. A large photo is a block of its own, and those come first: begun last, it would be what
all others wait for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from restorer.batch.estimate import Load

Item = TypeVar("Item")

SHARE = 4
"""Blocks of the size of the next one into which what is left for each worker would go."""
LEAST, MOST = 16.0, 4000.0
"""Megapixels of a block, at least and at most."""
MOST_PHOTOS = 256
"""Photos of a block at most."""
ALONE = 100.0
"""Megapixels from which on a photo is a block of its own, as no machine reads such photos ahead."""
EACH = 1.0
"""Megapixels that a photo counts for beside its own: finding its faces and restoring one costs about as much."""
HASHED = 0.05
"""Megapixels that a megabyte counts for that is only compared with its result."""


def weight(load: Load) -> float:
    """Return what a photo counts for, in megapixels."""
    return EACH + load.megapixels if load.work else 0.1 + HASHED * load.megabytes


@dataclass(frozen=True)
class Block(Generic[Item]):
    """Photos that go to a worker together; `weight` is in megapixels."""

    items: list[Item]
    weight: float


def blocks(items: Iterable[tuple[Item, float]], total: float, workers: int) -> Iterator[Block[Item]]:
    """Yield blocks as they fill up; `rank` says in which order they are to be handed out.

    Args:
        items: photos, each with its weight.
        total: weight of all of them, about.
        workers: how many share them.
    """
    left, gathered, gathered_weight = total, list[Item](), 0.0
    for item, its_weight in items:
        budget = min(max(left / (SHARE * max(workers, 1)), LEAST), MOST)
        if its_weight >= ALONE or its_weight >= budget > LEAST:
            left -= its_weight
            yield Block([item], its_weight)
            continue
        gathered.append(item)
        gathered_weight += its_weight
        if gathered_weight >= budget or len(gathered) >= MOST_PHOTOS:
            left -= gathered_weight
            yield Block(gathered, gathered_weight)
            gathered, gathered_weight = [], 0.0
    if gathered:
        yield Block(gathered, gathered_weight)


def rank(photos: int, its_weight: float) -> tuple[bool, float]:
    """Return what blocks are sorted by before they are handed out: photos that stand alone first, the largest ahead."""
    return photos != 1, -its_weight if photos == 1 else 0.0
