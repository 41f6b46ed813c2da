"""What mGANprior needs of a prior: a front part that makes features of a code, and a back part that paints them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor, nn

from restorer.inversion.priors import before_relu, normal_of
from restorer.networks.dcgan import DCGANGenerator
from restorer.networks.pggan import PGGANGenerator
from restorer.networks.stylegan2 import StyleGAN2Generator, channels_last

TRUNCATION = 0.5
"""Where codes of a StyleGAN2 begin, on the way from the mean latent to a drawn one. Over two pictures that the prior
drew, one code joined behind 4 layers came to 26.5 dB from 1, and to 36.1 from here, in 300 steps."""


class CodePrior(ABC):
    """A generator that is cut in two behind a layer.

    Attributes:
        size: side of its pictures.
        layers: how many layers it has.
        code_dim: length of a code.
        begin: what the channel weights begin with, for so many codes: `begin(codes)`.
    """

    size: int
    layers: int
    code_dim: int

    @abstractmethod
    def draw(self, codes: int, generator: torch.Generator) -> Tensor:
        """Return codes (1, codes, code_dim) to begin with, drawn on the CPU."""

    @abstractmethod
    def width(self, layer: int) -> int:
        """Return the channels of what the first `layer` layers make."""

    def begin(self, codes: int) -> float:
        """Return what every channel weight begins with."""
        return 1.0

    def rest(self, codes: Tensor) -> list[Tensor]:
        """Return what the back part takes beside features, to begin with: (n, ...) each."""
        return []

    def unlikely(self, codes: Tensor, rest: list[Tensor], layer: int) -> tuple[Tensor, Tensor]:
        """Return how far codes, and what the back part takes, lie from the middle of the prior's draws: (n,) each.

        Mean squares in deviations of the draws: about 1 for a drawn one, 0 in the middle. Where nothing is known of it,
        0.
        """
        nothing = codes.new_zeros(len(codes))
        return nothing, nothing

    @abstractmethod
    def pictures(self, codes: Tensor, weights: Tensor, layer: int, rest: list[Tensor]) -> Tensor:
        """Return pictures (n, 3, size, size) in about [-1, 1].

        Args:
            codes: (n, codes, code_dim).
            weights: (n, codes, width), how much each channel of each code's features counts.
            layer: behind how many layers they are joined.
            rest: as `rest` gave it, or changed.
        """

    @property
    @abstractmethod
    def place(self) -> Tensor:
        """A tensor on its device, in its type."""


class PGGANPrior(CodePrior):
    """mGANprior's own prior."""

    def __init__(self, network: PGGANGenerator) -> None:
        self._network = network
        self.size, self.layers, self.code_dim = network.size, network.num_layers, network.style_dim

    def draw(self, codes: int, generator: torch.Generator) -> Tensor:
        """Return normal codes."""
        return torch.randn(1, codes, self.code_dim, generator=generator)

    def width(self, layer: int) -> int:
        """Return the channels of what the first `layer` layers make."""
        return self._network.layer_shape(layer)[0]

    def begin(self, codes: int) -> float:
        """Return 1 / codes, as the authors do: the step of a plain descent depends on it."""
        return 1 / codes

    def pictures(self, codes: Tensor, weights: Tensor, layer: int, rest: list[Tensor]) -> Tensor:
        """Return pictures; see `CodePrior.pictures`."""
        pictures: Tensor = self._network(codes, channel_weights=weights, layer=layer)
        return pictures

    @property
    def place(self) -> Tensor:
        """A tensor on its device, in its type."""
        return self._network.first.weight


class DCGANPrior(CodePrior):
    """DCGAN, cut between two of its five blocks."""

    def __init__(self, network: DCGANGenerator) -> None:
        self._network = network
        self.size, self.code_dim = 64, network.style_dim
        self._blocks = [network.main[start : start + 3] for start in range(0, len(network.main), 3)]
        self.layers = len(self._blocks) - 1

    def draw(self, codes: int, generator: torch.Generator) -> Tensor:
        """Return normal codes."""
        return torch.randn(1, codes, self.code_dim, generator=generator)

    def width(self, layer: int) -> int:
        """Return the channels of what the first `layer` layers make."""
        norm = self._blocks[layer - 1][1]
        assert isinstance(norm, nn.BatchNorm2d)
        return norm.num_features

    def pictures(self, codes: Tensor, weights: Tensor, layer: int, rest: list[Tensor]) -> Tensor:
        """Return pictures; see `CodePrior.pictures`."""
        x = codes.flatten(0, 1)[:, :, None, None]
        for block in self._blocks[:layer]:
            x = block(x)
        x = (x.reshape(*codes.shape[:2], *x.shape[1:]) * weights[..., None, None]).mean(1)
        for block in self._blocks[layer:]:
            x = block(x)
        return x

    @property
    def place(self) -> Tensor:
        """A tensor on its device, in its type."""
        return next(self._network.parameters())

    def unlikely(self, codes: Tensor, rest: list[Tensor], layer: int) -> tuple[Tensor, Tensor]:
        """Return the mean squares of the codes, which are drawn normal; see `CodePrior.unlikely`."""
        return codes.square().mean((1, 2)), codes.new_zeros(len(codes))


class StyleGAN2CodePrior(CodePrior):
    """StyleGAN2: each code is a latent of W, and the back part has latents of its own, one for each layer."""

    def __init__(self, network: StyleGAN2Generator) -> None:
        if network.mapping is None or network.to_rgb1 is None:
            raise ValueError("a StyleGAN2 without mapping or RGB layers is no prior that can be searched")
        self._network, self._mapping, self._first_rgb = network, network.mapping, network.to_rgb1
        self.size, self.layers, self.code_dim = network.size, network.num_convs, network.style_dim
        self._noise = network.stored_noise()
        self._mean = network.mean_latent()

    def draw(self, codes: int, generator: torch.Generator) -> Tensor:
        """Return the latents of normal codes, brought nearer to the mean: from there every face is near."""
        z = torch.randn(codes, self.code_dim, generator=generator).to(self.place)
        with torch.no_grad():
            latents: Tensor = torch.lerp(self._mean, self._mapping(z), TRUNCATION)
        return latents[None].cpu()

    def width(self, layer: int) -> int:
        """Return the channels of what the first `layer` layers make."""
        return self._network.widths[self._network.resolutions[layer // 2]]

    def rest(self, codes: Tensor) -> list[Tensor]:
        """Return the mean latent for each layer, (n, num_latents, code_dim)."""
        return [self._mean.to(codes).repeat(len(codes), self._network.num_latents, 1)]

    @cached_property
    def spread(self) -> tuple[Tensor, Tensor]:
        """The middle of W and what makes its spread even; see `normal_of`."""
        return normal_of(self._mapping, self.code_dim)

    def unlikely(self, codes: Tensor, rest: list[Tensor], layer: int) -> tuple[Tensor, Tensor]:
        """Return how far latents lie from the middle of W where it is nearly normal; see `CodePrior.unlikely`.

        The mapping's last leaky ReLU is undone, and the directions in which W hardly spreads count by their own spread
        (Zhu et al., "Improved StyleGAN Embedding: Where are the Good Latents?", 2020).
        """
        mean, whiten = (each.to(codes) for each in self.spread)
        first, last = ((before_relu(w) - mean) @ whiten for w in (codes, rest[0][:, layer:]))
        return first.square().mean((1, 2)), last.square().mean((1, 2))

    def pictures(self, codes: Tensor, weights: Tensor, layer: int, rest: list[Tensor]) -> Tensor:
        """Return pictures; see `CodePrior.pictures`. What the front parts paint themselves is averaged."""
        network, count = self._network, codes.shape[:2]
        w = codes.flatten(0, 1)
        x = channels_last(network.constant.expand(len(w), -1, -1, -1))
        x, picture = self._walk(x, None, w[:, None].expand(-1, network.num_latents, -1), 0, layer)
        x = (x.reshape(*count, *x.shape[1:]) * weights[..., None, None]).mean(1)
        if picture is not None:
            picture = picture.reshape(*count, *picture.shape[1:]).mean(1)
        pictures = self._walk(channels_last(x), picture, rest[0], layer, self.layers)[1]
        assert pictures is not None
        return pictures

    def _walk(
        self, x: Tensor, picture: Tensor | None, w: Tensor, first: int, last: int
    ) -> tuple[Tensor, Tensor | None]:
        """Return features and picture behind the layers from `first` to `last`; see `StyleGAN2Generator`.

        Behind an odd number of layers a resolution is complete and is painted: by the part that goes on from there.
        """
        network = self._network
        for index in range(first, last + 1):
            if index % 2 == 1 and (index < last or last == self.layers):
                level = (index - 1) // 2
                rgb = self._first_rgb if level == 0 else network.to_rgbs[level - 1]
                picture = rgb(x, w[:, index]) if picture is None else rgb(x, w[:, index], picture)
            if index < last:
                conv = network.conv1 if index == 0 else network.convs[index - 1]
                x = conv(x, w[:, index], self._noise[index])
        return x, picture

    @property
    def place(self) -> Tensor:
        """A tensor on its device, in its type."""
        return self._network.constant


def code_prior(network: nn.Module) -> CodePrior | None:
    """Return a network as a prior with codes; None where it is none."""
    if isinstance(network, PGGANGenerator):
        return PGGANPrior(network)
    if isinstance(network, DCGANGenerator):
        return DCGANPrior(network)
    if isinstance(network, StyleGAN2Generator) and network.mapping is not None and network.to_rgb1 is not None:
        return StyleGAN2CodePrior(network)
    return None
