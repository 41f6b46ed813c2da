"""Colours of pixels: luma, and what is black and white."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from restorer.imaging.libraries import np

if TYPE_CHECKING:
    import numpy.typing as npt

Pixels: TypeAlias = "npt.NDArray[Any]"
"""uint8 or uint16."""

GREY_TINT = 6 / 255
"""Difference between the channels that a black-and-white photo has at most, up to one pixel in a thousand."""

LUMA: Pixels
"""How much red, green and blue add to a pixel's brightness, float32: ITU-R BT.601, as in JPEG."""


@cache
def __getattr__(name: str) -> Any:
    """Make `LUMA` when it is first asked for: NumPy is not loaded before."""
    if name != "LUMA":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return np.array([0.299, 0.587, 0.114], np.float32)


def top_of(dtype: np.dtype[Any]) -> int:
    """Return the value of full light in a picture's type: of unsigned integers the largest, of floats 1."""
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else 1


def grey_to_rgb(grey: Pixels) -> Pixels:
    """Return (h, w) as (h, w, 3) with three equal channels."""
    return np.repeat(grey[..., None], 3, axis=2)


def is_grey(pixels: Pixels) -> bool:
    """Whether the three channels are equal everywhere."""
    first = pixels[..., 0]
    return bool(np.array_equal(first, pixels[..., 1]) and np.array_equal(first, pixels[..., 2]))


def looks_grey(pixels: np.ndarray, seen: Callable[[np.ndarray], np.ndarray] | None = None) -> bool:
    """Whether a picture is black and white, up to the tint that JPEG leaves.

    Args:
        pixels: (h, w, 3), unsigned integers of any size or floats in [0, 1].
        seen: makes sRGB of values that are not; None = they are.
    """
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / 250_000) ** 0.5))
    sample = pixels[::step, ::step] if seen is None else seen(pixels[::step, ::step])
    top = top_of(sample.dtype)
    red, green, blue = sample[..., 0], sample[..., 1], sample[..., 2]  # a reduction over three values is slow
    apart = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return bool(np.percentile(apart, 99.9) <= GREY_TINT * top)
