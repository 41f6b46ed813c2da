"""The grain of a print in what was filled: that of its surroundings, mirrored at the hole's border.

What a network fills is the mean of what could be there, which has no grain; beside film grain or a scanner's noise it
shows as a smooth trace. The grain that is known has the right size and strength, and no generator has to be seeded.
"""

from __future__ import annotations

from restorer.imaging.colour import top_of
from restorer.imaging.libraries import cv2, np

SIGMA = 1.0
"""Pixels: what is finer than such a blur is grain, or detail."""
_QUIET = 0.3, 0.385
"""Of all deviations that share is smaller than so many sigmas of noise: in quiet places detail adds little to it."""
_MOST = 2.5
"""Sigmas beyond which it is an edge."""
_FAINT = 0.4 / 255
"""Of white: what is less is rounding."""


def grained(filled: np.ndarray, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return a part of a picture, filled, with the grain of what is known of it in its hole.

    Args:
        filled: (h, w, 3), uint8 or uint16.
        pixels: the same before it was filled.
        hole: (h, w) uint8, not 0 where nothing was known.
    """
    top = float(top_of(pixels.dtype))
    known = (hole == 0).astype(np.float32)
    light = pixels.mean(axis=2, dtype=np.float32) / np.float32(top)
    weight = cv2.GaussianBlur(known, (0, 0), SIGMA)
    fine = (light - cv2.GaussianBlur(light * known, (0, 0), SIGMA) / np.maximum(weight, 1e-6)) * known
    seen = np.abs(fine[cv2.erode(known, np.ones((3, 3), np.uint8)) > 0])
    if seen.size == 0:
        return filled
    share, sigmas = _QUIET
    sigma = float(np.quantile(seen, share)) / sigmas
    if sigma < _FAINT:
        return filled
    rows, columns = np.nonzero(hole)
    down, across = _mirrored(hole, rows, columns)
    grain = np.clip(fine[down, across], -_MOST * sigma, _MOST * sigma) * top
    result = filled.copy()
    result[rows, columns] = np.clip(np.rint(filled[rows, columns] + grain[:, None]), 0, top).astype(filled.dtype)
    return result


def _mirrored(hole: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for pixels of a hole where in what is known their mirror images lie, or else the nearest known pixels."""
    _, labels = cv2.distanceTransformWithLabels(hole, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    known_rows, known_columns = np.nonzero(hole == 0)
    nearest = np.zeros((int(labels.max()) + 1, 2), np.intp)
    nearest[labels[known_rows, known_columns]] = np.stack([known_rows, known_columns], axis=1)
    down, across = nearest[labels[rows, columns]].T
    height, width = hole.shape
    behind = np.clip(2 * down - rows, 0, height - 1), np.clip(2 * across - columns, 0, width - 1)
    usable = hole[behind] == 0
    return np.where(usable, behind[0], down), np.where(usable, behind[1], across)
