"""basicsr's upscaler networks behind this package's value range."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from restorer.networks.basicsr_compat import import_basicsr


class UnitRangeUpscaler(nn.Module):
    """An upscaler trained on [0, 1], offered on [-1, 1].

    Args:
        net: maps (n, 3, h, w) in [0, 1] to (n, 3, factor * h, factor * w).
        multiple: sides are padded by replication to a multiple of this, and the result is cut back.
    """

    def __init__(self, net: nn.Module, factor: int, multiple: int = 1) -> None:
        super().__init__()
        self.net = net
        self.factor = factor
        self.multiple = multiple

    def forward(self, pictures: torch.Tensor, factor: int | None = None) -> torch.Tensor:
        """Map (n, 3, h, w) in [-1, 1] to (n, 3, factor * h, factor * w) in about [-1, 1].

        Raises:
            ValueError: for a factor that is not the network's own.
        """
        if factor not in (None, self.factor):
            raise ValueError(f"This network enlarges by {self.factor}, not by {factor}.")
        height, width = pictures.shape[-2:]
        pad = (-width % self.multiple, -height % self.multiple)
        unit = pictures * 0.5 + 0.5
        if any(pad):
            unit = F.pad(unit, (0, pad[0], 0, pad[1]), mode="replicate")
        output: torch.Tensor = self.net(unit)[..., : height * self.factor, : width * self.factor]
        return output * 2 - 1


def rrdbnet(**arguments: Any) -> UnitRangeUpscaler:
    """Return Real-ESRGAN's large network (Wang et al. 2018, ESRGAN); `scale` 1 and 2 unshuffle their input first."""
    scale = int(arguments["scale"])
    net = import_basicsr("basicsr.archs.rrdbnet_arch").RRDBNet(**arguments)
    return UnitRangeUpscaler(net, scale, multiple={1: 4, 2: 2}.get(scale, 1))


def srvggnet(**arguments: Any) -> UnitRangeUpscaler:
    """Return Real-ESRGAN's compact network, which computes at the input's resolution up to its last layer."""
    net = import_basicsr("basicsr.archs.srvgg_arch").SRVGGNetCompact(**arguments)
    return UnitRangeUpscaler(net, int(arguments["upscale"]))
