"""The similarity that brings points nearest to others: rotation, one scale and a shift, by least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Similarity:
    """What brings points nearest to others.

    Attributes:
        matrix: (2, 3) float64, of a point's homogeneous coordinates.
        explained: which share of the targets' spread it explains, 0 to 1; low where the points lie otherwise.
    """

    matrix: NDArray[np.float64]
    explained: float


def spread_of(points: NDArray[np.float64]) -> float:
    """Return the root mean square distance of points (n, 2) from their middle."""
    return float(np.sqrt(np.mean(np.sum((points - points.mean(0)) ** 2, axis=1))))


def nearest_similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> Similarity | None:
    """Return the similarity that brings points (n, 2) nearest to others, never a reflection; None where there is none.

    Umeyama 1991, in the complex plane: one division. There is none for points that are not finite, or all in one place.
    """
    a, b = np.asarray(source, np.float64) @ (1, 1j), np.asarray(target, np.float64) @ (1, 1j)
    a_mean, b_mean = a.mean(), b.mean()
    a, b = a - a_mean, b - b_mean
    spread, wanted = float(np.sum(abs(a) ** 2)), float(np.sum(abs(b) ** 2))
    if not (np.isfinite(spread) and np.isfinite(wanted) and spread > 0 and wanted > 0):
        return None
    factor = np.sum(a.conj() * b) / spread  # scale and rotation as one complex number
    shift = b_mean - factor * a_mean
    matrix = np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])
    return Similarity(matrix, float(abs(factor) ** 2 * spread / wanted))
