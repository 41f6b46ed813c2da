"""What photographs suffer before they are enlarged: a little blur, noise, grain, the texture of a print, JPEG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restorer.errors import UsageError
from restorer.imaging.sheets import Picture
from restorer.training.recipe import Values
from restorer.training.wear import noise, screens

JPEG_BLOCK = 8
"""Side of JPEG's blocks in pixels."""

_REDUCTIONS = (cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LINEAR)

MILD: Values = {
    "clean": 0.25,
    "blur": [0.0, 0.8],
    "noise": [0.0, 8.0],
    "grey_noise": 0.4,
    "film": 0.0,
    "grain": [2.0, 12.0],
    "print": 0.0,
    "screen": 0.6,
    "jpeg": [60, 97],
    "jpeg_share": 0.75,
    "grey": 0.15,
    "shifted": 0.25,
}
"""What photographs suffer before they are enlarged. `clean`: how often nothing happens but the reduction; blur: sigma
in pixels of the reduced photo; noise: sigma in levels of 255, one for all channels as often as `grey_noise` says;
`film`: how often it has a film's grain in place of that noise, `grain` its levels; `print`: how often it is a print
with a screen, a weave or rough paper, `screen` how strong at most (1 = as strong as prints are); `grey`: how often they
are black and white; `shifted`: how often JPEG's blocks do not begin at the picture's corner."""

_RANGES = ("blur", "noise", "grain", "jpeg")


@dataclass(frozen=True)
class MildDegradation:
    """Blur, reduction, grain or noise, a print's texture and JPEG, each drawn; the attributes are those of `MILD`."""

    clean: float
    blur: tuple[float, float]
    noise: tuple[float, float]
    grey_noise: float
    film: float
    grain: tuple[float, float]
    printed: float
    screen: float
    jpeg: tuple[int, int]
    jpeg_share: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> MildDegradation:
        """Return the degradation of a recipe's table; raises `UsageError` for a range that falls."""
        for name in _RANGES:
            if len(values[name]) != 2 or not 0 <= values[name][0] <= values[name][1]:
                raise UsageError(f"The degradation's {name} is {values[name]}.", "Give a range, [lowest, highest].")
        pairs = {name: (values[name][0], values[name][1]) for name in _RANGES}
        return cls(
            clean=values["clean"],
            blur=pairs["blur"],
            noise=pairs["noise"],
            grey_noise=values["grey_noise"],
            film=values["film"],
            grain=pairs["grain"],
            printed=values["print"],
            screen=values["screen"],
            jpeg=pairs["jpeg"],
            jpeg_share=values["jpeg_share"],
        )

    def __call__(self, picture: Picture, factor: int, rng: np.random.Generator) -> Picture:
        """Return a picture (h, w, 3), whose sides the factor divides, reduced by it and degraded."""
        x = picture.astype(np.float32)
        clean = bool(rng.random() < self.clean)
        sigma = rng.uniform(*self.blur) * factor
        if not clean and sigma > 0.3:
            x = np.asarray(cv2.GaussianBlur(x, (0, 0), sigma), np.float32)
        x = reduce(x, factor, _REDUCTIONS[int(rng.integers(len(_REDUCTIONS)))])
        if clean:
            return to_bytes(x)
        x = self._textured(x, rng)
        if rng.random() >= self.jpeg_share:
            return to_bytes(x)
        quality = int(rng.integers(self.jpeg[0], self.jpeg[1] + 1))
        encoded = cv2.imencode(".jpg", to_bytes(x)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        assert decoded is not None
        return np.ascontiguousarray(decoded[..., ::-1], np.uint8)

    def _textured(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Return the picture with a print's texture, now and then, and with grain or noise."""
        if self.printed and rng.random() < self.printed:
            x = screens.any_print(x, rng, self.screen)
        grey = bool(rng.random() < self.grey_noise)
        if self.film and rng.random() < self.film:
            return noise.film(x, rng, rng.uniform(*self.grain), rng.uniform(0.4, 1.3), grey=grey)
        return noise.sensor(x, rng, rng.uniform(*self.noise), grey=grey)


def reduce(picture: NDArray[np.float32], factor: int, interpolation: int) -> NDArray[np.float32]:
    """Return a picture reduced by a whole factor; what is no area average is taken of one of half the factor."""
    height, width = picture.shape[:2]
    if interpolation != cv2.INTER_AREA and factor > 2:
        # OpenCV's other reductions look at a fixed number of pixels: from twice the size down they miss none.
        picture = np.asarray(
            cv2.resize(picture, (2 * width // factor, 2 * height // factor), None, 0, 0, cv2.INTER_AREA)
        )
    return np.asarray(cv2.resize(picture, (width // factor, height // factor), None, 0, 0, interpolation), np.float32)


def to_bytes(x: NDArray[np.float32]) -> Picture:
    """Return levels, rounded and cut to 0 to 255."""
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)
