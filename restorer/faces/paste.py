"""A restored face goes back into the enlarged photo, inside its own rectangle."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np

from restorer.engine import memory
from restorer.faces.holding import Holding
from restorer.faces.mask import border_feather
from restorer.imaging import warp
from restorer.imaging.colour import top_of
from restorer.imaging.layers import Layer
from restorer.imaging.resize import to_type
from restorer.imaging.sampling import PLAIN, Sampling

_log = logging.getLogger(__name__)
_DEPTHS = ("uint8", "uint16")


def paste(
    canvas: np.ndarray,
    face: np.ndarray,
    mask: np.ndarray,
    matrix: np.ndarray,
    photo_size: tuple[int, int],
    align_size: int,
    strength: float = 1.0,
    marks: np.ndarray | None = None,
    kept: list[Layer] | None = None,
    holding: Holding | None = None,
    sampling: Sampling = PLAIN,
) -> tuple[int, int, int, int] | None:
    """Blend a restored face into the enlarged photo, in place; what its mask does not reach is not touched.

    Work and memory depend on the face's size in the result, not on the photo's. Computed in float and rounded once.
    Nothing but the canvas is changed. Whatever the mask, its weight falls to zero towards the crop's edge, so that hair
    which leaves the crop is not cut along a line.

    Args:
        canvas: (H, W, 3) RGB, uint8 or uint16: the photo, enlarged by any factor, not necessarily the same in x and y.
        face: float32 (S, S, 3), RGB in [0, 1], of any size S.
        mask: float32 (t, t) in [0, 1], of any size t: how much of the face is seen.
        matrix: (2, 3), from the photo to the crop at `align_size`, as `align.estimate` gives it.
        photo_size: (width, height) of the photo.
        align_size: side in pixels of the crop that `matrix` leads to.
        strength: 0 to 1, multiplies the mask.
        marks: (H, W) uint8, where the weight of what was pasted is written, 255 = all; None = nowhere.
        kept: takes in what is pasted as a layer, the face as far as its crop reaches and its mask; None = nobody does.
        holding: what the face has to keep of the canvas below it; None = nothing.
        sampling: what samples face and mask, and where.

    Returns:
        The rectangle of the canvas that it reaches, x0, y0, x1, y1; None where it reaches nothing.

    Raises:
        ValueError: an array has another type or shape, or the face holds NaN.
    """
    _check(canvas, face, mask)
    depth = canvas.dtype
    top_value = float(top_of(depth))
    enlarged = canvas.shape[1] / photo_size[0], canvas.shape[0] / photo_size[1]
    to_crop = warp.scaled(matrix, source=enlarged)  # from the canvas to the crop at align_size

    mask = np.minimum(mask, border_feather(mask.shape[0])) * np.float32(strength)
    box = _target(mask, to_crop, align_size, canvas)
    if box is None:
        return None
    to_mask = warp.scaled(to_crop, target=(mask.shape[0] / align_size,) * 2)
    mask, to_mask = _reduce_mask(mask, to_mask)
    to_face = warp.scaled(to_crop, target=(face.shape[0] / align_size,) * 2)
    before = None if holding is None else _Before(canvas, box, holding.reach)
    pasted = _Pasted(face, to_face, mask, to_mask, top_value, holding, before, sampling)

    layer = None if kept is None else _empty(box, depth)
    for rows, columns in warp.tiles(box, sampling.tile):
        below = canvas[rows, columns]
        try:
            tile = pasted.over(below, rows, columns, everywhere=layer is not None)
        except (
            RuntimeError,
            MemoryError,
        ) as error:  # a device's memory may be full; a tile is done whole or not at all
            if pasted.sampling is PLAIN or not memory.is_exhausted(error):
                raise
            _log.info("The processor pastes a face: %s", error)
            pasted = _Pasted(face, to_face, mask, to_mask, top_value, holding, before, PLAIN)
            tile = pasted.over(below, rows, columns, everywhere=layer is not None)
        if tile is None:
            continue
        patch, weight, result = tile
        if layer is not None:
            _keep(layer, rows, columns, pasted.sampling.numbers(patch), pasted.sampling.numbers(weight))
        if result is None:
            continue
        canvas[rows, columns] = result
        if marks is not None:
            share = np.rint(pasted.sampling.numbers(weight) * 255).astype(np.uint8)
            marks[rows, columns] = np.maximum(marks[rows, columns], share)
    if kept is not None and layer is not None:
        kept.append(layer)
    return box


class _Pasted:
    """A face and its mask, ready to be seen in any tile of the canvas.

    Args:
        face: (S, S, 3) in [0, 1].
        to_face: (2, 3), from the canvas to it.
        mask: (t, t).
        to_mask: likewise.
        top: the canvas's largest value.
        holding: what the face has to keep of the canvas; None = nothing.
        before: the canvas before anything was pasted, where something is to be kept of it.
        sampling: what samples both, and where.
    """

    def __init__(
        self,
        face: np.ndarray,
        to_face: np.ndarray,
        mask: np.ndarray,
        to_mask: np.ndarray,
        top: float,
        holding: Holding | None,
        before: _Before | None,
        sampling: Sampling,
    ) -> None:
        self.sampling = sampling
        source, self._to_face = sampling.reduce(face, to_face)
        self._source, self._mask, self._to_mask = source * np.float32(top), sampling.hold(mask), to_mask
        # A face that is enlarged by the warp is sampled more finely: it costs little there, and shows most.
        self._factor = 3 if warp.sampling_step(self._to_face) < 0.75 else 2
        self._holding, self._before, self._top = holding, before, top

    def over(
        self, below: np.ndarray, rows: slice, columns: slice, *, everywhere: bool
    ) -> tuple[Any, Any, np.ndarray | None] | None:
        """Return a tile of the face and its weight, as the sampling holds them, and the canvas with it.

        Args:
            below: the canvas there.
            rows: the tile's place in the canvas.
            columns: likewise.
            everywhere: also where nothing of it is seen; there the canvas is None. Else the whole answer is.
        """
        sampling, result = self.sampling, None
        weight = sampling.plane_of(self._mask, self._to_mask, rows, columns)
        is_seen = bool(weight.any())
        if not (is_seen or everywhere):
            return None
        if self._holding is None or self._before is None or not is_seen:
            patch = sampling.tile_of(self._source, self._to_face, rows, columns, self._factor)
        else:
            wider = self._before.around(rows, columns)
            patch = sampling.tile_of(self._source, self._to_face, *wider, self._factor)
            seen = sampling.plane_of(self._mask, self._to_mask, *wider)
            held = held_by(self._holding, sampling)(patch, self._before.at(*wider), seen, self._top)
            patch = held[_inside(rows, wider[0]), _inside(columns, wider[1])]
        if is_seen:
            result = sampling.blended(below, patch, weight)
        return patch, weight, result


def held_by(holding: Holding, sampling: Sampling) -> Callable[..., Any]:
    """Return what holds on to detail where a sampling keeps its numbers; see `Holding.held`."""
    if sampling is PLAIN:
        return holding.held
    from restorer.faces.tensor_holding import held

    return partial(held, holding, sampling)


class _Before:
    """The canvas around a rectangle as it was before anything was pasted.

    Args:
        canvas: (H, W, 3).
        box: the rectangle, x0, y0, x1, y1.
        reach: how many pixels around it are kept, as far as there are any.
    """

    def __init__(self, canvas: np.ndarray, box: tuple[int, int, int, int], reach: int) -> None:
        self._reach = reach
        self._size = canvas.shape[:2]
        self._top, self._left = max(box[1] - reach, 0), max(box[0] - reach, 0)
        self._pixels = canvas[self._top : box[3] + reach, self._left : box[2] + reach].copy()

    def around(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Return a tile with all that is looked at around it."""
        height, width = self._size
        return (
            slice(max(rows.start - self._reach, 0), min(rows.stop + self._reach, height)),
            slice(max(columns.start - self._reach, 0), min(columns.stop + self._reach, width)),
        )

    def at(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the pixels of a tile."""
        return self._pixels[
            rows.start - self._top : rows.stop - self._top, columns.start - self._left : columns.stop - self._left
        ]


def _inside(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)


def _empty(box: tuple[int, int, int, int], depth: np.dtype) -> Layer:
    size = box[3] - box[1], box[2] - box[0]
    return Layer("Face", box[0], box[1], np.zeros((*size, 3), depth), np.zeros(size, depth))


def _keep(layer: Layer, rows: slice, columns: slice, patch: np.ndarray, weight: np.ndarray) -> None:
    """Write a tile of what is pasted into its layer."""
    place = (
        slice(rows.start - layer.top, rows.stop - layer.top),
        slice(columns.start - layer.left, columns.stop - layer.left),
    )
    layer.pixels[place] = to_type(patch, layer.pixels.dtype)
    if layer.mask is not None:
        layer.mask[place] = to_type(weight * top_of(layer.mask.dtype), layer.mask.dtype)


def _check(canvas: np.ndarray, face: np.ndarray, mask: np.ndarray) -> None:
    if canvas.ndim != 3 or canvas.shape[2] != 3 or canvas.dtype.name not in _DEPTHS:
        raise ValueError(f"the canvas must be (H, W, 3) uint8 or uint16, not {canvas.shape} {canvas.dtype}")
    if face.ndim != 3 or face.shape[0] != face.shape[1] or face.shape[2] != 3:
        raise ValueError(f"the face must be (S, S, 3), not {face.shape}")
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        raise ValueError(f"the mask must be (t, t), not {mask.shape}")
    if not (np.isfinite(face).all() and np.isfinite(mask).all()):
        raise ValueError("the face or its mask holds NaN")


def _target(
    mask: np.ndarray, to_crop: np.ndarray, align_size: int, canvas: np.ndarray
) -> tuple[int, int, int, int] | None:
    """Return the rectangle of the canvas that the mask's non-zero part reaches; None when there is none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    # The bilinear step spreads a mask pixel over its neighbours: one more on each side.
    unit = align_size / mask.shape[0]
    seen = ((columns[0] - 1) * unit, (rows[0] - 1) * unit, (columns[-1] + 2) * unit, (rows[-1] + 2) * unit)
    left, top, right, bottom = warp.bounds(warp.invert(to_crop), seen)
    x0, y0 = max(int(np.floor(left)), 0), max(int(np.floor(top)), 0)
    x1, y1 = min(int(np.ceil(right)), canvas.shape[1]), min(int(np.ceil(bottom)), canvas.shape[0])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _reduce_mask(mask: np.ndarray, to_mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce a mask to about the canvas's resolution, by area averaging, when it is finer."""
    size = round(mask.shape[0] / warp.sampling_step(to_mask))
    if size >= mask.shape[0]:
        return mask, to_mask
    size = max(size, 1)
    small = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
    return small, warp.scaled(to_mask, target=(size / mask.shape[0],) * 2)
