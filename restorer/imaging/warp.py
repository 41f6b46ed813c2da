"""Pictures sampled through an affine map, exact in position and antialiased.

All geometry here and in `align` and `paste` is in edge coordinates: a picture of width w spans x from 0 to w, and the
centre of its first pixel is at 0.5. Scaling a picture is then a plain multiplication, without half-pixel terms; the
half pixel is taken off in one place, `_warp`, where OpenCV counts pixel centres as integers.

OpenCV's bilinear warp of floats is exact in position but soft; its bicubic and Lanczos warps round positions to 1/32
pixel. So a picture is first enlarged by a whole factor with Lanczos, and then warped bilinearly: at three samples a
pixel the bilinear step softens little, and the Lanczos weights make up for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from PIL import Image

TILE = 256  # keeps an enlarged tile within the processor's cache, and memory bounded whatever the face's size
REACH = 6  # pixels that the Lanczos kernel and the bilinear step look beyond what they compute
SHARP_ENOUGH = 1.1  # a reduction by less needs no antialiasing that anyone could see


def sampling_step(inverse: np.ndarray) -> float:
    """Return how many source pixels one target pixel steps over, for a map (2, 3) from target to source."""
    return float(np.sqrt(abs(np.linalg.det(inverse[:, :2]))))


def invert(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse (2, 3) of an affine map (2, 3), in float64; the argument is not changed."""
    linear = np.linalg.inv(np.asarray(matrix, np.float64)[:, :2])
    return np.hstack([linear, -linear @ np.asarray(matrix, np.float64)[:, 2:]])


def scaled(
    matrix: np.ndarray, *, source: tuple[float, float] = (1, 1), target: tuple[float, float] = (1, 1)
) -> np.ndarray:
    """Return a new map for a source and a target enlarged by (x, y) factors, in edge coordinates."""
    result = np.array(matrix, np.float64)
    result[:, 0] /= source[0]
    result[:, 1] /= source[1]
    result *= np.array(target, np.float64)[:, None]
    return result


def bounds(matrix: np.ndarray, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Return the upright rectangle (x0, y0, x1, y1) around the image of an upright rectangle under a map."""
    x0, y0, x1, y1 = box
    corners = np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]) @ matrix[:, :2].T + matrix[:, 2]
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    return float(left), float(top), float(right), float(bottom)


def reduce(source: np.ndarray, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce a source to about the target's resolution, antialiased by Lanczos, when the target is coarser.

    Args:
        source: (h, w, 3), of any real type.
        inverse: (2, 3), from target to source.

    Returns:
        The source as float32, reduced if need be, and the map from the target to it.
    """
    step = sampling_step(inverse)
    if step <= SHARP_ENOUGH:
        return np.ascontiguousarray(source, np.float32), inverse
    height, width = source.shape[:2]
    size = max(1, round(width / step)), max(1, round(height / step))
    small = source
    if width > 4 * size[0]:
        # Averaged to twice the size first, in its own type: the rounding is averaged away again, and a large face
        # never stands in memory as floats.
        small = cv2.resize(source, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_AREA)
    planes = [Image.fromarray(np.ascontiguousarray(small[..., i], np.float32)) for i in range(source.shape[2])]
    small = np.stack([np.asarray(plane.resize(size, Image.Resampling.LANCZOS)) for plane in planes], axis=-1)
    return small, scaled(inverse, target=(size[0] / width, size[1] / height))


def tiles(box: tuple[int, int, int, int], side: int = TILE) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of the tiles that cover a rectangle (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    for top in range(y0, y1, side):
        for left in range(x0, x1, side):
            yield slice(top, min(top + side, y1)), slice(left, min(left + side, x1))


def sample_tile(source: np.ndarray, inverse: np.ndarray, rows: slice, columns: slice, factor: int) -> np.ndarray:
    """Return one tile of a target, float32 (rows, columns, 3), by Lanczos.

    Args:
        source: float32 (h, w, 3), not much finer than the target (see `reduce`); beyond its edges it goes on unchanged.
        inverse: (2, 3), from target to source.
        rows: the tile's place in the target.
        columns: likewise.
        factor: how finely the source is sampled before the bilinear step.
    """
    seen, local = seen_by(source, inverse, rows, columns)
    return _warp(_finer(seen, factor), local * factor, rows, columns, cv2.BORDER_REPLICATE)


def seen_by(source: Any, inverse: np.ndarray, rows: slice, columns: slice) -> tuple[Any, np.ndarray]:
    """Return the part of a source (h, w, 3) that a tile of the target depends on, and the map from the target to it."""
    height, width = source.shape[:2]
    left, top, right, bottom = bounds(inverse, (columns.start, rows.start, columns.stop, rows.stop))
    # Where the tile lies beyond the source, the nearest pixels of the source are what it shows.
    x0 = min(max(int(np.floor(left)) - REACH, 0), width - 1)
    y0 = min(max(int(np.floor(top)) - REACH, 0), height - 1)
    x1 = max(min(int(np.ceil(right)) + REACH, width), x0 + 1)
    y1 = max(min(int(np.ceil(bottom)) + REACH, height), y0 + 1)
    local = inverse.copy()
    local[:, 2] -= (x0, y0)
    return source[y0:y1, x0:x1], local


def _finer(source: np.ndarray, factor: int) -> np.ndarray:
    """Enlarge float32 (h, w, 3) by a whole factor with Lanczos; each of its phases is a filter of nine taps."""
    height, width = source.shape[:2]
    one = np.ones(1, np.float32)
    kernels = phases(factor)
    rows = np.empty((height, factor, width, 3), np.float32)
    for i, kernel in enumerate(kernels):
        rows[:, i] = cv2.sepFilter2D(source, -1, one, kernel, borderType=cv2.BORDER_REPLICATE)
    tall = rows.reshape(height * factor, width, 3)
    # Merging the phases' channels puts them side by side: the columns of the enlarged picture.
    columns = [cv2.sepFilter2D(tall, -1, kernel, one, borderType=cv2.BORDER_REPLICATE) for kernel in kernels]
    return cv2.merge(columns).reshape(height * factor, width * factor, 3)


@lru_cache
def phases(factor: int) -> np.ndarray:
    """Return the weights (factor, 9) of the pixels around each of the positions that a pixel is divided into.

    They are Lanczos weights, sharpened by what the bilinear step softens on average: at a step of w radians its
    response is about 1 - w^2 / 12, and that of the filter (-1, 14, -1) / 12 is about 1 + w^2 / 12.
    """
    distance = np.arange(-4, 5) - ((np.arange(factor) + 0.5) / factor - 0.5)[:, None]
    before, here, after = (_lanczos(distance + step / factor) for step in (1, 0, -1))
    weights: np.ndarray = (14 * here - before - after) / 12
    return weights.astype(np.float32)


def _lanczos(distance: np.ndarray) -> np.ndarray:
    """Return Lanczos weights (a = 3) of pixels at these distances (n, k), corrected to keep ramps and parabolas exact.

    Plain Lanczos weights, even when made to sum to one, shift a slope by up to some thousandths of a pixel and give
    smooth shades a ripple. A smooth window times 1, x and x^2, as much as is needed, puts the three moments right.
    """
    weights = np.where(abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    window = np.where(abs(distance) < 3.5, np.cos(np.pi * distance / 7) ** 2, 0)
    powers = distance[:, None] ** np.arange(3)[:, None]  # (n, 3, k)
    missing = np.array([1, 0, 0]) - (powers @ weights[..., None])[..., 0]
    shares = np.linalg.solve((powers * window[:, None]) @ powers.swapaxes(1, 2), missing[..., None])
    corrected: np.ndarray = weights + window * (shares * powers).sum(axis=1)
    return corrected


def sample_plane(source: np.ndarray, inverse: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """Return one tile of a smooth plane (h, w), float32, bilinear; zero outside the source."""
    return _warp(source, inverse, rows, columns, cv2.BORDER_CONSTANT)


def _warp(source: np.ndarray, inverse: np.ndarray, rows: slice, columns: slice, border: int) -> np.ndarray:
    """Sample bilinearly; the one place where edge coordinates become OpenCV's, whose pixel centres are integers."""
    matrix = inverse.copy()
    matrix[:, 2] += inverse[:, :2] @ (columns.start + 0.5, rows.start + 0.5) - 0.5
    size = columns.stop - columns.start, rows.stop - rows.start
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(source, matrix, size, flags=flags, borderMode=border, borderValue=0)
