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
from numpy.typing import NDArray

from restorer.training.ageing import Ageing
from restorer.training.labelling import MIRRORED, Known

Picture = NDArray[np.uint8]
SIDE = 256  # of a face crop
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
        backgrounds: Sequence[tuple[Picture, Known]],
        others: Sequence[Picture],
        size: int,
        smallest: float,
    ) -> None:
        self._faces = [_levels(face) for face in faces]
        self._boxes, self._landmarks = boxes, landmarks
        self._backgrounds = [_pyramid(*background) for background in backgrounds]
        self._others = others
        self._size = size
        self._smallest = smallest
        rng = np.random.default_rng(0)
        self._masks = [_mask(rng, kind) for kind in ("oval", "oval", "head", "whole") for _ in range(16)]
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
            return Scene(_stretched(_part(picture, rng), size))
        if chance < 0.2 or not self._backgrounds:
            return Scene(_pattern(rng, size))
        levels = self._backgrounds[int(rng.integers(len(self._backgrounds)))]
        picture, known = levels[int(rng.integers(len(levels)))]
        height, width = picture.shape[:2]
        side = int(min(_log(rng, 0.5, 1.6) * size, height, width))
        left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
        part = picture[top : top + side, left : left + side]
        scene = Scene(_stretched(part, size))
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
            levels = [_occluded(face, box, points, rng)]
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
            return _stretched(_part(self._others[int(rng.integers(len(self._others)))], rng), SIDE)
        if chance < 0.55 and self._backgrounds:
            picture, known = self._backgrounds[int(rng.integers(len(self._backgrounds)))][0]
            if not (known.scores > MAYBE).any():
                return _stretched(_part(picture, rng), SIDE)
        number = int(rng.integers(len(self._faces)))
        face, box, points = self._faces[number][0], self._boxes[number], self._landmarks[number]
        if chance < 0.7:  # hair and clothes: what is beside the box, never more than a cheek of the face
            top, bottom = max(int(box[1]), 24), min(int(box[3]), SIDE - 24)
            return _stretched(face[:top] if rng.random() < 0.5 else face[bottom:], SIDE)
        if chance < 0.85:
            return _faceless(face, box, points, rng)
        return _shuffled(face, box, rng)


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
    piece = levels[level] if level < len(levels) else _reduced(levels[0], SIDE >> level)
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


def _mask(rng: np.random.Generator, kind: str) -> np.ndarray:
    """Return the shape of something put in, (128, 128) uint8."""
    mask = np.zeros((128, 128), np.float32)
    middle = 64 + rng.normal(0, 2), 66 + rng.normal(0, 3)
    if kind == "whole":
        inset = int(rng.integers(1, 10))
        mask[inset : 128 - inset, inset : 128 - inset] = 1
    else:
        y, x = np.mgrid[:128, :128].astype(np.float32)
        power = rng.uniform(1.8, 3.0)
        across, down = rng.uniform(36, 56), rng.uniform(46, 61)
        mask[(np.abs((x - middle[0]) / across) ** power + np.abs((y - middle[1]) / down) ** power) < 1] = 1
        if kind == "head":
            neck = np.array([[64 - 26, 100], [64 + 26, 100], [126, 126], [2, 126]], np.int32)
            cv2.fillConvexPoly(mask, neck, 1.0)
    soft = rng.uniform(0.5, 6)
    softened = cv2.GaussianBlur(mask, (0, 0), soft)
    return np.rint(softened * 255).astype(np.uint8)


def _occluded(face: Picture, box: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> Picture:
    """Return the face with dark glasses, something over mouth and nose, a hat, or something beside it."""
    face = face.copy()
    wide = box[2] - box[0]
    color = [int(value) for value in rng.integers(0, 256, 3)]
    chance = rng.random()
    if chance < 0.35:
        between = points[1] - points[0]
        dark = [int(value) for value in rng.integers(0, 70, 3)]
        for eye in points[:2]:
            axes = (round(0.22 * wide), round(rng.uniform(0.1, 0.17) * wide))
            cv2.ellipse(face, (round(eye[0]), round(eye[1])), axes, 0, 0, 360, dark, -1, cv2.LINE_AA)
        ends = points[0] - 0.5 * between, points[1] + 0.5 * between
        start, stop = ((round(float(end[0])), round(float(end[1]))) for end in ends)
        cv2.line(face, start, stop, dark, max(2, round(0.03 * wide)), cv2.LINE_AA)
    elif chance < 0.65:
        nose, low = points[2], box[3] + 0.03 * wide
        outline = [[box[0], nose[1]], [nose[0], nose[1] - 0.1 * wide], [box[2], nose[1]], [nose[0] + 0.3 * wide, low]]
        outline.append([nose[0] - 0.3 * wide, low])
        cv2.fillConvexPoly(face, cv2.convexHull(np.rint(outline).astype(np.int32)), color, cv2.LINE_AA)
    elif chance < 0.85:
        brow = points[:2, 1].min() - rng.uniform(0.12, 0.3) * wide
        middle = (round((box[0] + box[2]) / 2), round(box[1] - 0.1 * wide))
        axes = (round(rng.uniform(0.6, 0.8) * wide), max(2, round(brow - middle[1])))
        cv2.ellipse(face, middle, axes, 0, 0, 360, color, -1, cv2.LINE_AA)
    else:
        x = round(float(box[0] + rng.uniform(-0.1, 0.25) * wide))
        if rng.random() < 0.5:
            face[:, : max(x, 0)] = color
        else:
            face[:, SIDE - max(x, 0) :] = color
    return face


def _faceless(face: Picture, box: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> Picture:
    """Return the head with skin where its face was."""
    patch = face[max(int(points[0, 1]) + 12, 0) : int(points[2, 1]) + 6, max(int(points[0, 0]) - 14, 0) :][:, :28]
    skin = patch.reshape(-1, 3).mean(axis=0)
    cover = np.zeros((SIDE, SIDE), np.float32)
    middle = (round(float(box[0] + box[2]) / 2), round(float(box[1] + box[3]) / 2))
    axes = (max(2, round(float(box[2] - box[0]) * 0.5)), max(2, round(float(box[3] - box[1]) * 0.5)))
    cv2.ellipse(cover, middle, axes, 0, 0, 360, 1.0, -1)
    soft = np.asarray(cv2.GaussianBlur(cover, (0, 0), 5))[..., None]
    shade = cv2.resize(rng.uniform(0.75, 1.15, (3, 3)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    blended = face * (1 - soft) + skin.astype(np.float32) * np.asarray(shade)[..., None] * soft
    result: Picture = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
    return result


def _shuffled(face: Picture, box: np.ndarray, rng: np.random.Generator) -> Picture:
    """Return the face with the nine parts of its box in another order, each turned."""
    left, top, right, bottom = (int(value) for value in np.clip(np.rint(box), 0, SIDE))
    wide, down = (right - left) // 3, (bottom - top) // 3
    if wide < 4 or down < 4:
        return np.ascontiguousarray(face[:32].repeat(8, axis=0))
    spots = [(top + row * down, left + column * wide) for row in range(3) for column in range(3)]
    parts = [face[y : y + down, x : x + wide].copy() for y, x in spots]
    result = face.copy()
    order = rng.permutation(9)
    while (order == np.arange(9)).sum() > 2:
        order = rng.permutation(9)
    for (y, x), index in zip(spots, order, strict=True):
        result[y : y + down, x : x + wide] = parts[index][::-1]
    return result


def _pattern(rng: np.random.Generator, size: int) -> Picture:
    """Return what no camera saw: soft colours, lines, spots, letters."""
    colors = rng.integers(0, 256, (int(rng.integers(1, 9)), int(rng.integers(1, 9)), 3)).astype(np.uint8)
    method = cv2.INTER_NEAREST if rng.random() < 0.25 else cv2.INTER_LINEAR
    picture = np.asarray(cv2.resize(colors, (size, size), interpolation=method)).astype(np.uint8)
    kind = rng.random()
    for _ in range(int(rng.integers(0, 40))):
        x, y, a, b = (int(value) for value in rng.integers(0, size, 4))
        color = [int(value) for value in rng.integers(0, 256, 3)]
        if kind < 0.25:
            cv2.line(picture, (x, y), (a, b), color, int(rng.integers(1, 6)), cv2.LINE_AA)
        elif kind < 0.5:
            cv2.circle(picture, (x, y), a // 12 + 1, color, -1 if rng.random() < 0.5 else 2, cv2.LINE_AA)
        elif kind < 0.75:
            letters = "".join(chr(value) for value in rng.integers(33, 123, 8))
            cv2.putText(picture, letters, (x - 40, y), a % 8, 0.4 + b / size * 2, color, 1 + b % 3, cv2.LINE_AA)
    return picture


def _pyramid(picture: Picture, known: Known) -> list[tuple[Picture, Known]]:
    """Return a photograph at its size, half and a quarter of it, with its faces."""
    levels = [(picture, known)]
    while len(levels) < 3 and min(levels[-1][0].shape[:2]) > 320:
        above, faces = levels[-1]
        size = (above.shape[1] // 2, above.shape[0] // 2)
        smaller = np.asarray(cv2.resize(above, size, interpolation=cv2.INTER_AREA)).astype(np.uint8)
        levels.append((smaller, Known(faces.boxes / 2, faces.landmarks / 2, faces.scores)))
    return levels


def _part(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return a square part of a picture, at least a third of it."""
    height, width = picture.shape[:2]
    side = max(int(min(height, width) * rng.uniform(0.33, 1)), 2)
    left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
    return picture[top : top + side, left : left + side]


def _levels(face: Picture) -> list[Picture]:
    """Return a crop at 256, 128, 64, 32 and 16 px."""
    levels = [face]
    while levels[-1].shape[0] > 16:
        levels.append(_reduced(levels[-1], levels[-1].shape[0] // 2))
    return levels


def _reduced(piece: Picture, side: int) -> Picture:
    return np.asarray(cv2.resize(piece, (side, side), interpolation=cv2.INTER_AREA)).astype(np.uint8)


def _stretched(picture: Picture, size: int) -> Picture:
    method = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=method)).astype(np.uint8)


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
    picture[top : top + inner, left : left + inner] = _stretched(scene.picture, inner)
    factor, shift = inner / size, np.array([left, top], np.float32)
    boxes = scene.boxes * factor + np.tile(shift, 2)
    return Scene(picture, boxes.astype(np.float32), (scene.landmarks * factor + shift).astype(np.float32), scene.wanted)
