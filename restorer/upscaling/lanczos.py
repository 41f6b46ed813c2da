"""What the pipeline asks of an upscaler, and the plain one that needs no weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from restorer.imaging.libraries import np
from restorer.imaging.resize import resize

if TYPE_CHECKING:
    from restorer.imaging.profiles import Colours

OnTile = Callable[[int, int], None]
"""Called with the number of tiles done and the number of all."""


class Background(Protocol):
    """What the pipeline needs of an upscaler; an object of one's own may be given to `Restorer` in its place."""

    name: str

    def upscale(self, pixels: np.ndarray, size: tuple[int, int], on_tile: OnTile | None = None) -> np.ndarray:
        """Return `pixels` (h, w, 3), uint8, uint16 or float32 in [0, 1], at `size` (width, height), same type."""
        ...


@runtime_checkable
class Learned(Background, Protocol):
    """An upscaler that has learned from sRGB, and so must be told of other colours."""

    def among(self, colours: Colours) -> Background:
        """Return the same upscaler for pictures whose values mean these colours."""
        ...


class Lanczos:
    """Plain resampling: no weights, no invention."""

    name = "lanczos"

    def upscale(self, pixels: np.ndarray, size: tuple[int, int], on_tile: OnTile | None = None) -> np.ndarray:
        """See `resize`."""
        result = resize(pixels, size)
        if on_tile:
            on_tile(1, 1)
        return result
