"""Real-ESRGAN's networks for whole pictures, and the wrapper that brings them to this package's value range.

RRDBNet (Wang et al. 2018, ESRGAN) and the compact network of Real-ESRGAN (Wang et al. 2021). Their parameters bear the
names of the published checkpoints, which basicsr's implementation gave them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from restorer.networks.fused import conv_leaky

_RESIDUAL = 0.2
"""By this the ESRGAN paper scales what a block adds, so that deep trunks can be trained."""


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


class DenseBlock(nn.Module):
    """Five convolutions, each on all that was computed before it; the last one's result is added to the input."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.conv1 = _convolution(width, growth)
        self.conv2 = _convolution(width + growth, growth)
        self.conv3 = _convolution(width + 2 * growth, growth)
        self.conv4 = _convolution(width + 3 * growth, growth)
        self.conv5 = _convolution(width + 4 * growth, width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (n, width, h, w) to the same shape."""
        known = [features]
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            known.append(conv_leaky(convolution, torch.cat(known, dim=1)))
        added: torch.Tensor = self.conv5(torch.cat(known, dim=1))
        return added * _RESIDUAL + features


class ResidualOfDenseBlocks(nn.Module):
    """Three dense blocks in a row, added to their input: the RRDB of the paper."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (n, width, h, w) to the same shape."""
        added: torch.Tensor = self.rdb3(self.rdb2(self.rdb1(features)))
        return added * _RESIDUAL + features


class RRDBNet(nn.Module):
    """A trunk of RRDBs at the input's resolution, enlarged twice by 2.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        scale: 4; with 2 and 1 the input is first unshuffled, by 2 and by 4, into channels.
        num_feat: width of the trunk.
        num_block: RRDBs in it.
        num_grow_ch: channels that each convolution of a dense block adds.
    """

    def __init__(
        self, num_in_ch: int, num_out_ch: int, scale: int, num_feat: int, num_block: int, num_grow_ch: int
    ) -> None:
        super().__init__()
        self.unshuffle = {2: 2, 1: 4}.get(scale, 1)
        self.conv_first = _convolution(num_in_ch * self.unshuffle**2, num_feat)
        self.body = nn.Sequential(*(ResidualOfDenseBlocks(num_feat, num_grow_ch) for _ in range(num_block)))
        self.conv_body = _convolution(num_feat, num_feat)
        self.conv_up1 = _convolution(num_feat, num_feat)
        self.conv_up2 = _convolution(num_feat, num_feat)
        self.conv_hr = _convolution(num_feat, num_feat)
        self.conv_last = _convolution(num_feat, num_out_ch)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Map (n, channels, h, w) in [0, 1], sides divisible by the unshuffling, to (n, channels, scale h, scale w)."""
        first = self.conv_first(F.pixel_unshuffle(pictures, self.unshuffle) if self.unshuffle > 1 else pictures)
        features = first + self.conv_body(self.body(first))
        for convolution in (self.conv_up1, self.conv_up2):
            features = conv_leaky(convolution, F.interpolate(features, scale_factor=2, mode="nearest"))
        output: torch.Tensor = self.conv_last(conv_leaky(self.conv_hr, features))
        return output


class CompactNet(nn.Module):
    """Plain convolutions at the input's resolution; the last one's channels become pixels of the result.

    What it computes is added to the input enlarged by repetition.

    Args:
        num_in_ch: channels of the input.
        num_out_ch: channels of the output.
        num_feat: width.
        num_conv: convolutions between the first and the last.
        upscale: factor of the enlargement.
        act_type: "relu", "prelu" or "leakyrelu", after each convolution but the last.

    Raises:
        ValueError: for another activation.
    """

    def __init__(
        self, num_in_ch: int, num_out_ch: int, num_feat: int, num_conv: int, upscale: int, act_type: str
    ) -> None:
        super().__init__()
        self.upscale = upscale
        layers: list[nn.Module] = []
        for index in range(num_conv + 1):
            layers += [_convolution(num_feat if index else num_in_ch, num_feat), _activation(act_type, num_feat)]
        layers.append(_convolution(num_feat, num_out_ch * upscale**2))
        self.body = nn.ModuleList(layers)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Map (n, channels, h, w) in [0, 1] to (n, channels, upscale * h, upscale * w)."""
        features = pictures
        for layer in self.body:
            features = layer(features)
        detail = F.pixel_shuffle(features, self.upscale)
        return detail + F.interpolate(pictures, scale_factor=self.upscale, mode="nearest")


def rrdbnet(**arguments: Any) -> UnitRangeUpscaler:
    """Return Real-ESRGAN's large network; `scale` 1 and 2 unshuffle their input first."""
    net = RRDBNet(**arguments)
    return UnitRangeUpscaler(net, int(arguments["scale"]), multiple=net.unshuffle)


def srvggnet(**arguments: Any) -> UnitRangeUpscaler:
    """Return Real-ESRGAN's compact network, which computes at the input's resolution up to its last layer."""
    return UnitRangeUpscaler(CompactNet(**arguments), int(arguments["upscale"]))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _activation(name: str, width: int) -> nn.Module:
    """Return the activation that a checkpoint's `act_type` names."""
    if name == "prelu":
        return nn.PReLU(num_parameters=width)
    if name == "leakyrelu":
        return nn.LeakyReLU(0.1, inplace=True)
    if name == "relu":
        return nn.ReLU(inplace=True)
    raise ValueError(f"There is no activation {name!r}; there are relu, prelu and leakyrelu.")
