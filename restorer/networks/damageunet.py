"""Finds damage in photographs of prints: a small U-Net that works at the photograph's own resolution.

Its first and its last convolutions see every pixel, so that a scratch of one pixel is the same scratch wherever it
lies; between them it computes on cells of 4x4 pixels, and looks as far around as its coarse levels reach (Ronneberger
et al. 2015): what a line is, its surroundings tell.
Beside the colours it is shown what is thinner than 5 and than 11 pixels and lighter or darker than what is around it
(top hats; Serra 1982), how each pixel differs from the mean of its neighbourhood, and if it has `lines` how much of
what is thin lies along a line of 34 and of 68 pixels in the best of 16 directions: a scratch that is no brighter than
the stones that it crosses stands out by its length. A network of this size would spend its layers on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from restorer.networks.fused import conv_relu

_CELL = 4  # pixels to a side
_SEEN = 8  # pixels to a side of what a cell sees at first
_BACK = 8  # channels that cells give back to each of their pixels
_HATS = (5, 11)
_MEANS = (4, 16)
_DIRECTIONS, _REACH = 16, 8  # of lines; how far they reach from their middle, in squares of `_CLOSE` and of `_WIDER`
_CLOSE, _WIDER = 2, 4  # pixels to a side
_STANDS_OUT = 0.5  # what is thin and stands out more than this (of 2) counts as this much of a line
_USUAL = 16  # side in squares of `_CLOSE` of the places of which it is measured how much is thin there anyway
LINES = 8
"""Channels that a network with `lines` sees of each pixel beside the others."""
SHOWN = 3 + 2 * len(_HATS) + len(_MEANS)
"""Channels that the first convolution sees of each pixel otherwise."""


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
        lines: whether it is shown how much of what is thin lies along lines.
        norm: with batch normalisation, as it is trained; `folded` makes a network without of one with it.
    """

    def __init__(
        self, stem: int, widths: Sequence[int], blocks: Sequence[int], *, lines: bool = False, norm: bool = False
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(f"{len(widths)} widths for {len(blocks)} levels")
        self.lines = lines
        self.multiple = max(_CELL * 2 ** (len(widths) - 1), *_MEANS, _CLOSE * _USUAL if lines else 0)
        shown = SHOWN + (LINES if lines else 0)
        self.stem = nn.ModuleList([nn.Conv2d(shown, stem, 3, 1, 1), nn.Conv2d(stem, stem, 3, 1, 1)])
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
        fine = _shown(pictures, self.lines).contiguous(memory_format=torch.channels_last)
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


def folded(
    network: DamageUNet, stem: int, widths: Sequence[int], blocks: Sequence[int], lines: bool = False
) -> DamageUNet:
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
    plain = DamageUNet(stem, widths, blocks, lines=lines)
    plain.load_state_dict({key: value for key, value in state.items() if ".norm." not in key})
    return plain.eval()


@torch.no_grad()
def _shown(pictures: torch.Tensor, lines: bool) -> torch.Tensor:
    """Return what the first convolution sees of pictures (n, 3, h, w), (n, SHOWN, h, w), or LINES more of them."""
    light = pictures.mean(1, keepdim=True)
    planes, hats = [pictures], []
    for side in _HATS:
        opened = _highest(-_highest(-light, side), side)
        closed = -_highest(-_highest(light, side), side)
        hats = [light - opened, closed - light]
        planes += [hat * 4 for hat in hats]
    for side in _MEANS:
        planes.append((light - _mean(light, side)) * 3)
    return torch.cat([*planes, *(_lines(torch.cat(hats)) if lines else ())], dim=1)


def _lines(thin: torch.Tensor) -> list[torch.Tensor]:
    """Return how much of what is thin lies along lines, (n, 4, h, w) of those short and of those long.

    Args:
        thin: how much each pixel is lighter, then how much it is darker than what is around it, (2n, 1, h, w).
    """
    rays = torch.from_numpy(_rays()).to(thin)
    standing = F.max_pool2d(thin.clamp(max=_STANDS_OUT), _CLOSE)
    usual, planes = _mean(standing, _USUAL), []
    for farther in (1, _WIDER // _CLOSE):
        seen = F.max_pool2d(standing, farther) if farther > 1 else standing
        along = F.conv2d(F.pad(seen, (_REACH,) * 4, mode="replicate"), rays)
        best, middle = along.amax(1, keepdim=True), along.mean(1, keepdim=True)
        usually = usual if farther == 1 else F.avg_pool2d(usual, farther)
        found = torch.cat([best - usually, best - middle], dim=1) * 6
        large = _larger(found, farther * _CLOSE)
        planes.append(torch.cat(large.chunk(2), dim=1))
    return planes


def _mean(x: torch.Tensor, side: int) -> torch.Tensor:
    """Return the mean of each place's neighbourhood, of about twice that side."""
    return _larger(F.avg_pool2d(x, side), side)


def _larger(x: torch.Tensor, times: int) -> torch.Tensor:
    return F.interpolate(x, scale_factor=float(times), mode="bilinear", align_corners=False)


@cache
def _rays() -> NDArray[np.float32]:
    """Return lines through the middle of a square in every direction, (directions, 1, side, side), each of sum 1."""
    side = 2 * _REACH + 1
    turns = np.arange(_DIRECTIONS)[:, None] * (math.pi / _DIRECTIONS)
    away = np.linspace(-_REACH, _REACH, 8 * _REACH + 1)
    # A point counts for the four places around it, the more the nearer it lies.
    near_x, near_y = (
        np.clip(1 - np.abs((away * part + _REACH)[..., None] - np.arange(side)), 0, None)
        for part in (np.cos(turns), np.sin(turns))
    )
    rays = np.einsum("dpy,dpx->dyx", near_y, near_x)
    return np.asarray(rays / rays.sum((1, 2), keepdims=True), np.float32)[:, None]


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
