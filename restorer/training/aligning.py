"""Photos as training pictures: the largest face of each, turned and scaled to where FFHQ has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from restorer.errors import UsageError
from restorer.faces import align
from restorer.imaging.sheets import Picture
from restorer.models.base import Detector
from restorer.models.templates import FACEXLIB
from restorer.training.datasets import read_picture

SMALLEST = 0.5
"""Faces that would have to be enlarged by more than one over this are left out: they have too little to teach."""


class AlignedFaces:
    """Reads aligned faces; a file without a face that is large enough is left out of `files`.

    Args:
        files: photos.
        detector: finds their faces, once.
        size: side of the largest pictures that will be asked for; decides what is large enough.

    Raises:
        UsageError: no photo has such a face.
        UnreadablePhotoError: a file is no picture.
    """

    def __init__(self, files: Sequence[Path], detector: Detector, size: int) -> None:
        self._landmarks: dict[Path, np.ndarray] = {}
        for path in files:
            found = detector.detect(read_picture(path))
            if not found:
                continue
            landmarks = max(found, key=lambda face: _area(face.box)).landmarks
            matrix = align.estimate(landmarks, FACEXLIB, size)
            if matrix is not None and np.hypot(*matrix[:, 0]) <= 1 / SMALLEST:
                self._landmarks[path] = landmarks
        if not self._landmarks:
            raise UsageError(
                f"None of the {len(files)} photos has a face that is large enough for {size} px.",
                'Give larger photos, a smaller size, or pictures that are aligned already (data.align = "").',
            )

    @property
    def files(self) -> list[Path]:
        """The photos with a face, in their order."""
        return list(self._landmarks)

    def __call__(self, path: Path, size: int) -> Picture:
        """Return a photo's face (size, size, 3), RGB."""
        matrix = align.estimate(self._landmarks[path], FACEXLIB, size)
        assert matrix is not None  # it was estimated before, and only the scale differs
        face: Picture = np.rint(align.extract(read_picture(path), matrix, size) * 255).astype(np.uint8)
        return face


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
