"""The pieces of which scenes for a face detector are put together: shapes, heads hidden or without a face, patterns."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from restorer.training.labelling import Labels

Picture = NDArray[np.uint8]
SIDE = 256  # of a face crop


def mask(rng: np.random.Generator, kind: str) -> np.ndarray:
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


def occluded(face: Picture, box: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> Picture:
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


def faceless(face: Picture, box: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> Picture:
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


def shuffled(face: Picture, box: np.ndarray, rng: np.random.Generator) -> Picture:
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


def pattern(rng: np.random.Generator, size: int) -> Picture:
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


def pyramid(picture: Picture, known: Labels) -> list[tuple[Picture, Labels]]:
    """Return a photograph at its size, half and a quarter of it, with its faces."""
    levels = [(picture, known)]
    while len(levels) < 3 and min(levels[-1][0].shape[:2]) > 320:
        above, faces = levels[-1]
        size = (above.shape[1] // 2, above.shape[0] // 2)
        smaller = np.asarray(cv2.resize(above, size, interpolation=cv2.INTER_AREA)).astype(np.uint8)
        levels.append((smaller, Labels(faces.boxes / 2, faces.landmarks / 2, faces.scores)))
    return levels


def part(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return a square part of a picture, at least a third of it."""
    height, width = picture.shape[:2]
    side = max(int(min(height, width) * rng.uniform(0.33, 1)), 2)
    left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
    return picture[top : top + side, left : left + side]


def levels(face: Picture) -> list[Picture]:
    """Return a crop at 256, 128, 64, 32 and 16 px."""
    levels = [face]
    while levels[-1].shape[0] > 16:
        levels.append(reduced(levels[-1], levels[-1].shape[0] // 2))
    return levels


def reduced(piece: Picture, side: int) -> Picture:
    return np.asarray(cv2.resize(piece, (side, side), interpolation=cv2.INTER_AREA)).astype(np.uint8)


def stretched(picture: Picture, size: int) -> Picture:
    method = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=method)).astype(np.uint8)
