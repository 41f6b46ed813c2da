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
from restorer.evaluation.lpips import distances, load_lpips
from restorer.evaluation.metrics import Identity, niqe, psnr, ssim
from restorer.imaging.sheets import Picture, sheet
from restorer.imaging.tensors import to_pictures, to_tensor
from restorer.models.base import Detector, FaceRestorer
from restorer.training.datasets import read_square
from restorer.training.degradations import DEFAULTS, Degradation
from restorer.training.recipe import load_recipe

SIGMAS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0)
"""Gaussian filters that are tried on the degraded pictures, standard deviations in pixels of 256."""
_BATCH = 8


@dataclass
class Row:
    """One method's means over the pictures; None where a figure does not apply."""

    method: str
    psnr: float | None = None
    ssim: float | None = None
    niqe: float | None = None
    identity: float | None = None
    seconds: float | None = None
    lpips: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row as it stands in the JSON, rounded to four digits behind the point."""
        values = {name: getattr(self, name) for name in ("psnr", "ssim", "niqe", "identity", "seconds", "lpips")}
        return {"method": self.method} | {
            name: None if value is None else round(value, 4) for name, value in values.items()
        }


@dataclass
class Evaluation:
    """What was measured, and the pictures for a contact sheet.

    Attributes:
        model: the model's name.
        degradation: the recipe whose degradation was used.
        pictures: how many.
        rows: input, bicubic, gaussian, the model, truth.
        gaussian_sigma: of the best Gaussian filter, pixels.
        faces: on how many pictures a face was found, for the identity; None without identity weights.
        peak_memory_mb: the most memory that the process held so far.
        size: side at which everything was measured.
        shots: (input, gaussian, output, truth) of the worst, the median and the best by the gain in PSNR.
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
        }

    def contact_sheet(self) -> Image.Image:
        """Return the worst, the median and the best picture: input, best Gaussian filter, output, truth."""
        labels = ("input", f"gaussian {self.gaussian_sigma:g} px", self.model, "truth")
        return sheet([pictures for _, pictures in self.shots], labels)


def degradation_of(recipe: str | Path | None) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the numbers of a recipe's degradation; None gives GFP-GAN's own.

    A recipe of any kind will do, also a file that has nothing but a head and a `[degradation]` table.

    Raises:
        UsageError: there is no such recipe, or its table has an unknown key.
    """
    if recipe is None:
        return "gfpgan", DEFAULTS
    loaded = load_recipe(recipe)
    given = loaded.values.get("degradation", {})
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown:
        raise UsageError(
            f"The degradation of {loaded.name!r} sets {unknown[0]}, which is unknown.",
            f"Known: {', '.join(DEFAULTS)}.",
        )
    return loaded.name, {**DEFAULTS, **given}


def evaluate(
    restorer: FaceRestorer,
    name: str,
    files: Sequence[Path],
    *,
    degrade: str | Path | None = None,
    seed: int = 0,
    identity: Path | None = None,
    detector: Detector | None = None,
    lpips: tuple[Path, Path] | None = None,
    progress: Callable[[str], None] = lambda _line: None,
) -> Evaluation:
    """Measure a restorer on clean pictures, each degraded as the seed and its place in the list say.

    Args:
        restorer: maps crops in [-1, 1] (n, 3, input_size, input_size) to (n, 3, output_size, output_size).
        name: what the restorer is called in the table.
        files: clean pictures; their middle squares are brought to the restorer's output size.
        degrade: recipe of the degradation, None for GFP-GAN's.
        seed: of the degradation.
        identity: MobileFaceNet weights; None leaves the identity out.
        detector: finds the faces for the identity; needed with `identity`.
        lpips: the AlexNet and the linear weights of LPIPS; None leaves it out.
        progress: told what is being done.

    Raises:
        UsageError: no pictures, or identity weights without a detector.
        MissingPackageError: basicsr, whose measures these are, is not installed.
    """
    require("Measuring PSNR, SSIM and NIQE")
    if not files:
        raise UsageError("There are no pictures to evaluate.")
    if identity is not None and detector is None:
        raise UsageError("The identity needs a face detector.", "Name one with --detector.")
    size = restorer.crop.output_size
    degradation_name, values = degradation_of(degrade)
    degradation = Degradation.of(values, size)
    progress(f"degrading {len(files)} pictures at {size} px")
    with ThreadPoolExecutor(2) as pool:
        clean = list(pool.map(lambda path: read_square(path, size), files))
    worse = [degradation(picture, np.random.default_rng([seed, index])) for index, picture in enumerate(clean)]
    truths = [degraded.truth(picture) for degraded, picture in zip(worse, clean, strict=True)]
    inputs = [degraded.enlarged() for degraded in worse]
    bicubic = [degraded.enlarged(cv2.INTER_CUBIC) for degraded in worse]
    sigma, smooth = best_gaussian(inputs, truths, size)
    progress(f"restoring with {name}")
    outputs, seconds = _restore(restorer, inputs)

    columns = {"input": inputs, "bicubic": bicubic, "gaussian": smooth, name: outputs, "truth": truths}
    rows = {method: Row(method) for method in columns}
    rows[name].seconds = seconds / len(files)
    gains = np.zeros(len(files))
    with ThreadPoolExecutor(2) as pool:
        for method, pictures in columns.items():
            progress(f"measuring {method}")
            row = rows[method]
            if method != "truth":
                values_ = list(pool.map(psnr, pictures, truths))
                row.psnr, row.ssim = float(np.mean(values_)), float(np.mean(list(pool.map(ssim, pictures, truths))))
                gains += np.array(values_) * {name: 1, "input": -1}.get(method, 0)
            natural = [value for value in pool.map(niqe, pictures) if value is not None and np.isfinite(value)]
            row.niqe = float(np.mean(natural)) if natural else None
    faces = None
    if identity is not None and detector is not None:
        progress("comparing identities")
        faces = _identities(Identity(identity), detector, columns, rows)

    if lpips is not None:
        progress("measuring LPIPS")
        network = load_lpips(*lpips)
        for method, pictures in columns.items():
            rows[method].lpips = float(np.mean(distances(network, pictures, truths)))

    order = np.argsort(gains)
    chosen = {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}
    shots = [(label, (inputs[index], smooth[index], outputs[index], truths[index])) for label, index in chosen.items()]
    return Evaluation(
        name, degradation_name, len(files), list(rows.values()), sigma, faces, _peak_memory(), size, shots
    )


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
    if inputs[0].shape[0] != side:
        inputs = [np.asarray(cv2.resize(x, (side, side), interpolation=cv2.INTER_AREA), np.uint8) for x in inputs]
    restorer.restore(to_tensor(inputs[:1]))  # the first call loads and warms up
    outputs: list[Picture] = []
    began = time.perf_counter()
    for start in range(0, len(inputs), _BATCH):
        outputs += to_pictures(restorer.restore(to_tensor(inputs[start : start + _BATCH])))
    return outputs, time.perf_counter() - began


def _identities(
    network: Identity, detector: Detector, columns: Mapping[str, Sequence[Picture]], rows: Mapping[str, Row]
) -> int:
    """Fill in each row's mean cosine with the truth; every method's face is aligned by the truth's landmarks."""
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
        rows[method].identity = float((embeddings * wanted).sum(1).mean())
    return len(landmarks)


def _peak_memory() -> float:
    """Return the largest resident size of this process so far, in MB; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
