"""How far what an engine makes of a network lies from what torch makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from restorer.imaging.libraries import np

Run = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
"""Runs an exported network: inputs to outputs, both in the file's order."""


@dataclass(frozen=True)
class Difference:
    """How far outputs lie from the wanted ones, in deviations of these.

    Attributes:
        largest: of any value; infinite where one is not a number, or shapes differ.
        rms: the root of the mean square, likewise.
    """

    largest: float
    rms: float


def apart(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> Difference:
    """Return how far outputs lie from the wanted ones; of several, that of the worst."""
    if [each.shape for each in found] != [each.shape for each in wanted]:
        return Difference(math.inf, math.inf)
    largest, square = 0.0, 0.0
    for made, own in zip(found, wanted, strict=True):
        difference = (made.astype(np.float64) - own) / max(float(own.std()), 1e-12)
        if not np.isfinite(difference).all():
            return Difference(math.inf, math.inf)
        largest = max(largest, float(np.abs(difference).max()))
        square = max(square, float(np.mean(difference**2)))
    return Difference(largest, math.sqrt(square))
