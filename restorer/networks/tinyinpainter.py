"""The built-in inpainter: a small U-Net that says what belongs into the holes of a picture.

Holes are first filled smoothly, from means of what is known at coarser and coarser sizes (Gortler et al. 1996, "pull
and push"); the network says how the picture differs from that. So it begins where diffusion ends, a hole of any size
has something in it, and what there is to learn are edges and structure. It computes on cells of 2x2 pixels, as the
built-in upscaler does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from restorer.networks.residual import residuals, shrink

_CELL = 2  # pixels to a side
_SHOWN = 3 + 2
"""Channels that are seen of each pixel: what is begun with, where the hole is, and how far in it a pixel lies."""


class TinyInpainter(nn.Module):
    """Fills the holes of pictures; what is known stays as it is.

    Args:
        widths: channels of the levels, the finest, which is at half the picture's resolution, first.
        blocks: residual blocks of each level, on the way down and again on the way up; the coarsest has them once.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(f"{len(widths)} widths for {len(blocks)} levels")
        self.multiple = _CELL * 2 ** (len(widths) - 1)
        self.first = nn.Conv2d(_SHOWN * _CELL**2, widths[0], 3, 1, 1)
        self.down = nn.ModuleList(residuals(width, count) for width, count in zip(widths, blocks, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in pairwise(widths))
        self.grow = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(residuals(*pair) for pair in zip(widths[:-1], blocks[:-1], strict=True))
        self.head = nn.Conv2d(widths[0], 3 * _CELL**2, 3, 1, 1)
        shrink(self.head)

    def forward(self, pictures: torch.Tensor, holes: torch.Tensor) -> torch.Tensor:
        """Map pictures (n, 3, h, w) in [-1, 1] to such with their holes filled; sides of any length.

        Args:
            pictures: what they hold inside of holes does not matter.
            holes: (n, 1, h, w), 1 = hole, 0 = known.
        """
        height, width = pictures.shape[-2:]
        pad = (0, -width % self.multiple, 0, -height % self.multiple)
        if any(pad):
            pictures, holes = F.pad(pictures, pad, mode="replicate"), F.pad(holes, pad, value=1.0)
        begun, depth = smooth(pictures, holes)
        shown = torch.cat([begun, holes, depth], dim=1).contiguous(memory_format=torch.channels_last)
        features = self.first(F.pixel_unshuffle(shown, _CELL))
        finer = []
        for level, halve in zip(self.down, self.shrink, strict=False):
            finer.append(level(features))
            features = halve(finer[-1])
        features = self.down[-1](features)
        for grow, level in zip(reversed(self.grow), reversed(self.up), strict=True):
            features = level(F.pixel_shuffle(grow(features), 2) + finer.pop())
        filled = begun + F.pixel_shuffle(self.head(features), _CELL) * holes
        return filled[..., :height, :width]


@torch.no_grad()
def smooth(pictures: torch.Tensor, holes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures whose holes are filled smoothly, and how deep in a hole each pixel lies, 0 to 1.

    Args:
        pictures: (n, 3, h, w).
        holes: (n, 1, h, w), 1 = hole.
    """
    known = 1 - holes
    sums, weights = [pictures * known], [known]
    while max(sums[-1].shape[-2:]) > 1:
        # Cells of 4x4 that overlap by half: those of 2x2 would show in what is filled.
        sums.append(F.avg_pool2d(sums[-1], 4, 2, 1, ceil_mode=True, count_include_pad=True))
        weights.append(F.avg_pool2d(weights[-1], 4, 2, 1, ceil_mode=True, count_include_pad=True))
        surer = (weights[-1] * 4).clamp(max=1) / weights[-1].clamp(min=1e-6)
        sums[-1], weights[-1] = sums[-1] * surer, weights[-1] * surer
    filled = sums[-1] / weights[-1].clamp(min=1e-6)
    depth = torch.ones_like(weights[-1]) if len(sums) > 1 else holes.clone()
    for total, weight in zip(reversed(sums[:-1]), reversed(weights[:-1]), strict=True):
        size = total.shape[-2:]
        coarse = F.interpolate(filled, size, mode="bilinear", align_corners=False)
        filled = total + coarse * (1 - weight)
        deeper = F.interpolate(depth, size, mode="bilinear", align_corners=False)
        depth = (1 - weight) * (deeper * 0.85 + 0.15 * (1 - weight))
    return filled, depth
