"""Where pictures are sampled: by OpenCV on the processor, or by torch on a device, with the same numbers.

`Sampling` is the first, `restorer.imaging.tensor_sampling.TensorSampling` the second. What one of them holds (an array,
or a tensor on its device) is only handed back to it, and comes back as an array by `numbers`.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from restorer.imaging import warp

_DEPTHS = {"uint8": cv2.CV_8U, "uint16": cv2.CV_16U}


class Sampling:
    """Sampling by OpenCV.

    Attributes:
        tile: side of what is worked on at once, in pixels of the target.
    """

    tile = warp.TILE

    def hold(self, array: np.ndarray) -> Any:
        """Return an array as it is held."""
        return array

    def numbers(self, held: Any) -> np.ndarray:
        """Return what is held as an array."""
        array: np.ndarray = held
        return array

    def reduce(self, source: Any, inverse: np.ndarray) -> tuple[Any, np.ndarray]:
        """Reduce a source (h, w, 3) to about the target's resolution; see `warp.reduce`."""
        return warp.reduce(source, inverse)

    def tile_of(self, source: Any, inverse: np.ndarray, rows: slice, columns: slice, factor: int) -> Any:
        """Return one tile of a target, (rows, columns, 3), by Lanczos; see `warp.sample_tile`."""
        return warp.sample_tile(source, inverse, rows, columns, factor)

    def plane_of(self, source: Any, inverse: np.ndarray, rows: slice, columns: slice) -> Any:
        """Return one tile of a smooth plane, (rows, columns); see `warp.sample_plane`."""
        return warp.sample_plane(source, inverse, rows, columns)

    def blended(self, below: np.ndarray, patch: Any, weight: Any) -> np.ndarray:
        """Return pixels with others over them, rounded once and clipped.

        Args:
            below: (h, w, 3), uint8 or uint16.
            patch: (h, w, 3), held.
            weight: (h, w), held: how much of it is seen.
        """
        change = cv2.subtract(np.ascontiguousarray(patch), below, dtype=cv2.CV_32F)
        change = cv2.multiply(change, cv2.merge([weight] * 3))
        # OpenCV adds in float, rounds once and clips to the type.
        result: np.ndarray = cv2.add(below, change, dtype=_DEPTHS[below.dtype.name])
        return result


PLAIN = Sampling()
"""Sampling by OpenCV, which holds nothing of its own."""
