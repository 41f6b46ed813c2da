"""Scenes for a face detector: faces with known landmarks on backgrounds, in all sizes, angles, lights and states.

Nothing but the faces may tell the network where a face is. So the shapes by which faces are put in (whole crops, ovals,
heads with shoulders, soft and hard) also put in what is none: pieces of backgrounds, animals, hair, heads without a
face, faces whose parts were shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from restorer.training import pieces
from restorer.training.ageing import Ageing
from restorer.training.labelling import MIRRORED, Labels
from restorer.training.pieces import SIDE, Picture

SURE, MAYBE = 0.93, 0.7  # the teacher's scores: a face; not to be learnt as background
COVERED = 3  # of five landmarks: from here on a face is no longer asked for
VISIBLE = 0.5  # share of a box within the scene, likewise

SHARES: dict[str, float] = {"photo": 0.47, "crowd": 0.16, "close": 0.25, "none": 0.12}
"""How often each kind of scene is drawn: some faces, many of one size, one that fills the scene, none."""


@dataclass
class Scene:
    """A picture and what is known of its faces.

    Attributes:
        picture: (size, size, 3) uint8 RGB.
        boxes: (n, 4) float32 in edge coordinates, within the picture.
        landmarks: (n, 5, 2) float32; they may lie outside.
        wanted: (n,) bool; False where there is a face that should be neither found nor missed.
    """

    picture: Picture
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    landmarks: np.ndarray = field(default_factory=lambda: np.zeros((0, 5, 2), np.float32))
    wanted: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def add(self, box: np.ndarray, landmarks: np.ndarray, wanted: bool) -> None:
        """Add a face, its box cut at the picture's edges; what is hardly in the picture is no face."""
        size = np.array([*self.picture.shape[1::-1]] * 2, np.float32)
        cut = np.clip(box, 0, size)
        sides, whole = cut[2:] - cut[:2], box[2:] - box[:2]
        seen = float(sides.prod() / max(whole.prod(), 1e-6))
        if seen < 0.05:
            return
        self.boxes = np.concatenate([self.boxes, cut[None].astype(np.float32)])
        self.landmarks = np.concatenate([self.landmarks, landmarks[None].astype(np.float32)])
        self.wanted = np.append(self.wanted, wanted and seen >= VISIBLE)

    def cover(self, alpha: np.ndarray, left: int, top: int) -> None:
        """Note what something that was put in at (left, top) hides of the faces before it; alpha is 0 to 1."""
        if not len(self.wanted):
            return
        spots = np.floor(self.landmarks).astype(int) - (left, top)
        inside = ((spots >= 0) & (spots < alpha.shape[1::-1])).all(axis=-1)
        clipped = np.clip(spots, 0, np.array(alpha.shape[1::-1]) - 1)
        hidden = (inside & (alpha[clipped[..., 1], clipped[..., 0]] > 0.5)).sum(axis=1)
        gone = hidden == 5
        self.wanted &= hidden < COVERED
        self.boxes, self.landmarks, self.wanted = self.boxes[~gone], self.landmarks[~gone], self.wanted[~gone]


class Composer:
    """Composes scenes; everything random comes from the generator that each call is given.

    Args:
        faces: crops (256, 256, 3) uint8 RGB, each with one face.
        boxes: (n, 4), the faces' boxes in their crops.
        landmarks: (n, 5, 2), likewise.
        backgrounds: photographs of any size, with the faces that are in them.
        others: pictures of what looks like a face and is none (cats).
        size: side of the scenes.
        smallest: longer side of the smallest faces, pixels.
    """

    def __init__(
        self,
        faces: Sequence[Picture],
        boxes: np.ndarray,
        landmarks: np.ndarray,
        backgrounds: Sequence[tuple[Picture, Labels]],
        others: Sequence[Picture],
        size: int,
        smallest: float,
    ) -> None:
        self._faces = [pieces.levels(face) for face in faces]
        self._boxes, self._landmarks = boxes, landmarks
        self._backgrounds = [pieces.pyramid(*background) for background in backgrounds]
        self._others = others
        self._size = size
        self._smallest = smallest
        rng = np.random.default_rng(0)
        self._masks = [pieces.mask(rng, kind) for kind in ("oval", "oval", "head", "whole") for _ in range(16)]
        self._ageing = Ageing()

    def draw(self, rng: np.random.Generator) -> Scene:
        """Return one scene."""
        kinds = list(SHARES)
        kind = kinds[int(rng.choice(len(kinds), p=list(SHARES.values())))]
        scene = self._close(rng) if kind == "close" else self._background(rng)
        if kind == "photo":
            base = _log(rng, 1.2 * self._smallest, 0.6 * self._size)
            for size in sorted(base * np.exp(rng.normal(0, 0.4, 1 + rng.poisson(3)))):
                self._decoys(scene, rng, 0.3)
                self._face(scene, rng, float(size), rng.uniform(-0.02, 1.02, 2) * self._size)
        elif kind == "crowd":
            self._crowd(scene, rng)
        self._decoys(scene, rng, 3.0 if kind == "none" else 0.5 if kind == "photo" else 0.0)
        scene.picture = self._ageing.draw(scene.picture, rng)
        if kind == "close" and rng.random() < 0.4:
            scene = _framed(scene, rng)
        return scene

    # ------------------------------------------------------------------------------------------------ kinds

    def _crowd(self, scene: Scene, rng: np.random.Generator) -> None:
        """Rows of heads of about one size, those in front over those behind."""
        size = _log(rng, 1.2 * self._smallest, 0.25 * self._size)
        gap = size * rng.uniform(1.1, 2.2)
        tilt = rng.normal(0, 0.05)
        y = rng.uniform(0, 1) * gap + (0 if rng.random() < 0.5 else rng.uniform(0, 0.7) * self._size)
        rows = 0
        while y < self._size and rows < 6:
            for x in np.arange(rng.uniform(0, gap), self._size, gap):
                if rng.random() < 0.85:
                    spot = np.array([x, y + tilt * x]) + rng.normal(0, 0.12 * gap, 2)
                    self._face(scene, rng, size * float(np.exp(rng.normal(0, 0.1))), spot)
            y += gap * rng.uniform(0.8, 1.6)
            size, rows = size * rng.uniform(1.0, 1.15), rows + 1

    def _close(self, rng: np.random.Generator) -> Scene:
        """One face crop that covers the scene, or most of it."""
        number = int(rng.integers(len(self._faces)))
        backdrop = cv2.resize(self._faces[number][0], (8, 8), interpolation=cv2.INTER_AREA)
        backdrop = cv2.resize(backdrop, (self._size, self._size), interpolation=cv2.INTER_CUBIC)
        scene = Scene(np.asarray(backdrop, np.uint8)) if rng.random() < 0.6 else self._background(rng)
        size = _log(rng, 0.3 * self._size, 1.0 * self._size)
        spot = np.array([0.5, 0.5]) * self._size + rng.normal(0, 0.12, 2) * self._size
        self._face(scene, rng, size, spot, number=number, mask=self._masks[-1 - int(rng.integers(16))])
        return scene

    def _background(self, rng: np.random.Generator) -> Scene:
        """A part of a photograph, sometimes an animal, a pattern, or nothing."""
        chance = rng.random()
        size = self._size
        if chance < 0.1 and self._others:
            picture = self._others[int(rng.integers(len(self._others)))]
            return Scene(pieces.stretched(pieces.part(picture, rng), size))
        if chance < 0.2 or not self._backgrounds:
            return Scene(pieces.pattern(rng, size))
        levels = self._backgrounds[int(rng.integers(len(self._backgrounds)))]
        picture, known = levels[int(rng.integers(len(levels)))]
        height, width = picture.shape[:2]
        side = int(min(_log(rng, 0.5, 1.6) * size, height, width))
        left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
        part = picture[top : top + side, left : left + side]
        scene = Scene(pieces.stretched(part, size))
        for box, points, score in zip(known.boxes, known.landmarks, known.scores, strict=True):
            moved = (box - [left, top, left, top]) * (size / side)
            if score < MAYBE:
                continue
            large = max(moved[2:] - moved[:2]) >= self._smallest
            scene.add(moved, (points - [left, top]) * (size / side), bool(score >= SURE and large))
        if rng.random() < 0.5:
            scene = mirrored(scene)
        return scene

    # ---------------------------------------------------------------------------------------------- put in

    def _face(
        self,
        scene: Scene,
        rng: np.random.Generator,
        size: float,
        spot: np.ndarray,
        *,
        number: int | None = None,
        mask: np.ndarray | None = None,
    ) -> None:
        """Put a face into the scene, the middle of its box at `spot`, the longer side of its box `size` pixels."""
        if number is None:
            number = int(rng.integers(len(self._faces)))
        face, box, points = self._faces[number][0], self._boxes[number], self._landmarks[number]
        mirror = rng.random() < 0.5
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        linear = _pose(rng) @ np.diag([-1.0 if mirror else 1.0, 1.0])
        reach = np.sqrt(np.square(linear * half).sum(axis=1))  # of the ellipse in the box, turned
        linear = linear * (size / (2 * reach.max()))
        reach = reach * (size / (2 * reach.max()))
        matrix = np.concatenate([linear, (spot - linear @ middle)[:, None]], axis=1)
        if mask is None:
            mask = self._masks[int(rng.integers(len(self._masks)))]
        levels = self._faces[number]
        if rng.random() < 0.22:
            levels = [pieces.occluded(face, box, points, rng)]
        _put(scene, levels, mask, matrix, rng)
        moved = (points @ linear.T + matrix[:, 2])[MIRRORED if mirror else slice(None)]
        scene.add(np.concatenate([spot - reach, spot + reach]), moved, size >= self._smallest)

    def _decoys(self, scene: Scene, rng: np.random.Generator, mean: float) -> None:
        """Put in what is no face, in the shapes in which faces are put in."""
        for _ in range(rng.poisson(mean)):
            piece = self._decoy(rng)
            scale = _log(rng, 24, 0.9 * self._size) / SIDE
            linear = _pose(rng) * scale
            spot = rng.uniform(0, 1, 2) * self._size
            matrix = np.concatenate([linear, (spot - linear @ [SIDE / 2, SIDE / 2])[:, None]], axis=1)
            _put(scene, [piece], self._masks[int(rng.integers(len(self._masks)))], matrix, rng)

    def _decoy(self, rng: np.random.Generator) -> Picture:
        """Return (256, 256, 3) without a face."""
        chance = rng.random()
        if chance < 0.3 and self._others:
            return pieces.stretched(pieces.part(self._others[int(rng.integers(len(self._others)))], rng), SIDE)
        if chance < 0.55 and self._backgrounds:
            picture, known = self._backgrounds[int(rng.integers(len(self._backgrounds)))][0]
            if not (known.scores > MAYBE).any():
                return pieces.stretched(pieces.part(picture, rng), SIDE)
        number = int(rng.integers(len(self._faces)))
        face, box, points = self._faces[number][0], self._boxes[number], self._landmarks[number]
        if chance < 0.7:  # hair and clothes: what is beside the box, never more than a cheek of the face
            top, bottom = max(int(box[1]), 24), min(int(box[3]), SIDE - 24)
            return pieces.stretched(face[:top] if rng.random() < 0.5 else face[bottom:], SIDE)
        if chance < 0.85:
            return pieces.faceless(face, box, points, rng)
        return pieces.shuffled(face, box, rng)


def _log(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low)))))


def _pose(rng: np.random.Generator) -> np.ndarray:
    """Return a turn with some shear and narrowing, (2, 2)."""
    chance = rng.random()
    angle = rng.normal(0, 11) if chance < 0.8 else rng.uniform(-40, 40) if chance < 0.94 else rng.uniform(-95, 95)
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    form = np.array([[rng.uniform(0.72, 1.1), rng.normal(0, 0.06)], [rng.normal(0, 0.04), 1.0]])
    result: np.ndarray = np.array([[cosine, -sine], [sine, cosine]]) @ form
    return result


def _put(
    scene: Scene, levels: Sequence[Picture], mask: np.ndarray, matrix: np.ndarray, rng: np.random.Generator
) -> None:
    """Blend a piece (256, 256, 3) into the scene by a matrix (2, 3) in edge coordinates, its colours changed a little.

    A piece that becomes small is taken from its reductions, so that nothing aliases; what `levels` lacks is made.
    """
    size = np.array(scene.picture.shape[1::-1])
    corners = np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]]) @ matrix[:, :2].T + matrix[:, 2]
    low = np.clip(np.floor(corners.min(axis=0)), 0, size).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, size).astype(int)
    wide, down = high - low
    if wide < 2 or down < 2:
        return
    level = 0
    while level < 4 and np.hypot(*matrix[:, 0]) * 2 ** (level + 1) <= 1.0:
        level += 1
    piece = levels[level] if level < len(levels) else pieces.reduced(levels[0], SIDE >> level)
    part = _warp(piece, matrix, low, (wide, down), SIDE / piece.shape[0])
    alpha = _warp(mask, matrix, low, (wide, down), SIDE / mask.shape[0])
    below = scene.picture[low[1] : high[1], low[0] : high[0]]
    gain = rng.uniform(0.7, 1.2) * rng.uniform(0.93, 1.07, 3)
    if rng.random() < 0.5:  # the light of the place where it is put
        light = np.array(cv2.mean(below)[:3]) / (np.array(cv2.mean(part, alpha)[:3]) + 1)
        gain = gain * np.clip(light, 0.4, 1.6) ** rng.uniform(0.2, 0.9)
    part = cv2.multiply(part, np.array([*gain.tolist(), 1.0]))
    weight = alpha.astype(np.float32) * np.float32(1 / 255)
    scene.picture[low[1] : high[1], low[0] : high[0]] = cv2.blendLinear(part, below, weight, 1 - weight)
    scene.cover(weight, int(low[0]), int(low[1]))


def _warp(piece: np.ndarray, matrix: np.ndarray, low: np.ndarray, size: tuple[int, int], step: float) -> np.ndarray:
    """Return a piece, one pixel of which is `step` wide, as a window of the scene shows it."""
    linear = matrix[:, :2] * step
    shift = matrix[:, 2] - low + linear @ [0.5, 0.5] - 0.5  # between middles of pixels
    return cv2.warpAffine(piece, np.concatenate([linear, shift[:, None]], axis=1), size, flags=cv2.INTER_LINEAR)


def mirrored(scene: Scene) -> Scene:
    """Return the scene as a mirror shows it."""
    wide = scene.picture.shape[1]
    boxes = np.stack([wide - scene.boxes[:, 2], scene.boxes[:, 1], wide - scene.boxes[:, 0], scene.boxes[:, 3]], axis=1)
    landmarks = (scene.landmarks * [-1, 1] + [wide, 0])[:, MIRRORED].astype(np.float32)
    return Scene(np.ascontiguousarray(scene.picture[:, ::-1]), boxes, landmarks, scene.wanted)


def _framed(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return the scene smaller within a grey frame, as the detector looks at a whole photo."""
    size = scene.picture.shape[0]
    inner = int(size * rng.uniform(0.55, 0.9))
    left, top = (int(value) for value in rng.integers(0, size - inner + 1, 2))
    picture = np.full_like(scene.picture, 128)
    picture[top : top + inner, left : left + inner] = pieces.stretched(scene.picture, inner)
    factor, shift = inner / size, np.array([left, top], np.float32)
    boxes = scene.boxes * factor + np.tile(shift, 2)
    return Scene(picture, boxes.astype(np.float32), (scene.landmarks * factor + shift).astype(np.float32), scene.wanted)
