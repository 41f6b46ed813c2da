"""A face that is pasted shows no less detail than what it is pasted over.

A network's picture may be smoother than the photo anywhere: in a beard, in wrinkles, on cloth. What counts is the
result, at its own size, so it is compared with the canvas there: wherever the energy of the Laplacian of the one is
below that of the other, so much of the canvas's finest band takes the place of the face's own that both are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from restorer.imaging.colour import LUMA

_BAND = 1.6
"""Sigma of the blur that ends the finest band, in pixels of the photo."""
MOST = 1.3
"""At most so many times the canvas's band is given: the blur that ends it takes a little of the finest detail too."""
_AROUND = 8.0
"""Half the side of the square whose energies are compared, in pixels of the photo."""
_LARGEST_STEP = 4.0
"""Enlarged by more, a photo has no detail so fine that it could be lost."""


@dataclass(frozen=True)
class Holding:
    """What a pasted face has to keep of the canvas below it.

    Attributes:
        share: 0 to 1, how much of what is missing is given back.
        scale: by how many times the canvas is larger than the photo.
        finest: sigma, in pixels of the canvas, of a band that is the canvas's own anyhow, since the face was never
            looked at so finely; 0 = there is none.
    """

    share: float
    scale: float = 1.0
    finest: float = 0.0

    @property
    def reach(self) -> int:
        """How many pixels beyond a part of the canvas are looked at to hold that part."""
        return _radius(self.sigma) + _radius(self.finest) + self.around + 1

    def held(self, face: np.ndarray, below: np.ndarray, weight: np.ndarray | float, top: float) -> np.ndarray:
        """Return a part of a face as it is to be pasted.

        Args:
            face: float32 (h, w, 3), 0 to `top`.
            below: (h, w, 3) of any type, the canvas in the same place.
            weight: float32 (h, w) or a number, 0 to 1: how much of the face is seen.
            top: the largest value.
        """
        canvas = below.astype(np.float32)
        if self.finest > 0:
            face = face + _finest(canvas - face, self.finest)
        if self.share <= 0:
            return face
        lacking = _finest(canvas - face, self.sigma)
        seen = np.asarray(weight, np.float32)
        levels = LUMA * np.float32(255 / top)
        own = canvas @ levels
        now = own + seen * (face @ levels - own)
        given = self._given(_edges(own), _edges(now), _edges(seen * (lacking @ levels)))
        return face + lacking * (np.float32(self.share) * given)[..., None]

    def _given(self, own: np.ndarray, now: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Return by how much of a change the energy around each place reaches the canvas's own, (h, w), 0 to `MOST`.

        Args:
            own: the Laplacian of the canvas.
            now: that of the result without the change.
            change: that of all of the change.
        """
        side = 2 * self.around + 1
        wanted, has, both, most = (
            cv2.boxFilter(each, -1, (side, side), borderType=cv2.BORDER_REFLECT)
            for each in (own * own, now * now, now * change, change * change)
        )
        missing, most = np.maximum(wanted - has, 0), np.maximum(most, 1e-6)  # sums of squares, but for rounding
        # The larger root of has + 2 both x + most x^2 = wanted.
        root = (np.sqrt(both * both + most * missing) - both) / most
        given: np.ndarray = np.where(missing > 0, np.clip(root, 0, MOST), 0).astype(np.float32)
        return given

    @property
    def _step(self) -> float:
        return min(max(self.scale, 1.0), _LARGEST_STEP)

    @property
    def sigma(self) -> float:
        """Of the blur that ends the finest band, in pixels of the canvas."""
        return _BAND * self._step

    @property
    def around(self) -> int:
        """Half the side of the square whose energies are compared, in pixels of the canvas."""
        return round(_AROUND * self._step)


def _radius(sigma: float) -> int:
    return round(3 * sigma)


def _finest(picture: np.ndarray, sigma: float) -> np.ndarray:
    side = 2 * _radius(sigma) + 1
    band: np.ndarray = picture - cv2.GaussianBlur(picture, (side, side), sigma, borderType=cv2.BORDER_REFLECT)
    return band


def _edges(luma: np.ndarray) -> np.ndarray:
    edges: np.ndarray = cv2.Laplacian(np.ascontiguousarray(luma, np.float32), cv2.CV_32F, borderType=cv2.BORDER_REFLECT)
    return edges
