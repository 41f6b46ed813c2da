"""Everything that is not a face, enlarged by a network in overlapping tiles."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from restorer.errors import OutOfMemoryError
from restorer.imaging.colour import LUMA, looks_grey, top_of
from restorer.imaging.resize import resize_box, to_type
from restorer.models.base import UpscalerArchitecture
from restorer.upscaling.lanczos import OnTile

if TYPE_CHECKING:
    from restorer.engine.network import Network
    from restorer.imaging.profiles import Colours
    from restorer.models.base import Precision

SMALLEST_TILE = 64
"""Pixels; what does not fit into a device's memory with tiles of this side goes to the CPU."""

ROUNDED = 1e-3
"""By how much a size may be beyond a factor: half a pixel of rounding, from 500 px a side on."""


class NetworkUpscaler:
    """An upscaler network in tiles, whose result one antialiased resize brings to any size.

    Of several factors the network takes the smallest that suffices.

    A tile reaches `overlap` input pixels beyond its own on each side, and in half of that it is blended into its
    neighbours, so that no seam shows. Memory is bounded by the tile and the result, whatever the photo's size.

    Args:
        network: whose architecture is an upscaler.
        tile: side of a tile in input pixels; None = the architecture's own. Halved while the device's memory does not
            suffice, down to `SMALLEST_TILE`; then the CPU takes the tiles.
        exact: compute pictures of 16 bits in fp32, whatever the precision of the run: half precisions have fewer.

    Raises:
        TypeError: the network is for something else.
    """

    def __init__(self, network: Network, tile: int | None = None, *, exact: bool = False) -> None:
        architecture = network.architecture
        if not isinstance(architecture, UpscalerArchitecture):
            raise TypeError(f"{network.name} is no upscaler")
        self.name = network.name
        self.network = network
        self.notes: Counter[str] = Counter()
        self._factors = architecture.factors(network.arguments)
        own, self._overlap, self._grid = architecture.tiles(network.arguments)
        self._tile = tile or own
        self._exact = exact
        self._colours: Colours | None = None

    def among(self, colours: Colours) -> NetworkUpscaler:
        """Return the same upscaler for pictures whose values mean these colours; see `Learned.among`."""
        other = copy.copy(self)
        other._colours = colours
        return other

    def upscale(self, pixels: np.ndarray, size: tuple[int, int], on_tile: OnTile | None = None) -> np.ndarray:
        """Return `pixels` at `size`; see `Background.upscale`."""
        tile, colours = self._tile, self._colours
        grey = looks_grey(pixels, None if colours is None else colours.seen)
        while True:
            try:
                result = self._tiled(pixels, size, tile, grey, on_tile)
            except OutOfMemoryError:
                if tile <= SMALLEST_TILE:  # the CPU was tried
                    raise
                tile //= 2
                continue
            if tile < self._tile:
                self.notes[f"{self.name}: the memory of {self.network.device.name} asked for tiles of {tile} px."] += 1
            return result

    def _tiled(
        self, pixels: np.ndarray, size: tuple[int, int], tile: int, grey: bool, on_tile: OnTile | None
    ) -> np.ndarray:
        (height, width), (wide, high) = pixels.shape[:2], size
        canvas = np.empty((high, wide, 3), pixels.dtype)
        needed = max(wide / width, high / height)
        factor = next((factor for factor in self._factors if factor >= needed - ROUNDED), self._factors[-1])
        shrinks = tile > SMALLEST_TILE
        rows, columns = _edges(height, tile, self._grid), _edges(width, tile, self._grid)
        total, done = (len(rows) - 1) * (len(columns) - 1), 0
        for top, bottom in pairwise(rows):
            for left, right in pairwise(columns):
                self._one_tile(pixels, canvas, (left, top, right, bottom), factor, grey, shrinks)
                done += 1
                if on_tile:
                    on_tile(done, total)
        return canvas

    def _one_tile(
        self,
        pixels: np.ndarray,
        canvas: np.ndarray,
        tile: tuple[int, int, int, int],
        factor: int,
        grey: bool,
        shrinks: bool,
    ) -> None:
        """Write one tile into the canvas, blended over what its left and upper neighbours wrote in the shared band."""
        left, top, right, bottom = tile
        (height, width), (high, wide) = pixels.shape[:2], canvas.shape[:2]
        reach = self._overlap
        seen_left, seen_top = max(left - reach, 0), max(top - reach, 0)
        seen = pixels[seen_top : bottom + reach, seen_left : right + reach]
        enlarged = self._run(seen, factor, shrinks)
        if grey:
            enlarged = _without_new_colour(enlarged, seen)
        # The block of the result that this tile fills, widened to the left and to the top by the band it is blended in.
        across, down = wide / width, high / height
        # Small tiles lie wholly in the band of their neighbours; it ends at the photo's own edge.
        band_x = round(min(reach / 2, left) * across)
        band_y = round(min(reach / 2, top) * down)
        x0, x1 = round(left * across) - band_x, round(right * across)
        y0, y1 = round(top * down) - band_y, round(bottom * down)
        box = (
            (x0 / across - seen_left) * factor,
            (y0 / down - seen_top) * factor,
            (x1 / across - seen_left) * factor,
            (y1 / down - seen_top) * factor,
        )
        box = (max(box[0], 0), max(box[1], 0), min(box[2], enlarged.shape[1]), min(box[3], enlarged.shape[0]))
        block = resize_box(enlarged, (x1 - x0, y1 - y0), box)
        target = canvas[y0:y1, x0:x1]
        if np.issubdtype(canvas.dtype, np.integer):
            block *= top_of(canvas.dtype)
        if band_x or band_y:
            weight = np.outer(_ramp(y1 - y0, band_y), _ramp(x1 - x0, band_x))[..., None]
            known = weight < 1
            block = np.where(known, target * (1 - weight) + block * weight, block)
        target[...] = to_type(block, canvas.dtype)

    def _run(self, seen: np.ndarray, factor: int, shrinks: bool) -> np.ndarray:
        """Return the network's picture of a tile, float32 (h, w, 3), in [0, 1], in the tile's own colours."""
        import torch

        shown = seen if self._colours is None else self._colours.seen(seen)
        top = top_of(shown.dtype)
        pixels = torch.from_numpy(np.ascontiguousarray(shown, dtype=np.float32))
        precision: Precision | None = "fp32" if self._exact and seen.dtype == np.uint16 else None
        output = self.network(
            pixels.permute(2, 0, 1)[None] * (2 / top) - 1, precision=precision, factor=factor, shrinks=shrinks
        )
        with torch.inference_mode():
            picture: np.ndarray = output[0].mul_(0.5).add_(0.5).clamp_(0, 1).permute(1, 2, 0).numpy()
        return picture if self._colours is None else self._colours.back(picture, seen, shown)


def _without_new_colour(enlarged: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return a network's picture of a tile with its luma, and with the colours of the tile: of grey, none."""
    import cv2

    top = top_of(seen.dtype)
    plain: np.ndarray = cv2.resize(
        np.multiply(seen, 1 / top, dtype=np.float32), enlarged.shape[1::-1], interpolation=cv2.INTER_LINEAR
    )
    plain += ((enlarged - plain) @ LUMA)[..., None]
    np.clip(plain, 0, 1, out=plain)
    return plain


def _edges(length: int, tile: int, grid: int) -> list[int]:
    """Return the borders of about equal tiles, at multiples of `grid`; none is longer than `tile`, or one of them."""
    cells = -(-length // grid)
    count = -(-cells // max(tile // grid, 1))
    return [*(grid * round(i * cells / count) for i in range(count)), length]


def _ramp(length: int, band: int) -> np.ndarray:
    """Return weights that rise from 0 to 1 over the first `band` pixels."""
    ramp = np.ones(length, np.float32)
    ramp[:band] = (np.arange(band, dtype=np.float32) + 0.5) / max(band, 1)
    return ramp
