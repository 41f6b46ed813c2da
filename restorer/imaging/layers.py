"""Layers: parts of a picture that lie on top of each other, each with a mask that says how much of it is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from restorer.imaging.colour import top_of
from restorer.imaging.libraries import np
from restorer.imaging.resize import to_type

if TYPE_CHECKING:
    from restorer.imaging.colour import Pixels


@dataclass(eq=False)
class Layer:
    """One layer.

    Attributes:
        name: as people read it.
        left, top: where its first pixel lies in the picture.
        pixels: (h, w, 3) RGB, uint8 or uint16.
        mask: (h, w) of the same type: how much of it is seen; None = all.
    """

    name: str
    left: int
    top: int
    pixels: Pixels = field(repr=False)
    mask: Pixels | None = field(default=None, repr=False)


def flattened(layers: Sequence[Layer]) -> Pixels:
    """Return what layers show together: the first is the whole picture, each of the others lies on top."""
    picture = layers[0].pixels.copy()
    for layer in layers[1:]:
        height, width = layer.pixels.shape[:2]
        below = picture[layer.top : layer.top + height, layer.left : layer.left + width]
        share = 1.0 if layer.mask is None else layer.mask[..., None] / np.float64(top_of(layer.mask.dtype))
        below[...] = to_type(below + (layer.pixels.astype(np.float64) - below) * share, below.dtype)
    return picture
