"""Colours for black-and-white pictures: a network guesses a and b of Lab, and the picture keeps its lightness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restorer.imaging import lab
from restorer.imaging.colour import top_of
from restorer.imaging.libraries import cv2, np
from restorer.imaging.resize import to_type
from restorer.models.colourers import ColourArchitecture

if TYPE_CHECKING:
    from collections.abc import Callable

    from restorer.engine.network import Network
    from restorer.imaging.profiles import Colours

    Tell = Callable[[float], None]

BAND = 1 << 18
"""Pixels that are coloured at a time, in float64."""


class Colourer:
    """A network of the role "colorizer".

    Args:
        network: of that role.
        strength: by which what it says is multiplied, 0 to 1.

    Raises:
        TypeError: the network is for something else.
    """

    def __init__(self, network: Network, strength: float = 1.0) -> None:
        architecture = network.architecture
        if not isinstance(architecture, ColourArchitecture):
            raise TypeError(f"{network.name} guesses no colours")
        self.name, self.strength = network.name, strength
        self._side, self._network = architecture.side, network

    def guess(self, pixels: np.ndarray, colours: Colours | None = None) -> np.ndarray:
        """Return a and b of a picture, (side, side, 2) float32, whatever the picture's shape.

        Args:
            pixels: (h, w, 3) RGB, uint8 or uint16; only its lightness is looked at.
            colours: what the values mean; None = sRGB.
        """
        import torch

        small = cv2.resize(pixels, (self._side, self._side), interpolation=cv2.INTER_AREA)
        grey = lab.grey(lab.lightness(_seen(small, colours))).astype(np.float32)
        shown = torch.from_numpy(np.repeat(grey[None, None], 3, axis=1)) * 2 - 1
        guessed: np.ndarray = self._network(shown).float()[0].permute(1, 2, 0).contiguous().numpy()
        return guessed * np.float32(self.strength)

    def colour(
        self, pixels: np.ndarray, guessed: np.ndarray, colours: Colours | None = None, tell: Tell | None = None
    ) -> np.ndarray:
        """Return a picture with guessed colours, in its own depth; its lightness stays.

        Memory beyond the result is that of a band of rows.

        Args:
            pixels: (h, w, 3) RGB, uint8 or uint16.
            guessed: as `guess` gives it; enlarged bilinearly.
            colours: what the values mean; None = sRGB.
            tell: hears how much is done, 0 to 1.
        """
        height, width = pixels.shape[:2]
        result = np.empty_like(pixels)
        rows = max(1, BAND // width)
        across = _along(width, guessed.shape[1])
        for top in range(0, height, rows):
            part = pixels[top : top + rows]
            down = _along(height, guessed.shape[0])[top : top + rows]
            places = np.broadcast_arrays(across[None], down[:, None])
            wide = cv2.remap(
                guessed,
                np.ascontiguousarray(places[0]),
                np.ascontiguousarray(places[1]),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            made = lab.coloured(lab.lightness(_seen(part, colours)), wide[..., 0], wide[..., 1])
            if colours is not None:
                made = colours.own(made)
            result[top : top + rows] = to_type(made * top_of(pixels.dtype), pixels.dtype)
            if tell is not None:
                tell(min(1.0, (top + rows) / height))
        return result


def _seen(pixels: np.ndarray, colours: Colours | None) -> np.ndarray:
    """Return values as sRGB, float in [0, 1]."""
    seen: np.ndarray = pixels / top_of(pixels.dtype) if colours is None else colours.seen(pixels)
    return seen


def _along(length: int, given: int) -> np.ndarray:
    """Return where each of `length` pixels lies in a row of `given` pixels, float32."""
    places: np.ndarray = ((np.arange(length) + 0.5) * (given / length) - 0.5).astype(np.float32)
    return places
