"""How far a result lies from its photo where it lies farthest: what a look at thousands of them begins with."""

from __future__ import annotations

from restorer.imaging.colour import Pixels
from restorer.imaging.libraries import np

_SIDE = 96
"""Pixels of the long side at which pictures are compared: a face that came out wrong still shows, noise does not."""
_ENOUGH = 16
"""Pixels of a picture that are looked at for each of those, along a side."""
_PATCH = 9


def change(before: Pixels, after: Pixels) -> float | None:
    """Return the mean difference of the patch, about a tenth of the picture wide, that changed most.

    Args:
        before: (h, w, 3), 8 or 16 bits.
        after: (H, W, 3), likewise, of any size.

    Returns:
        Levels of 255; None where the pictures have not the same shape, so that nothing lies upon its like.
    """
    import cv2

    height, width = before.shape[:2]
    if abs(after.shape[1] * height / (after.shape[0] * width) - 1) > 0.02 and min(height, width) > 50:
        return None
    share = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * share)), max(1, round(height * share))
    difference = np.abs(_small(before, size) - _small(after, size)).mean(axis=2)
    return float(cv2.blur(difference, (_PATCH, _PATCH), borderType=cv2.BORDER_REPLICATE).max())


def _small(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Return a picture of a size, (h, w, 3) float32, 0 to 255."""
    import cv2

    step = max(1, max(pixels.shape[:2]) // (_SIDE * _ENOUGH))
    small = cv2.resize(np.ascontiguousarray(pixels[::step, ::step]), size, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(257 if pixels.dtype == np.uint16 else 1)
