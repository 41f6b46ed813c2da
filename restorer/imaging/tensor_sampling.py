"""What `restorer.imaging.warp` does, by torch on any of its devices, to within rounding of the same numbers.

Filters are convolutions, reductions are products with the matrices of their weights, and an affine map is a grid of
positions. On a GPU a face is one tile: there is no cache to keep it in, and each step costs a call.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restorer.imaging import warp
from restorer.imaging.sampling import Sampling

TILE = 1024
"""Side of what is worked on at once: some 200 MB with what is in between."""


class TensorSampling(Sampling):
    """Sampling by torch.

    Args:
        device: torch's name of it.
    """

    tile = TILE

    def __init__(self, device: str) -> None:
        self.device = device

    def hold(self, array: np.ndarray) -> Tensor:
        """Return an array as float32 on the device; it travels in its own type."""
        if array.dtype == np.uint16:  # of which torch knows little
            array = array.astype(np.int32)
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device).float()

    def numbers(self, held: Tensor) -> np.ndarray:
        """Return what is held as an array."""
        array: np.ndarray = held.cpu().numpy()
        return array

    def reduce(self, source: np.ndarray, inverse: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Reduce a source (h, w, 3) to about the target's resolution; see `warp.reduce`."""
        step, held = warp.sampling_step(inverse), self.hold(source)
        if step <= warp.SHARP_ENOUGH:
            return held, inverse
        height, width = source.shape[:2]
        size = max(1, round(width / step)), max(1, round(height / step))
        if width > 4 * size[0]:
            held = self._resized(held, (2 * size[0], 2 * size[1]), area_weights)
            held = held.round() if source.dtype.kind == "u" else held
        return self._resized(held, size, lanczos_weights), warp.scaled(
            inverse, target=(size[0] / width, size[1] / height)
        )

    def _resized(self, source: Tensor, size: tuple[int, int], weights: Any) -> Tensor:
        """Return a picture (h, w, 3) at a size (width, height), by a kind of weights."""
        height, width = source.shape[:2]
        across, down = (
            torch.from_numpy(weights(before, after)).to(self.device)
            for before, after in ((width, size[0]), (height, size[1]))
        )
        return torch.einsum("yh,hxc->yxc", down, torch.einsum("xw,hwc->hxc", across, source))

    def tile_of(self, source: Tensor, inverse: np.ndarray, rows: slice, columns: slice, factor: int) -> Tensor:
        """Return one tile of a target, (rows, columns, 3), by Lanczos; see `warp.sample_tile`."""
        seen, local = warp.seen_by(source, inverse, rows, columns)
        return self._warped(_finer(seen, factor), local * factor, rows, columns, "border")

    def plane_of(self, source: Tensor, inverse: np.ndarray, rows: slice, columns: slice) -> Tensor:
        """Return one tile of a smooth plane, (rows, columns); see `warp.sample_plane`."""
        return self._warped(source[..., None], inverse, rows, columns, "zeros")[..., 0]

    def _warped(self, source: Tensor, inverse: np.ndarray, rows: slice, columns: slice, border: str) -> Tensor:
        """Sample (h, w, c) bilinearly. Torch counts positions from -1 to 1 between a picture's edges, as we do."""
        height, width = source.shape[:2]
        # A pixel's position is counted from the tile's corner: numbers stay small, and single precision suffices.
        corner = inverse[:, :2] @ (columns.start + 0.5, rows.start + 0.5) + inverse[:, 2]
        sides = np.array([width, height])
        start, right, down = (corner * 2 / sides - 1, inverse[:, 0] * 2 / sides, inverse[:, 1] * 2 / sides)
        x = torch.arange(columns.stop - columns.start, device=self.device, dtype=torch.float32)
        y = torch.arange(rows.stop - rows.start, device=self.device, dtype=torch.float32)[:, None]
        grid = torch.stack([x * float(right[i]) + y * float(down[i]) + float(start[i]) for i in (0, 1)], dim=-1)
        planes = source.permute(2, 0, 1)[None]
        return F.grid_sample(planes, grid[None], "bilinear", border, align_corners=False)[0].permute(1, 2, 0)

    def blended(self, below: np.ndarray, patch: Tensor, weight: Tensor) -> np.ndarray:
        """Return pixels with others over them, rounded once and clipped; see `Sampling.blended`."""
        held = self.hold(below)
        result = (held + (patch - held) * weight[..., None]).round_().clamp_(0, np.iinfo(below.dtype).max)
        if below.dtype == np.uint8:
            return self.numbers(result.to(torch.uint8))
        return self.numbers(result.to(torch.int32)).astype(below.dtype)


def _finer(source: Tensor, factor: int) -> Tensor:
    """Enlarge (h, w, 3) by a whole factor with Lanczos, as `warp` does: each phase is a filter of nine taps."""
    height, width = source.shape[:2]
    kernels = torch.from_numpy(warp.phases(factor)).to(source.device)
    planes = F.pad(source.permute(2, 0, 1)[:, None], (4, 4, 4, 4), mode="replicate")  # (3, 1, h + 8, w + 8)
    with exactly():
        tall = F.conv2d(planes, kernels[:, None, :, None]).permute(0, 2, 1, 3).reshape(3, 1, height * factor, width + 8)
        wide = F.conv2d(tall, kernels[:, None, None, :]).permute(0, 2, 3, 1)
    return wide.reshape(3, height * factor, width * factor).permute(1, 2, 0)


@lru_cache(maxsize=16)
def area_weights(before: int, after: int) -> np.ndarray:
    """Return the weights (after, before), float32, by which area averaging makes fewer pixels of an axis."""
    edges = np.arange(after + 1) * (before / after)
    pixels = np.arange(before)
    common = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    common = np.clip(common, 0, None)
    weights: np.ndarray = (common / common.sum(1, keepdims=True)).astype(np.float32)
    return weights


@lru_cache(maxsize=16)
def lanczos_weights(before: int, after: int) -> np.ndarray:
    """Return the weights (after, before), float32, by which Pillow's Lanczos (a = 3) makes fewer pixels of an axis."""
    scale = before / after
    reach = 3 * scale
    weights = np.zeros((after, before))
    for place in range(after):
        centre = (place + 0.5) * scale
        first, last = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), before)
        distance = (np.arange(first, last) - centre + 0.5) / scale
        inside = np.where(abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
        weights[place, first:last] = inside / inside.sum()
    return weights.astype(np.float32)


def gaussian(sigma: float) -> np.ndarray:
    """Return the taps of a Gaussian that reaches three sigmas to both sides, as OpenCV has them."""
    radius = round(3 * sigma)
    taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    weights: np.ndarray = (taps / taps.sum()).astype(np.float32)
    return weights


def mirrored(planes: Tensor, reach: int) -> Tensor:
    """Return (n, 1, h, w) with so many pixels around it, in which it is mirrored at its edges, these pixels too."""
    for axis in (2, 3):
        length = planes.shape[axis]
        places = torch.arange(-reach, length + reach, device=planes.device) % (2 * length)
        planes = planes.index_select(axis, torch.where(places < length, places, 2 * length - 1 - places))
    return planes


def filtered(planes: Tensor, taps: np.ndarray) -> Tensor:
    """Filter (n, 1, h, w) by the same taps along both axes, mirrored at the edges."""
    kernel = torch.from_numpy(taps).to(planes.device)
    padded = mirrored(planes, len(taps) // 2)
    with exactly():
        return F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))


def exactly() -> AbstractContextManager[None]:
    """Return a context in which convolutions keep all digits: CUDA's give up most of them unless they are told."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
