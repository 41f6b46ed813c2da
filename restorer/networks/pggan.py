"""PGGAN, the progressively grown generator: the prior that mGANprior searches, with its forward of several codes.

Karras et al., "Progressive Growing of GANs" (2018); Gu et al., "Image Processing Using Multi-Code GAN Prior" (2020).
Equalised learning rates are folded: parameters are the effective weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.stylegan2 import channels_last


def widths(resolution: int, fmaps_base: int = 16384, fmaps_max: int = 512) -> dict[int, int]:
    """Return the width at each resolution from 4 up: `fmaps_base` / resolution, at most `fmaps_max`."""
    if resolution < 8 or resolution & (resolution - 1):
        raise ValueError(f"A generator's resolution is a power of two from 8 on, not {resolution}.")
    sides = [4 << level for level in range(resolution.bit_length() - 2)]
    return {side: min(fmaps_base // side, fmaps_max) for side in sides}


def pixel_norm(x: Tensor) -> Tensor:
    """Bring each pixel of (n, c, h, w), or each vector of (n, c), to a mean square of 1 over its channels."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class PGGANGenerator(nn.Module):
    """The generator: z (n, z_space_dim) to pictures (n, 3, resolution, resolution) of about [-1, 1].

    Layers 2b and 2b + 1 work at 4 * 2^b pixels. What stands at each layer's input is normalised pixel by pixel, so what
    a layer returns is not, and the length of z has no effect.

    Args:
        resolution: side of the pictures, a power of two.
        fmaps_base, fmaps_max: see `widths`.
        z_space_dim: length of z.
    """

    lod: Tensor

    def __init__(
        self, resolution: int = 1024, *, fmaps_base: int = 16384, fmaps_max: int = 512, z_space_dim: int = 512
    ) -> None:
        super().__init__()
        self.size = resolution
        self.style_dim = z_space_dim
        self.widths = widths(resolution, fmaps_base, fmaps_max)
        self.num_layers = 2 * len(self.widths)
        self.first = nn.Linear(z_space_dim, 16 * self.widths[4])
        self.convs = nn.ModuleList()
        self.outputs = nn.ModuleList()
        before = self.widths[4]
        for level, width in enumerate(self.widths.values()):
            if level:
                self.convs.append(nn.Conv2d(before, width, 3, padding=1))
            self.convs.append(nn.Conv2d(width, width, 3, padding=1))
            self.outputs.append(nn.Conv2d(width, 3, 1))
            before = width
        # How many of the last doublings are left out; 0 when the training is over.
        self.register_buffer("lod", torch.zeros(()))

    def layer_shape(self, layer: int) -> tuple[int, int]:
        """Return the channels and the side in pixels of what enters layer `layer`; z itself is 1 pixel."""
        if not 0 <= layer <= self.num_layers:
            raise ValueError(f"This PGGAN has layers 0 to {self.num_layers}, not {layer}.")
        if layer == 0:
            return self.style_dim, 1
        side = list(self.widths)[(layer - 1) // 2]
        return self.widths[side], side

    def head(self, z: Tensor, layer: int) -> Tensor:
        """Return what the first `layer` layers make of z (n, z_space_dim): (n, channels, side, side)."""
        x = z[:, :, None, None]
        for index in range(layer):
            x = self._layer(x, index)
        return x

    def tail(self, features: Tensor, layer: int) -> Tensor:
        """Return the pictures (n, 3, resolution, resolution) that the layers from `layer` on make of features."""
        x, last = features, self.num_layers - 2 * int(self.lod)
        for index in range(layer, last):
            x = self._layer(x, index)
        pictures: Tensor = self.outputs[last // 2 - 1](pixel_norm(x))
        missing = self.size // pictures.shape[-1]
        return pictures if missing == 1 else F.interpolate(pictures, scale_factor=missing, mode="nearest")

    def forward(self, z: Tensor, *, channel_weights: Tensor | None = None, layer: int = 0) -> Tensor:
        """Return pictures (n, 3, resolution, resolution), not clamped.

        Args:
            z: (n, z_space_dim), or several codes (n, codes, z_space_dim) for each picture.
            channel_weights: with several codes, how much each channel of each counts, (n, codes, channels).
            layer: behind how many layers the codes are joined; what is joined is not normalised yet.
        """
        if z.ndim == 2:
            return self.tail(self.head(z, 0), 0)
        if channel_weights is None:
            raise ValueError("Several codes need channel_weights (n, codes, channels).")
        features = self.head(z.flatten(0, 1), layer)
        features = features.reshape(*z.shape[:2], *features.shape[1:])
        return self.tail((features * channel_weights[..., None, None]).mean(1), layer)

    def _layer(self, x: Tensor, index: int) -> Tensor:
        """Return what layer `index` makes of the features that the one before returned."""
        x = pixel_norm(x)
        if index == 0:
            x = channels_last(self.first(x.flatten(1)).reshape(len(x), -1, 4, 4))
        else:
            if index % 2 == 0:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = self.convs[index - 1](x)
        return F.leaky_relu(x, 0.2)
