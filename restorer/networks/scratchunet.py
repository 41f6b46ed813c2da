"""Finds scratches in grey pictures: the U-Net of "Bringing Old Photos Back to Life" (Wan et al. 2020).

Every padding is a reflection; levels are halved by a blur with a stride, which keeps lines whole wherever they lie.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (64, 128, 256, 512, 1024)
"""Channels at full resolution, at half of it, and so on."""
MULTIPLE = 1 << (len(WIDTHS) - 1)
_SLOPE = 0.2
_BLUR = (0.25, 0.5, 0.25)


class _Conv(nn.Module):
    """A 3x3 convolution that reflects at the border, its normalisation, and a leaky ReLU."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(given, width, 3)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, given, h, w) to (n, width, h, w)."""
        return F.leaky_relu(self.norm(self.conv(_reflected(x, 1))), _SLOPE)


class _Halving(nn.Module):
    """A convolution, then a blur of which every second pixel is kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _Conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to half the sides."""
        x = self.conv(x)
        line = x.new_tensor(_BLUR)
        blur = (line[:, None] * line).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(_reflected(x, 1), blur, stride=2, groups=x.shape[1])


class _Joining(nn.Module):
    """Features at twice their resolution beside those of the way down, and two convolutions."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.grow = nn.Conv2d(given, width, 3)
        self.block = nn.Sequential(_Conv(given, width), _Conv(width, width))

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        """Map (n, given, h, w) and (n, width, 2h, 2w) to the shape of the latter."""
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return cast("Tensor", self.block(torch.cat([self.grow(_reflected(x, 1)), kept], dim=1)))


class ScratchUNet(nn.Module):
    """Maps grey pictures (n, 1, h, w) in [-1, 1] to logits of being scratched, of that shape; sides multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(pairwise(WIDTHS))
        self.first = nn.Conv2d(1, WIDTHS[0], 7)
        self.halve = nn.ModuleList(_Halving(fine) for fine, _ in pairs)
        self.down = nn.ModuleList(nn.Sequential(_Conv(fine, coarse), _Conv(coarse, coarse)) for fine, coarse in pairs)
        self.up = nn.ModuleList(_Joining(coarse, fine) for fine, coarse in reversed(pairs))
        self.last = nn.Conv2d(WIDTHS[0], 1, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits (n, 1, h, w).

        Raises:
            ValueError: there is more than one channel, or a side is no multiple of 16.
        """
        if pictures.shape[1] != 1 or pictures.shape[2] % MULTIPLE or pictures.shape[3] % MULTIPLE:
            expected = f"(n, 1, h, w) with sides that are multiples of {MULTIPLE}"
            raise ValueError(f"This network takes pictures of shape {expected}, not {tuple(pictures.shape)}.")
        x = F.leaky_relu(self.first(_reflected(pictures, 3)), _SLOPE)
        kept = []
        for halve, down in zip(self.halve, self.down, strict=True):
            kept.append(x)
            x = down(halve(x))
        for up in self.up:
            x = up(x, kept.pop())
        return cast("Tensor", self.last(_reflected(x, 1)))


def _reflected(x: Tensor, reach: int) -> Tensor:
    return F.pad(x, (reach,) * 4, mode="reflect")
