"""Measures a face detector on photographs against a larger one, the teacher: recall, precision, landmarks, time.

The teacher's faces from score 0.9 and 40 px of height on are to be found (intersection over union 0.4 and more). A
detection on a face that the teacher is less sure of, or a smaller one, counts neither for nor against; every other one
is wrong.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from restorer.imaging.boxes import pairwise_iou
from restorer.models.base import Detector
from restorer.training.datasets import read_picture
from restorer.training.labelling import Labels, known_faces

MATCH = 0.4
SURE = 0.9
DOUBTFUL = 0.5
HEIGHT = 40.0
MEGAPIXEL = 1_000_000

Detect = Callable[[np.ndarray], Labels]


@dataclass
class Counts:
    """What was counted over the photographs.

    Attributes:
        wanted: faces that are to be found.
        found: how many of them were.
        right: finds on such faces.
        wrong: finds on nothing, or a second one on the same face.
        off: for each face found, the mean distance of its landmarks in shares of the distance of its eyes.
    """

    wanted: int
    found: int
    right: int
    wrong: int
    off: list[float]

    @property
    def recall(self) -> float:
        """Share of the wanted faces that were found; 1 where there are none."""
        return self.found / self.wanted if self.wanted else 1.0

    @property
    def precision(self) -> float:
        """Share of the finds that were right, of those that count; 1 where there are none."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def landmarks(self) -> float:
        """Median of `off`; not a number where no face was found."""
        return float(np.median(self.off)) if self.off else float("nan")


def compare(found: Labels, truth: Labels) -> tuple[Counts, list[int], list[int]]:
    """Return the counts of one photo, the wrong finds and the missed faces (indices).

    Each find, best first, takes the face that it shares most with, of those that are still free.
    """
    boxes = truth.boxes[truth.scores >= DOUBTFUL]
    landmarks = truth.landmarks[truth.scores >= DOUBTFUL]
    scores = truth.scores[truth.scores >= DOUBTFUL]
    wanted = (scores >= SURE) & (boxes[:, 3] - boxes[:, 1] >= HEIGHT)
    free = np.ones(len(boxes), bool)
    shares = pairwise_iou(found.boxes, boxes)
    counts = Counts(int(wanted.sum()), 0, 0, 0, [])
    wrong = []
    for index in np.argsort(-found.scores, kind="stable"):
        fits = np.where(free, shares[index], 0.0)
        face = int(fits.argmax()) if len(fits) else -1
        if face < 0 or fits[face] < MATCH:
            counts.wrong += 1
            wrong.append(int(index))
            continue
        free[face] = False
        if wanted[face]:
            counts.found += 1
            counts.right += 1
            eyes = float(np.linalg.norm(landmarks[face, 1] - landmarks[face, 0]))
            off = float(np.linalg.norm(found.landmarks[index] - landmarks[face], axis=1).mean())
            if np.isfinite(off) and eyes > 0:
                counts.off.append(off / eyes)
    missed = np.flatnonzero(wanted & free)
    kept = np.flatnonzero(truth.scores >= DOUBTFUL)
    return counts, wrong, [int(kept[face]) for face in missed]


def total(parts: Sequence[Counts]) -> Counts:
    """Return the sum over photos."""
    return Counts(
        sum(part.wanted for part in parts),
        sum(part.found for part in parts),
        sum(part.right for part in parts),
        sum(part.wrong for part in parts),
        [value for part in parts for value in part.off],
    )


def by_network(teacher: Detector) -> Detect:
    """Return a detector of this package as a function."""

    def detect(pixels: np.ndarray) -> Labels:
        faces = teacher.detect(pixels)
        return Labels(
            np.array([face.box for face in faces], np.float32).reshape(-1, 4),
            np.array([face.landmarks for face in faces], np.float32).reshape(-1, 5, 2),
            np.array([face.score for face in faces], np.float32),
        )

    return detect


def by_yunet(file: Path) -> Detect:
    """Return OpenCV's YuNet as a function: another small detector, for comparison (score 0.7, photos at their size)."""
    yunet = cv2.FaceDetectorYN.create(str(file), "", (320, 320), 0.7, 0.4, 5000)

    def detect(pixels: np.ndarray) -> Labels:
        yunet.setInputSize((pixels.shape[1], pixels.shape[0]))
        found = yunet.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
        rows = np.asarray(np.zeros((0, 15)) if found is None else found, np.float32)
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return Labels(boxes, rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14])

    return detect


def milliseconds(detect: Detect, pictures: Sequence[np.ndarray], repeats: int = 3) -> float:
    """Return how long a photo of a megapixel takes: the median over the photos of the best of some runs."""
    times = []
    for picture in pictures:
        factor = (MEGAPIXEL / (picture.shape[0] * picture.shape[1])) ** 0.5
        size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
        resized = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        detect(resized)
        runs = []
        for _ in range(repeats):
            began = time.perf_counter()
            detect(resized)
            runs.append(1000 * (time.perf_counter() - began))
        times.append(min(runs))
    return float(np.median(times)) if times else float("nan")


def drawn(picture: np.ndarray, found: Labels, truth: Labels, wrong: Sequence[int], missed: Sequence[int]) -> np.ndarray:
    """Return the photo with finds in green, wrong ones in red, missed faces in yellow, landmarks as dots."""
    factor = min(1.0, 1000 / max(picture.shape[:2]))
    size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    canvas = np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))

    def box(values: np.ndarray, color: tuple[int, int, int]) -> None:
        x0, y0, x1, y1 = (round(float(value) * factor) for value in values)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), color, 2)

    for index in missed:
        box(truth.boxes[index], (255, 220, 0))
    for index in range(len(found.scores)):
        box(found.boxes[index], (255, 0, 0) if index in wrong else (0, 255, 0))
        for x, y in found.landmarks[index]:
            if np.isfinite(x):
                cv2.circle(canvas, (round(float(x) * factor), round(float(y) * factor)), 2, (0, 200, 255), -1)
    return canvas


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    import torch

    from restorer.engine.device import allowed_cores, choose
    from restorer.engine.pool import POOL
    from restorer.faces.detect import FaceDetector
    from restorer.training.datasets import picture_files
    from restorer.weights import resolve

    parser = argparse.ArgumentParser(prog="python -m restorer.bench detector", description=__doc__)
    parser.add_argument("folder", type=Path, help="photographs")
    parser.add_argument("--detector", default="tiny-detector-free", help="table or file (default tiny-detector-free)")
    parser.add_argument("--teacher", default="retinaface-mobilenet0.25", help="table of the larger detector")
    parser.add_argument("--yunet", type=Path, help="YuNet's ONNX file, for a row of its own")
    parser.add_argument("--finds", type=Path, help="JSON that keeps what the teacher finds; written when absent")
    parser.add_argument("--min-score", type=float, default=0.9, help="of the detector's finds (default 0.9)")
    parser.add_argument("--timed", type=int, default=7, help="how many photos to time (default 7)")
    parser.add_argument("--draw", type=Path, help="folder for the photos with what was found")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(allowed_cores())

    def load(name: str, lowest: float) -> Detector:
        return FaceDetector(POOL.get(resolve(name), choose("cpu")), min_score=lowest)

    files = picture_files(options.folder)
    truth = known_faces(files, options.folder, options.finds, lambda: load(options.teacher, DOUBTFUL))
    rows: dict[str, Detect] = {options.detector: by_network(load(options.detector, options.min_score))}
    if options.yunet is not None:
        rows["YuNet"] = by_yunet(options.yunet)
    counts: dict[str, list[Counts]] = {name: [] for name in rows}
    for path in files:
        picture = read_picture(path)
        for name, detect in rows.items():
            found = detect(picture)
            result, wrong, missed = compare(found, truth[path])
            counts[name].append(result)
            if options.draw is not None and name == options.detector:
                options.draw.mkdir(parents=True, exist_ok=True)
                canvas = drawn(picture, found, truth[path], wrong, missed)
                cv2.imwrite(str(options.draw / f"{path.stem}.jpg"), cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
    timed = [read_picture(path) for path in files[:: max(len(files) // max(options.timed, 1), 1)][: options.timed]]
    table: dict[str, dict[str, Any]] = {}
    for name, detect in rows.items():
        sums = total(counts[name])
        table[name] = {
            "wanted": sums.wanted,
            "found": sums.found,
            "recall": sums.recall,
            "wrong": sums.wrong,
            "precision": sums.precision,
            "landmarks": sums.landmarks,
            "milliseconds": milliseconds(detect, timed),
        }
    if timed:
        table[options.teacher] = {"milliseconds": milliseconds(by_network(load(options.teacher, SURE)), timed)}
    if options.json:
        print(json.dumps(table))
        return 0
    print(f"{len(files)} photos, {options.teacher} the teacher, score {options.min_score}")
    print(f"{'':28}{'recall':>16}{'precision':>20}{'landmarks':>12}{'ms a megapixel':>17}")
    for name, row in table.items():
        figures = f"{'':16}{'':20}{'':12}"
        if "recall" in row:
            recall = f"{row['recall']:.3f} ({row['found']}/{row['wanted']})"
            precision = f"{row['precision']:.3f} ({row['wrong']} wrong)"
            figures = f"{recall:>16}{precision:>20}{row['landmarks']:>12.1%}"
        print(f"{name:28}{figures}{row['milliseconds']:17.0f}")
    return 0
