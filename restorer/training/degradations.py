"""Blind degradation: blur, downsampling, noise and JPEG of random strength, as GFP-GAN is trained on (section 4.1).

The published numbers are for faces of 512 px. For faces of another size blur, kernel and the largest factor of
downsampling shrink with them, so that the same face loses the same things: at worst it is left with 64 px.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restorer.errors import UsageError
from restorer.imaging.colour import LUMA
from restorer.training.recipe import Values

DEFAULTS: Values = {
    "reference_size": 512,
    "kernel": 41,
    "isotropic": 0.5,
    "sigma": [0.1, 10.0],
    "downsample": [0.8, 8.0],
    "noise": [0.0, 20.0],
    "jpeg": [60, 100],
    "grey": 0.0,
    "jitter": 0.0,
    "jitter_shift": 20.0,
}
"""GFP-GAN's formula, which is blur, reduction, noise and JPEG, with its own numbers: sigma, kernel and factor for the
reference size, noise in levels of 255. Grey and shifted colours, which its training adds, are left to the recipe."""

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Degraded:
    """What a degradation left of a picture.

    Attributes:
        small: the picture at the size that it was reduced to, (h, w, 3) RGB, 0 to 255.
        size: the size that it had, (width, height).
        grey: whether it was made grey; the clean picture that it stands for is grey then, too.
    """

    small: Float
    size: tuple[int, int]
    grey: bool

    def enlarged(self, interpolation: int = cv2.INTER_LINEAR) -> NDArray[np.uint8]:
        """Return the picture brought back to its size, linearly as GFP-GAN does unless told otherwise."""
        picture = np.asarray(cv2.resize(self.small, self.size, interpolation=interpolation))
        return np.clip(np.rint(picture), 0, 255).astype(np.uint8)

    def truth(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what a restorer should make of it: the clean picture, grey where the degraded one is."""
        if not self.grey:
            return picture
        return np.rint(to_grey(picture.astype(np.float32))).astype(np.uint8)


@dataclass(frozen=True)
class Degradation:
    """A blind degradation for pictures of one size.

    Attributes:
        kernel: side of the blur kernel in pixels, odd.
        isotropic: how often the blur is the same in all directions.
        sigma: range of its standard deviation in pixels.
        downsample: range of the factor by which the picture is reduced.
        noise: range of the Gaussian noise's standard deviation, levels of 255.
        jpeg: range of the JPEG quality.
        grey: how often the picture is made grey.
        jitter: how often all three channels are shifted, each by its own random value.
        jitter_shift: largest such shift, levels of 255.
    """

    kernel: int
    isotropic: float
    sigma: tuple[float, float]
    downsample: tuple[float, float]
    noise: tuple[float, float]
    jpeg: tuple[int, int]
    grey: float
    jitter: float
    jitter_shift: float

    @classmethod
    def of(cls, values: Mapping[str, Any], size: int) -> Degradation:
        """Return the degradation of a recipe's table for pictures of this size.

        Raises:
            UsageError: a range is no pair of rising numbers.
        """
        for name in ("sigma", "downsample", "noise", "jpeg"):
            given = values[name]
            if len(given) != 2 or not 0 <= given[0] <= given[1]:
                raise UsageError(f"The degradation's {name} is {given}.", "Give a range, [lowest, highest].")
        factor = size / values["reference_size"]
        lowest = max(values["downsample"][0], 0.05)
        return cls(
            kernel=2 * max(round((values["kernel"] * factor - 1) / 2), 1) + 1,
            isotropic=values["isotropic"],
            sigma=(values["sigma"][0] * factor, values["sigma"][1] * factor),
            downsample=(lowest, max(values["downsample"][1] * factor, lowest)),
            noise=(values["noise"][0], values["noise"][1]),
            jpeg=(int(values["jpeg"][0]), int(values["jpeg"][1])),
            grey=values["grey"],
            jitter=values["jitter"],
            jitter_shift=values["jitter_shift"],
        )

    def __call__(self, picture: NDArray[np.uint8], rng: np.random.Generator) -> Degraded:
        """Return the degraded picture.

        Args:
            picture: (h, w, 3) RGB.
            rng: decides everything; the same generator state gives the same picture.
        """
        height, width = picture.shape[:2]
        x: Float = picture.astype(np.float32)
        x = np.asarray(cv2.filter2D(x, -1, self._kernel(rng), borderType=cv2.BORDER_REFLECT_101), np.float32)
        factor = rng.uniform(*self.downsample)
        side = max(round(width / factor), 4), max(round(height / factor), 4)
        x = np.asarray(cv2.resize(x, side, interpolation=cv2.INTER_LINEAR), np.float32)
        strength = rng.uniform(*self.noise)
        x = x + rng.standard_normal(x.shape, dtype=np.float32) * np.float32(strength)
        x = _jpeg(x, int(rng.integers(self.jpeg[0], self.jpeg[1] + 1)))
        if rng.random() < self.jitter:
            x = x + rng.uniform(-self.jitter_shift, self.jitter_shift, 3).astype(np.float32)
        grey = bool(rng.random() < self.grey)
        if grey:
            x = to_grey(x)
        return Degraded(x, (width, height), grey)

    def _kernel(self, rng: np.random.Generator) -> Float:
        """Return a Gaussian blur kernel (k, k) of sum 1, round or turned and stretched."""
        first = rng.uniform(*self.sigma)
        second, angle = rng.uniform(*self.sigma), rng.uniform(-math.pi, math.pi)
        if rng.random() < self.isotropic:
            second = first
        reach = np.arange(self.kernel) - self.kernel // 2
        x, y = np.meshgrid(reach, reach)
        along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        # Below a tenth of a pixel the exponent overflows to the same kernel: a single one.
        first, second = max(first, 0.05), max(second, 0.05)
        kernel = np.exp(-0.5 * ((along / first) ** 2 + (across / second) ** 2))
        result: Float = (kernel / kernel.sum()).astype(np.float32)
        return result


def to_grey(picture: Float) -> Float:
    """Return the picture's luma (BT.601) in all three channels."""
    luma = picture @ LUMA
    return np.repeat(luma[..., None], 3, axis=2)


def _jpeg(picture: Float, quality: int) -> Float:
    """Return the picture after JPEG compression at this quality."""
    pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[..., ::-1].astype(np.float32)
