"""What a detector's scenes are composed of: the folders that a recipe names, and where a teacher finds their faces."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from restorer.errors import UsageError
from restorer.models.base import Detector
from restorer.training.datasets import picture_files, read_picture, split
from restorer.training.heads import turn_head
from restorer.training.labelling import LOWEST, AugmentedTeacher, Labels, known_faces
from restorer.training.people import Part, Rules, chosen, read_manifest
from restorer.training.pieces import SIDE, Picture
from restorer.training.recipe import Recipe, Values
from restorer.training.scenes import Composer

YAW = (15.0, 75.0)
"""Degrees by which a head is turned to either side."""


class Scenery:
    """The pictures of a recipe.

    Args:
        recipe: gives the seed, and the folder to which its paths are relative.
        data: its data table.
        folder: faces, one a picture.
        size: side of the scenes.
        smallest: longer side of their smallest faces, pixels.
        device: where the teacher computes.
    """

    def __init__(self, recipe: Recipe, data: Values, folder: Path, size: int, smallest: float, device: str) -> None:
        self._recipe = recipe
        self._data = data
        self._folder = folder
        self._size = size
        self._smallest = smallest
        self._device = device

    def composers(self) -> tuple[Composer, Composer]:
        """Return what composes scenes of the faces for training, and of those that are kept for validation."""
        data = self._data
        training, kept = self._parts()
        labels = self._recipe.path(data["labels"]) if data["labels"] else None
        known = known_faces([*training, *kept], self._folder, labels, self._teacher)
        training, kept = _alone(training, known), _alone(kept, known)
        if not training:
            raise UsageError(
                f"The teacher finds a single face in none of the pictures of {self._folder}.",
                "Give crops of one face each.",
            )
        backgrounds = self._backgrounds()
        others = [read_picture(path) for path in picture_files(self._given("others"))] if data["others"] else []
        training_backgrounds = backgrounds if len(backgrounds) < 8 else backgrounds[len(backgrounds) // 8 :]
        kept_backgrounds = backgrounds if len(backgrounds) < 8 else backgrounds[: len(backgrounds) // 8]
        return (
            self._composer(training, known, training_backgrounds, others),
            self._composer(kept or training[:8], known, kept_backgrounds, others),
        )

    def _parts(self) -> tuple[list[Path], list[Path]]:
        """Return the crops to learn from, and those that are kept: of other persons, where the folder names them."""
        data = self._data
        if data["grades"]:
            rows, rules = read_manifest(self._folder), Rules.of(data)
            parts: tuple[Part, Part] = ("training", "choosing")
            training, kept = ([row.file for row in chosen(rows, rules, part)] for part in parts)
            return training, kept
        return split(picture_files(self._folder), data["validation"], self._recipe.seed)

    def _composer(
        self,
        files: list[Path],
        known: dict[Path, Labels],
        backgrounds: list[tuple[Picture, Labels]],
        others: list[Picture],
    ) -> Composer:
        faces: list[Any] = []
        boxes: list[Any] = []
        landmarks: list[Any] = []
        for path in files:
            picture, factor = _crop(path)
            faces.append(picture)
            boxes.append(known[path].boxes[0] * factor)
            landmarks.append(known[path].landmarks[0] * factor)
        for number in range(len(files)):
            rng = np.random.default_rng([self._recipe.seed, number])
            if rng.random() < self._data["turned"]:
                yaw = float(rng.choice([-1, 1]) * rng.uniform(*YAW))
                turned = turn_head(faces[number], boxes[number], landmarks[number], yaw)
                for held, value in zip((faces, boxes, landmarks), turned, strict=True):
                    held.append(value)
        return Composer(faces, np.stack(boxes), np.stack(landmarks), backgrounds, others, self._size, self._smallest)

    def _backgrounds(self) -> list[tuple[Picture, Labels]]:
        """Return the photographs for backgrounds, with the faces that the teacher finds in them."""
        data = self._data
        if not data["backgrounds"]:
            return []
        folder, left_out = self._given("backgrounds"), data["backgrounds_without"]
        files = [
            path
            for path in picture_files(folder)
            if not any(fnmatch.fnmatch(path.name, pattern) for pattern in left_out)
        ]
        labels = self._recipe.path(data["background_labels"]) if data["background_labels"] else None
        known = known_faces(files, folder, labels, self._teacher)
        return [(read_picture(path), known[path]) for path in files]

    def _given(self, name: str) -> Path:
        """Return a folder that the recipe names; raises `UsageError` when it is not there."""
        folder = self._recipe.path(self._data[name])
        if not folder.is_dir():
            raise UsageError(
                f"There is no folder {folder}, which data.{name} of the recipe {self._recipe.name!r} names.",
                f'Correct data.{name}, or set it to "" to do without.',
            )
        return folder

    def _teacher(self) -> Detector:
        """Return the detector that says where the faces are."""
        from restorer.options import Options
        from restorer.pipeline.components import Components

        name = self._data["teacher"]
        if not name:
            raise UsageError(
                f"The recipe {self._recipe.name!r} names no teacher, and its labels do not have all pictures.",
                'Set data.teacher to a detector, such as "retinaface-r50".',
            )
        options = Options(model="none", detector=name, min_score=LOWEST, device=self._device)
        return AugmentedTeacher(Components(options).detector(), self._data["teacher_sizes"])


def _alone(files: list[Path], known: Mapping[Path, Labels]) -> list[Path]:
    """Return the crops that surely have one face; a second one would be learnt to be none."""
    found = [path for path in files if len(known[path].scores) and known[path].scores[0] > 0.9]
    return [path for path in found if not (known[path].scores[1:] > 0.5).any()]


def _crop(path: Path) -> tuple[Picture, float]:
    """Return the picture at (256, 256, 3), and the factor by which it was reduced; raises UsageError if not square."""
    picture = read_picture(path)
    height, width = picture.shape[:2]
    if height != width:
        raise UsageError(f"{path} is {width} x {height} px.", "Give square crops of faces.")
    method = cv2.INTER_AREA if width > SIDE else cv2.INTER_CUBIC
    resized = picture if width == SIDE else cv2.resize(picture, (SIDE, SIDE), interpolation=method)
    return np.ascontiguousarray(resized), SIDE / width
