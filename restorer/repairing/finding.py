"""Where a print is damaged: a finder looks at tiles of the photo at its own resolution, whatever the photo's size."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from restorer.imaging.colour import top_of
from restorer.imaging.libraries import np
from restorer.models.base import DamageArchitecture

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """

    name: str
    tile: int
    overlap: int
    threshold: float

    def damage(self, tile: np.ndarray) -> np.ndarray:
        """Return how probable it is that each pixel is damaged, (h, w) float32 in [0, 1].

        Args:
            tile: (h, w, 3) float32 in [0, 1], sRGB; as the photo's borders leave it, of any size.
        """
        ...


class NetworkFinder:
    """A network of the role "damage finder".

    Args:
        network: maps (n, 3, h, w) in [-1, 1] to logits (n, 1, h, w).

    Raises:
        TypeError: the network is for something else.
    """

    def __init__(self, network: Network) -> None:
        architecture = network.architecture
        if not isinstance(architecture, DamageArchitecture):
            raise TypeError(f"{network.name} finds no damage")
        self.name = network.name
        self.tile, self.overlap, self.threshold = architecture.tile, architecture.overlap, architecture.threshold
        self._grid = architecture.grid
        self._network = network

    def damage(self, tile: np.ndarray) -> np.ndarray:
        """Return how probable it is that each pixel is damaged; see `Finder.damage`."""
        import torch

        height, width = tile.shape[:2]
        wide, high = -width % self._grid, -height % self._grid
        whole = np.pad(tile, ((0, high), (0, wide), (0, 0)), mode="symmetric")
        pixels = torch.from_numpy(np.ascontiguousarray(whole.transpose(2, 0, 1)))[None]
        logits = self._network(pixels * 2 - 1)
        found: np.ndarray = torch.sigmoid(logits.float())[0, 0, :height, :width].numpy()
        return found


def find(finder: Finder, pixels: np.ndarray, colours: Colours | None = None, tell: Tell | None = None) -> np.ndarray:
    """Return where a photo is damaged, (h, w) uint8, 255 = damaged.

    Each pixel is decided by the tile in whose middle it lies; memory beyond the mask is that of one tile.

    Args:
        finder: looks at the tiles.
        pixels: (h, w, 3) RGB, uint8 or uint16.
        colours: what the photo's values mean; None = sRGB.
        tell: hears how much is done, 0 to 1.
    """
    height, width = pixels.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    rows, columns = _edges(height, finder.tile), _edges(width, finder.tile)
    total, done = (len(rows) - 1) * (len(columns) - 1), 0
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            first, begin = max(top - finder.overlap, 0), max(left - finder.overlap, 0)
            seen = pixels[first : bottom + finder.overlap, begin : right + finder.overlap]
            shown = seen.astype(np.float32) / top_of(pixels.dtype) if colours is None else colours.seen(seen)
            found = finder.damage(shown)[top - first : bottom - first, left - begin : right - begin]
            mask[top:bottom, left:right] = np.where(found >= finder.threshold, 255, 0)
            done += 1
            if tell is not None:
                tell(done / total)
    return mask


def _edges(length: int, tile: int) -> list[int]:
    """Return the borders of about equal tiles, none longer than `tile`."""
    count = max(1, -(-length // tile))
    return [round(i * length / count) for i in range(count + 1)]
