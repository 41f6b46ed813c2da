"""Finds damage in photographs of prints: a small U-Net that works at the photograph's own resolution.

Its first and its last convolutions see every pixel, so that a scratch of one pixel is the same scratch wherever it
lies; between them it computes on cells of 4x4 pixels, and looks as far around as its coarse levels reach (Ronneberger
et al. 2015): what a line is, its surroundings tell.
Beside the colours it is shown what is thinner than 5 and than 11 pixels and lighter or darker than what is around it
(top hats; Serra 1982), and how each pixel differs from the mean of its neighbourhood: a network of this size would
spend its first layers on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from restorer.networks.fused import conv_relu

_CELL = 4  # pixels to a side
_SEEN = 8  # pixels to a side of what a cell sees at first
_BACK = 8  # channels that cells give back to each of their pixels
_HATS = (5, 11)
_MEANS = (4, 16)
SHOWN = 3 + 2 * len(_HATS) + len(_MEANS)
"""Channels that the first convolution sees of each pixel."""


class _Residual(nn.Module):
    """Two convolutions whose result is added to their input, small at first so that the block begins as no change."""

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)
        self.norm = nn.BatchNorm2d(width) if norm else None
        for conv in (self.first, self.second):
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        if self.norm is not None:
            nn.init.constant_(self.norm.get_parameter("weight"), 0.5)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (n, width, h, w) to the same shape."""
        result: torch.Tensor
        if self.norm is not None:
            result = self.norm(self.second(F.relu_(self.first(features)))) + features
            return result
        result = self.second(conv_relu(self.first, features))
        return result + features if torch.is_grad_enabled() else result.add_(features)


class DamageUNet(nn.Module):
    """Says of each pixel how surely it is damaged: a logit.

    Args:
        stem: channels of the convolutions that see every pixel.
        widths: channels of the levels, the finest, which is at a quarter of the picture's resolution, first.
        blocks: residual blocks of each level, on the way down and again on the way up; the coarsest has them once.
        norm: with batch normalisation, as it is trained; `folded` makes a network without of one with it.
    """

    def __init__(self, stem: int, widths: Sequence[int], blocks: Sequence[int], *, norm: bool = False) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(f"{len(widths)} widths for {len(blocks)} levels")
        self.multiple = max(_CELL * 2 ** (len(widths) - 1), *_MEANS)
        self.stem = nn.ModuleList([nn.Conv2d(SHOWN, stem, 3, 1, 1), nn.Conv2d(stem, stem, 3, 1, 1)])
        self.first = nn.Conv2d(stem, widths[0], _SEEN, _CELL, (_SEEN - _CELL) // 2)
        self.down = nn.ModuleList(_blocks(width, count, norm) for width, count in zip(widths, blocks, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in pairwise(widths))
        self.grow = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(_blocks(*pair, norm) for pair in zip(widths[:-1], blocks[:-1], strict=True))
        self.spread = nn.Conv2d(widths[0], _BACK * _CELL**2, 1)
        self.join = nn.Conv2d(_BACK + stem, stem, 3, 1, 1)
        self.head = nn.Conv2d(stem, 1, 3, 1, 1)
        for conv in self.stem:
            nn.init.kaiming_normal_(conv.get_parameter("weight"))
            nn.init.zeros_(conv.get_parameter("bias"))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, h, w) in [-1, 1] to logits (n, 1, h, w); sides of any length."""
        height, width = pictures.shape[-2:]
        pad = (-width % self.multiple, -height % self.multiple)
        if any(pad):
            pictures = F.pad(pictures, (0, pad[0], 0, pad[1]), mode="replicate")
        fine = _shown(pictures).contiguous(memory_format=torch.channels_last)
        for conv in self.stem:
            fine = F.relu_(conv(fine))
        features = self.first(fine)
        finer = []
        for level, shrink in zip(self.down, self.shrink, strict=False):
            finer.append(level(features))
            features = shrink(finer[-1])
        features = self.down[-1](features)
        for grow, level in zip(reversed(self.grow), reversed(self.up), strict=True):
            features = level(F.pixel_shuffle(grow(features), 2) + finer.pop())
        joined = torch.cat([F.pixel_shuffle(self.spread(features), _CELL), fine], dim=1)
        logits: torch.Tensor = self.head(F.relu_(self.join(joined)))
        return logits[..., :height, :width]


def folded(network: DamageUNet, stem: int, widths: Sequence[int], blocks: Sequence[int]) -> DamageUNet:
    """Return a network without normalisation that computes what one with it does outside training."""
    state = {key: value.clone() for key, value in network.state_dict().items()}
    for path, part in network.named_modules():
        if isinstance(part, _Residual) and part.norm is not None:
            assert part.norm.running_var is not None
            assert part.norm.running_mean is not None
            factor = part.norm.weight.detach() * (part.norm.running_var + part.norm.eps).rsqrt()
            weight, bias = f"{path}.second.weight", f"{path}.second.bias"
            state[weight] = state[weight] * factor[:, None, None, None]
            state[bias] = (state[bias] - part.norm.running_mean) * factor + part.norm.bias.detach()
    plain = DamageUNet(stem, widths, blocks)
    plain.load_state_dict({key: value for key, value in state.items() if ".norm." not in key})
    return plain.eval()


@torch.no_grad()
def _shown(pictures: torch.Tensor) -> torch.Tensor:
    """Return what the first convolution sees of pictures (n, 3, h, w), (n, SHOWN, h, w)."""
    light = pictures.mean(1, keepdim=True)
    planes = [pictures]
    for side in _HATS:
        opened = _highest(-_highest(-light, side), side)
        closed = -_highest(-_highest(light, side), side)
        planes += [(light - opened) * 4, (closed - light) * 4]
    for side in _MEANS:
        mean = F.interpolate(F.avg_pool2d(light, side), scale_factor=float(side), mode="bilinear", align_corners=False)
        planes.append((light - mean) * 3)
    return torch.cat(planes, dim=1)


def _highest(x: torch.Tensor, side: int) -> torch.Tensor:
    """Return the highest value of the square of an odd side around each pixel, beyond the border the border's own.

    Each maximum of two shifted pictures doubles the reach, which takes a few passes where a pooling looks at each pixel
    as often as the side is long.
    """
    half = side // 2
    x = F.pad(x, (half, half, half, half), mode="replicate")
    for axis in (2, 3):
        reach = 1
        while reach < side:
            step = min(reach, side - reach)
            length = x.shape[axis] - step
            x = torch.maximum(x.narrow(axis, 0, length), x.narrow(axis, step, length))
            reach += step
    return x


def _blocks(width: int, count: int, norm: bool) -> nn.Sequential:
    return nn.Sequential(*(_Residual(width, norm) for _ in range(count)))
