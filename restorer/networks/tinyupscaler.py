"""The built-in upscaler: a small U-Net that cleans and enlarges photographs 2 or 4 times, by a head for each factor.

It computes on cells of 2x2 pixels (pixel unshuffling; Shi et al. 2016), where a convolution of twice the channels costs
what one of half of them costs on pixels, and passes over a quarter of the numbers. Its coarse levels (Ronneberger et
al. 2015) see far enough to tell noise and JPEG's blocks from texture at little cost; blocks are residual without
normalisation, as in EDSR (Lim et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from restorer.networks.residual import residuals, shrink

FACTORS = (2, 4)
_CELL = 2  # pixels to a side


class TinyUpscaler(nn.Module):
    """Cleans and enlarges mildly degraded photographs 2 or 4 times.

    Args:
        widths: channels of the levels, the finest, which is at half the input's resolution, first.
        blocks: residual blocks of each level, on the way down and again on the way up; the coarsest has them once.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(f"{len(widths)} widths for {len(blocks)} levels")
        steps = range(len(widths) - 1)
        self.multiple = _CELL * 2 ** len(steps)
        self.first = nn.Conv2d(3 * _CELL**2, widths[0], 3, 1, 1)
        self.down = nn.ModuleList(residuals(width, count) for width, count in zip(widths, blocks, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 2, 2) for i in steps)
        self.grow = nn.ModuleList(nn.Conv2d(widths[i + 1], 4 * widths[i], 1) for i in steps)
        self.up = nn.ModuleList(residuals(widths[i], blocks[i]) for i in steps)
        self.heads = nn.ModuleDict(
            {str(factor): nn.Conv2d(widths[0], 3 * (_CELL * factor) ** 2, 3, 1, 1) for factor in FACTORS}
        )
        for head in self.heads.values():
            shrink(cast("nn.Conv2d", head))

    def forward(self, pictures: torch.Tensor, factor: int) -> torch.Tensor:
        """Map (n, 3, h, w) in [-1, 1] to (n, 3, factor * h, factor * w) in about [-1, 1]; the factor is 2 or 4."""
        height, width = pictures.shape[-2:]
        pad = (-width % self.multiple, -height % self.multiple)
        if any(pad):
            pictures = F.pad(pictures, (0, pad[0], 0, pad[1]), mode="replicate")
        features = self.first(F.pixel_unshuffle(pictures, _CELL))
        finer = []
        for level, halve in zip(self.down, self.shrink, strict=False):
            finer.append(level(features))
            features = halve(finer[-1])
        features = self.down[-1](features)
        for grow, level in zip(reversed(self.grow), reversed(self.up), strict=True):
            features = level(F.pixel_shuffle(grow(features), 2) + finer.pop())
        detail = F.pixel_shuffle(self.heads[str(factor)](features), _CELL * factor)
        plain = F.interpolate(pictures, scale_factor=float(factor), mode="bilinear", align_corners=False)
        return (detail + plain)[..., : height * factor, : width * factor]
