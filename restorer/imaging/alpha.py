"""Colours and transparency: what lies under transparent pixels must not show when a picture is resampled."""

from __future__ import annotations

from restorer.imaging.libraries import np
from restorer.imaging.resize import to_type

_LEVELS = 5
"""Halvings of the picture by which colours are carried on: about 2 ** 5 pixels far, beyond any filter's reach."""


def spread_colours(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Return a picture whose visible colours go on under its wholly transparent pixels, as far as filters reach.

    Colours and alpha are enlarged apart from each other; what nobody sees (black, as a rule) would otherwise be mixed
    into the edge of what everybody does. Visible pixels keep their values, and hidden ones far from them too.

    Args:
        pixels: (h, w, 3), uint8 or uint16, not multiplied by alpha.
        alpha: (h, w), 0 = transparent; None = the picture is opaque.

    Returns:
        The same array where no pixel is wholly transparent, or all are.
    """
    if alpha is None:
        return pixels
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    weights = np.where(hidden, np.float32(0), np.float32(1))
    sums, weights = _carried_on(pixels * weights[..., None], weights, _LEVELS)
    filled = hidden & (weights > 0)
    result = pixels.copy()
    result[filled] = to_type(sums[filled] / weights[filled][:, None], pixels.dtype)
    return result


def _carried_on(sums: np.ndarray, weights: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Fill pixels of weight 0 from ever smaller copies; colours are multiplied by their weights, float32."""
    import cv2

    if levels == 0:
        return sums, weights
    height, width = weights.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    small = (
        cv2.resize(sums, half, interpolation=cv2.INTER_AREA),
        cv2.resize(weights, half, interpolation=cv2.INTER_AREA),
    )
    coarse = _carried_on(*small, levels - 1)
    empty = weights == 0
    wide = [cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in coarse]
    return np.where(empty[..., None], wide[0], sums), np.where(empty, wide[1], weights)
