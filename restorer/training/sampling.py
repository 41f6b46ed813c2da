"""Drawing pictures from a prior, one by one or on the way from one draw to another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from restorer.errors import UsageError
from restorer.imaging.sheets import Picture
from restorer.imaging.tensors import to_pictures
from restorer.models.base import LoadedNetwork
from restorer.networks.dcgan import DCGANGenerator
from restorer.networks.pggan import PGGANGenerator
from restorer.networks.stylegan1 import StyleGAN1Generator
from restorer.networks.stylegan2 import StyleGAN2Generator

_BATCH = 16


def draw(
    loaded: LoadedNetwork, count: int, *, seed: int = 0, truncation: float = 0.7, mapping: nn.Module | None = None
) -> list[Picture]:
    """Return pictures (h, w, 3) of a prior; picture k depends on the seed and k only, not on the count.

    Args:
        loaded: a StyleGAN2, StyleGAN1, PGGAN or DCGAN generator.
        count: how many.
        seed: decides the latents; drawn on the CPU, so that every device draws the same.
        truncation: 1 for all variety, less for pictures nearer to the average; StyleGAN2 alone has it.
        mapping: of a StyleGAN1, its mapping network.

    Raises:
        UsageError: the network is no prior, or a StyleGAN1 without its mapping network.
    """
    _check(loaded, mapping)
    generator = torch.Generator().manual_seed(seed)
    pictures: list[Picture] = []
    for start in range(0, count, _BATCH):
        z = torch.randn(_BATCH, _width(loaded), generator=generator)[: count - start]
        pictures += _painted(loaded, z, truncation, mapping)
    return pictures


def walk(
    loaded: LoadedNetwork, count: int, *, seed: int = 0, truncation: float = 0.7, mapping: nn.Module | None = None
) -> list[Picture]:
    """Return pictures on the way from the first draw of a seed to its second, both included.

    A prior that has learned changes one picture into the other by way of pictures that all look real; one that has
    learned pictures by heart jumps (Radford et al., section 6.1). The way is an arc, on which all points are as likely.

    Args:
        loaded: as for `draw`.
        count: how many pictures, at least two.
        seed: as for `draw`.
        truncation: as for `draw`.
        mapping: as for `draw`.

    Raises:
        UsageError: the network is no prior, or there are fewer than two pictures.
    """
    _check(loaded, mapping)
    if count < 2:
        raise UsageError("A walk has two ends.", "Use --count 2 or more.")
    first, last = torch.randn(_BATCH, _width(loaded), generator=torch.Generator().manual_seed(seed))[:2]
    angle = torch.arccos(torch.cosine_similarity(first, last, dim=0).clamp(-1 + 1e-6, 1 - 1e-6))
    share = torch.linspace(0, 1, count)[:, None]
    lengths = torch.lerp(first.norm(), last.norm(), share)
    arc = torch.sin((1 - share) * angle) * first / first.norm() + torch.sin(share * angle) * last / last.norm()
    z = arc / torch.sin(angle) * lengths
    z[0], z[-1] = first, last
    pictures: list[Picture] = []
    for part in z.split(_BATCH):
        pictures += _painted(loaded, part, truncation, mapping)
    return pictures


def _check(loaded: LoadedNetwork, mapping: nn.Module | None) -> None:
    """Refuse what draws no pictures."""
    network = loaded.network
    if not isinstance(network, StyleGAN2Generator | StyleGAN1Generator | PGGANGenerator | DCGANGenerator):
        raise UsageError(
            f"{loaded.table.name} is a {loaded.architecture.role} that draws no pictures."
            if loaded.architecture.role == "prior"
            else f"{loaded.table.name} is a {loaded.architecture.role}, not a prior.",
            "`restore models list` shows the names whose role is prior.",
        )
    if isinstance(network, StyleGAN1Generator) and mapping is None:
        raise UsageError(
            f"{loaded.table.name} is a StyleGAN1 without its mapping network.",
            'Name the table of its mapping network in its own: mapping = "NAME".',
        )


def _width(loaded: LoadedNetwork) -> int:
    width = loaded.network.style_dim
    assert isinstance(width, int)
    return width


def _painted(loaded: LoadedNetwork, z: Tensor, truncation: float, mapping: nn.Module | None) -> list[Picture]:
    """Return the pictures of z (n, width)."""
    network = loaded.network
    z = z.to(next(network.parameters()).device)
    with torch.inference_mode():
        if isinstance(network, StyleGAN2Generator):
            return to_pictures(network(z, truncation=truncation))
        return to_pictures(network(z if mapping is None else mapping(z)))
