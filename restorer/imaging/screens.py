"""Half-tone dots, line screens, weave and moire of prints: found by their peaks in the spectrum, and taken out.

A screen is the same all over a print, and a row of windows is not: so the spectra of many small parts are laid side by
side, and what stands out in nearly all of them is a screen. Each of its waves is then followed through the picture, in
strength and in place, and subtracted; nothing else is touched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from restorer.imaging.colour import top_of
from restorer.imaging.libraries import cv2, np
from restorer.imaging.resize import to_type

PART = 256
"""Side in pixels of the parts whose spectra are compared; half of it for small pictures."""
MOST_PARTS = 64
NEARLY_ALL = 0.3
"""A wave must stand out in all parts but this share of them."""
LONGEST = 16.0
"""Pixels; longer waves are the subject's."""
_FINEST, _AXIS, _BLOCKS = 0.47, 0.012, 0.006  # cycles a pixel: the edge of the spectrum, rows and columns, JPEG's cells
_STANDING_OUT = 1.6
"""By how much, in logarithms of the strength, a wave exceeds what is around it in the spectrum."""
_DEVIATIONS = 9.0
_LEAST = 0.35
"""Strength in levels of 255 below which nobody sees a wave."""
MOST_WAVES = 24
REACH = 14.0
"""Pixels over which a wave's strength may change (sigma)."""
_TOO_STRONG = 1.8  # times its usual strength: an edge of the subject, not the wave


@dataclass(frozen=True)
class Wave:
    """A regular wave in a picture.

    Attributes:
        across, down: cycles a pixel along rows and along columns; `across` is not negative.
        strength: half its height, levels of 255.
    """

    across: float
    down: float
    strength: float

    @property
    def period(self) -> float:
        """Pixels from crest to crest."""
        return 1 / math.hypot(self.across, self.down)


def find(pixels: np.ndarray, *, quick: bool = False) -> list[Wave]:
    """Return the waves of a picture's screen, strongest first; none where it has no screen.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16.
        quick: look at green alone, in a few parts: enough to say that there is one.
    """
    height, width = pixels.shape[:2]
    side = PART if min(height, width) >= 1.5 * PART else PART // 2
    if min(height, width) < side:
        return []
    scale = np.float32(255 / top_of(pixels.dtype))
    parts = [
        pixels[row : row + side, column : column + side]
        for row, column in _places((height, width), side, 12 if quick else MOST_PARTS)
    ]
    # Each ink has a screen of its own, turned against the others.
    single = quick or all(
        np.array_equal(part[..., 0], part[..., 1]) and np.array_equal(part[..., 0], part[..., 2]) for part in parts
    )
    found: list[Wave] = []
    for channel in (1,) if single else range(3):
        for wave in _waves([part[..., channel].astype(np.float32) * scale for part in parts]):
            near = 2 / side
            if all(math.hypot(wave.across - each.across, wave.down - each.down) > near for each in found):
                found.append(wave)
    found.sort(key=lambda wave: -wave.strength)
    # A screen has waves in two directions, or multiples of one; a lone faint one is more likely the subject's.
    return found[:MOST_WAVES] if len(found) > 1 or (found and found[0].strength > 4 * _LEAST) else []


def _waves(parts: list[np.ndarray]) -> list[Wave]:
    """Return the waves that stand out in nearly all parts of a channel, float32 (side, side), in levels of 255."""
    side = len(parts[0])
    spectra = np.stack([_spectrum(part) for part in parts])
    usual = np.quantile(spectra, NEARLY_ALL, axis=0).astype(np.float32)
    above = usual - _around(usual)
    spread = 1.4826 * float(np.median(np.abs(above - np.median(above))))
    crest = cv2.dilate(above, np.ones((7, 7), np.uint8)) == above
    strong = crest & (above > max(_STANDING_OUT, _DEVIATIONS * spread)) & _possible(side)
    found = []
    for row, column in zip(*(places.tolist() for places in np.nonzero(strong)), strict=True):
        strength = math.exp(float(usual[row, column]))
        if strength >= _LEAST:
            down, across = (_place(above, row, column, axis, side) for axis in (0, 1))
            found.append(Wave(across, down, strength))
    return found


def remove(pixels: np.ndarray, waves: list[Wave]) -> np.ndarray:
    """Return a picture (h, w, 3), uint8 or uint16, without these waves; channels that were equal stay so."""
    top = top_of(pixels.dtype)
    result = np.empty_like(pixels)
    known: list[tuple[np.ndarray, np.ndarray]] = []
    for channel in range(3):
        plane = pixels[..., channel]
        same = next((after for before, after in known if np.array_equal(before, plane)), None)
        if same is None:
            same = to_type(_without(plane.astype(np.float32) * (255 / top), waves) * (top / 255), pixels.dtype)
            known.append((plane, same))
        result[..., channel] = same
    return result


def _without(plane: np.ndarray, waves: list[Wave]) -> np.ndarray:
    """Return a channel (h, w), float32 in levels of 255, without the waves."""
    rest = plane - cv2.GaussianBlur(plane, (0, 0), LONGEST / 2, borderType=cv2.BORDER_REFLECT)
    result = plane.copy()
    height, width = plane.shape
    for wave in waves:
        # The wave is brought down to a still one, whose strength and phase are then smooth.
        turn = np.exp(-2j * np.pi * wave.across * np.arange(width)).astype(np.complex64)
        turn = turn[None] * np.exp(-2j * np.pi * wave.down * np.arange(height)).astype(np.complex64)[:, None]
        still = rest * turn
        smooth = _smooth(np.ascontiguousarray(still.real)) + 1j * _smooth(np.ascontiguousarray(still.imag))
        size = np.abs(smooth)
        most = _TOO_STRONG * float(np.median(size))
        smooth *= np.minimum(1, most / np.maximum(size, 1e-6))
        own = (2 * (smooth * turn.conj()).real).astype(np.float32)
        result -= own
        rest -= own
    return result


def _smooth(plane: np.ndarray) -> np.ndarray:
    smooth: np.ndarray = cv2.GaussianBlur(plane, (0, 0), REACH, borderType=cv2.BORDER_REFLECT)
    return smooth


def _places(size: tuple[int, int], side: int, most: int) -> list[tuple[int, int]]:
    """Return the upper left corners (row, column) of at most so many parts, even over a picture of (height, width)."""
    count = [max(2, 2 * length // side - 1) for length in size]
    while count[0] * count[1] > most:
        count = [max(2, each - 1) for each in count]
    rows, columns = (np.linspace(0, length - side, n).astype(int) for length, n in zip(size, count, strict=True))
    return [(int(row), int(column)) for row in rows for column in columns]


def _spectrum(part: np.ndarray) -> np.ndarray:
    """Return the logarithm of the strength of each wave, (side, side // 2 + 1), zero cycles down in the middle row."""
    side = len(part)
    window = np.hanning(side).astype(np.float32)
    flat = part - part.mean()
    size = np.abs(np.fft.rfft2(flat * np.outer(window, window))) * (2 / window.sum() ** 2)
    spectrum: np.ndarray = np.log(np.fft.fftshift(size, axes=0) + 1e-4).astype(np.float32)
    return spectrum


def _around(spectrum: np.ndarray) -> np.ndarray:
    """Return the middle of what is around each place of a spectrum, without the peaks themselves."""
    side = len(spectrum)
    wide = max(9, side // 16) | 1
    mean = cv2.blur(spectrum, (wide, wide), borderType=cv2.BORDER_REFLECT)
    level = cv2.blur(np.minimum(spectrum, mean + 0.7), (wide, wide), borderType=cv2.BORDER_REFLECT)
    around: np.ndarray = level
    return around


def _possible(side: int) -> np.ndarray:
    """Return which waves may be a screen's: neither long, nor along rows or columns, nor those of JPEG's cells."""
    down = (np.arange(side) - side // 2)[:, None] / side
    across = np.arange(side // 2 + 1)[None] / side
    long = np.hypot(down, across) < 1 / LONGEST
    axis = (np.abs(down) < _AXIS) | (across < _AXIS)
    edge = (np.abs(down) > _FINEST) | (across > _FINEST)

    def cell(cycles: np.ndarray) -> np.ndarray:
        near: np.ndarray = np.abs(cycles * 8 - np.round(cycles * 8)) < 8 * _BLOCKS
        return near

    possible: np.ndarray = ~(long | axis | edge | (cell(down) & cell(across)))
    return possible


def _place(above: np.ndarray, row: int, column: int, axis: int, side: int) -> float:
    """Return where a crest lies between the places of the spectrum, in cycles a pixel."""
    place = [row, column]
    length = above.shape[axis]
    here = place[axis]
    if 0 < here < length - 1:
        before, after = list(place), list(place)
        before[axis] -= 1
        after[axis] += 1
        low, mid, high = float(above[tuple(before)]), float(above[row, column]), float(above[tuple(after)])
        bend = low - 2 * mid + high
        shift = 0.5 * (low - high) / bend if bend < 0 else 0.0
    else:
        shift = 0.0
    origin = side // 2 if axis == 0 else 0
    return (here - origin + max(-0.5, min(0.5, shift))) / side
