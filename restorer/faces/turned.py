"""Photos that lie on their side or on their head: by how much, and where their faces are all the same.

Detectors are trained on people who stand. A print that was scanned on its side shows them nothing, or the one face that
leans that far; so does a picture of somebody who lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from restorer.imaging.boxes import NMS_IOU, iou
from restorer.models.base import Face

SURE = 0.97
"""Score from which one face tells how a photo lies. A face on its head is often taken for one that stands, but never so
surely: the best of 36 photographs on their heads had 0.968, while 28 of the 30 that stand and show faces have a face of
0.973 and more. Of 103 photographs and 81 cats without a face none has such a find when it is turned (at most 0.968)."""
LYING = 45.0
"""Degrees from which a face lies rather than leans."""

QUARTER = 90.0


def roll(landmarks: np.ndarray) -> float:
    """Return by how many degrees a face is turned clockwise in its picture, -180 to 180; 0 = upright.

    Args:
        landmarks: (5, 2): eyes, nose, corners of the mouth.
    """
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    across, down = (float(value) for value in mouth - eyes)
    return math.degrees(math.atan2(-across, down))


def lies_by(faces: Sequence[Face]) -> int:
    """Return by which angle a photo lies, from its faces: 90 (clockwise), 180 or 270 degrees, 0 = upright.

    It lies where more of the faces, by their size, are turned so than in any other way.
    """
    weights = [0.0] * 4
    for face in faces:
        if len(face.landmarks) == 5:
            weights[round(roll(face.landmarks) / QUARTER) % 4] += face.size
    best = max(range(4), key=lambda quarter: (weights[quarter], -quarter))
    return best * 90


def lies(angle: int) -> str:
    """Return in words that a photo lies by an angle of `lies_by`."""
    how = {
        90: "on its side: it is turned clockwise by 90 degrees",
        180: "on its head",
        270: "on its side: it is turned counter-clockwise by 90 degrees",
    }
    return f"The photo seems to lie {how[angle]}. Its faces were found all the same; the photo is not turned."


def look_again(
    found: list[Face],
    photo: np.ndarray,
    glance: Callable[[np.ndarray], list[Face]],
    look: Callable[[np.ndarray], list[Face]],
) -> list[Face]:
    """Return the faces of a photo, looked for once more in the turned photo where that may find any.

    That is where no face surely stands. Of the three turns that one is taken in which most is found, if one of its
    faces is sure; what was found before stays where it is not the same face.

    Args:
        found: in the photo as it is.
        photo: (h, w, 3).
        glance: finds faces in a picture in little time; by it the turn is chosen.
        look: finds all faces that can be found.
    """
    if any(abs(roll(face.landmarks)) < LYING and face.score >= SURE for face in found):
        return found
    most, turn = 0.0, 0
    for quarters in (1, 2, 3):
        seen = glance(np.ascontiguousarray(np.rot90(photo, quarters)))
        total = sum(face.score for face in seen)
        if total > most and any(face.score >= SURE for face in seen):
            most, turn = total, quarters
    if not turn:
        return found
    seen = look(np.ascontiguousarray(np.rot90(photo, turn)))
    best = [_back(face, turn, photo.shape[1::-1]) for face in seen]
    boxes = np.array([face.box for face in best]).reshape(-1, 4)
    return best + [face for face in found if not (iou(np.array(face.box), boxes) > NMS_IOU).any()]


def _back(face: Face, quarters: int, size: tuple[int, ...]) -> Face:
    """Return a face of the photo turned by so many quarters, counter-clockwise, in the photo itself (width, height)."""
    points = np.concatenate([np.array(face.box, np.float64).reshape(2, 2), face.landmarks])
    width, height = size
    if quarters == 1:
        points = np.stack([width - points[:, 1], points[:, 0]], axis=1)
    elif quarters == 2:
        points = np.array([width, height]) - points
    else:
        points = np.stack([points[:, 1], height - points[:, 0]], axis=1)
    (x0, y0), (x1, y1) = points[:2].min(axis=0).tolist(), points[:2].max(axis=0).tolist()
    return replace(face, box=(x0, y0, x1, y1), landmarks=points[2:].astype(np.float32))
