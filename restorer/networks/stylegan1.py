"""The first StyleGAN: its generator and its mapping network, the prior that PULSE searches.

Karras et al., "A Style-Based Generator Architecture for Generative Adversarial Networks" (2019). Equalised learning
rates are folded: parameters are the effective weights, and the "+1" of a style's factor is in its bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.stylegan2 import channels_last


def widths(resolution: int, fmap_base: int = 8192, fmap_max: int = 512) -> dict[int, int]:
    """Return the width at each resolution from 4 up: `fmap_base` * 2 / resolution, at most `fmap_max`."""
    if resolution < 8 or resolution & (resolution - 1):
        raise ValueError(f"A generator's resolution is a power of two from 8 on, not {resolution}.")
    sides = [4 << level for level in range(resolution.bit_length() - 2)]
    return {side: min(2 * fmap_base // side, fmap_max) for side in sides}


def blur(x: Tensor) -> Tensor:
    """Blur (n, c, h, w) with [1, 2, 1] / 4 along both axes, zeros around; the size stays."""
    taps = torch.tensor([1.0, 2.0, 1.0], device=x.device, dtype=x.dtype) / 4
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


class Epilogue(nn.Module):
    """What follows each convolution: bias, noise, leaky ReLU, instance norm, style.

    Args:
        channels: of the features.
        style_dim: length of a latent.
        eps: of the instance norm: 1e-5 in PULSE's network, 1e-8 in the original.
    """

    def __init__(self, channels: int, style_dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.bias = nn.Parameter(torch.zeros(channels))
        self.noise_gain = nn.Parameter(torch.zeros(channels))
        self.style = nn.Linear(style_dim, 2 * channels)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """Return (n, c, h, w) styled by w (n, style_dim), with noise (n or 1, 1, h, w)."""
        x = F.leaky_relu(x + (self.bias[:, None, None] + noise * self.noise_gain[:, None, None]), 0.2)
        scale, shift = self.style(w)[:, :, None, None].chunk(2, 1)
        return torch.addcmul(shift, F.instance_norm(x, eps=self.eps), scale)


class Block(nn.Module):
    """One resolution: two convolutions, each with its epilogue. The first enlarges twice; at 4x4 there is none."""

    def __init__(self, inputs: int | None, outputs: int, style_dim: int, eps: float) -> None:
        super().__init__()
        self.up = None if inputs is None else nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.first = Epilogue(outputs, style_dim, eps)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second = Epilogue(outputs, style_dim, eps)

    def forward(self, x: Tensor, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Return the features (n, c, h, w), of twice the side behind 4x4.

        Args:
            x: of the block below; the constant at 4x4.
            w: (n, 2, style_dim).
            noise: two maps (n or 1, 1, h, w).
        """
        if self.up is not None:
            x = blur(self.up(F.interpolate(x, scale_factor=2, mode="nearest")))
        x = self.first(x, w[:, 0], noise[0])
        styled: Tensor = self.second(self.conv(x), w[:, 1], noise[1])
        return styled


class StyleGAN1Generator(nn.Module):
    """The synthesis network: w+ (n, num_latents, dlatent_size) to pictures (n, 3, size, size) of about [-1, 1].

    Args:
        resolution: side of the pictures, a power of two.
        fmap_base, fmap_max: see `widths`.
        dlatent_size: length of a latent.
        eps: of the instance norm.
    """

    def __init__(
        self,
        resolution: int = 1024,
        *,
        fmap_base: int = 8192,
        fmap_max: int = 512,
        dlatent_size: int = 512,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.size = resolution
        self.style_dim = dlatent_size
        self.widths = widths(resolution, fmap_base, fmap_max)
        self.resolutions = list(self.widths)
        self.num_latents = 2 * len(self.widths)
        self.constant = nn.Parameter(torch.ones(1, self.widths[4], 4, 4))
        self.blocks = nn.ModuleList([Block(None, self.widths[4], dlatent_size, eps)])
        for below, above in pairwise(self.widths.values()):
            self.blocks.append(Block(below, above, dlatent_size, eps))
        self.to_rgb = nn.Conv2d(self.widths[resolution], 3, 1)

    def noise_shape(self, index: int) -> tuple[int, int, int, int]:
        """Return the shape of the noise map of an epilogue: (1, 1, side, side)."""
        side = self.resolutions[index // 2]
        return 1, 1, side, side

    def draw_noise(self, seed: int = 0, *, batch: int = 1) -> list[Tensor]:
        """Draw standard normal noise for each epilogue, (batch, 1, h, w); on the CPU, so every device gets the same."""
        generator = torch.Generator().manual_seed(seed)
        shapes = [(batch, *self.noise_shape(index)[1:]) for index in range(self.num_latents)]
        return [torch.randn(shape, generator=generator).to(self.constant) for shape in shapes]

    def forward(self, latents: Tensor, *, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Return pictures (n, 3, size, size), not clamped.

        Args:
            latents: w+ (n, num_latents, dlatent_size), or w (n, dlatent_size).
            noise: a map (n or 1, 1, h, w) for each latent; None = drawn with seed 0, as this layout stores none.
        """
        w = latents.unsqueeze(1).expand(-1, self.num_latents, -1) if latents.ndim == 2 else latents
        if w.shape[1] != self.num_latents:
            raise ValueError(f"A StyleGAN of {self.size} px takes {self.num_latents} latents, not {w.shape[1]}.")
        maps = self.draw_noise() if noise is None else list(noise)
        if len(maps) != self.num_latents:
            raise ValueError(f"A StyleGAN of {self.size} px takes {self.num_latents} noise maps, not {len(maps)}.")
        x = channels_last(self.constant.expand(len(w), -1, -1, -1))
        for index, block in enumerate(self.blocks):
            x = block(x, w[:, 2 * index : 2 * index + 2], maps[2 * index : 2 * index + 2])
        pictures: Tensor = self.to_rgb(x)
        return pictures


class StyleGAN1Mapping(nn.Module):
    """The mapping network: z (n, width), normalised, to w (n, width); leaky ReLU after each layer, the last too.

    Args:
        mapping_layers: how many layers.
        dlatent_size: the width of z and w.
    """

    def __init__(self, mapping_layers: int = 8, *, dlatent_size: int = 512) -> None:
        super().__init__()
        self.style_dim = dlatent_size
        self.layers = nn.ModuleList(nn.Linear(dlatent_size, dlatent_size) for _ in range(mapping_layers))

    def forward(self, z: Tensor) -> Tensor:
        """Map z (n, width) to w (n, width), without truncation."""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return x
