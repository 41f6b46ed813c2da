"""The states that photographs are in: light, colour, blur, grain, reduction and JPEG, quick enough for every scene."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restorer.imaging.colour import LUMA

Picture = NDArray[np.uint8]
_NOISE = 1 << 20
_SEPIA = np.array([1.07, 0.98, 0.8])
_LUMA = np.stack([LUMA] * 3)


class Ageing:
    """Draws a state for a picture; the grain is cut from one strip of noise, which drawing anew would cost more."""

    def __init__(self) -> None:
        self._noise = np.random.default_rng(0).standard_normal(_NOISE).astype(np.float32)

    def draw(self, picture: np.ndarray, rng: np.random.Generator) -> Picture:
        """Return the picture (h, w, 3) RGB in some state, of its size."""
        return np.asarray(self._aged(picture, rng), np.uint8)

    def _aged(self, picture: Any, rng: np.random.Generator) -> Any:
        tint = rng.uniform(0.9, 1.1, 3)
        if rng.random() < 0.3:
            picture = cv2.transform(picture, _LUMA)
            tint = _SEPIA if rng.random() < 0.25 else np.ones(3)
        picture = cv2.LUT(picture, self._curves(tint, rng))
        height, width = picture.shape[:2]
        if rng.random() < 0.3:
            sigma = float(np.exp(rng.uniform(np.log(0.4), np.log(2.2))))
            picture = cv2.GaussianBlur(picture, (0, 0), sigma)
        elif rng.random() < 0.06:
            length = int(rng.integers(3, 9))
            kernel = np.zeros((length, length), np.float32)
            cv2.line(kernel, (0, int(rng.integers(length))), (length - 1, int(rng.integers(length))), 1.0)
            picture = cv2.filter2D(picture, -1, kernel / kernel.sum())
        factor = float(rng.uniform(1.2, 2.6)) if rng.random() < 0.2 else 1.0
        if factor > 1:
            small = (max(round(width / factor), 8), max(round(height / factor), 8))
            picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        if rng.random() < 0.4:
            picture = self._grain(picture, float(rng.uniform(2, 22)), rng)
        if rng.random() < 0.4:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 96))]
            picture = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR)
        if factor > 1:
            method = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
            picture = cv2.resize(picture, (width, height), interpolation=method)
        if rng.random() < 0.05:
            picture = self._scratched(picture, rng)
        return picture

    def _curves(self, tint: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a look-up table (256, 1, 3) of gamma, contrast, brightness and tint."""
        gamma = np.exp(rng.normal(0, 0.25))
        low, high = (rng.uniform(0, 0.35), rng.uniform(0.6, 1)) if rng.random() < 0.35 else (0, rng.uniform(0.85, 1.1))
        curve = low + (high - low) * np.linspace(0, 1, 256) ** gamma
        curves: np.ndarray = np.clip(np.rint(curve[:, None, None] * tint * 255), 0, 255).astype(np.uint8)
        return curves

    def _grain(self, picture: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
        height, width = picture.shape[:2]
        channels = 1 if rng.random() < 0.5 else 3
        count = height * width * channels
        start = int(rng.integers(max(_NOISE - count, 1)))
        noise = np.resize(self._noise[start : start + count], count).reshape(height, width, channels)
        if channels == 1:
            noise = cv2.merge([noise] * 3)
        return np.asarray(cv2.addWeighted(picture, 1.0, noise, sigma, 0.0, dtype=cv2.CV_8U))

    def _scratched(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        picture = np.ascontiguousarray(picture)
        height, width = picture.shape[:2]
        for _ in range(int(rng.integers(1, 8))):
            ends = [(int(rng.integers(width)), int(rng.integers(height))) for _ in range(2)]
            cv2.line(picture, ends[0], ends[1], [int(rng.integers(150, 256))] * 3, 1, cv2.LINE_AA)
        return picture
