"""What a photo shows of a picture: the picture made smaller, without colour, or with a hole. Searches look through it.

Each operator is a linear map of pictures (n, 3, h, w), in any range of values.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from restorer.imaging.colour import LUMA


class Operator(Protocol):
    """Shows what is seen of a picture."""

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return what is seen of pictures (n, 3, h, w)."""
        ...


def whole(pictures: Tensor) -> Tensor:
    """Return pictures as they are: all of them is seen."""
    return pictures


class Reduction:
    """Makes square pictures smaller by the cubic filter (a = -0.5), antialiased, mirrored at their edges.

    As PULSE reduces, for any two sizes: `4 * factor` taps for each pixel of the result, which sum to 1.

    Args:
        size: side of what comes in.
        side: side of what goes out, at most `size`; the same side leaves pictures as they are.
    """

    def __init__(self, size: int, side: int) -> None:
        if not 0 < side <= size:
            raise ValueError(f"A picture of {size} px is not reduced to {side} px.")
        self.size, self.side = size, side
        self._exact = self._matrix = reduction_matrix(size, side)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return pictures (n, c, size, size) as (n, c, side, side)."""
        if self.side == self.size:
            return pictures
        self._matrix = self._matrix.to(pictures)
        return self._matrix @ pictures @ self._matrix.t()

    def undone(self, small: Tensor) -> Tensor:
        """Return the least picture (n, c, size, size) whose reduction is a small one (n, c, side, side)."""
        if self.side == self.size:
            return small
        exact = self._exact
        back: Tensor = (exact.t() @ torch.linalg.inv(exact @ exact.t())).to(small)
        return back @ small @ back.t()


def reduction_matrix(size: int, side: int) -> Tensor:
    """Return the matrix (side, size), float64, that reduces one axis; see `Reduction`."""
    factor = size / side
    rows = torch.zeros(side, size, dtype=torch.float64)
    for row in range(side):
        centre = (row + 0.5) * factor
        first, last = math.ceil(centre - 2 * factor - 0.5), math.floor(centre + 2 * factor - 0.5)
        taps = torch.tensor([_cubic((pixel + 0.5 - centre) / factor) for pixel in range(first, last + 1)])
        taps = taps.double() / taps.double().sum()
        for pixel, tap in zip(range(first, last + 1), taps.tolist(), strict=True):
            rows[row, _mirrored(pixel, size)] += tap
    return rows


def _cubic(x: float) -> float:
    """Return Keys' cubic kernel, a = -0.5, at a distance in pixels of the result."""
    x = abs(x)
    if x <= 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def _mirrored(pixel: int, size: int) -> int:
    """Return where a pixel beyond the edge is taken from; the edge's own pixel is not repeated."""
    if size == 1:
        return 0
    pixel = abs(pixel) % (2 * size - 2)
    return min(pixel, 2 * size - 2 - pixel)


def grey(pictures: Tensor) -> Tensor:
    """Return the brightness (n, 1, h, w) of pictures (n, 3, h, w): 0.299 R + 0.587 G + 0.114 B."""
    luma = torch.as_tensor(LUMA, device=pictures.device, dtype=pictures.dtype)
    return (pictures * luma[:, None, None]).sum(1, keepdim=True)


class Masked:
    """Shows pictures only where something is known; elsewhere there is 0.

    Args:
        known: (1 or n, 1, h, w), 1 where a picture is seen and 0 in its hole.
    """

    def __init__(self, known: Tensor) -> None:
        self._known = known

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return pictures (n, 3, h, w) with 0 in their holes."""
        self._known = self._known.to(pictures)
        return pictures * self._known
