"""Filling by a network: what belongs in a hole, seen with its surroundings at the photo's own resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restorer.imaging.colour import top_of
from restorer.imaging.libraries import np
from restorer.imaging.resize import to_type
from restorer.models.inpainters import InpaintingArchitecture

if TYPE_CHECKING:
    from restorer.engine.network import Network
    from restorer.imaging.profiles import Colours
    from restorer.repairing.filling import Painter


class NetworkPainter:
    """A network of the role "inpainter", as `restorer.repairing.filling.fill` uses it.

    Holes are filled in parts of as many pixels as the architecture says, with pixels around them, so that memory is
    bounded and nothing is reduced: a large picture that is squeezed into a network's favourite size comes back soft.

    Args:
        network: of that role.
        colours: what the photo's values mean; None = sRGB.
    """

    coarse: Painter | None = None

    def __init__(self, network: Network, colours: Colours | None = None) -> None:
        architecture = network.architecture
        if not isinstance(architecture, InpaintingArchitecture):
            raise TypeError(f"{network.name} fills no holes")
        self.name = network.name
        self.margin, self.part, self.near = architecture.margin, architecture.part, architecture.near
        self.grain = architecture.grain
        self._network, self._colours = network, colours

    def paint(self, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """Return a part of a picture with its hole filled; the rest of it does not count.

        Args:
            pixels: (h, w, 3) RGB, uint8 or uint16.
            hole: (h, w) uint8, not 0 where nothing is known.
        """
        import torch

        top = top_of(pixels.dtype)
        seen = pixels.astype(np.float32) / top if self._colours is None else self._colours.seen(pixels)
        picture = torch.from_numpy(np.ascontiguousarray(seen.transpose(2, 0, 1), np.float32))[None] * 2 - 1
        mask = torch.from_numpy((hole > 0).astype(np.float32))[None, None]
        answer = self._network(picture, mask).float()[0].permute(1, 2, 0).numpy()
        made = np.clip((answer + 1) / 2, 0, 1)
        if self._colours is not None:
            made = self._colours.own(made)
        filled: np.ndarray = to_type(made * top, pixels.dtype)
        return filled
