"""How good a picture is as it stands, measured without another one to compare with: noise, JPEG's blocks, sharp edges.

Plain measures with a physical meaning. Noise is what also the evenest places show, at the picture's own size and, since
noise that was enlarged or smoothed is coarser, at a half and a quarter of it; in the colours it is what brightness does
not go along with. Blocks are what the lines between JPEG's cells of 8 pixels have and the lines beside them have not.
Sharpness is how wide the strongest edges are, and in how many places there are any: scratches and the borders of coarse
blocks are sharp too, but a picture is not sharp because of a few of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from restorer.imaging.colour import LUMA, top_of

CELL = 8
"""Side in pixels of the cells that are compared with each other, and of JPEG's blocks."""
EVENEST = 0.1
"""Share of the cells that counts as the evenest places; noise is in all of them, detail is not."""
LEAST_SIDE = 3 * CELL
"""Smallest side in pixels of a picture that can be measured."""
_COARSEST_CELL = 4
"""The same at a quarter of the size, where a face has few cells of eight."""
COLOUR_TEXTURE = 0.6
"""By how much of luma's own detail colours may vary in the same places: what a surface does, and noise does not."""
_FINE, _WIDE = 0.7, 1.4
"""Two blurs, in pixels: how much more the wider one weakens an edge tells how wide the edge is."""
_BAREST = 4.0
"""Levels a pixel; gentler slopes are no edges."""
_ABOVE_NOISE, _OF_STRONGEST = 6.0, 0.35
"""An edge is this many times as steep as the evenest places, and this share of the steepest."""
_LEAST_EDGES = 12
_PLACE, _ACROSS, _DOWN = 32, 3, 4
"""Least side in pixels of the places that are looked at for edges one by one, and how many there are at most."""
_LEAST_PLACES, _LEAST_EDGES_OF_PLACE = 4, 8
_FLAT = 2.0
"""Mean square of the finest steps, levels, that rounding leaves where there is nothing."""
_GRAIN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
"""The finest detail: even and evenly sloped places give nothing, white noise its own standard deviation."""


@dataclass(frozen=True)
class Quality:
    """What was measured of a picture, in levels of 255 and in its own pixels.

    Attributes:
        noise: standard deviation of luma's finest grain in the evenest places.
        coarse_noise: the same of the picture at half its size, which also shows noise that was enlarged or smoothed.
        coarsest_noise: the same at a quarter of its size.
        colour_noise: the same of the differences between red or blue and luma, at the size where it is strongest, less
            what luma's detail explains; 0 of a grey picture.
        blocks: by how much the steps at JPEG's borders exceed those beside them; about 0.5 at quality 95, 1.2 at 80.
        edge: the half-width (sigma) of the strongest edges; about 0.8 for a picture as sharp as its pixels allow;
            infinite where no edge stands out of noise and shading.
        throughout: the same of the middle one of up to twelve places, each by its own strongest edges; infinite where
            most of them have none. As `edge` where the picture is too small for several places.
        places: share of those places that have edges; 1 where the picture is too small.
        stripes: by how many times the finest detail is stronger across rows than across columns, or the other way:
            1 to 3 of a photo, more of interlaced rows and of scratches in one direction.
    """

    noise: float
    coarse_noise: float
    coarsest_noise: float
    colour_noise: float
    blocks: float
    edge: float
    throughout: float
    places: float = 1.0
    stripes: float = 1.0


def luma_of(pixels: np.ndarray) -> np.ndarray:
    """Return the luma of a picture (h, w, 3), unsigned integers or floats in [0, 1], as float32 (h, w), 0 to 255."""
    luma: np.ndarray = pixels.astype(np.float32) @ LUMA * np.float32(255 / top_of(pixels.dtype))
    return luma


def colours_of(pixels: np.ndarray) -> np.ndarray:
    """Return how far red and blue of a picture (h, w, 3) are from its luma, float32 (h, w, 2), levels of 255."""
    levels = pixels.astype(np.float32) * np.float32(255 / top_of(pixels.dtype))
    differences: np.ndarray = levels[..., (0, 2)] - (levels @ LUMA)[..., None]
    return differences


def measure_picture(pixels: np.ndarray) -> Quality:
    """Return the quality of a picture (h, w, 3), unsigned integers or floats in [0, 1]; see `measure`."""
    return measure(luma_of(pixels), colours_of(pixels))


def measure(luma: np.ndarray, colours: np.ndarray | None = None) -> Quality:
    """Return the quality of a picture, neither of whose sides is below `LEAST_SIDE`.

    Args:
        luma: float32 (h, w), 0 to 255.
        colours: float32 (h, w, 2), see `colours_of`; None = they are not measured.
    """
    noise, colour_noise, seen, tints = [], 0.0, luma, colours
    for cell in (CELL, CELL, _COARSEST_CELL):
        noise.append(_noise(seen, seen, cell))
        if tints is not None:
            strongest = max(_noise(tints[..., i], seen, cell) for i in range(2))
            colour_noise = max(colour_noise, strongest - COLOUR_TEXTURE * noise[-1])
            tints = _halved(tints)
        seen = _halved(seen)
    own, half, quarter = noise
    return Quality(own, half, quarter, colour_noise, _blocks(luma), *_edges(luma), _stripes(luma))


def _halved(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    half: np.ndarray = cv2.resize(picture, (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_AREA)
    return half


def evenest(band: np.ndarray, cell: int = CELL, share: float = EVENEST) -> float:
    """Return the mean square in the evenest cells of a band of detail, float32 (h, w); 0 where there is no cell."""
    energies = cells(band * band, cell)
    return float(np.quantile(energies, share)) if energies.size else 0.0


def cells(picture: np.ndarray, cell: int) -> np.ndarray:
    """Return the means of a picture (h, w) over whole cells, (h // cell, w // cell)."""
    height, width = (length // cell * cell for length in picture.shape)
    parts = picture[:height, :width].reshape(height // cell, cell, width // cell, cell)
    means: np.ndarray = parts.mean((1, 3))
    return means


def _noise(band: np.ndarray, luma: np.ndarray, cell: int) -> float:
    """Return the standard deviation of a picture's finest grain in the evenest cells that are neither black nor white.

    Args:
        band: float32 (h, w): luma, or a difference of colours.
        luma: float32 (h, w), 0 to 255, of the same places.
        cell: side of the cells.
    """
    grain = cv2.filter2D(band, -1, _GRAIN, borderType=cv2.BORDER_REFLECT)
    energies, means = cells(grain * grain, cell), cells(luma, cell)
    inner = (means > 12) & (means < 243)  # where light is cut off, noise is too
    if inner.sum() >= CELL:
        energies = energies[inner]
    return math.sqrt(float(np.quantile(energies, EVENEST))) if energies.size else 0.0


def _blocks(luma: np.ndarray) -> float:
    """Return by how many levels steps between JPEG's cells exceed the others, in the direction where they do less."""
    found = []
    for rows in (luma, luma.T):
        # A step between two pixels, less what the slopes on both sides of it explain.
        step = np.abs(3 * (rows[:, 1:-2] - rows[:, 2:-1]) - rows[:, :-3] + rows[:, 3:]) / 4
        lines = np.minimum(step, 20).mean(0)
        phases = np.array([lines[phase::CELL].mean() for phase in range(CELL)])
        most = int(phases.argmax())
        found.append(float(phases[most] - np.delete(phases, most).mean()))
    return max(min(found), 0.0)


def _stripes(luma: np.ndarray) -> float:
    """Return by how much the steps from row to row exceed those from column to column, or the other way."""
    squares = []
    for rows in (luma, luma.T):
        step = 3 * (rows[2:-1] - rows[1:-2]) + rows[:-3] - rows[3:]  # what slopes and bends explain is out of it
        squares.append(float(np.mean(step * step)) + _FLAT)
    return max(squares) / min(squares)


def _edges(luma: np.ndarray) -> tuple[float, float, float]:
    """Return sigma of the strongest edges, pixels, that of the middle one of several places, and how many have edges.

    An edge of this sigma that is blurred by another has a slope in proportion to 1 / sqrt(sigma ** 2 + blur ** 2); the
    ratio of the slopes after two blurs gives sigma (Zhuo and Sim, "Defocus map estimation from a single image", 2011).
    """
    slopes = []
    for blur in (_FINE, _WIDE):
        soft = cv2.GaussianBlur(luma, (0, 0), blur, borderType=cv2.BORDER_REFLECT)
        slopes.append((cv2.Scharr(soft, cv2.CV_32F, 1, 0) / 32, cv2.Scharr(soft, cv2.CV_32F, 0, 1) / 32))
    steep, gentle = (np.hypot(x, y) for x, y in slopes)
    across = np.abs(slopes[0][0]) > np.abs(slopes[0][1])
    crests = [(steep >= np.roll(steep, 1, axis)) & (steep >= np.roll(steep, -1, axis)) for axis in (0, 1)]
    crest = np.where(across, crests[1], crests[0])
    crest[:4] = crest[-4:] = crest[:, :4] = crest[:, -4:] = False
    least = max(_BAREST, _ABOVE_NOISE * math.sqrt(evenest(steep)))
    whole = _sigma(steep, gentle, crest, least, _LEAST_EDGES)
    height, width = luma.shape
    down, over = (min(max(length // _PLACE, 1), most) for length, most in ((height, _DOWN), (width, _ACROSS)))
    if down * over < _LEAST_PLACES:
        return whole, whole, 1.0
    found = []
    for i, j in np.ndindex(down, over):
        place = np.s_[height * i // down : height * (i + 1) // down, width * j // over : width * (j + 1) // over]
        found.append(_sigma(steep[place], gentle[place], crest[place], least, _LEAST_EDGES_OF_PLACE))
    found.sort()
    return whole, found[(len(found) - 1) // 2], sum(map(math.isfinite, found)) / len(found)


def _sigma(steep: np.ndarray, gentle: np.ndarray, crest: np.ndarray, least: float, edges: int) -> float:
    """Return sigma of the middle one of the strongest edges; infinite where they are fewer than so many.

    Args:
        steep: slopes after the narrower blur.
        gentle: those after the wider one.
        crest: whether a pixel is steeper than its neighbours.
        least: slope of an edge at least.
        edges: how many there have to be.
    """
    if not crest.any():
        return math.inf
    crest = crest & (steep > max(least, _OF_STRONGEST * float(np.quantile(steep[crest], 0.99))))
    if crest.sum() < edges:
        return math.inf
    ratio = (steep[crest] / np.maximum(gentle[crest], 1e-3)) ** 2
    squares = (_WIDE**2 - ratio * _FINE**2) / np.maximum(ratio - 1, 1e-3)
    return math.sqrt(max(float(np.median(squares)), 0.0))
