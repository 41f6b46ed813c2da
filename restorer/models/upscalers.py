"""Upscalers for everything that is not a face: Real-ESRGAN's large and compact networks, and the built-in one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.registry import Architecture, register

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.registry import Shapes, StateDict


class UpscalerModel(Architecture):
    """An architecture whose role is upscaler; its networks are called with pictures and one of its factors.

    Attributes:
        overlap: input pixels by which a tile reaches beyond its own; further off a pixel hardly influences another.
        tile: side of a tile in input pixels that keeps the activations of one tile near a gigabyte.
        grid: tiles begin at multiples of this many input pixels, and `overlap` is one: what the network's coarsest
            level sees as a pixel, so that a tile gives what the whole photo would give there.
    """

    role = "upscaler"
    overlap: ClassVar[int] = 16
    tile: ClassVar[int] = 256
    grid: ClassVar[int] = 1

    @abstractmethod
    def flops(self, arguments: Mapping[str, Any]) -> float:
        """Return the floating-point operations per input pixel, for estimates."""

    @abstractmethod
    def factors(self, arguments: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the factors by which the network can enlarge, the smallest first."""

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Put the upstream names below the wrapper that maps the value range."""
        return {f"net.{key}": value.float() for key, value in state.items()}


class RRDBNetModel(UpscalerModel):
    """Real-ESRGAN x2plus and x4plus: the RRDBNet of ESRGAN."""

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

    def factors(self, arguments: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the `scale` argument."""
        return (int(arguments["scale"]),)

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.upscalers import rrdbnet

        return rrdbnet(**arguments)


class SRVGGNetModel(UpscalerModel):
    """Real-ESRGAN general-x4v3: its compact network, SRVGGNetCompact upstream."""

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

    def factors(self, arguments: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the `upscale` argument."""
        return (int(arguments["upscale"]),)

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.upscalers import srvggnet

        return srvggnet(**arguments)


class TinyUpscalerModel(UpscalerModel):
    """The built-in upscaler: one body, a head for x2 and one for x4."""

    name = "tinyupscaler"
    defaults: ClassVar = {"widths": [64, 64, 96], "blocks": [2, 2, 2]}
    overlap = 64
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


register(RRDBNetModel())
register(SRVGGNetModel())
register(TinyUpscalerModel())
