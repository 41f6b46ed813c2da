"""Faded prints: how far their blacks, whites and colours have drifted, and the levels that bring them back.

No network looks at the picture. Where its darkest and its brightest places lie in each channel says how much contrast
is left; how steep edges are in one channel beside the others says which colour has faded, for edges have hardly any
colour of their own. What comes of it are levels as every picture editor has them: black, white and gamma of each
channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from restorer.imaging import lab
from restorer.imaging.colour import LUMA, top_of
from restorer.imaging.libraries import cv2, np

SIDE = 384
"""Longer side in pixels of the picture that is measured."""
_ENOUGH = 30_000
"""Values that tell whether colours are one tone."""
ENDS = 0.003
"""Share of the pixels that is darker than what counts as a channel's darkest place, and brighter than its brightest."""
CLIPPED = 0.002
"""Share of the pixels of a channel that may be cut off at each end."""
DULL, LIFTED, LEAST_LIFTED = 0.72, 0.17, 0.12
NARROW, VEILED = 0.6, 0.15
"""A photo is faded where less than `DULL` of the range from black to white is left and its darkest places are lighter
than `LIFTED`, in every channel lighter than `LEAST_LIFTED`; or where less than `NARROW` is left, and its darkest places
are lighter than `VEILED`. Fog has a white sky, and night has black: neither alone is fading."""
LEAST = 0.1
"""Contrast below which there is nothing to bring back: a plain wall, not a photo that has faded."""
_DARK, _BRIGHT = (0.07, 0.058, 0.042), (0.965, 0.95, 0.9)
"""Where the darkest and the brightest places of photographs lie that are not faded, red, green and blue."""
_MOST = 0.35
"""Logarithm by which one channel's contrast may differ from green's at most; more is the subject's own colour."""
_MIDDLE, _TRUST, _GAMMAS = 0.42, 0.12, (0.8, 1.25)
"""The middle tone of photographs, how far a photo is moved towards it, and the gammas that this may come to."""
_TONED = 10.5
"""Spread of the colours (a and b of Lab, at equal lightness) beside the contrast that is left, below which a picture is
black and white, or toned. Of 108 photographs the toned ones have up to 9.1, faded ones in colour from 12 on."""


@dataclass(frozen=True)
class Levels:
    """What is done to each channel: `((x - black) / (white - black)) ** (1 / gamma)`, with values of 0 to 1.

    These are the input levels of picture editors, and the arguments of ImageMagick's `-level` channel by channel.
    """

    black: tuple[float, float, float]
    white: tuple[float, float, float]
    gamma: tuple[float, float, float]

    def curve(self, channel: int, top: int) -> np.ndarray:
        """Return what becomes of each value 0 to `top` of a channel, float64 in [0, 1]."""
        values = np.arange(top + 1) / top
        low, high = self.black[channel], self.white[channel]
        curve: np.ndarray = np.clip((values - low) / (high - low), 0, 1) ** (1 / self.gamma[channel])
        return curve


@dataclass(frozen=True)
class Fading:
    """What was measured of a picture.

    Attributes:
        dark: where the darkest places of each channel lie, 0 to 1.
        bright: where the brightest do.
        middle: the median of each channel.
        toned: whether the picture is black and white, or has one tone such as sepia.
        box: left, top, right and bottom of what lies inside a plain border, as shares of the sides.
        levels: what would bring it back.
    """

    dark: tuple[float, float, float]
    bright: tuple[float, float, float]
    middle: tuple[float, float, float]
    toned: bool
    box: tuple[float, float, float, float]
    levels: Levels

    @property
    def contrast(self) -> float:
        """How much of the range from black to white is left, 0 to 1."""
        return float((np.array(self.bright) - np.array(self.dark)) @ LUMA)

    @property
    def is_faded(self) -> bool:
        """Whether more is lost than photographs without any fault lack."""
        veil = float(np.array(self.dark) @ LUMA)
        if self.contrast < LEAST:
            return False
        dull = self.contrast < DULL and veil > LIFTED and min(self.dark) > LEAST_LIFTED
        return dull or (self.contrast < NARROW and veil > VEILED)


def measure(pixels: np.ndarray, alpha: np.ndarray | None = None) -> Fading:
    """Return how faded a picture is.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16.
        alpha: (h, w) of the same type; what is more than half transparent does not count. None = all counts.
    """
    picture = _reduced(pixels)
    box = inside(picture)
    left, top, right, bottom = box
    inner = picture[top:bottom, left:right]
    if alpha is not None:
        seen = _reduced(alpha, picture.shape[1::-1])[top:bottom, left:right] > 0.5
    else:
        seen = np.ones(inner.shape[:2], bool)
    values = inner[seen] if seen.any() else inner.reshape(-1, 3)
    dark, middle, bright = np.quantile(values, (ENDS, 0.5, 1 - ENDS), axis=0)
    toned = _is_toned(values, float((bright - dark) @ LUMA))
    levels = _levels(inner, values, dark, middle, bright, toned=toned)
    height, width = picture.shape[:2]
    shares = (left / width, top / height, right / width, bottom / height)
    return Fading(_three(dark), _three(bright), _three(middle), toned, shares, levels)


def apply(pixels: np.ndarray, levels: Levels) -> np.ndarray:
    """Return a picture (h, w, 3), uint8 or uint16, after levels; computed exactly, rounded once."""
    top = top_of(pixels.dtype)
    result = np.empty_like(pixels)
    for channel in range(3):
        table = np.rint(levels.curve(channel, top) * top).astype(pixels.dtype)
        result[..., channel] = table[pixels[..., channel]]
    return result


def inside(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Return what lies within a plain border, such as a print's white one: left, top, right, bottom in pixels.

    Args:
        picture: (h, w, 3) float in [0, 1].
    """
    grey = picture @ LUMA
    ends = []
    for lines in (grey.T, grey):
        ends.append((_border(lines), len(lines) - _border(lines[::-1])))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


def _border(lines: np.ndarray) -> int:
    """Return how many lines from the first on are plain and alike; 0 where it would be more than a sixth of them."""
    spread, level = lines.std(1), np.median(lines, axis=1)
    first, count = level[0], 0
    while count < len(lines) // 6 and spread[count] < 0.045 and abs(level[count] - first) < 0.04:
        count += 1
    if count in (0, len(lines) // 6):
        return 0
    return min(count + 2, len(lines) // 6)  # its edge is neither border nor picture


def _levels(
    inner: np.ndarray, values: np.ndarray, dark: np.ndarray, middle: np.ndarray, bright: np.ndarray, *, toned: bool
) -> Levels:
    """Return the levels for a picture (h, w, 3) whose channels' ends and middles are known."""
    wanted = np.array(_DARK), np.array(_BRIGHT)
    if toned:  # its tone is meant, or has become its own: all channels alike
        wanted = np.full(3, float(wanted[0] @ LUMA)), np.full(3, float(wanted[1] @ LUMA))
        dark, bright, middle = (np.full(3, float(each @ LUMA)) for each in (dark, bright, middle))
    span = np.maximum(bright - dark, 0.02)
    scale = span / (wanted[1] - wanted[0])
    if not toned:
        common = float(np.log(scale) @ LUMA)
        own = np.clip((np.log(scale / scale[1]) + _edges(inner)) / 2, -_MOST, _MOST)
        scale = np.exp(common + own - own @ LUMA)
    black = dark - wanted[0] * scale
    white = black + scale
    low, high = np.quantile(values, (CLIPPED, 1 - CLIPPED), axis=0)
    if toned:
        low, high = np.full(3, low.min()), np.full(3, high.max())
    black = np.clip(np.minimum(black, low), 0, 0.9)
    white = np.clip(np.maximum(white, high), black + 0.05, 1)
    placed = np.clip((middle - black) / (white - black), 0.02, 0.98)
    tone = float(np.log(placed) @ LUMA)
    gamma = float(np.clip((tone / np.log(_MIDDLE)) ** _TRUST, *_GAMMAS))
    return Levels(_three(black), _three(white), _three(np.full(3, gamma)))


def _edges(picture: np.ndarray) -> np.ndarray:
    """Return the logarithms of how steep each channel's edges are beside green's, (3,), both gentle and strong ones."""
    found = []
    for power in (1.0, 6.0):
        steps = [np.abs(np.diff(picture, axis=axis)).reshape(-1, 3) ** power for axis in (0, 1)]
        mean = np.maximum(np.concatenate(steps).mean(0), 1e-12) ** (1 / power)
        found.append(np.log(mean / mean[1]))
    edges: np.ndarray = np.mean(found, axis=0)
    return edges


def _is_toned(values: np.ndarray, contrast: float) -> bool:
    """Whether colours (n, 3) of equal lightness differ so little, for so much contrast, that they are one tone."""
    # OpenCV's first conversion takes longer than all of this, for the tables that it makes.
    found = lab.of(values[:: max(1, len(values) // _ENOUGH)]).astype(np.float32)
    steps = np.clip(found[:, 0] / 5, 0, 19).astype(int)
    spread = np.zeros(len(found), np.float32)
    for step in np.unique(steps):
        mine = steps == step
        spread[mine] = np.hypot(*(found[mine, 1:] - np.median(found[mine, 1:], axis=0)).T)
    return bool(np.quantile(spread, 0.95) < _TONED * max(contrast, 0.05))


def _reduced(pixels: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return a picture or a channel no larger than `SIDE`, float32 in [0, 1]."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = size or (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    reduced: np.ndarray = small.astype(np.float32) / np.float32(top_of(pixels.dtype))
    return reduced


def _three(values: np.ndarray | Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 5) for value in values)
    return red, green, blue
