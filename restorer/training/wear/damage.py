"""Scratches, cracks, dust and hairs, drawn or from a folder of masks; the truth knows none of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from restorer.errors import UsageError
from restorer.training.wear.blur import Float

Mask = NDArray[np.uint8]
_SHIFT = 4


def read_masks(files: Iterable[Path], side: int = 512) -> list[Mask]:
    """Return grey masks, white = damage, none larger than `side` pixels.

    Raises:
        UsageError: a file is no picture.
    """
    masks = []
    for path in files:
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise UsageError(f"The mask {path} cannot be read.", "Take it out of the folder.")
        scale = side / max(mask.shape)
        if scale < 1:
            mask = cv2.resize(mask, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        masks.append(np.asarray(mask, np.uint8))
    return masks


def scratches(rng: np.random.Generator, height: int, width: int, count: int) -> Float:
    """Return a mask (height, width) of 0 to 1 with scratches: long, nearly straight, mostly along one direction."""
    mask = np.zeros((height, width), np.uint8)
    angle = rng.normal(math.pi / 2, 0.15) if rng.random() < 0.6 else rng.uniform(0, math.pi)
    for _ in range(count):
        direction = rng.normal(angle, 0.1)
        length = rng.uniform(0.1, 1.6) * height
        steps = np.linspace(-0.5, 0.5, 12) * length
        wobble = np.cumsum(rng.normal(0, length * 0.004, 12))
        middle = rng.uniform(0, width), rng.uniform(0, height)
        x = middle[0] + steps * math.cos(direction) - wobble * math.sin(direction)
        y = middle[1] + steps * math.sin(direction) + wobble * math.cos(direction)
        _line(mask, x, y, int(rng.integers(110, 256)), int(rng.choice([1, 1, 1, 2, 3])))
    return _unit(mask)


def cracks(rng: np.random.Generator, height: int, width: int, count: int) -> Float:
    """Return a mask of cracks: walks that turn sharply, as in glass plates and creased paper."""
    mask = np.zeros((height, width), np.uint8)
    for _ in range(count):
        steps = int(rng.integers(6, 30))
        turns = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, 0.45, steps))
        stride = rng.uniform(0.01, 0.06) * height
        x = rng.uniform(0, width) + np.cumsum(np.cos(turns)) * stride
        y = rng.uniform(0, height) + np.cumsum(np.sin(turns)) * stride
        _line(mask, x, y, int(rng.integers(150, 256)), int(rng.choice([1, 1, 2])))
    return _unit(mask)


def hairs(rng: np.random.Generator, height: int, width: int, count: int) -> Float:
    """Return a mask of hairs and lint: thin arcs and curls."""
    mask = np.zeros((height, width), np.uint8)
    along = np.linspace(0, 1, 24)
    for _ in range(count):
        curl, length = rng.uniform(-5, 5), rng.uniform(0.05, 0.5) * height
        turns = rng.uniform(0, 2 * math.pi) + curl * along
        x = rng.uniform(0, width) + np.cumsum(np.cos(turns)) * length / 24
        y = rng.uniform(0, height) + np.cumsum(np.sin(turns)) * length / 24
        _line(mask, x, y, int(rng.integers(120, 256)), 1)
    return _unit(mask)


def dust(rng: np.random.Generator, height: int, width: int, count: int) -> Float:
    """Return a mask of dust: specks of a pixel or two and a few larger spots."""
    mask = np.zeros((height, width), np.uint8)
    for _ in range(count):
        radius = float(np.exp(rng.normal(math.log(0.9), 0.6)))
        axes = round(radius * 2**_SHIFT), round(radius * rng.uniform(0.4, 1.0) * 2**_SHIFT)
        centre = int(rng.uniform(0, width) * 2**_SHIFT), int(rng.uniform(0, height) * 2**_SHIFT)
        grey = int(rng.integers(100, 256))
        cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, grey, -1, cv2.LINE_AA, _SHIFT)
    return _unit(mask)


def from_masks(rng: np.random.Generator, height: int, width: int, masks: Sequence[Mask]) -> Float:
    """Return a mask (height, width) of 0 to 1: one to three of the given ones, turned, scaled and laid anywhere."""
    found = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        mask = masks[int(rng.integers(len(masks)))]
        scale = rng.uniform(0.2, 1.0) * height / max(mask.shape)
        matrix = cv2.getRotationMatrix2D((mask.shape[1] / 2, mask.shape[0] / 2), rng.uniform(0, 360), scale)
        matrix[:, 2] += rng.uniform(0, width) - mask.shape[1] / 2, rng.uniform(0, height) - mask.shape[0] / 2
        laid = cv2.warpAffine(mask, matrix, (width, height), flags=cv2.INTER_LINEAR)
        found = np.maximum(found, np.asarray(laid, np.float32) / 255)
    return found


def damaged(picture: Float, mask: Float, rng: np.random.Generator) -> Float:
    """Return the picture with a mask (h, w) of damage laid on: light or dark, of one colour that is nearly grey."""
    light = rng.uniform(170, 255) if rng.random() < 0.7 else rng.uniform(0, 70)
    colour = (light + rng.uniform(-12, 12, 3)).astype(np.float32)
    cover = (mask * np.float32(rng.uniform(0.4, 1.0)))[..., None]
    return np.asarray(picture * (1 - cover) + colour * cover, np.float32)


def any_damage(picture: Float, rng: np.random.Generator, masks: Sequence[Mask]) -> Float:
    """Return the picture with one or two kinds of damage on it."""
    height, width = picture.shape[:2]
    for _ in range(1 + (rng.random() < 0.35)):
        kind = rng.random()
        if masks and kind < 0.4:
            mask = from_masks(rng, height, width, masks)
        elif kind < 0.6:
            mask = scratches(rng, height, width, int(rng.integers(1, 9)))
        elif kind < 0.7:
            mask = cracks(rng, height, width, int(rng.integers(1, 4)))
        elif kind < 0.85:
            mask = dust(rng, height, width, int(rng.integers(5, 90)))
        else:
            mask = hairs(rng, height, width, int(rng.integers(1, 6)))
        picture = damaged(picture, mask, rng)
    return picture


def _line(mask: Mask, x: NDArray[np.float64], y: NDArray[np.float64], grey: int, thickness: int) -> None:
    points = np.rint(np.stack([x, y], axis=1) * 2**_SHIFT).astype(np.int32)
    cv2.polylines(mask, [points], False, grey, thickness, cv2.LINE_AA, _SHIFT)


def _unit(mask: Mask) -> Float:
    return np.asarray(mask / 255, np.float32)
