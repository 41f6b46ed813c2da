"""CIE Lab of sRGB's colours (D65), exact, and the nearest colour of the same lightness that sRGB holds."""

from __future__ import annotations

from restorer.imaging.libraries import np
from restorer.imaging.profiles import decoded, encoded

_TO_XYZ = (
    (0.4123907993, 0.3575843394, 0.1804807884),
    (0.2126390059, 0.7151686788, 0.0721923154),
    (0.0193308187, 0.1191947798, 0.9505321522),
)
"""Linear sRGB to XYZ (IEC 61966-2-1), from the primaries' chromaticities."""
_EDGE = 6 / 29
_HALVINGS = 14
"""Halvings of the share of a colour's chroma that sRGB holds: to 1/16000 of it."""
_SLACK = 1e-9
_FURTHEST = 128.0
"""What a and b reach at most: networks say more now and then."""


def lightness(seen: np.ndarray) -> np.ndarray:
    """Return L, 0 to 100, of sRGB's values (..., 3), float in [0, 1]; float64."""
    light = decoded(np.asarray(seen, np.float64)) @ np.array(_TO_XYZ[1])
    found: np.ndarray = 116 * _curve(light) - 16
    return found


def of(seen: np.ndarray) -> np.ndarray:
    """Return L, a and b (..., 3) of sRGB's values (..., 3), float in [0, 1]; float64."""
    matrix = np.array(_TO_XYZ)
    x, y, z = np.moveaxis(_curve(decoded(np.asarray(seen, np.float64)) @ matrix.T / matrix.sum(1)), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def grey(light: np.ndarray) -> np.ndarray:
    """Return the value in [0, 1] that all three channels of sRGB have at a lightness of 0 to 100."""
    values: np.ndarray = np.clip(encoded(_uncurve((light + 16) / 116)), 0, 1)
    return values


def coloured(light: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return colours as sRGB's values (..., 3), float64 in [0, 1], their lightness kept.

    Where sRGB holds no colour of that lightness, hue and chroma, the chroma is smaller.

    Args:
        light: L, 0 to 100, of any shape.
        a: towards red, below 0 green; of the same shape.
        b: towards yellow, below 0 blue.
    """
    a, b = (np.clip(np.asarray(each, np.float64), -_FURTHEST, _FURTHEST) for each in (a, b))
    linear = _linear(light, a, b)
    outside = ((linear < -_SLACK) | (linear > 1 + _SLACK)).any(axis=-1)
    if outside.any():
        own, a, b = light[outside], a[outside], b[outside]
        share, step = np.zeros(len(own)), 0.5
        for _ in range(_HALVINGS):
            tried = _linear(own, a * (share + step), b * (share + step))
            holds = ((tried >= -_SLACK) & (tried <= 1 + _SLACK)).all(axis=-1)
            share += np.where(holds, step, 0.0)
            step /= 2
        linear[outside] = _linear(own, a * share, b * share)
    values: np.ndarray = np.clip(encoded(np.clip(linear, 0, 1)), 0, 1)
    return values


def _linear(light: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Lab's colours as linear light of sRGB's primaries, (..., 3), also outside of [0, 1]."""
    matrix = np.array(_TO_XYZ)
    middle = (light + 16) / 116
    xyz = _uncurve(np.stack([middle + a / 500, middle, middle - b / 200], axis=-1)) * matrix.sum(1)
    linear: np.ndarray = xyz @ np.linalg.inv(matrix).T
    return linear


def _curve(share: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.where(share > _EDGE**3, np.cbrt(share), share / (3 * _EDGE**2) + 4 / 29)
    return found


def _uncurve(value: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.where(value > _EDGE, value**3, 3 * _EDGE**2 * (value - 4 / 29))
    return found
