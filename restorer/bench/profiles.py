"""Which profiles, turned, tilted and lying faces a detector finds, of those labelled by eye in `profiles.toml`.

    python -m restorer.bench profiles DATA --detector tiny-detector tiny-detector-free --sheet finds.png

DATA holds the folders that the labels name. A face is found where a find's middle lies in the label, the label's middle
in the find, and the one's side (the root of the area) is at most twice the other's; each find counts for one face. What
else is found counts neither for nor against. Photographs of faces that look into the camera are also turned, by as many
degrees as are asked for.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from restorer.errors import UsageError
from restorer.imaging.boxes import area
from restorer.imaging.sheets import grid
from restorer.training.datasets import read_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from restorer.models.base import Detector

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LABELS = Path(__file__).with_suffix(".toml")
KINDS = ("profile", "turned", "tilted", "upright")
LARGER = 2.0
"""So much larger or smaller than the label the side of a find may be."""
TURNS = (0, 45, 90, 135, 180, 225, 270, 315)
TILE = 160
"""Side of a face on the sheet, pixels, with half of its own side around it."""


@dataclass(frozen=True)
class Label:
    """A face that is to be found.

    Attributes:
        photo: path of the file below the data's folder.
        kind: one of KINDS.
        box: (4,): left, top, right, bottom, pixels.
        turn: by how many degrees the photo is turned clockwise.
    """

    photo: str
    kind: str
    box: NDArray[np.float32]
    turn: int = 0

    @property
    def group(self) -> str:
        """What it is counted among."""
        how = f"upright, by {self.turn}" if self.kind == "upright" and self.turn else self.kind
        return f"{Path(self.photo).parent.as_posix()}: {how}"


def read_labels(file: Path) -> list[Label]:
    """Return the faces of a file of labels, in its order.

    Raises:
        UsageError: a kind that is none, or no box.
    """
    labels = []
    for folder, photos in tomllib.loads(file.read_text("utf-8")).items():
        for name, faces in photos.items():
            for kind, *box in faces:
                if kind not in KINDS or len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
                    raise UsageError(f"{file}: {folder}/{name} has a face that is none: {[kind, *box]}.")
                labels.append(Label(f"{folder}/{name}", kind, np.array(box, np.float32)))
    return labels


def turned(picture: np.ndarray, label: Label, turn: int) -> tuple[np.ndarray, Label]:
    """Return a photo (h, w, 3) turned clockwise by degrees, on grey, and its label there, a square."""
    if turn == 0:
        return picture, label
    height, width = picture.shape[:2]
    across, down = abs(math.cos(math.radians(turn))), abs(math.sin(math.radians(turn)))
    size = round(width * across + height * down), round(width * down + height * across)
    middle = (width - 1) / 2, (height - 1) / 2
    matrix = cv2.getRotationMatrix2D(middle, -turn, 1.0)
    matrix[:, 2] += (size[0] - 1) / 2 - middle[0], (size[1] - 1) / 2 - middle[1]
    canvas = np.asarray(cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_CONSTANT, borderValue=(128,) * 3))
    x, y = matrix @ np.array([*_middle(label.box), 1.0])
    half = float(area(label.box[None])[0]) ** 0.5 / 2
    box = np.array([x - half, y - half, x + half, y + half], np.float32)
    return canvas, replace(label, box=box, turn=turn)


def _middle(box: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((box[:2] + box[2:]) / 2, np.float32)


def same(find: NDArray[np.float32], label: NDArray[np.float32]) -> bool:
    """Return whether a find's box (4,) is the labelled face's."""
    for inner, outer in ((find, label), (label, find)):
        x, y = (float(value) for value in _middle(inner))
        left, top, right, bottom = (float(value) for value in outer)
        if not (left <= x <= right and top <= y <= bottom):
            return False
    larger = float(area(find[None])[0] / max(float(area(label[None])[0]), 1e-6)) ** 0.5
    return bool(1 / LARGER <= larger <= LARGER)


def found(finds: NDArray[np.float32], labels: Sequence[Label]) -> list[bool]:
    """Return for each label of one photo whether one of the finds (n, 4), best first, is it; no find counts twice."""
    seen = [False] * len(labels)
    for find in finds:
        for index, label in enumerate(labels):
            if not seen[index] and same(find, label.box):
                seen[index] = True
                break
    return seen


def looks(labels: Sequence[Label], turns: Sequence[int]) -> Iterator[tuple[str, int, list[Label]]]:
    """Yield each photo with the turns that it is looked at by, and the labels that are asked for there."""
    for photo in dict.fromkeys(label.photo for label in labels):
        here = [label for label in labels if label.photo == photo]
        standing = [label for label in here if label.kind == "upright"]
        yield photo, 0, here
        yield from ((photo, turn, standing) for turn in turns if standing and turn)


Look = tuple[Label, bool, np.ndarray]
"""A label as it was asked for, whether it was found, and the face with what was found drawn on it."""


def measure(
    detect: Callable[[np.ndarray], NDArray[np.float32]], folder: Path, labels: Sequence[Label], turns: Sequence[int]
) -> list[Look]:
    """Look for the labelled faces, and return what became of each."""
    results = []
    for photo, turn, asked in looks(labels, turns):
        picture = read_picture(folder / photo)
        pairs = [turned(picture, label, turn) for label in asked]
        picture, there = pairs[0][0], [label for _, label in pairs]
        finds = detect(picture)
        for label, hit in zip(there, found(finds, there), strict=True):
            results.append((label, hit, tile(picture, label, finds, hit)))
    return results


def tile(picture: np.ndarray, label: Label, finds: NDArray[np.float32], hit: bool) -> np.ndarray:
    """Return a label's surroundings (TILE, TILE, 3): label yellow, finds green, framed in red where missed."""
    side = 2 * float((label.box[2:] - label.box[:2]).max())
    scale = TILE / side
    left, top = _middle(label.box) - side / 2
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]], np.float32)
    canvas = np.ascontiguousarray(cv2.warpAffine(picture, matrix, (TILE, TILE), flags=cv2.INTER_AREA))
    for box, color in [*((find, (0, 255, 0)) for find in finds), (label.box, (255, 220, 0))]:
        x0, y0, x1, y1 = (round(float(value)) for value in (box.reshape(2, 2) - (left, top)).ravel() * scale)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), color, 1)
    if not hit:
        cv2.rectangle(canvas, (0, 0), (TILE - 1, TILE - 1), (255, 0, 0), 3)
    cv2.putText(canvas, label.group.split(": ")[1], (5, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 255, 255), 1)
    return canvas


def counted(results: Sequence[Look]) -> dict[str, dict[str, int]]:
    """Return for each group how many faces are wanted and how many were found."""
    groups: dict[str, dict[str, int]] = {}
    for label, hit, _ in results:
        row = groups.setdefault(label.group, {"wanted": 0, "found": 0})
        row["wanted"] += 1
        row["found"] += hit
    return groups


def table(rows: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
    """Return recall as a table: a line for each group, a column for each detector."""
    groups = list(next(iter(rows.values())))
    lines = [f"{'':36}" + "".join(f"{name[:26]:>28}" for name in rows)]
    for group in groups:
        cells = [(row[group]["found"], row[group]["wanted"]) for row in rows.values()]
        lines.append(f"{group:36}" + "".join(f"{f'{hit / of:.2f} ({hit} of {of})':>28}" for hit, of in cells))
    return "\n".join(lines)


def by_detector(detector: Detector) -> Callable[[np.ndarray], NDArray[np.float32]]:
    """Return a detector as a function from a photo to its boxes (n, 4), the surest first."""

    def detect(pixels: np.ndarray) -> NDArray[np.float32]:
        faces = sorted(detector.detect(pixels), key=lambda face: -face.score)
        return np.array([face.box for face in faces], np.float32).reshape(-1, 4)

    return detect


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    import torch

    from restorer.engine import device as devices
    from restorer.engine.pool import POOL
    from restorer.faces.detect import FaceDetector
    from restorer.storage.pictures import save_picture
    from restorer.weights import resolve

    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench profiles",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the labels' folders lie, all or some")
    parser.add_argument("--labels", type=Path, default=LABELS, help="file of labels (default: the package's)")
    parser.add_argument("--detector", nargs="+", default=["tiny-detector-free"], help="tables or files")
    parser.add_argument("--min-score", type=float, default=0.9, help="of the finds (default 0.9)")
    parser.add_argument("--turn", type=int, nargs="*", default=TURNS, help="degrees, for the upright faces")
    parser.add_argument("--sheet", type=Path, help="picture of all faces with what the first detector found")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(devices.allowed_cores())
    labels = [label for label in read_labels(options.labels) if (options.folder / label.photo).parent.is_dir()]
    if not labels:
        raise UsageError(f"{options.folder} has none of the folders of {options.labels.name}.")
    rows: dict[str, Any] = {}
    for name in options.detector:
        network = POOL.get(resolve(name), devices.choose("cpu"))
        detector = FaceDetector(network, min_score=options.min_score)
        results = measure(by_detector(detector), options.folder, labels, options.turn)
        rows[name] = counted(results)
        if options.sheet is not None and name == options.detector[0]:
            tiles = [shown for _, _, shown in sorted(results, key=lambda each: each[0].group)]
            save_picture(grid(tiles), options.sheet)
    print(json.dumps(rows) if options.json else table(rows))
    return 0
