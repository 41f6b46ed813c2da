"""From landmarks to an aligned crop: the similarity that puts a face where a model's template wants it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import cv2
import numpy as np

from restorer.engine import memory
from restorer.imaging import warp
from restorer.imaging.colour import top_of
from restorer.imaging.sampling import PLAIN, Sampling
from restorer.imaging.similarity import nearest_similarity, spread_of

if TYPE_CHECKING:
    from restorer.models.base import Template

_log = logging.getLogger(__name__)
LEAST_EXPLAINED = 0.3
"""How much of the template's spread a similarity of the landmarks must explain. A frontal face explains nearly all of
it, a full profile, whose landmarks stand in one line, about half, a mirrored or scrambled one nearly nothing."""
FADE = 0.2
"""Share of the crop's side, outside the photo, over which its mirror image gives way to a blurred one."""
SMALLEST_FACE = 2.0
"""Spread of the landmarks (root mean square, pixels) below which their noise decides the angle."""


def estimate(landmarks: np.ndarray, template: Template, size: float) -> np.ndarray | None:
    """Return the similarity that brings a face's landmarks nearest to a template, by least squares.

    Rotation, one scale and translation, never a reflection. Every point counts, so that a small change of a landmark
    changes the crop little.

    Args:
        landmarks: (5, 2), pixels of the photo in edge coordinates (pixel centres at +0.5).
        template: where they shall be; `Template.pairs` says which points count.
        size: side of the crop in pixels.

    Returns:
        (2, 3) float64, from the photo to the crop, both in edge coordinates; None when the landmarks allow no
        alignment: not finite, (nearly) in one place, or in no arrangement of a face.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (len(template.points), 2) or not np.isfinite(points).all():
        return None
    source, target = (np.asarray(pairs, np.float64) for pairs in template.pairs(points.tolist(), size))
    if not SMALLEST_FACE <= spread_of(source) < 1e6:
        return None
    found = nearest_similarity(source, target)
    return None if found is None or found.explained < LEAST_EXPLAINED else found.matrix


def extract(pixels: np.ndarray, matrix: np.ndarray, size: int, sampling: Sampling = PLAIN) -> np.ndarray:
    """Return an aligned crop, antialiased where the face is larger than the crop.

    Where the crop reaches beyond the photo, the photo is mirrored at its edge and, farther out, blurred, much as in the
    pictures that face models are trained on (FFHQ). A flat fill would put an edge into the crop that is none of the
    face's; the mirror image alone can show a second pair of eyes.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16.
        matrix: (2, 3), from the photo to the crop, in edge coordinates.
        size: side of the crop in pixels.
        sampling: what samples it, and where.

    Returns:
        float32 (size, size, 3) in [0, 1].
    """
    inverse = warp.invert(matrix)
    reach = int(np.ceil(warp.REACH * max(warp.sampling_step(inverse), 1)))
    left, top, right, bottom = warp.bounds(inverse, (0, 0, size, size))
    x0, y0 = int(np.floor(left)) - reach, int(np.floor(top)) - reach
    x1, y1 = int(np.ceil(right)) + reach, int(np.ceil(bottom)) + reach
    region = _mirrored(pixels, (x0, y0, x1, y1))
    to_region = inverse - [[0, 0, x0], [0, 0, y0]]
    try:
        crop = _sampled(region, to_region, size, sampling)
    except (RuntimeError, MemoryError) as error:  # a device's memory may be full
        if sampling is PLAIN or not memory.is_exhausted(error):
            raise
        _log.info("The processor aligns a face: %s", error)
        crop = _sampled(region, to_region, size, PLAIN)
    crop /= top_of(pixels.dtype)
    np.clip(crop, 0, 1, out=crop)
    if left < 0 or top < 0 or right > pixels.shape[1] or bottom > pixels.shape[0]:
        _fade(crop, inverse, (pixels.shape[1], pixels.shape[0]))
    return crop


def _sampled(region: np.ndarray, to_region: np.ndarray, size: int, sampling: Sampling) -> np.ndarray:
    """Return a crop (size, size, 3) of a part of the photo, in its values."""
    held, to_region = sampling.reduce(region, to_region)
    crop = np.empty((size, size, 3), np.float32)
    for rows, columns in warp.tiles((0, 0, size, size), sampling.tile):
        crop[rows, columns] = sampling.numbers(sampling.tile_of(held, to_region, rows, columns, 3))
    return crop


def _fade(crop: np.ndarray, inverse: np.ndarray, photo_size: tuple[int, int]) -> None:
    """Blur a crop in place where it lies outside the photo, the more the farther out."""
    size = crop.shape[0]
    centres = np.arange(size) + 0.5
    x, y = (inverse[i, 0] * centres[None] + inverse[i, 1] * centres[:, None] + inverse[i, 2] for i in (0, 1))
    beyond = [np.maximum(np.maximum(-at, at - end), 0) for at, end in zip((x, y), photo_size, strict=True)]
    distance = np.hypot(*beyond) / warp.sampling_step(inverse)
    share = np.minimum(distance / (FADE * size), 1).astype(np.float32)[..., None]
    # A blur so wide costs nothing at a sixteenth of the size.
    coarse = cv2.resize(crop, (max(size // 16, 1),) * 2, interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), coarse.shape[0] / 12, borderType=cv2.BORDER_REPLICATE)
    crop += (cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) - crop) * share


def _mirrored(pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return a rectangle (x0, y0, x1, y1) of a picture that goes on as its own mirror image beyond its edges."""
    x0, y0, x1, y1 = box
    left, right, before_x, after_x = _seen(x0, x1, pixels.shape[1])
    top, bottom, before_y, after_y = _seen(y0, y1, pixels.shape[0])
    seen = pixels[top:bottom, left:right]
    if before_x or after_x or before_y or after_y:
        seen = cv2.copyMakeBorder(seen, before_y, after_y, before_x, after_x, cv2.BORDER_REFLECT)
    x, y = x0 - left + before_x, y0 - top + before_y
    return seen[y : y + y1 - y0, x : x + x1 - x0]


def _seen(start: int, stop: int, length: int) -> tuple[int, int, int, int]:
    """Return which part (from, to) of an axis is seen between start and stop, and the pixels to mirror on each side.

    The part is long enough to be mirrored in; where it is the whole axis, mirroring goes to and fro.
    """
    before, after = max(-start, 0), max(stop - length, 0)
    first = max(min(start, length - after, length - 1), 0)
    last = min(max(stop, before, 1), length)
    return first, last, before, after
