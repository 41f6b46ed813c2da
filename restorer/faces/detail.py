"""A restored face keeps the photo's own detail where that is finer than the network's.

The difference between the photo's crop and the network's picture is split into bands, each an octave wide. In each
place of a band it is either noise, of which the network is right to have rid the face, or detail that the network
does not know. As much of it is noise as the evenest places of the photo show in that band; the rest is the photo's.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from restorer.imaging.colour import LUMA
from restorer.imaging.quality import CELL, evenest

LARGEST = 3072
"""Side in pixels of the largest crop that is worked on, in floats; a larger face loses what is finer, if restored."""
_SHARP = 0.8
"""Sigma of the blur, in pixels, that ends the finest band; the next ones end at twice as much each."""
_AROUND = 3.0
"""Sigma of what counts as one place, in sigmas of the band."""
_COARSEST = 32
"""Side in pixels at which a crop shows what is below all bands: that is the network's alone."""
_FADE = 0.5
"""From one to 1.5 pixels of the photo for one that the network saw, the photo's finer bands come in."""
_LEAST, _MOST = 0.5, 0.9
"""Energies of the photo's band over the network's between which the photo's comes in."""
_UNSEEN = 1.0
"""Levels of noise in a band that need no removing."""


def keep(restored: np.ndarray, photo: np.ndarray, *, input_size: int, share: float, blocks: float = 0.0) -> np.ndarray:
    """Return a restored face with the photo's own detail where that is finer and more than noise.

    Args:
        restored: float32 (S, S, 3), RGB in [0, 1].
        photo: float32 (S, S, 3), the same crop of the photo.
        input_size: side of the crop that the network saw; what the photo holds beyond it, no picture of it replaces.
        share: 0 to 1, how much of the detail that the network did see is kept.
        blocks: levels of 255 that JPEG's blocks add to what is no detail.
    """
    size = restored.shape[0]
    bands = max(round(math.log2(size / _COARSEST)), 0)
    shares = [max(share, _beyond(size / 2**band, input_size)) for band in range(bands)]
    result = restored.copy()
    before: tuple[np.ndarray, ...] = (photo @ LUMA * 255, restored @ LUMA * 255, photo - restored)
    for band, wanted in enumerate(shares):
        if not any(shares[band:]):
            break
        sigma = _SHARP * 2**band
        after = tuple(_blurred(each, sigma) for each in before)
        own, theirs, change = (fine - coarse for fine, coarse in zip(before, after, strict=True))
        before = after
        if wanted:
            noise = _noise(own, CELL * 2**band) + blocks**2
            weight = _weight(own, theirs, change @ LUMA * 255, noise, _AROUND * sigma)
            result += change * (np.float32(wanted) * weight)[..., None]
    clipped: np.ndarray = np.clip(result, 0, 1, out=result)
    return clipped


def is_kept(size: int, input_size: int, share: float) -> bool:
    """Whether `keep` can change anything of a crop of this size."""
    return share > 0 or _beyond(size, input_size) > 0


def _beyond(size: float, input_size: int) -> float:
    """Return how much of a band of a crop this wide lies beyond what the network saw, 0 to 1."""
    return min(max((size / input_size - 1) / _FADE, 0.0), 1.0)


def _noise(band: np.ndarray, cell: int) -> float:
    """Return the mean square of the noise in a band, levels of 255, by the evenest places between brows and chin."""
    height, width = band.shape
    inner = band[height // 5 : height - height // 12, width // 5 : width - width // 5]
    return max(evenest(inner, cell) - _UNSEEN**2, 0.0)


def _weight(own: np.ndarray, theirs: np.ndarray, change: np.ndarray, noise: float, around: float) -> np.ndarray:
    """Return how much of the change back to the photo is detail of its own, (S, S), 0 to 1."""
    ours, networks, changed = (_blurred(each * each, around) for each in (own, theirs, change))
    detail: np.ndarray = np.clip(1 - noise / np.maximum(changed, 1e-3), 0, 1)
    ratio = np.maximum(ours - noise, 0) / (networks + 1e-2)
    finer: np.ndarray = np.clip((ratio - _LEAST) / (_MOST - _LEAST), 0, 1)
    weight: np.ndarray = detail * finer
    return weight


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    blurred: np.ndarray = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return blurred
