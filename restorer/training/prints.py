"""Squares of prints for training: photographs that grew old, with damage on them or none, and where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from restorer.imaging.sheets import Picture
from restorer.training.datasets import picture_files
from restorer.training.degradations import to_grey
from restorer.training.people import PAPERS, Rules, chosen, read_manifest
from restorer.training.recipe import Recipe, Values
from restorer.training.upscaling import PhotoSet, Spot
from restorer.training.wear import decoys, prints
from restorer.training.wear.blur import Float
from restorer.training.wear.damage import Mask, read_masks

DATA: Values = {
    "folder": "",
    "faces": "",
    "more": "",
    "leave_out": "",
    "face_share": 0.35,
    "face_side": 320,
    "masks": "",
    "longest": 900,
    "reduced": [1.0, 1.7],
    "tone": 0.25,
    "sharpened": 0.6,
    **PAPERS,
}
"""`folder` holds photographs, `more` others, but for names like `leave_out`, `faces` square faces with a manifest, of
which PAPERS choose, or nothing; faces are brought to `face_side` pixels and squares cut out of them."""

PRINT: Values = {
    "clean": 0.28,
    "decoys": 0.2,
    "hard": 0.0,
    "kinds": 3,
    "files": 0.08,
    "unit": [0.8, 3.0],
    "grey": 0.5,
    "blur": 1.6,
    "grain": 10.0,
    "jpeg": [55, 97],
}
"""`clean`: how often a print has no damage; `decoys`: how often something is in it that looks like damage; `hard`:
how often a square shows a place of `PrintSet.hard`, where there are any; `kinds`: of damage, at most; `files`: how
often shapes of the masks are laid on; `unit`: what a fine scratch is wide, pixels."""


@dataclass(frozen=True)
class Hard:
    """A place of a clean photograph at which a finder saw damage.

    Attributes:
        of_faces: whether the photograph is one of the faces.
        spot: the photograph's number, row and column.
        weight: how often it is drawn, beside others.
    """

    of_faces: bool
    spot: Spot
    weight: float


CELL, FIRES, MOST = 48, 8, 100
"""Side in pixels of the cells in which false alarms are counted; the fewest pixels that count, and the most."""


class PrintSet:
    """Draws squares of prints.

    Args:
        recipe: to whose folder paths are relative.
        data: a table like `DATA`, complete.
        wear: a table like `PRINT`, complete.
        folder: the photographs.
        side: of the squares, pixels.
    """

    def __init__(self, recipe: Recipe, data: Values, wear: Values, folder: Path, side: int) -> None:
        varied = {name: data[name] for name in ("tone", "sharpened")}
        low, high = data["reduced"]
        self.side, self._data, self._wear = side, data, wear
        files = picture_files(folder)
        if data["more"]:
            files += [file for file in picture_files(recipe.path(data["more"])) if not file.match(data["leave_out"])]
        self._photos = PhotoSet(files, side, data["longest"], reduced=(low, high), **varied)
        self._faces: PhotoSet | None = None
        if data["faces"]:
            rows = chosen(read_manifest(recipe.path(data["faces"])), Rules.of(data), "training")
            faces = [row.file for row in rows]
            self._faces = PhotoSet(faces, data["face_side"], data["face_side"], reduced=(1.0, 1.25), **varied)
        self.hard: Sequence[Hard] = ()
        self._masks: Sequence[Mask] = ()
        if data["masks"]:
            self._masks = read_masks(picture_files(recipe.path(data["masks"])))

    def clean(self, rng: np.random.Generator) -> Picture:
        """Return a square as a print showed it before anything happened to it."""
        spot = None
        if self.hard and rng.random() < self._wear["hard"]:
            weights = np.array([place.weight for place in self.hard])
            place = self.hard[int(rng.choice(len(self.hard), p=weights / weights.sum()))]
            of_faces, spot = place.of_faces, place.spot
        else:
            of_faces = self._faces is not None and rng.random() < self._data["face_share"]
        drawn = (self._faces if of_faces and self._faces is not None else self._photos).draw(self.side, rng, 0.0, spot)
        print_ = aged(drawn, rng, self._wear)
        if rng.random() < self._wear["decoys"]:
            print_ = decoys.add(print_, rng, int(rng.integers(1, 3)))
        return print_

    def draw(self, rng: np.random.Generator) -> prints.Damaged:
        """Return a square with what is damaged in it; nothing is in about `clean` of them."""
        print_ = self.clean(rng)
        if rng.random() < self._wear["clean"]:
            nothing = np.zeros(print_.shape[:2], bool)
            made = prints.Damaged(print_, nothing, nothing.copy())
        else:
            made = self.damaged(print_, rng)
        return prints.Damaged(scanned(made.picture, rng, self._wear), made.mask, made.unsure)

    def mine(self, find: Callable[[Picture], np.ndarray], most_faces: int = 400) -> int:
        """Look for damage in the photographs as they are, take all that is seen for hard places, and return how many.

        Args:
            find: returns where a picture (h, w, 3) is damaged, (h, w) bool.
            most_faces: look at so many of the faces, evenly taken; 0 looks at none.
        """
        found = []
        for of_faces, photos in ((False, self._photos), (True, self._faces if most_faces else None)):
            pictures = photos.photos if photos is not None else []
            step = -(-len(pictures) // max(most_faces, 1)) if of_faces else 1
            for number in range(0, len(pictures), max(step, 1)):
                seen = find(pictures[number]).astype(np.float32)
                height, width = (-(-length // CELL) * CELL for length in seen.shape)
                padded = np.pad(seen, ((0, height - seen.shape[0]), (0, width - seen.shape[1])))
                sums = padded.reshape(height // CELL, CELL, width // CELL, CELL).sum((1, 3))
                for row, column in np.argwhere(sums >= FIRES).tolist():
                    spot = number, row * CELL + CELL // 2, column * CELL + CELL // 2
                    found.append(Hard(of_faces, spot, float(min(sums[row, column], MOST))))
        self.hard = found
        return len(found)

    def damaged(self, print_: Picture, rng: np.random.Generator) -> prints.Damaged:
        """Return a square with one to `kinds` kinds of damage on it."""
        kinds = prints.any_kinds(rng, int(rng.integers(1, self._wear["kinds"] + 1)))
        if self._masks and rng.random() < self._wear["files"]:
            kinds = ["files", *kinds[1:]]
        low, high = np.log(self._wear["unit"])
        unit = float(np.exp(rng.uniform(low, high)))
        return prints.damage(print_, rng, kinds, unit=unit, masks=self._masks)


def aged(picture: Picture, rng: np.random.Generator, wear: Values) -> Picture:
    """Return a photograph as an old print shows it: grey or toned, soft, faded, with grain."""
    x = picture.astype(np.float32)
    if rng.random() < wear["grey"]:
        x = to_grey(x)
        if rng.random() < 0.5:
            x = x * _tint(rng)
    if rng.random() < 0.3:
        low, high = rng.uniform(0, 70), rng.uniform(150, 255)
        x = x * np.float32((high - low) / 255) + np.float32(low)
    if rng.random() < 0.5:
        sigma = rng.uniform(0.2, wear["blur"])
        x = np.asarray(cv2.GaussianBlur(x, (0, 0), sigma), np.float32)
    if rng.random() < 0.5:
        noise = rng.standard_normal((*x.shape[:2], 1), dtype=np.float32)
        if rng.random() < 0.5:
            noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.8), np.float32).reshape(noise.shape) * np.float32(2)
        x = x + noise * np.float32(rng.uniform(0, wear["grain"]))
    return _bytes(x)


def scanned(picture: Picture, rng: np.random.Generator, wear: Values) -> Picture:
    """Return a print as a scanner shows it: a little soft or sharpened, now and then in grey, and saved as JPEG."""
    x = picture.astype(np.float32)
    chance = rng.random()
    if chance < 0.35:
        x = np.asarray(cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 0.8)), np.float32)
    elif chance < 0.55:
        x = x + np.float32(rng.uniform(0, 0.8)) * (x - np.asarray(cv2.GaussianBlur(x, (0, 0), 1.2), np.float32))
    if rng.random() < 0.3:
        x = to_grey(x) * (_tint(rng) if rng.random() < 0.3 else np.float32(1))
    if rng.random() < 0.3:
        x = x + rng.standard_normal(x.shape, dtype=np.float32) * np.float32(rng.uniform(0, 4))
    scan = _bytes(x)
    if rng.random() < 0.5:
        return scan
    quality = int(rng.integers(wear["jpeg"][0], wear["jpeg"][1] + 1))
    encoded = cv2.imencode(".jpg", scan[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1], np.uint8)


def _tint(rng: np.random.Generator) -> Float:
    """Return the factors of a brown, warm or bluish tone."""
    warm = rng.uniform(-0.06, 0.28)
    return np.array([1 + 0.35 * warm, 1 - 0.1 * warm, 1 - warm], np.float32)


def _bytes(x: Float) -> Picture:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)
