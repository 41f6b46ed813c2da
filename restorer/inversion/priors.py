"""What searches need of a prior: styles and noise that make a picture, or codes that are joined on the way to one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.stylegan1 import StyleGAN1Generator, StyleGAN1Mapping
from restorer.networks.stylegan2 import StyleGAN2Generator

SLOPE = 0.2
"""Of the leaky ReLU that ends every mapping network here."""
FIT_SAMPLES, FIT_BATCH = 1 << 16, 1 << 12
"""Draws of z from which the spread of W is measured; the mean is then known to 0.4 % of a deviation."""
NORMAL_SAMPLES = 1 << 14
"""The same for the spread in all directions together."""


class StylePrior(ABC):
    """A style-based generator as PULSE sees it: one latent of W for each layer, and noise.

    Attributes:
        size: side of its pictures.
        num_latents: latents that a picture takes.
        style_dim: length of a latent.
        num_maps: noise maps that a picture takes.
        mean, std: (style_dim), of W before the mapping's last leaky ReLU, where it is nearly normal.
    """

    size: int
    num_latents: int
    style_dim: int
    num_maps: int
    mean: Tensor
    std: Tensor

    @abstractmethod
    def noise_shape(self, index: int) -> tuple[int, int, int, int]:
        """Return the shape of a noise map, (1, 1, side, side)."""

    def noise_strength(self, index: int) -> float:
        """Return the deviation of the noise that the prior was trained with, or that belongs to its weights."""
        return 1.0

    @abstractmethod
    def picture(self, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Return the pictures (n, 3, size, size) of w+ (n, num_latents, style_dim), in about [-1, 1]."""

    def latents(self, normal: Tensor) -> Tensor:
        """Return the latents of W that normal numbers (..., style_dim) stand for."""
        return F.leaky_relu(normal * self.std + self.mean, SLOPE)


@torch.no_grad()
def spread_of(mapping: nn.Module, style_dim: int) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of W before the last leaky ReLU, (style_dim) each, from seeded draws."""
    weight = next(mapping.parameters())
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(style_dim, dtype=torch.float64)
    squares = torch.zeros(style_dim, dtype=torch.float64)
    for _ in range(FIT_SAMPLES // FIT_BATCH):
        z = torch.randn(FIT_BATCH, style_dim, generator=generator).to(weight)
        before = before_relu(mapping(z)).double().cpu()
        total += before.sum(0)
        squares += before.square().sum(0)
    mean = total / FIT_SAMPLES
    std = (squares / FIT_SAMPLES - mean.square()).clamp_min(1e-12).sqrt()
    return mean.to(weight), std.to(weight)


def before_relu(w: Tensor) -> Tensor:
    """Return what the mapping's last leaky ReLU made latents of W (..., style_dim) of: nearly normal numbers."""
    return F.leaky_relu(w, 1 / SLOPE)


@torch.no_grad()
def normal_of(mapping: nn.Module, style_dim: int) -> tuple[Tensor, Tensor]:
    """Return the mean of W before the last leaky ReLU, and the matrix that makes its spread even, from seeded draws.

    Returns:
        The mean (style_dim,), and a matrix (style_dim, style_dim): draws less the mean, times it, have about the
        deviation 1 in each direction, and do not go along with each other.
    """
    weight = next(mapping.parameters())
    z = torch.randn(NORMAL_SAMPLES, style_dim, generator=torch.Generator().manual_seed(0)).to(weight)
    before = torch.cat([before_relu(mapping(part)) for part in torch.split(z, FIT_BATCH)]).double().cpu()
    variances, directions = torch.linalg.eigh(torch.cov(before.t()))
    # A direction of next to no spread would forbid what hardly shows.
    return before.mean(0).to(weight), (directions / variances.clamp_min(1e-4 * variances.max()).sqrt()).to(weight)


class StyleGAN1Prior(StylePrior):
    """PULSE's own prior.

    Args:
        network: the synthesis network.
        mapping: its mapping network; or the spread of W where that is known already.
    """

    def __init__(self, network: StyleGAN1Generator, mapping: StyleGAN1Mapping | tuple[Tensor, Tensor]) -> None:
        self._network = network
        self.size, self.style_dim = network.size, network.style_dim
        self.num_latents = self.num_maps = network.num_latents
        self.mean, self.std = mapping if isinstance(mapping, tuple) else spread_of(mapping, network.style_dim)

    def noise_shape(self, index: int) -> tuple[int, int, int, int]:
        """Return the shape of a noise map, (1, 1, side, side)."""
        return self._network.noise_shape(index)

    def picture(self, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Return the pictures (n, 3, size, size) of w+ (n, num_latents, style_dim), in about [-1, 1]."""
        pictures: Tensor = self._network(w, noise=noise)
        return pictures


class StyleGAN2Prior(StylePrior):
    """A StyleGAN2 with its mapping network.

    Args:
        network: the generator; its mapping ends with a leaky ReLU times sqrt(2), which the spread takes up.
    """

    def __init__(self, network: StyleGAN2Generator) -> None:
        if network.mapping is None:
            raise ValueError("a StyleGAN2 without its mapping network is no prior that can be searched")
        self._network = network
        self.size, self.style_dim = network.size, network.style_dim
        self.num_latents, self.num_maps = network.num_latents, network.num_convs
        self.mean, self.std = spread_of(network.mapping, network.style_dim)

    def noise_shape(self, index: int) -> tuple[int, int, int, int]:
        """Return the shape of a noise map, (1, 1, side, side)."""
        return self._network.noise_shape(index)

    def noise_strength(self, index: int) -> float:
        """Return the deviation of the stored noise: 0 for a prior that is meant to be used without."""
        return float(self._network.stored_noise()[index].square().mean().sqrt())

    def picture(self, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Return the pictures (n, 3, size, size) of w+ (n, num_latents, style_dim), in about [-1, 1]."""
        return self._network.synthesize(w, noise)
