"""RestoreFormer: a face is encoded, matched with a codebook of good faces, and decoded while looking back at the input.

Wang et al., "RestoreFormer: High-Quality Blind Face Restoration from Undegraded Key-Value Pairs" (2022); encoder and
decoder follow VQGAN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.stylegan2 import own_precision

WIDTHS = (64, 128, 128, 256, 256, 512)
"""Channels at each level; each is half as large as the one before."""
BLOCKS = 2
HEADS = 8
CODEBOOK = (1024, 256)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResBlock(nn.Module):
    """Norm, swish, convolution, twice, plus the input (through a 1x1 convolution where the width changes)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = _norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = _norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h, w)."""
        main = self.conv1(F.silu(self.norm1(x), inplace=True))
        main = self.conv2(F.silu(self.norm2(main), inplace=True))
        total: Tensor = self.nin_shortcut(x) + main
        return total


class Attention(nn.Module):
    """Multi-head attention over all positions, plus the input.

    Args:
        channels: channels of the features.
        cross: whether the query comes from a second feature (the encoder's) instead of the first.
    """

    def __init__(self, channels: int, *, cross: bool) -> None:
        super().__init__()
        self.norm1 = _norm(channels)
        if cross:
            self.norm2 = _norm(channels)
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
            part.reshape(n, HEADS, c // HEADS, h * w).transpose(2, 3)
            for part in (query, self.k(normed), self.v(normed))
        ]
        attended = F.scaled_dot_product_attention(*heads).transpose(2, 3).reshape(n, c, h, w)
        total: Tensor = x + self.proj_out(attended)
        return total


class Encoder(nn.Module):
    """Maps (n, 3, s, s) to (n, 256, s/32, s/32), and gives the two features that the decoder looks back at."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, WIDTHS[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        self.downsample = nn.ModuleList()
        for level, width in enumerate(WIDTHS):
            before = WIDTHS[max(level - 1, 0)]
            self.blocks.append(nn.ModuleList(ResBlock(width if i else before, width) for i in range(BLOCKS)))
            if level < len(WIDTHS) - 1:
                self.downsample.append(nn.Conv2d(width, width, 3, stride=2))
        self.attention = nn.ModuleList(Attention(WIDTHS[-1], cross=False) for _ in range(BLOCKS))
        self.mid = Middle(WIDTHS[-1], cross=False)
        self.norm_out = _norm(WIDTHS[-1])
        self.conv_out = nn.Conv2d(WIDTHS[-1], CODEBOOK[1], 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the code (n, 256, s/32, s/32) and two features (n, 512, s/32, s/32) of x (n, 3, s, s).

        The features are the one before the middle's attention and the one behind the middle.
        """
        x = self.conv_in(x)
        for level, blocks in enumerate(self.blocks):
            for index, block in enumerate(cast(nn.ModuleList, blocks)):
                x = block(x)
                if level == len(WIDTHS) - 1:
                    x = self.attention[index](x)
            if level < len(WIDTHS) - 1:
                x = self.downsample[level](F.pad(x, (0, 1, 0, 1)))
        inner = self.mid.block_1(x)
        outer = self.mid.block_2(self.mid.attention(inner))
        return self.conv_out(F.silu(self.norm_out(outer))), inner, outer


class Middle(nn.Module):
    """The bottom of encoder or decoder: block, attention, block."""

    def __init__(self, channels: int, *, cross: bool) -> None:
        super().__init__()
        self.block_1 = ResBlock(channels, channels)
        self.attention = Attention(channels, cross=cross)
        self.block_2 = ResBlock(channels, channels)


class Decoder(nn.Module):
    """Maps the matched code (n, 256, s/32, s/32) to (n, 3, s, s)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(CODEBOOK[1], WIDTHS[-1], 3, padding=1)
        self.mid = Middle(WIDTHS[-1], cross=True)
        self.attention = nn.ModuleList(Attention(WIDTHS[-1], cross=True) for _ in range(BLOCKS + 1))
        self.blocks = nn.ModuleList()
        self.upsample = nn.ModuleList()
        for level in reversed(range(len(WIDTHS))):
            width, before = WIDTHS[level], WIDTHS[min(level + 1, len(WIDTHS) - 1)]
            self.blocks.append(nn.ModuleList(ResBlock(width if i else before, width) for i in range(BLOCKS + 1)))
            if level:
                self.upsample.append(nn.Conv2d(width, width, 3, padding=1))
        self.norm_out = _norm(WIDTHS[0])
        self.conv_out = nn.Conv2d(WIDTHS[0], 3, 3, padding=1)

    def forward(self, code: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
        """Return the picture (n, 3, s, s) of a code (n, 256, s/32, s/32).

        Args:
            code: of matched entries.
            inner: the encoder's feature (n, 512, s/32, s/32) before the attention of its middle.
            outer: the encoder's feature (n, 512, s/32, s/32) behind its middle.
        """
        x = self.mid.block_1(self.conv_in(code))
        x = self.mid.block_2(self.mid.attention(x, outer))
        for step, blocks in enumerate(self.blocks):
            for index, block in enumerate(cast(Sequence[nn.Module], blocks)):
                x = block(x)
                if step == 0:
                    x = self.attention[index](x, inner)
            if step < len(self.upsample):
                x = self.upsample[step](F.interpolate(x, scale_factor=2, mode="nearest"))
        picture: Tensor = self.conv_out(F.silu(self.norm_out(x), inplace=True))
        return picture


class RestoreFormer(nn.Module):
    """Restores aligned faces: (n, 3, 512, 512) in [-1, 1] to the same shape, not clamped. Nothing in it is random."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.codebook = nn.Parameter(torch.empty(CODEBOOK))
        self.quant_conv = nn.Conv2d(CODEBOOK[1], CODEBOOK[1], 1)
        self.post_quant_conv = nn.Conv2d(CODEBOOK[1], CODEBOOK[1], 1)
        self.decoder = Decoder()
        nn.init.uniform_(self.codebook, -1 / CODEBOOK[0], 1 / CODEBOOK[0])

    def forward(self, faces: Tensor) -> Tensor:
        """Return restored faces (n, 3, 512, 512) of faces of that shape in [-1, 1]."""
        code, inner, outer = self.encoder(faces)
        restored: Tensor = self.decoder(self.post_quant_conv(self._match(self.quant_conv(code))), inner, outer)
        return restored

    def _match(self, code: Tensor) -> Tensor:
        """Return each position's nearest entry of the codebook, (n, 256, h, w) both."""
        with own_precision(code):
            vectors = code.permute(0, 2, 3, 1).to(self.codebook.dtype)
            # |v - e|^2 without |v|^2, which is the same for all entries.
            distances = self.codebook.square().sum(1) - 2 * vectors @ self.codebook.t()
            # Contiguous, because torch's group norm of channels-last tensors on a CPU loses half of the digits.
            return self.codebook[distances.argmin(-1)].permute(0, 3, 1, 2).contiguous()
