"""A restorer on a folder of clean pictures: degrade them, restore them, and measure everything against the truth."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from restorer.errors import UsageError
from restorer.evaluation.basicsr_compat import require
from restorer.evaluation.degrading import degradation_of
from restorer.evaluation.groups import Figures, Group, Row, grouped, means
from restorer.evaluation.judge import Judge
from restorer.evaluation.lpips import distances, load_lpips
from restorer.evaluation.metrics import Identity, niqe, psnr, ssim
from restorer.imaging.colour import LUMA
from restorer.imaging.sheets import Picture, sheet
from restorer.imaging.tensors import to_pictures, to_tensor
from restorer.models.base import Detector, FaceRestorer
from restorer.training.datasets import read_square

SIGMAS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0)
"""Gaussian filters that are tried on the degraded pictures, standard deviations in pixels of 256."""
_BATCH = 8


@dataclass
class Evaluation:
    """What was measured, and the pictures for a contact sheet.

    Attributes:
        model: the model's name.
        degradation: its name, or the recipe's whose degradation was used.
        pictures: how many.
        rows: input, bicubic, gaussian, the model, truth.
        gaussian_sigma: of the best Gaussian filter, pixels.
        faces: on how many pictures a face was found, for the identity; None without identity weights.
        peak_memory_mb: the most memory that the process held so far.
        size: side at which everything was measured.
        shots: (input, gaussian, output, truth) of the worst, the median and the best by the gain in PSNR.
        groups: the means of some of the pictures, where that was asked for.
    """

    model: str
    degradation: str
    pictures: int
    rows: list[Row]
    gaussian_sigma: float
    faces: int | None
    peak_memory_mb: float
    size: int
    shots: list[tuple[str, tuple[Picture, Picture, Picture, Picture]]] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the record that `restore evaluate --json` prints."""
        return {
            "model": self.model,
            "degradation": self.degradation,
            "pictures": self.pictures,
            "rows": [row.as_json() for row in self.rows],
            "size": self.size,
            "gaussian_sigma": self.gaussian_sigma,
            "faces": self.faces,
            "peak_memory_mb": round(self.peak_memory_mb, 1),
            "groups": [group.as_json() for group in self.groups],
        }

    def contact_sheet(self) -> Image.Image:
        """Return the worst, the median and the best picture: input, best Gaussian filter, output, truth."""
        labels = ("input", f"gaussian {self.gaussian_sigma:g} px", self.model, "truth")
        return sheet([pictures for _, pictures in self.shots], labels)


@dataclass(frozen=True)
class Judges:
    """What measures beside PSNR, SSIM, NIQE and detail; each is left out where it is None.

    Attributes:
        identity: MobileFaceNet weights; needs `detector`.
        detector: finds the faces for the identity.
        lpips: the AlexNet and the linear weights of LPIPS.
        independent: a recogniser that took no part in any training.
    """

    identity: Path | None = None
    detector: Detector | None = None
    lpips: tuple[Path, Path] | None = None
    independent: Judge | None = None


def evaluate(
    restorer: FaceRestorer,
    name: str,
    files: Sequence[Path],
    *,
    degrade: str | Path | None = None,
    seed: int = 0,
    size: int | None = None,
    judges: Judges | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    progress: Callable[[str], None] = lambda _line: None,
) -> Evaluation:
    """Measure a restorer on clean pictures, each degraded as the seed and its place in the list say.

    Args:
        restorer: maps crops in [-1, 1] (n, 3, input_size, input_size) to (n, 3, output_size, output_size).
        name: what the restorer is called in the table.
        files: clean pictures; their middle squares are brought to `size`.
        degrade: name of a degradation, or a recipe that has one; None for GFP-GAN's.
        seed: of the degradation.
        size: side at which everything is measured, so that models of several sizes can be compared; None = that of the
            restorer's output.
        judges: what else measures; None for nothing.
        groups: indices of `files` by the name of what they have in common; each group gets means of its own.
        progress: told what is being done.

    Raises:
        UsageError: no pictures, or identity weights without a detector.
        MissingPackageError: basicsr, whose measures these are, is not installed.
    """
    require("Measuring PSNR, SSIM and NIQE")
    judges = judges or Judges()
    if not files:
        raise UsageError("There are no pictures to evaluate.")
    if judges.identity is not None and judges.detector is None:
        raise UsageError("The identity needs a face detector.", "Name one with --detector.")
    size = size or restorer.crop.output_size
    degradation, make_pair = degradation_of(degrade, size)
    progress(f"degrading {len(files)} pictures at {size} px")
    with ThreadPoolExecutor(2) as pool:
        clean = list(pool.map(lambda path: read_square(path, size), files))
    pairs = [make_pair(picture, np.random.default_rng([seed, index])) for index, picture in enumerate(clean)]
    truths, inputs = [pair.truth for pair in pairs], [pair.picture for pair in pairs]
    sigma, smooth = best_gaussian(inputs, truths, size)
    progress(f"restoring with {name}")
    outputs, seconds = _restore(restorer, inputs)
    outputs = [_brought(picture, size) for picture in outputs]

    bicubic = [pair.bicubic for pair in pairs]
    columns = {"input": inputs, "bicubic": bicubic, "gaussian": smooth, name: outputs, "truth": truths}
    figures: dict[str, Figures] = {method: {} for method in columns}
    figures[name]["seconds"] = np.full(len(files), seconds / len(files))
    _fidelity(columns, figures, progress)
    faces = _likeness(judges, columns, figures, progress)

    order = np.argsort(figures[name]["psnr"] - figures["input"]["psnr"])
    chosen = {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}
    shots = [(label, (inputs[index], smooth[index], outputs[index], truths[index])) for label, index in chosen.items()]
    rows = [means(method, values) for method, values in figures.items()]
    parts = grouped(figures, groups or {})
    return Evaluation(name, degradation, len(files), rows, sigma, faces, _peak_memory(), size, shots, parts)


Columns = Mapping[str, Sequence[Picture]]
"""Pictures by method; `truth` is one."""


def _fidelity(columns: Columns, figures: Mapping[str, Figures], progress: Callable[[str], None]) -> None:
    """Fill in each picture's PSNR in dB, SSIM, NIQE and detail."""
    truths = columns["truth"]
    wanted = np.array([_detail(truth) for truth in truths])
    with ThreadPoolExecutor(2) as pool:
        for method, pictures in columns.items():
            progress(f"measuring {method}")
            values = figures[method]
            if method != "truth":
                # Equal pictures are infinitely near; as 100 dB they can be averaged with others.
                values["psnr"] = np.minimum(np.array(list(pool.map(psnr, pictures, truths))), 100.0)
                values["ssim"] = np.array(list(pool.map(ssim, pictures, truths)))
                values["detail"] = np.array([_detail(picture) for picture in pictures]) / np.maximum(wanted, 1e-6)
            natural = np.array(list(pool.map(niqe, pictures)), np.float64)  # None becomes not a number
            values["niqe"] = np.where(np.isfinite(natural), natural, np.nan)


def _detail(picture: Picture) -> float:
    """Return the energy of the Laplacian in the middle half of a picture, across and down."""
    height, width = picture.shape[:2]
    middle = picture[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return float(cv2.Laplacian(middle.astype(np.float32) @ LUMA, cv2.CV_32F).var())


def _likeness(
    judges: Judges, columns: Columns, figures: Mapping[str, Figures], progress: Callable[[str], None]
) -> int | None:
    """Fill in what the judges say of each picture; return on how many there was a face for MobileFaceNet."""
    faces = None
    if judges.identity is not None and judges.detector is not None:
        progress("comparing identities")
        faces = _identities(Identity(judges.identity), judges.detector, columns, figures)
    if judges.lpips is not None:
        progress("measuring LPIPS")
        network = load_lpips(*judges.lpips)
        for method, pictures in columns.items():
            figures[method]["lpips"] = np.asarray(distances(network, pictures, columns["truth"]), np.float64)
    if judges.independent is not None:
        progress("asking the independent judge")
        for method, pictures in columns.items():
            apart = np.asarray(judges.independent.distances(pictures, columns["truth"]), np.float64)
            figures[method]["distance"] = np.where(np.isfinite(apart), apart, np.nan)
    return faces


def best_gaussian(pictures: Sequence[Picture], truths: Sequence[Picture], size: int) -> tuple[float, list[Picture]]:
    """Return the Gaussian filter with the best mean PSNR: its sigma in pixels, and the filtered pictures."""
    best: tuple[float, float, list[Picture]] | None = None
    for sigma in (value * size / 256 for value in SIGMAS):
        filtered = [np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8) for picture in pictures]
        mean = float(np.mean([psnr(a, b) for a, b in zip(filtered, truths, strict=True)]))
        if best is None or mean > best[0]:
            best = mean, sigma, filtered
    assert best is not None
    return best[1], best[2]


def _restore(restorer: FaceRestorer, inputs: Sequence[Picture]) -> tuple[list[Picture], float]:
    """Return the outputs and the seconds that the network took for all of them, its first batch left out of account."""
    side = restorer.crop.input_size
    inputs = [_brought(picture, side) for picture in inputs]
    restorer.restore(to_tensor(inputs[:1]))  # the first call loads and warms up
    outputs: list[Picture] = []
    began = time.perf_counter()
    for start in range(0, len(inputs), _BATCH):
        outputs += to_pictures(restorer.restore(to_tensor(inputs[start : start + _BATCH])))
    return outputs, time.perf_counter() - began


def _brought(picture: Picture, side: int) -> Picture:
    """Return a square picture at another side."""
    if picture.shape[0] == side:
        return picture
    way = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (side, side), interpolation=way), np.uint8)


def _identities(network: Identity, detector: Detector, columns: Columns, figures: Mapping[str, Figures]) -> int:
    """Fill in each picture's cosine with the truth; every method's face is aligned by the truth's landmarks."""
    landmarks: dict[int, NDArray[np.float32]] = {}
    for index, truth in enumerate(columns["truth"]):
        found = detector.detect(truth)
        if found:
            largest = max(found, key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))
            landmarks[index] = largest.landmarks
    if not landmarks:
        return 0
    points = list(landmarks.values())
    wanted = network.embed([columns["truth"][index] for index in landmarks], points)
    for method, pictures in columns.items():
        embeddings = network.embed([pictures[index] for index in landmarks], points)
        cosines = np.full(len(pictures), np.nan)
        cosines[list(landmarks)] = (embeddings * wanted).sum(1)
        figures[method]["identity"] = cosines
    return len(landmarks)


def _peak_memory() -> float:
    """Return the largest resident size of this process so far, in MB; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
