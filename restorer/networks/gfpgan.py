"""GFP-GAN: a U-Net that removes the degradation, and a StyleGAN2 whose features it modulates.

Wang et al., "Towards Real-World Blind Face Restoration with Generative Facial Prior" (2021). Both released forms are
one network here. All gains (equalised learning rates, sqrt(2) behind activations, 1/sqrt(2) of residual sums) are
folded into the weights, after which the two differ only in how they resample.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.filters import bilinear_upsample, enlarged_conv, fir_blur
from restorer.networks.fused import LeakyPair, conv_leaky
from restorer.networks.stylegan2 import StyleGAN2Generator, Upsampling, channels, channels_last
from restorer.networks.winograd import sees


class ResBlock(nn.Module):
    """Two 3x3 convolutions around a change of resolution by two, plus a 1x1 convolution of the input.

    Args:
        in_channels: channels that come in.
        out_channels: channels that go out.
        direction: halves or doubles the resolution.
        resampling: "fir" halves with StyleGAN2's filter, "bilinear" by the mean of 2x2; doubling is always bilinear.
    """

    def __init__(
        self, in_channels: int, out_channels: int, direction: Literal["down", "up"], resampling: Upsampling = "bilinear"
    ) -> None:
        super().__init__()
        self.direction = direction
        self.strided = direction == "down" and resampling == "fir"
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        if self.strided:
            self.conv2 = nn.Conv2d(in_channels, out_channels, 3, stride=2)
        else:
            self.conv2 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h, w) at half or twice the resolution."""
        main = conv_leaky(self.conv1, x)
        if self.strided:
            main, skip = conv_leaky(self.conv2, fir_blur(main, 2)), self.skip(fir_blur(x, 1, stride=2))
        elif self.direction == "down":
            main, skip = conv_leaky(self.conv2, F.avg_pool2d(main, 2)), self.skip(F.avg_pool2d(x, 2))
        else:
            main = F.leaky_relu_(enlarged_conv(main, self.conv2.weight, self.conv2.bias), 0.2)
            # A 1x1 convolution and an interpolation can change places: first the cheap one.
            skip = bilinear_upsample(self.skip(x))
        return main + skip if torch.is_grad_enabled() else main.add_(skip)


class GFPGAN(nn.Module):
    """Restores aligned faces: (n, 3, out_size, out_size) in [-1, 1] to the same shape, not clamped.

    Args:
        out_size: side of input and output, a power of two.
        num_style_feat: length of a latent.
        channel_multiplier: factor of the widths from 64x64 on.
        narrow: factor of all widths; the U-Net has half the generator's.
        resampling: "bilinear" is the "clean" form (1.2, 1.3, 1.4), "fir" the original one (1).
    """

    def __init__(
        self,
        out_size: int = 512,
        *,
        num_style_feat: int = 512,
        channel_multiplier: float = 2,
        narrow: float = 1.0,
        resampling: Upsampling = "bilinear",
    ) -> None:
        super().__init__()
        self.generator = StyleGAN2Generator(
            out_size,
            style_dim=num_style_feat,
            n_mlp=0,
            channel_multiplier=channel_multiplier,
            narrow=narrow,
            upsample=resampling,
        )
        unet = list(channels(out_size, narrow=narrow * 0.5, channel_multiplier=channel_multiplier).values())
        up, down = list(pairwise(unet)), list(pairwise(unet[::-1]))
        self.first = nn.Conv2d(3, unet[-1], 1)
        self.down = nn.ModuleList(ResBlock(i, o, "down", resampling) for i, o in down)
        self.last = nn.Conv2d(unet[0], unet[0], 3, padding=1)
        self.to_latents = nn.Linear(16 * unet[0], self.generator.num_latents * num_style_feat)
        self.up = nn.ModuleList(ResBlock(i, o, "up", resampling) for i, o in up)
        # The modulated half of the generator's channels; the other half passes ("CS-SFT", section 3.4).
        modulated = [width - width // 2 for width in self.generator.widths.values()][1:]
        self.scale = nn.ModuleList(_condition(i, o) for i, o in zip(unet[1:], modulated, strict=True))
        self.shift = nn.ModuleList(_condition(i, o) for i, o in zip(unet[1:], modulated, strict=True))
        self._tell_sides(list(self.generator.widths))

    def _tell_sides(self, sides: Sequence[int]) -> None:
        """Tell the U-Net's convolutions how large the features are that they see, smallest side first."""
        for block, side in zip(self.down, sides[::-1], strict=False):
            sees(block.get_submodule("conv1"), side)
            sees(block.get_submodule("conv2"), side // 2)
        sees(self.last, sides[0])
        for block, side in zip(self.up, sides, strict=False):
            sees(block.get_submodule("conv1"), side)
            sees(block.get_submodule("conv2"), 0)  # it is computed together with the enlargement before it
        for side, *pairs in zip(sides[1:], self.scale, self.shift, strict=True):
            for conv in (part for pair in pairs for part in pair.modules() if isinstance(part, nn.Conv2d)):
                sees(conv, side)

    def forward(self, faces: Tensor, noise: Sequence[Tensor] | None = None, seed: int | None = None) -> Tensor:
        """Return restored faces (n, 3, out_size, out_size) of faces of that shape in [-1, 1].

        `noise` replaces the generator's stored noise: one tensor for each convolution, (n or 1, 1, h, w). A seed draws
        it, the same for every face.
        """
        if seed is not None:
            noise = self.generator.draw_noise(seed)
        x = conv_leaky(self.first, channels_last(faces))
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = conv_leaky(self.last, x)
        latents = self.to_latents(x.flatten(1)).unflatten(1, (self.generator.num_latents, -1))

        conditions = []
        for block in self.up:
            x = block(x + skips.pop())
            conditions.append(x)
        conditions.reverse()
        del x  # the largest features of the U-Net are not kept longer than they are needed

        def modulate(level: int, features: Tensor) -> Tensor:
            of_unet = conditions.pop()
            scale, shift = self.scale[level](of_unet), self.shift[level](of_unet)
            del of_unet
            kept, modulated = features.tensor_split([features.shape[1] - scale.shape[1]], dim=1)
            if not torch.is_grad_enabled():
                modulated.mul_(scale).add_(shift)  # the features were made just before, and are no one else's
                return features
            return torch.cat([kept, modulated * scale + shift], dim=1)

        return self.generator.synthesize(latents, noise, between=modulate)


def _condition(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return the two convolutions that make a scale or shift of features."""
    return LeakyPair(
        nn.Conv2d(in_channels, in_channels, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
    )
