"""Boxes (x0, y0, x1, y1) in pixels, in edge coordinates: areas, overlaps, and non-maximum suppression."""

from __future__ import annotations

import numpy as np

NMS_IOU = 0.4
"""Two boxes that share more of their union than this are one thing; RetinaFace's own value (Deng et al. 2020, 4.1)."""


def area(boxes: np.ndarray) -> np.ndarray:
    """Return the areas (...) of boxes (..., 4)."""
    areas: np.ndarray = (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)
    return areas


def intersection(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the areas (n,) that a box (4,) has in common with others (n, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    areas: np.ndarray = np.clip(sides, 0, None).prod(axis=1)
    return areas


def iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return intersection over union (n,) of a box (4,) with others (n, 4); 0 where both are empty."""
    common = intersection(box, others)
    union = area(box) + area(others) - common
    shares: np.ndarray = np.divide(common, union, out=np.zeros(np.shape(union)), where=union > 0)
    return shares


def pairwise_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return intersection over union (m, n) of boxes (m, 4) with others (n, 4); 0 where both are empty."""
    return np.stack([iou(box, others) for box in boxes]) if len(boxes) else np.zeros((0, len(others)))


def nms(boxes: np.ndarray, iou_threshold: float = NMS_IOU) -> list[int]:
    """Return which boxes (n, 4), best first, stay when each takes away those that overlap it by more than that."""
    kept, alive = [], np.arange(len(boxes))
    while alive.size:
        first, rest = alive[0], alive[1:]
        kept.append(int(first))
        alive = rest[iou(boxes[first], boxes[rest]) <= iou_threshold]
    return kept
