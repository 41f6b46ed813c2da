"""Faces that a teacher finds in a folder of pictures, found once and kept in a file beside the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from restorer.errors import UsageError
from restorer.imaging.boxes import iou
from restorer.models.base import Detector
from restorer.storage.atomic import write_atomic
from restorer.training.datasets import read_picture

LOWEST = 0.3
"""The teacher is asked for everything from this score on: what may be a face is at least no background."""

SAME = 0.5
"""Intersection over union from which on two looks mean the same face."""
KEPT = 100
"""Pictures after which what the teacher found is kept."""
MIRRORED = [1, 0, 2, 4, 3]  # the landmarks of a mirrored face


@dataclass(frozen=True)
class Labels:
    """The faces of one picture, best first, in its pixels (edge coordinates).

    Attributes:
        boxes: (n, 4) float32, x0, y0, x1, y1.
        landmarks: (n, 5, 2) float32: eyes, nose, corners of the mouth; left is the picture's left.
        scores: (n,) float32.
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray


class AugmentedTeacher:
    """A teacher whose landmarks are the mean of several looks: at other sizes, and mirrored.

    One look is off by some twentieths of the distance of the eyes, in another direction at each size; a network that
    learns from single looks learns that too. Boxes and scores stay those of the first look.

    Args:
        teacher: the detector that looks.
        sizes: shares of the picture's size at which it looks, upright and mirrored.
    """

    def __init__(self, teacher: Detector, sizes: Sequence[float]) -> None:
        self._teacher = teacher
        self._sizes = sizes

    def detect(self, pixels: np.ndarray) -> Sequence[Any]:
        """Return the faces of a picture (h, w, 3) RGB with steadier landmarks."""
        found = list(self._teacher.detect(pixels))
        if not found:
            return found
        boxes = np.array([face.box for face in found], np.float64)
        sums = np.array([face.landmarks for face in found], np.float64)
        count = np.ones(len(found))
        for size in self._sizes:
            for mirrored in (False, True):
                if size == 1 and not mirrored:
                    continue
                for box, landmarks in self._look(pixels, size, mirrored):
                    shares = iou(box, boxes)
                    best = int(shares.argmax())
                    if shares[best] >= SAME:
                        sums[best] += landmarks
                        count[best] += 1
        means = sums / count[:, None, None]
        return [replace(face, landmarks=mean.astype(np.float32)) for face, mean in zip(found, means, strict=True)]

    def _look(self, pixels: np.ndarray, size: float, mirrored: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield box (4,) and landmarks (5, 2) of each face, in the pixels of the picture as it is."""
        height, width = pixels.shape[:2]
        wide, high = max(1, round(width * size)), max(1, round(height * size))
        seen = np.ascontiguousarray(cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA))
        for face in self._teacher.detect(np.ascontiguousarray(seen[:, ::-1]) if mirrored else seen):
            box, landmarks = np.array(face.box, np.float64), np.array(face.landmarks, np.float64)
            if mirrored:
                box[[0, 2]] = wide - box[[2, 0]]
                landmarks = landmarks[MIRRORED]
                landmarks[:, 0] = wide - landmarks[:, 0]
            back = np.array([width / wide, height / high])
            yield box * np.tile(back, 2), landmarks * back


def known_faces(
    files: Sequence[Path], folder: Path, labels: Path | None, teacher: Callable[[], Detector]
) -> dict[Path, Labels]:
    """Return the faces of each file, from the file of labels where it has them, otherwise from the teacher.

    Args:
        files: the pictures, all below `folder`.
        folder: names in the file of labels are relative to it.
        labels: JSON of what a teacher found, by the pictures' names; written while the teacher looks, so that a run
            that is interrupted goes on where it stopped. None keeps nothing.
        teacher: makes the teacher; called only when a picture is not in the file.

    Raises:
        UsageError: the file of labels is not one.
        UnreadablePhotoError: a file is no picture.
    """
    held = _read(labels) if labels is not None and labels.is_file() else {}
    names = {path: path.relative_to(folder).as_posix() for path in files}
    missing = [path for path in files if names[path] not in held]
    if missing:
        looks = teacher()
        for number, path in enumerate(missing, 1):
            found = sorted(looks.detect(read_picture(path)), key=lambda face: -face.score)
            held[names[path]] = [
                [round(float(value), 2) for value in (*face.box, *np.ravel(face.landmarks))] + [round(face.score, 4)]
                for face in found
            ]
            if labels is not None and (number % KEPT == 0 or number == len(missing)):
                lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(held[name])}" for name in sorted(held))
                write_atomic(labels, f"{{\n{lines}\n}}\n")
    return {path: _known(held[names[path]]) for path in files}


def _known(rows: Sequence[Sequence[float]]) -> Labels:
    values = np.array(rows, np.float32).reshape(-1, 15)
    return Labels(values[:, :4], values[:, 4:14].reshape(-1, 5, 2), values[:, 14])


def _read(path: Path) -> dict[str, list[list[float]]]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        shapes = {len(row) for rows in held.values() for row in rows}
    except (ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{path} is no file of labels: {error}.", "Delete it: the teacher writes a new one."
        ) from error
    if shapes - {15}:
        raise UsageError(f"{path} is no file of labels: its rows are not of 15 numbers.", "Delete it.")
    result: dict[str, list[list[float]]] = held
    return result
