"""Faces that a teacher finds in a folder of pictures, found once and kept in a file beside the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from PIL import Image, ImageOps

from restorer.errors import UnreadablePhotoError, UsageError

LOWEST = 0.3
"""The teacher is asked for everything from this score on: what may be a face is at least no background."""

SAME = 0.5
"""Intersection over union from which on two looks mean the same face."""
MIRRORED = [1, 0, 2, 4, 3]  # the landmarks of a mirrored face


class Teacher(Protocol):
    """A detector: anything whose `detect` returns faces (dataclasses) with `box`, `landmarks` (5, 2) and `score`."""

    def detect(self, pixels: np.ndarray) -> Sequence[Any]:
        """Return the faces of a picture (h, w, 3) RGB."""
        ...


@dataclass(frozen=True)
class Known:
    """The faces of one picture, best first, in its pixels (edge coordinates).

    Attributes:
        boxes: (n, 4) float32, x0, y0, x1, y1.
        landmarks: (n, 5, 2) float32: eyes, nose, corners of the mouth; left is the picture's left.
        scores: (n,) float32.
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray


class Steady:
    """A teacher whose landmarks are the mean of several looks: at other sizes, and mirrored.

    One look is off by some twentieths of the distance of the eyes, in another direction at each size; a network that
    learns from single looks learns that too. Boxes and scores stay those of the first look.

    Args:
        teacher: the detector that looks.
        sizes: shares of the picture's size at which it looks, upright and mirrored.
    """

    def __init__(self, teacher: Teacher, sizes: Sequence[float]) -> None:
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
                    shares = _overlap(box, boxes)
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


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box (4,) with others (n, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    both = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - common
    shares: np.ndarray = common / np.maximum(both, 1e-9)
    return shares


def read_picture(path: Path) -> np.ndarray:
    """Return a picture upright, (h, w, 3) uint8 RGB; raises `UnreadablePhotoError` when it is none."""
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError) as error:
        raise UnreadablePhotoError(path, f"{path} cannot be read: {error}.", "Take it out of the folder.") from error


def known_faces(
    files: Sequence[Path], folder: Path, labels: Path | None, teacher: Callable[[], Teacher]
) -> dict[Path, Known]:
    """Return the faces of each file, from the file of labels where it has them, otherwise from the teacher.

    Args:
        files: the pictures, all below `folder`.
        folder: names in the file of labels are relative to it.
        labels: JSON of what a teacher found, by the pictures' names; written when the teacher had to look. None keeps
            nothing.
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
        for path in missing:
            found = sorted(looks.detect(read_picture(path)), key=lambda face: -face.score)
            held[names[path]] = [
                [round(float(value), 2) for value in (*face.box, *np.ravel(face.landmarks))] + [round(face.score, 4)]
                for face in found
            ]
        if labels is not None:
            labels.parent.mkdir(parents=True, exist_ok=True)
            partial = labels.with_name(f".{labels.name}.partial")
            lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(held[name])}" for name in sorted(held))
            partial.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
            partial.replace(labels)
    return {path: _known(held[names[path]]) for path in files}


def _known(rows: Sequence[Sequence[float]]) -> Known:
    values = np.array(rows, np.float32).reshape(-1, 15)
    return Known(values[:, :4], values[:, 4:14].reshape(-1, 5, 2), values[:, 14])


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
