"""The upscaler that is built in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import UpscalerArchitecture

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
        levels: dict[int, tuple[int, int]] = {}
        for key, shape in shapes.items():
            parts = key.split(".")
            if parts[0] == "down" and parts[-2:] == ["first", "weight"]:
                levels[int(parts[1])] = (shape[0], max(levels.get(int(parts[1]), (0, 0))[1], int(parts[2]) + 1))
        found = [levels[i] for i in sorted(levels)]
        return {"widths": [width for width, _ in found], "blocks": [count for _, count in found]} if found else {}

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
