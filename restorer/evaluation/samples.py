"""What a prior draws, measured: are they faces, do they differ, and is any of them a picture that it was trained on?"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restorer.evaluation.metrics import Identity
from restorer.imaging.sheets import Picture, sheet
from restorer.models.base import Detector
from restorer.training.datasets import read_square

FOUND = 0.9
"""The score from which a face counts as found."""
ALIKE = 0.8
"""The identity cosine from which two samples count as alike."""
_DETECTED_AT = 256
_COMPARED_AT = 32


@dataclass
class Judgement:
    """What was measured of samples; None where it was not asked for.

    Attributes:
        pictures: how many samples.
        faces: in how many of them a face was found.
        alike: how many pairs of those faces have an identity cosine of `ALIKE` and more.
        most_alike: the largest such cosine.
        nearest: for each sample the index of the nearest training picture, and its distance: the root mean square
            difference at 32 px, 0 to 1.
        usual: the median distance of a training picture to the nearest other one, for comparison.
    """

    pictures: int
    faces: int | None = None
    alike: int | None = None
    most_alike: float | None = None
    nearest: list[tuple[int, float]] = field(default_factory=list)
    usual: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the figures as `restore sample --json` prints them."""
        closest = min((distance for _, distance in self.nearest), default=None)
        return {
            "pictures": self.pictures,
            "faces": self.faces,
            "alike": self.alike,
            "most_alike": None if self.most_alike is None else round(self.most_alike, 4),
            "nearest": None if closest is None else round(closest, 4),
            "usual": None if self.usual is None else round(self.usual, 4),
        }


def judge_faces(pictures: Sequence[Picture], detector: Detector, identity: Path | None = None) -> Judgement:
    """Count the samples with a face, and with MobileFaceNet weights the pairs of samples that look alike.

    Args:
        pictures: samples, (h, w, 3) RGB; small ones are enlarged to 256 px for the detector.
        detector: finds faces.
        identity: MobileFaceNet weights; None leaves the likeness out.
    """
    result = Judgement(len(pictures), faces=0)
    faces, landmarks = [], []
    for picture in pictures:
        side = max(picture.shape[0], _DETECTED_AT)
        large = np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
        found = [face for face in detector.detect(large) if face.score >= FOUND]
        if found:
            faces.append(large)
            landmarks.append(max(found, key=lambda face: float(face.score)).landmarks)
    result.faces = len(faces)
    if identity is not None and len(faces) > 1:
        embeddings = Identity(identity).embed(faces, landmarks)
        cosines = [float(embeddings[a] @ embeddings[b]) for a, b in combinations(range(len(faces)), 2)]
        result.alike, result.most_alike = sum(cosine >= ALIKE for cosine in cosines), max(cosines)
    return result


def find_nearest(pictures: Sequence[Picture], files: Sequence[Path], result: Judgement) -> Image.Image:
    """Find each sample's nearest training picture, mirrored ones included; return a sheet of both side by side.

    Args:
        pictures: samples, (h, w, 3) RGB.
        files: what the prior was trained on; at least two.
        result: takes `nearest` and `usual`.
    """
    with ThreadPoolExecutor(2) as pool:
        training = _small(list(pool.map(lambda path: read_square(path, _COMPARED_AT), files)))
    both = np.concatenate([training, _mirrored(training)])
    distances = _distances(_small(pictures), both)
    chosen = distances.argmin(1)
    result.nearest = [(int(i) % len(files), float(distances[k, i])) for k, i in enumerate(chosen)]
    some = np.linspace(0, len(files) - 1, min(len(files), 200)).astype(int)
    others = _distances(training[some], training)
    others[np.arange(len(some)), some] = np.inf
    result.usual = float(np.median(others.min(1)))

    side = pictures[0].shape[0]
    rows, row = [], []
    for picture, index in zip(pictures, chosen, strict=True):
        near = read_square(files[int(index) % len(files)], side)
        row += [picture, np.ascontiguousarray(near[:, ::-1]) if index >= len(files) else near]
        if len(row) == 8:
            rows.append(row)
            row = []
    return sheet([*rows, row] if row else rows, ("sample", "nearest") * 4)


def _small(pictures: Sequence[Picture]) -> NDArray[np.float32]:
    size = (_COMPARED_AT, _COMPARED_AT)
    reduced = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
    flat: NDArray[np.float32] = np.stack(reduced).reshape(len(reduced), -1).astype(np.float32)
    flat /= 255
    return flat


def _mirrored(flat: NDArray[np.float32]) -> NDArray[np.float32]:
    return flat.reshape(-1, _COMPARED_AT, _COMPARED_AT, 3)[:, :, ::-1].reshape(len(flat), -1)


def _distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the root mean square difference of each row of a to each of b, (len(a), len(b))."""
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(square, 0) / a.shape[1]), np.float32)
