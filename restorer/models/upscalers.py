"""Upscalers for everything that is not a face: Real-ESRGAN's large and compact networks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.registry import Architecture, register

if TYPE_CHECKING:
    from torch import nn

    from restorer.registry import Shapes, StateDict


class UpscalerModel(Architecture):
    """An architecture whose role is upscaler.

    Attributes:
        overlap: input pixels by which a tile reaches beyond its own; further off a pixel hardly influences another.
        tile: side of a tile in input pixels that keeps the activations of one tile near a gigabyte.
    """

    role = "upscaler"
    overlap: ClassVar[int] = 16
    tile: ClassVar[int] = 256

    @abstractmethod
    def flops(self, arguments: Mapping[str, Any]) -> float:
        """Return the floating-point operations per input pixel, for estimates."""

    @abstractmethod
    def factor(self, arguments: Mapping[str, Any]) -> int:
        """Return the factor by which the network enlarges."""

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Put the upstream names below the wrapper that maps the value range."""
        return {f"net.{key}": value.float() for key, value in state.items()}


class RRDBNetModel(UpscalerModel):
    """Real-ESRGAN x2plus and x4plus: basicsr's RRDBNet."""

    name = "rrdbnet"
    defaults: ClassVar = {
        "num_in_ch": 3, "num_out_ch": 3, "scale": 4, "num_feat": 64, "num_block": 23, "num_grow_ch": 32,
    }  # fmt: skip

    def flops(self, arguments: Mapping[str, Any]) -> float:
        """Count the dense blocks at the trunk's resolution and the convolutions behind them at 2 and 4 times it."""
        width, growth = arguments["num_feat"], arguments["num_grow_ch"]
        dense = 9 * sum((width + i * growth) * growth for i in range(4)) + 9 * (width + 4 * growth) * width
        tail = 9 * width * width * (4 + 16 + 16) + 9 * width * 3 * 16
        trunk_pixels = (int(arguments["scale"]) / 4) ** 2  # the unshuffling leaves a quarter or a sixteenth
        return float(2 * trunk_pixels * (3 * arguments["num_block"] * dense + tail))

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read width, growth, depth and the unshuffling in front (which tells the scale) from the shapes."""
        first, growth = shapes.get("conv_first.weight"), shapes.get("body.0.rdb1.conv1.weight")
        if first is None or growth is None:
            return {}
        blocks = {key.split(".")[1] for key in shapes if key.startswith("body.")}
        return {
            "num_feat": first[0],
            "num_grow_ch": growth[0],
            "num_block": len(blocks),
            "scale": {48: 1, 12: 2}.get(first[1], 4),
        }

    def factor(self, arguments: Mapping[str, Any]) -> int:
        """Return the `scale` argument."""
        return int(arguments["scale"])

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.upscalers import rrdbnet

        return rrdbnet(**arguments)


class SRVGGNetModel(UpscalerModel):
    """Real-ESRGAN general-x4v3: basicsr's SRVGGNetCompact."""

    name = "srvggnet"
    defaults: ClassVar = {
        "num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_conv": 32, "upscale": 4, "act_type": "prelu",
    }  # fmt: skip
    tile = 512

    def flops(self, arguments: Mapping[str, Any]) -> float:
        """Count the convolutions, all at the input's resolution."""
        width, outputs = arguments["num_feat"], 3 * int(arguments["upscale"]) ** 2
        return float(2 * 9 * width * (3 + arguments["num_conv"] * width + outputs))

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read width, depth and scale from the shapes of the first and the last convolution."""
        first = shapes.get("body.0.weight")
        convolutions = [
            int(key.split(".")[1])
            for key, shape in shapes.items()
            if len(shape) == 4 and key.startswith("body.") and key.split(".")[1].isdecimal()
        ]
        last = shapes.get(f"body.{max(convolutions, default=0)}.weight")
        if first is None or last is None or len(first) != 4:
            return {}
        outputs = last[0]
        upscale = round((outputs / first[1]) ** 0.5)
        return {"num_feat": first[0], "num_conv": len(convolutions) - 2, "upscale": upscale}

    def factor(self, arguments: Mapping[str, Any]) -> int:
        """Return the `upscale` argument."""
        return int(arguments["upscale"])

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.upscalers import srvggnet

        return srvggnet(**arguments)


register(RRDBNetModel())
register(SRVGGNetModel())
