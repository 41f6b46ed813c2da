"""A restorer without a prior: a U-Net on blocks of 4x4 pixels, wide where a face is 64 to 8 pixels large.

Everything that is dear happens at a quarter of the resolution and below, in layers wide enough to keep a processor's
matrix units busy. The way back up is by bilinear steps, which have no grid that texture could settle on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.glean import Grain
from restorer.networks.stylegan2 import channels_last

BLOCK = 4
"""Pixels of a block, across and down, that become channels before the first convolution."""


class Residual(nn.Module):
    """Two 3x3 convolutions whose result is added to the input; a training begins near the input itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        added: Tensor = self.last(F.leaky_relu_(self.first(x), 0.2))
        return x + added


class FaceUNet(nn.Module):
    """Restores pictures (n, 3, h, w) in [-1, 1], not clamped; h and w are multiples of `multiple`.

    Args:
        size: side of the pictures that it is used on; those of a training may be smaller.
        widths: channels at a quarter of the resolution, an eighth, and so on.
        blocks: residual blocks on the way down at each of these, and on the way up at all but the last.
        head: channels at half and at full resolution on the way up.
        grain: above 0, the network says how strong fine texture is, which noise then makes (see `Grain`); outside
            training this is its gain.
        mirrored: outside training, return the mean of a picture's result and its mirror image's, mirrored back.
    """

    def __init__(
        self,
        size: int = 256,
        *,
        widths: Sequence[int] = (96, 128, 192, 256),
        blocks: Sequence[int] = (2, 2, 2, 1),
        head: Sequence[int] = (32, 16),
        grain: float = 0.0,
        mirrored: bool = False,
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks) or len(widths) < 2 or len(head) != 2:
            raise ValueError("Widths and blocks have to be as many, two or more, and head two.")
        self.size = size
        self.mirrored = mirrored
        self.multiple = BLOCK << (len(widths) - 1)
        if size % self.multiple:
            raise ValueError(f"The side of the pictures is a multiple of {self.multiple}, not {size}.")
        self.first = nn.Conv2d(3 * BLOCK**2, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(_blocks(width, count) for width, count in zip(widths, blocks, strict=True))
        self.down = nn.ModuleList(nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(i, o, 1) for o, i in pairwise(widths))
        self.join = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for width in widths[:-1])
        self.decoder = nn.ModuleList(_blocks(*pair) for pair in zip(widths[:-1], blocks[:-1], strict=True))
        self.at_half = nn.Conv2d(widths[0] + 3 * (BLOCK // 2) ** 2, head[0], 3, padding=1)
        self.at_full = nn.Conv2d(head[0] + 3, head[1], 3, padding=1)
        self.to_rgb = nn.Conv2d(head[1], 3, 3, padding=1)
        self.grain = Grain(head[1], grain) if grain else None
        if grain:
            self.register_buffer("noise", torch.randn(1, 1, size, size))
        self._start()

    def _start(self) -> None:
        """Set the weights that a training begins with."""
        for path, part in self.named_modules():
            if isinstance(part, nn.Conv2d) and not path.startswith("grain."):
                nn.init.kaiming_normal_(part.weight, a=0.2)
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]
        for part in self.modules():
            if isinstance(part, Residual):
                nn.init.normal_(part.last.weight, std=0.1 * (9 * part.last.in_channels) ** -0.5)
        nn.init.normal_(self.to_rgb.weight, std=1e-3)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the restored pictures (n, 3, h, w) of pictures of that shape in [-1, 1].

        Raises:
            ValueError: the sides are no multiples of `multiple`, or there are not three channels.
        """
        if pictures.shape[1] != 3 or pictures.shape[2] % self.multiple or pictures.shape[3] % self.multiple:
            expected = f"(n, 3, h, w) with sides that are multiples of {self.multiple}"
            raise ValueError(f"This network takes pictures of shape {expected}, not {tuple(pictures.shape)}.")
        if self.training or not self.mirrored:
            return self._restored(pictures)
        # The noise is mirrored as well: the mean of two textures would be half as strong.
        return (self._restored(pictures) + self._restored(pictures.flip(3), mirror_noise=True).flip(3)) / 2

    def _restored(self, pictures: Tensor, *, mirror_noise: bool = False) -> Tensor:
        x = self.first(channels_last(F.pixel_unshuffle(pictures, BLOCK)))
        kept: list[Tensor] = []
        for level, blocks in enumerate(self.encoder):
            x = blocks(x)
            if level < len(self.down):
                kept.append(x)
                x = self.down[level](x)
        for level in reversed(range(len(self.decoder))):
            x = F.interpolate(self.up[level](x), scale_factor=2.0, mode="nearest")
            x = self.decoder[level](self.join[level](torch.cat([x, kept[level]], dim=1)))
        x = self._joined(self.at_half, x, F.pixel_unshuffle(pictures, BLOCK // 2))
        x = self._joined(self.at_full, x, pictures)
        added: Tensor = self.to_rgb(x)
        if self.grain is not None:
            noise = self._noise(x)
            added = added + self.grain(x, noise.flip(3) if mirror_noise else noise)
        return pictures + added.to(pictures.dtype)

    def _joined(self, conv: nn.Module, x: Tensor, picture: Tensor) -> Tensor:
        """Return the features at twice their resolution, with the picture itself beside them, after a convolution."""
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        if x.requires_grad:
            # The gradient arrives as a slice of joined features, on which a bilinear step is several times as slow.
            x.register_hook(channels_last)  # type: ignore[no-untyped-call]
        return F.leaky_relu_(conv(torch.cat([x, picture.to(x.dtype)], dim=1)), 0.2)

    def _noise(self, x: Tensor) -> Tensor:
        """Return noise of the features' size: in training drawn anew, else the one stored with the weights."""
        count, _, height, width = x.shape
        if self.training:
            return x.new_empty(count, 1, height, width).normal_()
        stored = self.get_buffer("noise")
        if height > self.size or width > self.size:
            raise ValueError(f"With grain this network takes pictures of up to {self.size} pixels.")
        return stored[..., :height, :width].to(x.dtype).expand(count, -1, -1, -1)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(width) for _ in range(count)))
