"""What belongs where a print is damaged: each hole is filled from what is around it, in the photo's own depth."""

from __future__ import annotations

from typing import Protocol

from restorer.imaging.libraries import cv2, np
from restorer.imaging.resize import to_type
from restorer.repairing.grain import grained
from restorer.repairing.splines import Splines

DEEP = 24
"""Pixels from the nearest known one from which on a place is filled at half the size first, where that is enough."""
BAND = 8
"""Pixels inside a deep hole that are filled at the picture's own size all the same."""


class Painter(Protocol):
    """What fills a part of a picture.

    Attributes:
        margin: pixels around a hole that it looks at.
        part: side in pixels of the parts in which a large hole is filled.
        near: holes that are nearer to each other than twice so many pixels are filled together.
        grain: whether what it paints lacks the grain that is around it, which is then added.
        coarse: paints the midst of deep holes at a smaller size, which is then enlarged; None = that may not be.
    """

    margin: int
    part: int
    near: int
    grain: bool

    @property
    def coarse(self) -> Painter | None: ...

    def paint(self, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """Return a part (h, w, 3) of which some is known, filled where its hole (h, w) is not 0; that alone is used."""
        ...


def fill(pixels: np.ndarray, mask: np.ndarray, painter: Painter | None = None) -> np.ndarray:
    """Return a picture with its holes filled; all other pixels stay as they are, to the last bit.

    The picture is gone through in parts; memory beyond the result is that of one part, and where holes are deep, that
    of the picture at half its size.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16.
        mask: (h, w), not 0 where the picture is to be filled.
        painter: fills the parts; None = `restorer.repairing.splines.Splines`.
    """
    painter = painter or Splines()
    margin = painter.margin
    result, unknown = pixels.copy(), (mask > 0).astype(np.uint8)
    if painter.coarse is not None:
        _begin(result, unknown, painter.coarse)
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


def _begin(result: np.ndarray, unknown: np.ndarray, painter: Painter) -> None:
    """Fill the midst of deep holes at half the size, and call it known: all that it can be is smooth."""
    height, width = unknown.shape
    edged = cv2.copyMakeBorder(unknown, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(edged, cv2.DIST_L2, 5)[1:-1, 1:-1]
    if unknown.all() or depth.max() < DEEP:
        return
    odd = (0, height % 2, 0, width % 2)
    known = cv2.copyMakeBorder((unknown == 0).astype(np.float32), *odd, cv2.BORDER_CONSTANT, value=0)
    sums = cv2.copyMakeBorder(result.astype(np.float32), *odd, cv2.BORDER_REPLICATE) * known[..., None]
    size = known.shape[1] // 2, known.shape[0] // 2
    share, half = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (known, sums))
    half = to_type(half / np.maximum(share, 0.25)[..., None], result.dtype)
    half = fill(half, (share == 0).astype(np.uint8), painter)
    large = cv2.resize(half, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_LINEAR)[:height, :width]
    midst = depth > BAND
    result[midst], unknown[midst] = large[midst], 0


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
