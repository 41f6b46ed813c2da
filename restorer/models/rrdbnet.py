"""Real-ESRGAN's large upscalers: RRDBNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import UpscalerArchitecture

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes


class RRDBNetArchitecture(UpscalerArchitecture):
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


ARCHITECTURES = (RRDBNetArchitecture(),)
