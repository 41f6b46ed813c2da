"""A judge of likeness that took no part in any training here: dlib's face recogniser.

King, "Dlib-ml: A Machine Learning Toolkit" (2009); the network is `dlib_face_recognition_resnet_model_v1`, a ResNet of
29 layers on chips of 150 px. Its distances below 0.6 mean the same person. It only measures: no model learns from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restorer.errors import MissingPackageError
from restorer.imaging.sheets import Picture

SAME_PERSON = 0.6
"""Distance from which on dlib takes two faces for two persons."""

_REMEDY = 'Install it with: pip install "restorer[judge]"'


class Judge:
    """dlib's recogniser with its own detector and landmarks.

    Raises:
        MissingPackageError: dlib, or the package that carries its weights, is not installed.
    """

    def __init__(self) -> None:
        if find_spec("dlib") is None:
            raise MissingPackageError(
                "dlib", "The independent judge of likeness is dlib, which is not installed.", _REMEDY
            )
        folder = _weights()
        dlib = import_module("dlib")
        self._detector: Any = dlib.get_frontal_face_detector()
        self._landmarks: Any = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
        self._network: Any = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))
        self._seen: tuple[Picture, Any] | None = None

    def distances(self, pictures: Sequence[Picture], truths: Sequence[Picture]) -> NDArray[np.float64]:
        """Return how far each face is from the true one, (n,): 0 is the same picture, 0.6 another person.

        Both are aligned by the landmarks of the truth; where no face is found there, the distance is not a number.

        Args:
            pictures: RGB uint8 (h, w, 3).
            truths: as many, of the same sizes.
        """
        found = [self._distance(picture, truth) for picture, truth in zip(pictures, truths, strict=True)]
        return np.array(found, np.float64)

    def _distance(self, picture: Picture, truth: Picture) -> float:
        shape = self._shape(truth)
        if shape is None:
            return float("nan")
        ours, theirs = (
            np.array(self._network.compute_face_descriptor(np.ascontiguousarray(each), shape))
            for each in (picture, truth)
        )
        return float(np.linalg.norm(ours - theirs))

    def _shape(self, truth: Picture) -> Any:
        """Return the landmarks of a face, None where none is found; the last one is remembered."""
        if self._seen is None or self._seen[0] is not truth:
            boxes = self._detector(truth, 1)  # once enlarged: it looks for faces of 80 px
            shape = self._landmarks(truth, max(boxes, key=lambda box: box.area())) if boxes else None
            self._seen = truth, shape
        return self._seen[1]


def _weights() -> Path:
    """Return the folder of dlib's weights; their package is only looked up, since importing it needs setuptools."""
    spec = find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        package = "face_recognition_models"
        raise MissingPackageError(
            package, f"The weights of dlib's recogniser are missing: the package {package}.", _REMEDY
        )
    return Path(spec.submodule_search_locations[0]) / "models"
