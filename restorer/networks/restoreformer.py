"""RestoreFormer(++): a face is encoded, matched with a codebook of good faces, and decoded while looking at the input.

Wang et al., "RestoreFormer: High-Quality Blind Face Restoration from Undegraded Key-Value Pairs" (2022) and
"RestoreFormer++: Towards Real-World Blind Face Restoration from Undegraded Key-Value Pairs" (2023); encoder and decoder
follow VQGAN.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from restorer.networks.pieces import check_faces
from restorer.networks.stylegan2 import own_precision
from restorer.networks.vqgan import (
    Attention,
    Downsample,
    ResBlock,
    Upsample,
    empty_codebook,
    entries,
    group_norm,
    nearest,
)

WIDTHS = (64, 128, 128, 256, 256, 512)
"""Channels at each level; each is half as large as the one before."""
BLOCKS = 2
CODEBOOK = (1024, 256)
CROSS_LEVELS = (512, 256)
"""Channels of the decoder's levels that may look back at the encoder, the smallest level first."""


class Encoder(nn.Module):
    """Maps (n, 3, s, s) to (n, 256, s/32, s/32), and gives the features that the decoder looks back at."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, WIDTHS[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        self.downsample = nn.ModuleList()
        for level, width in enumerate(WIDTHS):
            before = WIDTHS[max(level - 1, 0)]
            self.blocks.append(nn.ModuleList(ResBlock(width if i else before, width) for i in range(BLOCKS)))
            if level < len(WIDTHS) - 1:
                self.downsample.append(Downsample(width))
        self.attention = nn.ModuleList(Attention(WIDTHS[-1], heads=heads) for _ in range(BLOCKS))
        self.mid = Middle(WIDTHS[-1], heads=heads, cross=False)
        self.norm_out = group_norm(WIDTHS[-1])
        self.conv_out = nn.Conv2d(WIDTHS[-1], CODEBOOK[1], 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the code (n, 256, s/32, s/32) and three features of x (n, 3, s, s).

        The features are the one behind the middle and the one before the middle's attention, (n, 512, s/32, s/32) both,
        and the one of the level above, (n, 256, s/16, s/16).
        """
        x = above = self.conv_in(x)
        for level, blocks in enumerate(self.blocks):
            for index, block in enumerate(cast(nn.ModuleList, blocks)):
                x = block(x)
                if level == len(WIDTHS) - 1:
                    x = self.attention[index](x)
            if level < len(WIDTHS) - 1:
                above = x
                x = self.downsample[level](x)
        inner = self.mid.block_1(x)
        outer = self.mid.block_2(self.mid.attention(inner))
        return self.conv_out(self.norm_out.swished(outer)), outer, inner, above


class Middle(nn.Module):
    """The bottom of encoder or decoder: block, attention, block."""

    def __init__(self, channels: int, *, heads: int, cross: bool) -> None:
        super().__init__()
        self.block_1 = ResBlock(channels, channels)
        self.attention = Attention(channels, heads=heads, cross=cross)
        self.block_2 = ResBlock(channels, channels)


class Decoder(nn.Module):
    """Maps the matched code (n, 256, s/32, s/32) to (n, 3, s, s).

    Args:
        heads: of its attentions.
        cross_levels: how many of its levels look back at the encoder, from the smallest on: 1 or 2.
    """

    def __init__(self, heads: int, cross_levels: int) -> None:
        super().__init__()
        self.cross_levels = cross_levels
        self.conv_in = nn.Conv2d(CODEBOOK[1], WIDTHS[-1], 3, padding=1)
        self.mid = Middle(WIDTHS[-1], heads=heads, cross=True)
        self.attention = nn.ModuleList(
            Attention(width, heads=heads, cross=True)
            for width in CROSS_LEVELS[:cross_levels]
            for _ in range(BLOCKS + 1)
        )
        self.blocks = nn.ModuleList()
        self.upsample = nn.ModuleList()
        for level in reversed(range(len(WIDTHS))):
            width, before = WIDTHS[level], WIDTHS[min(level + 1, len(WIDTHS) - 1)]
            self.blocks.append(nn.ModuleList(ResBlock(width if i else before, width) for i in range(BLOCKS + 1)))
            if level:
                self.upsample.append(Upsample(width))
        self.norm_out = group_norm(WIDTHS[0])
        self.conv_out = nn.Conv2d(WIDTHS[0], 3, 3, padding=1)

    def forward(self, code: Tensor, outer: Tensor, *seen: Tensor) -> Tensor:
        """Return the picture (n, 3, s, s) of a code (n, 256, s/32, s/32).

        Args:
            code: of matched entries.
            outer: the encoder's feature (n, 512, s/32, s/32) behind its middle.
            seen: the encoder's features that the levels look back at, the smallest level's first.
        """
        x = self.mid.block_1(self.conv_in(code))
        x = self.mid.block_2(self.mid.attention(x, outer))
        for step, blocks in enumerate(self.blocks):
            blocks = cast(nn.ModuleList, blocks)
            for index, block in enumerate(blocks):
                x = block(x)
                if step < self.cross_levels:
                    x = self.attention[step * len(blocks) + index](x, seen[step])
            if step < len(self.upsample):
                x = self.upsample[step](x)
        picture: Tensor = self.conv_out(self.norm_out.swished(x))
        return picture


class RestoreFormer(nn.Module):
    """Restores aligned faces: (n, 3, 512, 512) in [-1, 1] to the same shape, not clamped. Nothing in it is random.

    Args:
        heads: of all attentions: 8, and 4 in RestoreFormer++.
        cross_levels: how many levels of the decoder look back at the encoder: 1, and 2 in RestoreFormer++.
    """

    def __init__(self, heads: int = 8, cross_levels: int = 1) -> None:
        super().__init__()
        self.encoder = Encoder(heads)
        self.codebook = empty_codebook(*CODEBOOK)
        self.quant_conv = nn.Conv2d(CODEBOOK[1], CODEBOOK[1], 1)
        self.post_quant_conv = nn.Conv2d(CODEBOOK[1], CODEBOOK[1], 1)
        self.decoder = Decoder(heads, cross_levels)

    def forward(self, faces: Tensor) -> Tensor:
        """Return restored faces (n, 3, 512, 512) of faces of that shape in [-1, 1].

        Raises:
            ValueError: they are of another shape.
        """
        check_faces(faces)
        code, *seen = self.encoder(faces)
        matched = entries(self._match(code), self.codebook)
        restored: Tensor = self.decoder(self.post_quant_conv(matched), *seen)
        return restored

    def codes(self, faces: Tensor) -> Tensor:
        """Return the codebook entries (n, 256), row by row, that faces (n, 3, 512, 512) in [-1, 1] are matched with."""
        check_faces(faces)
        return self._match(self.encoder(faces)[0]).flatten(1)

    def _match(self, code: Tensor) -> Tensor:
        """Return the nearest entry (n, h, w) of the codebook at each position of the encoder's code (n, 256, h, w)."""
        code = self.quant_conv(code)
        with own_precision(code):
            return nearest(code.permute(0, 2, 3, 1).to(self.codebook.dtype), self.codebook)
