"""What belongs where a print is damaged: each hole is filled from what is around it, in the photo's own depth."""

from __future__ import annotations

from typing import Protocol

from restorer.imaging.libraries import cv2, np
from restorer.repairing.grain import grained

RADIUS = 3
"""Pixels around a place that its colour is made of, by Navier and Stokes: Telea drifts in large holes."""


class Painter(Protocol):
    """What fills a part of a picture.

    Attributes:
        margin: pixels around a hole that it looks at.
        part: side in pixels of the parts in which a large hole is filled.
        near: holes that are nearer to each other than twice so many pixels are filled together.
        grain: whether what it paints lacks the grain that is around it, which is then added.
    """

    margin: int
    part: int
    near: int
    grain: bool

    def paint(self, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """Return a part (h, w, 3) of which some is known, filled where its hole (h, w) is not 0; that alone is used."""
        ...


class Diffusion:
    """Colours that flow in from around a hole: OpenCV's, by Navier and Stokes."""

    margin = 12
    part = 512
    near = 2
    grain = False

    def paint(self, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """Return a part with its hole filled; see `Painter.paint`."""
        return _inpainted(pixels, hole)


def fill(pixels: np.ndarray, mask: np.ndarray, painter: Painter | None = None) -> np.ndarray:
    """Return a picture with its holes filled; all other pixels stay as they are, to the last bit.

    The picture is gone through in parts; memory beyond the result is that of one part.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16.
        mask: (h, w), not 0 where the picture is to be filled.
        painter: fills the parts; None = `Diffusion`.
    """
    painter = painter or Diffusion()
    margin = painter.margin
    result, unknown = pixels.copy(), (mask > 0).astype(np.uint8)
    waiting = _boxes(unknown, painter.part, painter.near)
    while waiting:
        later = []
        for top, bottom, left, right in waiting:
            area = slice(max(top - margin, 0), bottom + margin), slice(max(left - margin, 0), right + margin)
            hole = np.ascontiguousarray(unknown[area])
            if hole.all():  # in the midst of a large one: its turn comes when something around it is filled
                later.append((top, bottom, left, right))
                continue
            filled = painter.paint(result[area], hole)
            if painter.grain:
                filled = grained(filled, result[area], hole)
            inner = (
                slice(top - area[0].start, bottom - area[0].start),
                slice(left - area[1].start, right - area[1].start),
            )
            own = hole[inner] > 0
            result[top:bottom, left:right][own] = filled[inner][own]
            unknown[top:bottom, left:right] = 0
        if len(later) == len(waiting):  # of the whole picture nothing is known
            break
        waiting = later
    return result


def _inpainted(pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return a part with its hole filled; OpenCV takes 16 bits one channel at a time.

    Where a hole reaches the edge of a part, OpenCV takes what lies in it for known: so the nearest known pixel does.
    """
    _, labels = cv2.distanceTransformWithLabels(hole, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    known = hole == 0
    nearest = np.zeros((int(labels.max()) + 1, 3), pixels.dtype)
    nearest[labels[known]] = pixels[known]
    begun = np.where(known[..., None], pixels, nearest[labels])
    if pixels.dtype == np.uint8:
        filled: np.ndarray = cv2.inpaint(np.ascontiguousarray(begun), hole, RADIUS, cv2.INPAINT_NS)
        return filled
    planes = [
        cv2.inpaint(np.ascontiguousarray(begun[..., channel]), hole, RADIUS, cv2.INPAINT_NS) for channel in range(3)
    ]
    return np.stack(planes, axis=2)


def _boxes(mask: np.ndarray, part: int, near_by: int) -> list[tuple[int, int, int, int]]:
    """Return the parts that holes lie in: top, bottom, left, right.

    A hole of up to `part` pixels is filled in one piece, its own box; a longer one part by part, each part going on
    where the one before it stopped.
    """
    near = cv2.dilate(mask, np.ones((2 * near_by + 1,) * 2, np.uint8))
    count, _, boxes, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    found = []
    for left, top, width, height, _ in boxes[1:count].tolist():
        for row in range(top, top + height, part):
            for column in range(left, left + width, part):
                bottom, right = min(row + part, top + height), min(column + part, left + width)
                if mask[row:bottom, column:right].any():
                    found.append((row, bottom, column, right))
    return found
