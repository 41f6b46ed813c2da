"""PULSE as a face restorer."""

from __future__ import annotations

from torch import nn

from restorer.errors import UsageError
from restorer.inversion.course import Found, Limits, OnStep
from restorer.inversion.operators import Reduction
from restorer.inversion.priors import StyleGAN1Prior, StyleGAN2Prior, StylePrior
from restorer.inversion.pulse import PulseSearch, PulseSettings, draw_start
from restorer.inversion.searcher import FaceSearcher, Setup, Wish
from restorer.networks.stylegan1 import StyleGAN1Generator, StyleGAN1Mapping
from restorer.networks.stylegan2 import StyleGAN2Generator

LEAST_SIDE = 4
"""Pixels of a face below which there is nothing to agree with."""


class PulseFaces(FaceSearcher):
    """Faces of a StyleGAN that become the photo's when they are made smaller; see `FaceSearcher`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        arguments = setup.arguments
        self._prior = style_prior(self.name, setup.prior, setup.parts.get("mapping"))
        self._settings = PulseSettings(
            eps=arguments["eps"],
            rate=arguments["learning_rate"],
            cross=arguments["geocross"],
            trainable=arguments["num_trainable_noise_layers"],
            silent=arguments["bad_noise_layers"],
            tiled=arguments["tile_latent"],
        )

    @property
    def device_kind(self) -> str:
        """Where it runs."""
        return self._prior.mean.device.type

    def side(self, native: float, task: str) -> int:
        """Return the side of what the photo shows, so small that the prior has something to add."""
        most = max(self._prior.size // int(self.arguments["least_factor"]), LEAST_SIDE)
        return max(LEAST_SIDE, min(round(native), most))

    def search_once(self, wish: Wish, limits: Limits, on_step: OnStep | None) -> list[Found]:
        """Return what is found for each of the seeds."""
        start = draw_start(self._prior, wish.seeds, self._settings)
        seen = Reduction(self._prior.size, wish.picture.shape[-1])
        search = PulseSearch(self._prior, wish.picture[None], seen, start, limits.steps, self._settings)
        return search.run(limits, on_step)


def style_prior(name: str, network: nn.Module, mapping: nn.Module | None) -> StylePrior:
    """Return a network as a prior with styles.

    Raises:
        UsageError: it is none, or lacks its mapping network.
    """
    if isinstance(network, StyleGAN2Generator) and network.mapping is not None:
        return StyleGAN2Prior(network)
    if isinstance(network, StyleGAN1Generator) and isinstance(mapping, StyleGAN1Mapping):
        return StyleGAN1Prior(network, mapping)
    raise UsageError(
        f"{name} needs the mapping network of its prior, and there is none.",
        'For a StyleGAN1, name the table of its mapping network in the prior\'s own: mapping = "NAME".',
    )


SEARCHER = PulseFaces
