"""Colour and grain of a restored face, brought to those of the photo that it goes back into."""

from __future__ import annotations

import cv2
import numpy as np

from restorer.imaging.colour import LUMA

_COARSE = 64  # colours are compared without detail, which a restoration is meant to change
# A larger difference of the mean is no cast but another picture, and only taken in part. Chosen by eye, not measured.
_FARTHEST = 0.15
_NO_COLOUR = 1e-5  # colour differences that are but rounding: float32 gives up to 3e-8 for grey pixels
_SPREAD = (0.5, 1.5)  # by which factors the spread of the colours may be changed; chosen by eye, not measured

# RGB to luma and two colour differences (ITU-R BT.601), and back.
_TO_YCC = np.array([LUMA, [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_TO_RGB = np.linalg.inv(_TO_YCC).astype(np.float32)


def match_color(restored: np.ndarray, original: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return a restored crop whose brightness and colours are, on the whole, those of the crop it was made from.

    The mean of luma and of both colour differences is shifted, and the spread of the colour differences scaled, to what
    the original has under the mask, looked at without detail. A crop that has them already comes back unchanged, and a
    toned print keeps its tone.

    Args:
        restored: float32 (S, S, 3), RGB in [0, 1].
        original: float32 (s, s, 3), the crop before restoration, RGB in [0, 1], of any size.
        weight: float32 (t, t) in [0, 1]: where the face is pasted.
    """
    if not weight.any():
        return restored
    mask = _coarse(weight)[..., None]
    mask /= mask.sum()
    seen, wanted = (_coarse(crop) @ _TO_YCC.T for crop in (restored, original))
    seen_mean, wanted_mean = ((mask * picture).sum((0, 1)) for picture in (seen, wanted))
    seen_spread, wanted_spread = (
        np.sqrt((mask * (picture - mean) ** 2).sum((0, 1)))
        for picture, mean in ((seen, seen_mean), (wanted, wanted_mean))
    )
    if max(np.abs([*seen_mean[1:], *wanted_mean[1:], *seen_spread[1:], *wanted_spread[1:]])) < _NO_COLOUR:
        shift = np.clip(wanted_mean[0] - seen_mean[0], -_FARTHEST, _FARTHEST)
        return np.clip(restored + np.float32(shift), 0, 1)  # the same for each channel: rounding brings no colour in
    gain = np.clip((wanted_spread + 1e-3) / (seen_spread + 1e-3), *_SPREAD)
    gain[0] = 1  # the spread of luma is contrast, which is the restoration's to change
    shift = np.clip(wanted_mean - seen_mean, -_FARTHEST, _FARTHEST)
    # rgb -> ycc, (x - mean) * gain + mean + shift, -> rgb: one matrix and one vector.
    matrix = _TO_RGB @ np.diag(gain).astype(np.float32) @ _TO_YCC
    offset = _TO_RGB @ (seen_mean + shift - gain * seen_mean).astype(np.float32)
    result: np.ndarray = np.clip(cv2.transform(restored, np.column_stack([matrix, offset])), 0, 1)
    return result


def add_grain(
    restored: np.ndarray, original: np.ndarray, weight: np.ndarray, *, pixel: float, seed: int = 0
) -> np.ndarray:
    """Return a restored crop with as much grain as the photo shows where the face was.

    The grain of the original is what its pixels differ from their neighbourhood, taken robustly (median), so that
    features do not count. What the restored crop lacks of it is added as Gaussian noise of the photo's own pixel size,
    the same for all three channels, weaker in deep shadows and bright lights as on film.

    Args:
        restored: float32 (S, S, 3), RGB in [0, 1].
        original: float32 (s, s, 3), the crop before restoration, RGB in [0, 1].
        weight: float32 (t, t) in [0, 1]: where the face is pasted.
        pixel: side of one pixel of the photo, in pixels of the restored crop.
        seed: of the noise; the same seed gives the same grain.
    """
    size = restored.shape[0]
    pixels = max(8, round(size / max(pixel, 1e-3)))  # pixels of the photo across the crop
    wanted = _grain(cv2.resize(original, (pixels, pixels), interpolation=cv2.INTER_AREA), weight)
    seen = _grain(cv2.resize(restored, (pixels, pixels), interpolation=cv2.INTER_AREA), weight)
    missing = float(np.sqrt(max(wanted**2 - seen**2, 0)))
    if missing == 0:
        return restored
    noise: np.ndarray = np.random.default_rng(seed).standard_normal((pixels, pixels), np.float32)
    noise = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC if pixels < size else cv2.INTER_AREA)
    # Enlarging softened the noise; it shall be as strong as wanted when it is measured as the photo's was.
    seen_noise = cv2.resize(noise, (pixels, pixels), interpolation=cv2.INTER_AREA)
    noise = noise / _grain(np.repeat(seen_noise[..., None], 3, axis=2), np.ones_like(seen_noise))
    luma = restored @ _TO_YCC[0]
    noise = noise * missing * np.sqrt(np.clip(4 * luma * (1 - luma), 0, 1))
    result: np.ndarray = np.clip(restored + noise[..., None], 0, 1)
    return result


def _coarse(picture: np.ndarray) -> np.ndarray:
    """Return a picture without its detail, float32 (_COARSE, _COARSE, ...)."""
    small: np.ndarray = cv2.resize(picture, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    return small.astype(np.float64)


def _grain(picture: np.ndarray, weight: np.ndarray) -> float:
    """Return the standard deviation of the finest detail of luma under a mask, by the median of its size."""
    luma = picture @ _TO_YCC[0]
    # The mean of the diagonal neighbours less the pixel: flat and evenly sloped places give nothing.
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    detail = np.abs(cv2.filter2D(luma, -1, kernel, borderType=cv2.BORDER_REFLECT))
    mask = cv2.resize(weight, luma.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
    return float(np.median(detail[mask]) / 0.6745) if mask.any() else 0.0
