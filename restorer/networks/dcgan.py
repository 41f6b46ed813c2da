"""DCGAN: the first convolutional GAN prior, 64 px; a teaching prior.

Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks" (2016).
`features` = 64 are the widths of the PyTorch example (512 at 4x4), 128 those of the paper's figure 1 (1024 at 4x4).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class DCGANGenerator(nn.Module):
    """Maps z (n, style_dim) to pictures (n, 3, 64, 64) in [-1, 1].

    Args:
        style_dim: length of z.
        features: a eighth of the width at 4x4.
    """

    def __init__(self, style_dim: int = 100, features: int = 64) -> None:
        super().__init__()
        self.style_dim = style_dim
        layers: list[nn.Module] = []
        widths = [style_dim, 8 * features, 4 * features, 2 * features, features]
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            stride, padding = (1, 0) if index == 0 else (2, 1)
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ConvTranspose2d(features, 3, 4, 2, 1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Return the pictures (n, 3, 64, 64) in [-1, 1] of z (n, style_dim)."""
        pictures: Tensor = self.main(z[:, :, None, None])
        return pictures


class DCGANDiscriminator(nn.Module):
    """Tells real pictures (n, 3, 64, 64) from drawn ones by one number each, (n, 1), before the sigmoid."""

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, features, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        for inputs in (features, 2 * features, 4 * features):
            layers += [
                nn.Conv2d(inputs, 2 * inputs, 4, 2, 1, bias=False),
                nn.BatchNorm2d(2 * inputs),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers.append(nn.Conv2d(8 * features, 1, 4, 1, 0, bias=False))
        self.main = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the verdicts (n, 1) on pictures (n, 3, 64, 64) in [-1, 1]."""
        verdict: Tensor = self.main(pictures).flatten(1)
        return verdict


def init_weights(module: nn.Module) -> None:
    """Start all weights as the paper says: N(0, 0.02), those of batch norm N(1, 0.02), biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, 0.0, 0.02)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)
            nn.init.zeros_(part.bias)
