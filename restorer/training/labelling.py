"""Faces that a teacher finds in a folder of pictures, found once and kept in a file beside the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps

from restorer.errors import UnreadablePhotoError, UsageError

LOWEST = 0.3
"""The teacher is asked for everything from this score on: what may be a face is at least no background."""


class Teacher(Protocol):
    """A detector: anything whose `detect` returns faces with `box`, `landmarks` (5, 2) and `score`."""

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
