"""Where a print is damaged: a finder looks at tiles of the photo at its own resolution, whatever the photo's size."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from restorer.imaging.colour import top_of
from restorer.imaging.libraries import cv2, np
from restorer.models.finders import DamageArchitecture, SecondLook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from restorer.engine.network import Network
    from restorer.imaging.profiles import Colours

    Tell = Callable[[float], None]


class Finder(Protocol):
    """What the pipeline needs of something that finds damage.

    Attributes:
        name: as records tell it.
        tile: side in pixels of the part of a tile that counts.
        overlap: pixels by which a tile reaches beyond that on each side.
        threshold: probability from which on a pixel is damaged.
        views: short sides in pixels to which a photo is reduced, to look at each; empty = at its own size alone.
        grows: pixels by which what it finds is widened: the rim of a crease is neither paper nor picture.
        second: how what was found is confirmed; None = it counts as it is.
        floor: share of a photo, confirmed, below which it finds as much in clean ones.
        smallest: short side in pixels of photos below which what they show is as thin as scratches.
    """

    name: str
    tile: int
    overlap: int
    threshold: float
    views: tuple[int, ...]
    grows: int
    second: SecondLook | None
    floor: float
    smallest: int

    def damage(self, tile: np.ndarray) -> np.ndarray:
        """Return how probable it is that each pixel is damaged, (h, w) float32 in [0, 1].

        Args:
            tile: (h, w, 3) float32 in [0, 1], sRGB; as the photo's borders leave it, of any size.
        """
        ...


class NetworkFinder:
    """A network of the role "damage finder".

    Args:
        network: of that role.

    Raises:
        TypeError: the network is for something else.
    """

    def __init__(self, network: Network) -> None:
        architecture = network.architecture
        if not isinstance(architecture, DamageArchitecture):
            raise TypeError(f"{network.name} finds no damage")
        self.name = network.name
        self.tile, self.overlap, self.threshold = architecture.tile, architecture.overlap, architecture.threshold
        self.views, self.grows = architecture.views, architecture.grows
        self.second, self.floor, self.smallest = architecture.second, architecture.floor, architecture.smallest
        self._architecture, self._network = architecture, network

    def damage(self, tile: np.ndarray) -> np.ndarray:
        """Return how probable it is that each pixel is damaged; see `Finder.damage`."""
        import torch

        height, width = tile.shape[:2]
        grid = self._architecture.grid
        wide, high = -width % grid, -height % grid
        whole = np.pad(tile, ((0, high), (0, wide), (0, 0)), mode="symmetric")
        pixels = torch.from_numpy(np.ascontiguousarray(whole.transpose(2, 0, 1)))[None]
        logits = self._architecture.logits(self._network, pixels * 2 - 1)
        found: np.ndarray = torch.sigmoid(logits.float())[0, 0, :height, :width].numpy()
        return found


SAMPLES = 4
"""Squares of a photo that a quick look takes, of `SAMPLE` pixels a side."""
SAMPLE = 256


def find(finder: Finder, pixels: np.ndarray, colours: Colours | None = None, tell: Tell | None = None) -> np.ndarray:
    """Return where a photo is damaged, (h, w) uint8, 255 = damaged.

    Each pixel is decided by the tile in whose middle it lies; memory beyond the mask, and beyond the reduced photo of a
    finder with `views`, is that of one tile.

    Args:
        finder: looks at the tiles.
        pixels: (h, w, 3) RGB, uint8 or uint16.
        colours: what the photo's values mean; None = sRGB.
        tell: hears how much is done, 0 to 1.
    """
    height, width = pixels.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    sizes = _sizes(finder, height, width)
    total = sum((len(_edges(size, finder.tile)) - 1) * (len(_edges(other, finder.tile)) - 1) for size, other in sizes)
    done = 0
    for high, wide in sizes:
        whole = (high, wide) == (height, width)
        view = pixels if whole else cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA)
        seen = mask if whole else np.zeros((high, wide), np.float32)
        for rows, columns, found in _tiles(finder, view, colours):
            if whole:
                mask[rows, columns][found >= finder.threshold] = 255
            else:
                seen[rows, columns] = found
            done += 1
            if tell is not None:
                tell(done / total)
        if not whole:
            enlarged = cv2.resize(seen, (width, height), interpolation=cv2.INTER_LINEAR)
            mask[enlarged >= finder.threshold] = 255
    return mask if not finder.grows else cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=finder.grows)


def confirmed(finder: Finder, pixels: np.ndarray, mask: np.ndarray, colours: Colours | None = None) -> float:
    """Return which share of a photo is damaged for sure: what was found, and shows in the reduced photo as well.

    That says better than what was found alone whether a photo is damaged at all. All that was found counts for a finder
    without a second look.

    Args:
        finder: looked at the photo, and looks again.
        pixels: (h, w, 3) RGB, uint8 or uint16.
        mask: what it found, (h, w), not 0 = damaged.
        colours: what the photo's values mean; None = sRGB.
    """
    found = mask > 0
    if finder.second is not None and found.any():
        found &= _again(finder, finder.second, pixels, colours)
    return float(found.mean())


def _again(finder: Finder, second: SecondLook, pixels: np.ndarray, colours: Colours | None) -> np.ndarray:
    """Return where the reduced picture shows damage, (h, w) bool."""
    height, width = pixels.shape[:2]
    size = max(1, round(width / second.times)), max(1, round(height / second.times))
    view = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    seen = np.zeros(view.shape[:2], np.uint8)  # in 255ths: as large as the photo, it takes no more than the mask does
    for rows, columns, found in _tiles(finder, view, colours):
        seen[rows, columns] = np.rint(found * 255)
    shows: np.ndarray = cv2.resize(seen, (width, height), interpolation=cv2.INTER_LINEAR) >= 255 * second.threshold
    return shows


def sampled(finder: Finder, pixels: np.ndarray, colours: Colours | None = None) -> float:
    """Return about which share of a photo is damaged for sure, by a few squares of it, however large it is.

    Args:
        finder: looks at the squares.
        pixels: (h, w, 3) RGB, uint8 or uint16.
        colours: what the photo's values mean; None = sRGB.
    """
    damaged, seen = 0.0, 0
    for rows, columns in _samples(*pixels.shape[:2]):
        square = pixels[rows, columns]
        found = finder.damage(_shown(square, colours)) >= finder.threshold
        damaged += confirmed(finder, square, found, colours) * found.size
        seen += found.size
    return damaged / seen


def _samples(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield the squares of a quick look, spread evenly; all of a photo that is no larger than they are together."""
    if height * width <= SAMPLES * SAMPLE**2:
        yield slice(0, height), slice(0, width)
        return
    down = min(max(round(math.sqrt(SAMPLES * height / width)), 1), SAMPLES)
    across = SAMPLES // down
    for i in range(down):
        for j in range(across):
            top = min(max(round((i + 0.5) * height / down - SAMPLE / 2), 0), max(height - SAMPLE, 0))
            left = min(max(round((j + 0.5) * width / across - SAMPLE / 2), 0), max(width - SAMPLE, 0))
            yield slice(top, top + SAMPLE), slice(left, left + SAMPLE)


def _shown(seen: np.ndarray, colours: Colours | None) -> np.ndarray:
    """Return a part of a photo as a finder looks at it, float32 in [0, 1], sRGB."""
    return seen.astype(np.float32) / top_of(seen.dtype) if colours is None else colours.seen(seen)


def _sizes(finder: Finder, height: int, width: int) -> list[tuple[int, int]]:
    """Return the sizes, height and width, at which a finder looks at a photo; never larger than the photo."""
    short = min(height, width)
    reduced = [
        (max(1, round(height * side / short)), max(1, round(width * side / short)))
        for side in finder.views
        if side < short
    ]
    # What is smaller than a view is looked at as it is in its place.
    return reduced if reduced and len(reduced) == len(finder.views) else [*reduced, (height, width)]


def _tiles(finder: Finder, pixels: np.ndarray, colours: Colours | None) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Yield the rows and columns of each tile of a picture, and how probable damage is there."""
    for top, bottom in pairwise(_edges(pixels.shape[0], finder.tile)):
        for left, right in pairwise(_edges(pixels.shape[1], finder.tile)):
            first, begin = max(top - finder.overlap, 0), max(left - finder.overlap, 0)
            seen = pixels[first : bottom + finder.overlap, begin : right + finder.overlap]
            found = finder.damage(_shown(seen, colours))[top - first : bottom - first, left - begin : right - begin]
            yield slice(top, bottom), slice(left, right), found


def _edges(length: int, tile: int) -> list[int]:
    """Return the borders of about equal tiles, none longer than `tile`."""
    count = max(1, -(-length // tile))
    return [round(i * length / count) for i in range(count + 1)]
