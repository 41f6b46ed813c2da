"""The upscaler that is built in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import UpscalerArchitecture
from restorer.models.levels import levels

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes, StateDict


class TinyUpscalerArchitecture(UpscalerArchitecture):
    """The built-in upscaler: one body, a head for x2 and one for x4."""

    name = "tinyupscaler"
    defaults: ClassVar = {"widths": [64, 64, 96], "blocks": [2, 2, 2]}
    overlap = 80  # measured: with 64, seams are off by up to three levels of 255 in places; with 80 by one
    tile = 640
    grid = 8

    def flops(self, arguments: Mapping[str, Any]) -> float:
        """Count the convolutions of each level, and the head of x4."""
        widths, blocks = arguments["widths"], arguments["blocks"]
        total = 9 * widths[0] * (12 + 192) / 4
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            last = i == len(widths) - 1
            total += 2 * count * (1 if last else 2) * 9 * width * width / 4 ** (i + 1)
            total += 0 if last else 2 * 4 * width * widths[i + 1] / 4 ** (i + 2)
        return float(2 * total)

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read widths and depths from the residual blocks of the way down."""
        widths, blocks = levels(shapes)
        return {"widths": widths, "blocks": blocks} if widths else {}

    def factors(self, arguments: Mapping[str, Any]) -> tuple[int, ...]:
        """Return 2 and 4."""
        return (2, 4)

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Keep the names: there is no upstream."""
        return {key: value.float() for key, value in state.items()}

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.tinyupscaler import TinyUpscaler

        return TinyUpscaler(**arguments)


ARCHITECTURES = (TinyUpscalerArchitecture(),)
