"""Drawing pictures from a prior."""

from __future__ import annotations

import torch

from restorer.errors import UsageError
from restorer.imaging.sheets import Picture
from restorer.imaging.tensors import to_pictures
from restorer.models.base import LoadedNetwork
from restorer.networks.dcgan import DCGANGenerator
from restorer.networks.stylegan2 import StyleGAN2Generator

_BATCH = 16


def draw(loaded: LoadedNetwork, count: int, *, seed: int = 0, truncation: float = 0.7) -> list[Picture]:
    """Return pictures (h, w, 3) of a prior; picture k depends on the seed and k only, not on the count.

    Args:
        loaded: a StyleGAN2 or DCGAN generator.
        count: how many.
        seed: decides the latents; drawn on the CPU, so that every device draws the same.
        truncation: 1 for all variety, less for pictures nearer to the average; DCGAN has none.

    Raises:
        UsageError: the network is no prior.
    """
    network = loaded.network
    if not isinstance(network, StyleGAN2Generator | DCGANGenerator):
        raise UsageError(
            f"{loaded.table.name} is a {loaded.architecture.role}, not a prior.",
            "`restore models list` shows the names whose role is prior.",
        )
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    pictures: list[Picture] = []
    with torch.inference_mode():
        for start in range(0, count, _BATCH):
            z = torch.randn(_BATCH, network.style_dim, generator=generator)[: count - start].to(device)
            if isinstance(network, StyleGAN2Generator):
                pictures += to_pictures(network(z, truncation=truncation))
            else:
                pictures += to_pictures(network(z))
    return pictures
