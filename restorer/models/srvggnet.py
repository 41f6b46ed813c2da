"""Real-ESRGAN's compact upscaler: SRVGGNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import UpscalerArchitecture

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes


class SRVGGNetArchitecture(UpscalerArchitecture):
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


ARCHITECTURES = (SRVGGNetArchitecture(),)
