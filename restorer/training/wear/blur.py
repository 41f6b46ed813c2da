"""Blur: out of focus (a disc), moved (a line), soft (a Gaussian, round or stretched), as kernels and their use."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
"""Pictures of this package: (h, w, 3) RGB, float32, 0 to 255, not clipped between two stages."""


def gaussian(first: float, second: float, angle: float) -> Float:
    """Return a Gaussian kernel of sum 1.

    Args:
        first: deviation along `angle`, pixels.
        second: deviation across it.
        angle: in radians.
    """
    first, second = max(first, 0.05), max(second, 0.05)
    reach = max(math.ceil(3 * max(first, second)), 1)
    x, y = _grid(reach)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return _normal(np.exp(-0.5 * ((along / first) ** 2 + (across / second) ** 2)))


def disc(radius: float) -> Float:
    """Return the kernel of a lens out of focus: a disc of this radius in pixels, its rim smooth over one pixel."""
    x, y = _grid(max(math.ceil(radius + 0.5), 1))
    return _normal(np.clip(radius + 0.5 - np.hypot(x, y), 0, 1))


def motion(length: float, angle: float, bend: float = 0.0) -> Float:
    """Return the kernel of a hand that moved.

    Args:
        length: of the way in pixels.
        angle: its direction in radians.
        bend: how far its middle lies beside the straight line, a fraction of the length.
    """
    along = np.linspace(-0.5, 0.5, max(int(8 * length), 8)) * length
    beside = (0.25 - (along / max(length, 1e-6)) ** 2) * 4 * bend * length
    beside -= beside.mean()  # a blurred picture stays where its truth is
    x = along * math.cos(angle) - beside * math.sin(angle)
    y = along * math.sin(angle) + beside * math.cos(angle)
    reach = max(math.ceil(length / 2 + abs(bend) * length + 1), 1)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for dx in (0, 1):
        for dy in (0, 1):  # each point shared among the four pixels around it
            left, top = np.floor(x), np.floor(y)
            weight = np.abs(1 - dx - (x - left)) * np.abs(1 - dy - (y - top))
            np.add.at(kernel, (top.astype(int) + dy + reach, left.astype(int) + dx + reach), weight)
    return _normal(kernel)


def blurred(picture: Float, kernel: Float) -> Float:
    """Return the picture (h, w, 3) after a kernel, mirrored at its edges."""
    return np.asarray(cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT_101), np.float32)


def any_kernel(rng: np.random.Generator, strength: float) -> Float:
    """Return a kernel of one of the three kinds: Gaussians in half, discs in three, motion in two of ten draws.

    Args:
        rng: decides kind and form.
        strength: the deviation that a Gaussian has, pixels; discs and ways are as wide as blur as much.
    """
    kind, angle = rng.random(), rng.uniform(-math.pi, math.pi)
    if kind < 0.25:
        return gaussian(strength, strength, 0.0)
    if kind < 0.5:
        return gaussian(strength * rng.uniform(0.8, 1.5), strength * rng.uniform(0.3, 1.0), angle)
    if kind < 0.8:
        return disc(strength * 2.0)  # the deviation of a disc is half its radius
    return motion(max(strength * 3.46, 1.0), angle, rng.uniform(-0.3, 0.3))  # of a line: its length by root 12


def _grid(reach: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    line = np.arange(-reach, reach + 1.0)
    x, y = np.meshgrid(line, line)
    return x, y


def _normal(kernel: NDArray[np.float64]) -> Float:
    result: Float = (kernel / kernel.sum()).astype(np.float32)
    return result
