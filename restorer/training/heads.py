"""Heads turned to the side, from frontal faces: a generic head's depth, and what a camera then sees of it.

Profiles are rare among free pictures, and a detector that never saw one finds none. As in 300W-LP (Zhu et al. 2016,
"Face Alignment Across Large Poses"), a frontal picture is laid over a head and turned; here the head is an ellipsoid
with a nose. The far side is hidden by the near one, the near one's cheek and hair are stretched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from restorer.training.pieces import Picture

Floats = NDArray[np.float32]

ACROSS, DOWN, DEEP = 1.25, 1.95, 1.35
"""Half axes of the head in distances of the eyes."""
ABOVE = 0.15
"""How far the head's middle is above the middle between eyes and mouth, likewise."""
NOSE, NOSE_WIDE, NOSE_LONG = 0.36, 0.17, 0.26
"""How far the nose stands out, and its Gaussian's deviations, likewise."""
FINER = 4
"""Samples for a pixel of a row: the near cheek is stretched by so much and more."""


@dataclass(frozen=True)
class Head:
    """A head's place in a picture, from five landmarks of a face that looks at the camera, pixels."""

    middle: tuple[float, float]
    nose: float
    unit: float

    @classmethod
    def of(cls, landmarks: NDArray[np.floating]) -> Head:
        """Return the head of landmarks (5, 2)."""
        eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
        unit = float(max(np.linalg.norm(landmarks[1] - landmarks[0]), 0.8 * np.linalg.norm(mouth - eyes)))
        x, y = (eyes + mouth) / 2
        return cls((float(x), float(y) - ABOVE * unit), float(landmarks[2, 1]), unit)

    def depth(self, x: Floats, y: Floats) -> Floats:
        """Return how far places of the picture stand out of the plane through the head's axis, pixels; 0 beside it."""
        across, down = (x - self.middle[0]) / self.unit, (y - self.middle[1]) / self.unit
        inside = 1 - (across / ACROSS) ** 2 - (down / DOWN) ** 2
        round_part = DEEP * np.sqrt(np.clip(inside, 0, None))
        below = (y - self.nose) / self.unit
        nose = NOSE * np.exp(-0.5 * ((across / NOSE_WIDE) ** 2 + (below / NOSE_LONG) ** 2))
        return np.asarray(np.where(inside > 0, round_part + nose, 0) * self.unit, np.float32)

    def turned(self, x: Floats, y: Floats, yaw: float) -> tuple[Floats, Floats]:
        """Return where places stand once the head is turned, and how near they are to the camera.

        Args:
            x: pixels from the left.
            y: pixels from the top.
            yaw: radians; above 0 the face looks to the picture's right.
        """
        out, across = self.depth(x, y), x - np.float32(self.middle[0])
        cosine, sine = math.cos(yaw), math.sin(yaw)
        moved = across * np.float32(cosine) + out * np.float32(sine) + np.float32(self.middle[0])
        near = out * np.float32(cosine) - across * np.float32(sine)
        beside = out <= 0
        return np.where(beside, x, moved), np.where(beside, np.float32(-1e6), near)


def turn_head(
    picture: Picture, box: NDArray[np.floating], landmarks: NDArray[np.floating], yaw: float
) -> tuple[Picture, Floats, Floats]:
    """Return a face as it is seen from the side.

    Args:
        picture: (h, w, 3) uint8, a face that looks at the camera.
        box: (4,) of it, pixels.
        landmarks: (5, 2).
        yaw: degrees, -80 to 80; above 0 it looks to the picture's right.

    Returns:
        The picture, the box (4,) and the landmarks (5, 2) in it. A hidden eye's landmark is where it would be seen
        through the head.
    """
    height, width = picture.shape[:2]
    head, angle = Head.of(landmarks), math.radians(yaw)
    rows, fine = np.mgrid[0:height, 0 : width * FINER].astype(np.float32)
    columns = (fine + np.float32(0.5)) / FINER - np.float32(0.5)
    moved, near = head.turned(columns, rows, angle)
    order = np.argsort(near, axis=1, kind="stable")  # from behind to the front: what is nearer is laid over
    row = np.broadcast_to(np.arange(height)[:, None], order.shape)
    spots = np.rint(np.take_along_axis(moved, order, 1)).astype(np.int64)
    seen = (spots >= 0) & (spots < width)
    source = np.full((height, width), np.nan, np.float32)
    source[row[seen], spots[seen]] = np.take_along_axis(columns, order, 1)[seen]
    at = np.arange(width, dtype=np.float32)
    for line in source:
        known = ~np.isnan(line)
        if known.any() and not known.all():
            line[~known] = np.interp(at[~known], at[known], line[known])
    down = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], source.shape)
    turned = cv2.remap(picture, source, np.ascontiguousarray(down), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    points = np.asarray(landmarks, np.float32).copy()
    points[:, 0] = head.turned(points[:, 0], points[:, 1], angle)[0]
    return np.asarray(turned, np.uint8), _box(head, np.asarray(box, np.float32), angle), points


def _box(head: Head, box: Floats, angle: float) -> Floats:
    """Return the box of what is seen of the face that a box (4,) holds."""
    y, x = np.meshgrid(np.linspace(box[1], box[3], 25), np.linspace(box[0], box[2], 41), indexing="ij")
    moved, near = head.turned(np.asarray(x, np.float32), np.asarray(y, np.float32), angle)
    seen = moved[near > 0]
    left, right = (float(seen.min()), float(seen.max())) if seen.size else (float(box[0]), float(box[2]))
    return np.array([left, box[1], right, box[3]], np.float32)
