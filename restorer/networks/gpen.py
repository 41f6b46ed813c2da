"""GPEN: a StyleGAN2 that takes an encoder's features where it would take noise.

Yang et al., "GAN Prior Embedded Network for Blind Face Restoration in the Wild" (2021). Equalised learning rates and
the sqrt(2) behind activations are folded into the weights.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.filters import fir_blur
from restorer.networks.stylegan2 import Mapping, StyleGAN2Generator, channels, channels_last


class GPEN(nn.Module):
    """Restores aligned faces: (n, 3, size, size) in [-1, 1] to the same shape, not clamped. Nothing in it is random.

    Args:
        size: side of input and output, a power of two.
        style_dim: length of a latent.
        n_mlp: layers of the mapping network.
        channel_multiplier: factor of the widths from 64x64 on.
        narrow: factor of all widths.
    """

    def __init__(
        self,
        size: int = 512,
        *,
        style_dim: int = 512,
        n_mlp: int = 8,
        channel_multiplier: float = 2,
        narrow: float = 1.0,
    ) -> None:
        super().__init__()
        widths = list(channels(size, narrow=narrow, channel_multiplier=channel_multiplier).values())[::-1]
        self.first = nn.Conv2d(3, widths[0], 1)
        self.down = nn.ModuleList(nn.Conv2d(i, o, 3, stride=2) for i, o in pairwise(widths))
        self.to_z = nn.Linear(16 * widths[-1], style_dim)
        self.mapping = Mapping(style_dim, n_mlp)
        self.generator = StyleGAN2Generator(
            size,
            style_dim=style_dim,
            n_mlp=0,
            channel_multiplier=channel_multiplier,
            narrow=narrow,
            noise="concat",
        )

    def forward(self, faces: Tensor) -> Tensor:
        """Return restored faces (n, 3, size, size) of faces of that shape in [-1, 1]."""
        x = F.leaky_relu_(self.first(channels_last(faces)), 0.2)
        features = [x]
        for conv in self.down:
            x = F.leaky_relu_(conv(fir_blur(x, 2)), 0.2)
            features.append(x)
        w = self.mapping(F.leaky_relu_(self.to_z(x.flatten(1)), 0.2))
        # From 4x4 on, each resolution's features serve both of its convolutions; 4x4 has only one.
        noise = [feature for feature in reversed(features) for _ in range(2)][1:]
        return self.generator.synthesize(w, noise)
