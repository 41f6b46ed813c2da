"""What the codebook family shares: blocks and attention of VQGAN, from which RestoreFormer and CodeFormer are built.

Esser et al., "Taming Transformers for High-Resolution Image Synthesis" (2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.norms import GroupNorm


def group_norm(channels: int) -> GroupNorm:
    """Return the norm that stands everywhere in this family."""
    return GroupNorm(32, channels, eps=1e-6)


def added(own: Tensor, other: Tensor) -> Tensor:
    """Return the sum of two features (n, c, h, w); away from training in the room of the first, which is let go."""
    return own + other if torch.is_grad_enabled() or own.dtype != other.dtype else own.add_(other)


class ResBlock(nn.Module):
    """Norm, swish, convolution, twice, plus the input (through a 1x1 convolution where the width changes)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h, w)."""
        main = self.conv1(self.norm1.swished(x))
        main = self.conv2(self.norm2.swished(main, inplace=True))
        return added(main, self.nin_shortcut(x))


class Attention(nn.Module):
    """Multi-head attention over all positions, plus the input.

    Args:
        channels: channels of the features.
        heads: their number; the channels are split into so many consecutive groups.
        cross: whether the query comes from a second feature (the encoder's) instead of the first.
    """

    def __init__(self, channels: int, *, heads: int = 1, cross: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = group_norm(channels)
        if cross:
            self.norm2 = group_norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Map (n, channels, h, w) to the same shape; `other`, of the same shape too, is what the query is made from."""
        normed = self.norm1(x)
        query = self.q(normed if other is None else self.norm2(other))
        n, c, h, w = x.shape
        heads = [
            part.reshape(n, self.heads, c // self.heads, h * w).transpose(2, 3)
            for part in (query, self.k(normed), self.v(normed))
        ]
        attended = F.scaled_dot_product_attention(*heads).transpose(2, 3).reshape(n, c, h, w)
        total: Tensor = x + self.proj_out(attended)
        return total


class Downsample(nn.Conv2d):
    """Half the size: a row and a column of zeros right and below, then every second place of a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, channels, h/2, w/2), both sides even."""
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Conv2d):
    """Twice the size: each pixel repeated, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to (n, channels, 2h, 2w)."""
        return super().forward(F.interpolate(x, scale_factor=2, mode="nearest"))


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the index of the nearest entry (k, d) of a codebook to each of some vectors (..., d)."""
    # |v - e|^2 without |v|^2, which is the same for all entries.
    distances = codebook.square().sum(1) - 2 * vectors @ codebook.t()
    return distances.argmin(-1)


def entries(codes: Tensor, codebook: Tensor) -> Tensor:
    """Return the features (n, d, h, w) that codes (n, h, w) stand for in a codebook (k, d)."""
    return codebook[codes].permute(0, 3, 1, 2)


def empty_codebook(size: int, width: int) -> nn.Parameter:
    """Return the parameter that holds a codebook (size, width), as VQGAN begins with."""
    codebook = nn.Parameter(torch.empty(size, width))
    nn.init.uniform_(codebook, -1 / size, 1 / size)
    return codebook
