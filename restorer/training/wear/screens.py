"""The print: half-tone dots, line screens, weave, silk and the grain of paper. The truth knows none of them."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from restorer.training.wear.blur import Float
from restorer.training.wear.noise import field

PRESS = (15.0, 75.0, 0.0)
"""Angles of three inks' screens in degrees."""


def half_tone(picture: Float, period: float, angle: float, amount: float, hardness: float, *, ink: bool) -> Float:
    """Return the picture as dots whose size tells the tone.

    Args:
        picture: (h, w, 3).
        period: distance of the dots in pixels.
        angle: of the screen in degrees.
        amount: 0 the picture, 1 dots alone.
        hardness: how sharp the dots' edges are, 2 soft to 12 hard.
        ink: a screen for each channel, turned against each other, instead of one for all.
    """
    tone = np.asarray(np.clip(picture, 0, 255) / 255, np.float32)
    screens = []
    for turn in PRESS if ink else (0.0,):
        u, v = _waves(picture.shape[:2], period, math.radians(angle + turn))
        screens.append(0.5 + 0.25 * (np.cos(u) + np.cos(v)))
    return _mixed(picture, _inked(tone, np.stack(screens, axis=2), hardness), amount)


def lines(picture: Float, period: float, angle: float, amount: float, hardness: float) -> Float:
    """Return the picture as lines whose width tells the tone; the arguments are those of `half_tone`."""
    tone = np.asarray(np.clip(picture, 0, 255) / 255, np.float32)
    u, _ = _waves(picture.shape[:2], period, math.radians(angle))
    return _mixed(picture, _inked(tone, (0.5 + 0.5 * np.cos(u))[..., None], hardness), amount)


def weave(picture: Float, period: float, angle: float, strength: float) -> Float:
    """Return the picture on a cloth of crossing threads: `period` pixels apart, `angle` in degrees, levels strong."""
    u, v = _waves(picture.shape[:2], period, math.radians(angle))
    cloth = np.abs(np.cos(u / 2)) * (np.sin(v / 2) > 0) + np.abs(np.cos(v / 2)) * (np.sin(v / 2) <= 0)
    return _relief(picture, cloth - cloth.mean(), strength)


def silk(picture: Float, period: float, angle: float, strength: float) -> Float:
    """Return the picture on honeycombed paper: three waves at 60 degrees, `period` pixels, levels strong."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    comb = np.zeros((height, width), np.float32)
    for turn in (0, 60, 120):
        along = math.radians(angle + turn)
        comb += np.cos((x * math.cos(along) + y * math.sin(along)) * np.float32(2 * math.pi / period))
    return _relief(picture, comb / 1.5, strength)


def paper(picture: Float, rng: np.random.Generator, size: float, strength: float) -> Float:
    """Return the picture on rough paper in light from the side: fibres `size` pixels wide, levels strong."""
    height, width = picture.shape[:2]
    ground = field(rng, height + 2, width + 2, 1, size)[..., 0]
    angle = rng.uniform(-math.pi, math.pi)
    slope = math.cos(angle) * (ground[1:-1, 2:] - ground[1:-1, :-2])
    slope = slope + math.sin(angle) * (ground[2:, 1:-1] - ground[:-2, 1:-1])
    return _relief(picture, slope / (slope.std() + 1e-6), strength)


def any_print(picture: Float, rng: np.random.Generator, most: float = 1.0) -> Float:
    """Return the picture on one of these grounds, faint or strong; `most` scales the strongest."""
    kind, angle = rng.random(), rng.uniform(0, 90)
    if kind < 0.5:
        period, amount = rng.uniform(3.0, 8.0), rng.uniform(0.08, 0.7) * most
        if kind < 0.3:
            return half_tone(picture, period, angle, amount, rng.uniform(2, 10), ink=rng.random() < 0.4)
        return lines(picture, period, float(rng.choice([0.0, 90.0, angle])), amount, rng.uniform(2, 10))
    strength = rng.uniform(3, 24) * most
    if kind < 0.65:
        return weave(picture, rng.uniform(3.0, 9.0), float(rng.choice([0.0, 45.0, angle])), strength)
    if kind < 0.8:
        return silk(picture, rng.uniform(3.0, 9.0), angle, strength)
    return paper(picture, rng, rng.uniform(0.4, 2.5), strength * 0.6)


def _waves(shape: tuple[int, ...], period: float, angle: float) -> tuple[Float, Float]:
    """Return the phases (h, w) of two waves at right angles."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    scale = np.float32(2 * math.pi / period)
    u: Float = (x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))) * scale
    v: Float = (y * np.float32(math.cos(angle)) - x * np.float32(math.sin(angle))) * scale
    return u, v


def _inked(tone: Float, screen: NDArray[np.floating], hardness: float) -> Float:
    """Return how white each place is where the tone is set against the screen, both 0 to 1, in levels."""
    result: Float = (255 / (1 + np.exp(-hardness * (tone - screen) * 2))).astype(np.float32)
    return result


def _mixed(picture: Float, printed: Float, amount: float) -> Float:
    """Return picture and print mixed; the print's mean is the picture's, so that only the screen is new."""
    drift = cv2.blur(printed - picture, (25, 25), borderType=cv2.BORDER_REFLECT_101)
    result: Float = picture + np.float32(amount) * (printed - np.asarray(drift, np.float32) - picture)
    return result


def _relief(picture: Float, relief: NDArray[np.floating], strength: float) -> Float:
    """Return the picture with a relief (h, w) of about -1 to 1; deep shadows show it less."""
    light = 0.35 + 0.65 * np.clip(picture, 0, 255) / 255
    result: Float = picture + (np.float32(strength) * light * relief[..., None]).astype(np.float32)
    return result
