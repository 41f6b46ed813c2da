"""How different two colours look: CIEDE2000."""

from __future__ import annotations

import numpy as np

_FROM_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)
_WHITE = _FROM_RGB.sum(1)
_TURNING = 25.0**7


def lab_of(pixels: np.ndarray) -> np.ndarray:
    """Return sRGB's values (..., 3), unsigned integers or floats in [0, 1], as CIE Lab under D65, float64."""
    top = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    values = pixels.astype(np.float64) / top
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = light @ _FROM_RGB.T / _WHITE
    cube = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(cube, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the difference of colours in Lab (..., 3), (...): about 1 is the least that is seen.

    Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula" (2005), with all weights 1.
    """
    lightness, chromas, hues = _adapted(first, second)
    step_l = lightness[1] - lightness[0]
    step_c = chromas[1] - chromas[0]
    product = chromas[0] * chromas[1]
    apart = hues[1] - hues[0]
    apart = np.where(product == 0, 0, apart - 360 * np.round(apart / 360))
    step_h = 2 * np.sqrt(product) * np.sin(np.radians(apart) / 2)
    mean_l, mean_c = sum(lightness) / 2, sum(chromas) / 2
    mean_h = sum(hues) / 2
    far = np.abs(hues[0] - hues[1]) > 180
    mean_h = np.where(product == 0, sum(hues), mean_h + np.where(far, np.where(sum(hues) < 360, 180, -180), 0))
    tint = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.2 * np.cos(np.radians(4 * mean_h - 63))
    )
    weight_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    weight_c, weight_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * tint
    turn = np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2)))
    together = -np.sin(turn) * 2 * np.sqrt(mean_c**7 / (mean_c**7 + _TURNING))
    light, chroma, hue = step_l / weight_l, step_c / weight_c, step_h / weight_h
    result: np.ndarray = np.sqrt(np.maximum(light**2 + chroma**2 + hue**2 + together * chroma * hue, 0))
    return result


def _adapted(first: np.ndarray, second: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Return lightness, chroma and hue in degrees of both, with a stretched where colours are nearly grey."""
    chroma = (np.hypot(first[..., 1], first[..., 2]) + np.hypot(second[..., 1], second[..., 2])) / 2
    stretch = 1 + 0.5 * (1 - np.sqrt(chroma**7 / (chroma**7 + _TURNING)))
    lightness, chromas, hues = [], [], []
    for each in (first, second):
        red, blue = each[..., 1] * stretch, each[..., 2]
        lightness.append(each[..., 0])
        chromas.append(np.hypot(red, blue))
        hues.append(np.degrees(np.arctan2(blue, red)) % 360)
    return lightness, chromas, hues


def mean_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean CIEDE2000 of two pictures (h, w, 3) in sRGB, of one size."""
    return float(ciede2000(lab_of(first), lab_of(second)).mean())
