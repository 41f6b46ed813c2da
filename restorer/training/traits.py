"""Rough measures of what a face's picture shows, by which rare things are drawn more often in a training.

They look at fixed places of an aligned face and say nothing about a person: skin tone by the cheeks' colour angle,
beard and glasses by edges where skin would be smooth. Errors cost a picture a little too much or too little weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CHEEKS = ((0.34, 0.62), (0.66, 0.62))
CHIN = (0.5, 0.84)
JAWS = ((0.36, 0.80), (0.64, 0.80))
BRIDGE = (0.5, 0.475)
GREY_CHROMA = 4.0
"""Mean chroma below which a picture counts as grey; its skin has no colour angle."""


@dataclass(frozen=True)
class Traits:
    """What was measured.

    Attributes:
        tone: the cheeks' individual typology angle in degrees, light skin above 40, dark below 10; None in grey.
        beard: edges at chin and jaw against those of the cheeks, and how much darker they are.
        glasses: edges across the bridge of the nose against those of the cheeks.
        wall: how even and blue the corners beside the head are, 0 to 1.
    """

    tone: float | None
    beard: float
    glasses: float
    wall: float


def traits(picture: NDArray[np.uint8]) -> Traits:
    """Measure an aligned face (s, s, 3), RGB."""
    side = 256
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    lab = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.float32)
    light = lab[..., 0]
    across, down = (np.asarray(cv2.Sobel(light, cv2.CV_32F, *order), np.float32) for order in ((1, 0), (0, 1)))
    edges = np.hypot(across, down)
    cheeks = [_patch(lab, place, 0.04) for place in CHEEKS]
    lightness, blue = (float(np.median(np.concatenate([c[..., i].ravel() for c in cheeks]))) for i in (0, 2))
    skin_edges = min(float(_patch(edges, place, 0.04).mean()) for place in CHEEKS) + 2.0
    tone = math.degrees(math.atan2(lightness - 50, max(blue, 1e-3))) if _chroma(lab) > GREY_CHROMA else None
    places = (CHIN, *JAWS)
    rough = float(np.mean([_patch(edges, place, 0.05).mean() for place in places])) / skin_edges
    darker = (lightness - float(np.median([np.median(_patch(light, place, 0.05)) for place in places]))) / 20
    bridge = float(np.quantile(_patch(np.abs(down), BRIDGE, 0.05), 0.9)) / skin_edges
    return Traits(tone, rough / 4 + max(darker, 0.0), bridge / 5, _wall(lab))


def weight(found: Traits, factors: Mapping[str, float]) -> float:
    """Return how often a picture is drawn against others.

    Args:
        found: its traits.
        factors: of dark skin, beard and glasses, and of a blue wall behind.
    """
    result = 1.0
    if found.tone is not None and found.tone < 12:
        result *= factors["dark"]
    if found.beard > 1.35:
        result *= factors["beard"]
    if found.glasses > 1.0:
        result *= factors["glasses"]
    if found.wall > 0.8:
        result *= factors["wall"]
    return result


def _patch(values: NDArray[np.float32], place: tuple[float, float], reach: float) -> NDArray[np.float32]:
    side = values.shape[0]
    x, y, half = (round(number * side) for number in (*place, reach))
    return values[y - half : y + half, x - half : x + half]


def _chroma(lab: NDArray[np.float32]) -> float:
    return float(np.hypot(lab[..., 1], lab[..., 2]).mean())


def _wall(lab: NDArray[np.float32]) -> float:
    """Return the share of the upper corners that are of one strong blue."""
    height, width = lab.shape[0] // 3, lab.shape[1] // 6
    corners = np.concatenate([lab[:height, :width].reshape(-1, 3), lab[:height, -width:].reshape(-1, 3)])
    middle = np.median(corners, axis=0)
    if middle[2] > -20:
        return 0.0
    return float((np.abs(corners - middle).max(axis=1) < 18).mean())
