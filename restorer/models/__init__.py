"""What is this checkpoint, what does its network take and give? One file an architecture, and their registry.

Light to import: torch and the networks are loaded when a network is built.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from restorer.models.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import nn

REGISTRY = Registry(
    architecture
    for module in pkgutil.iter_modules(__path__)
    if not module.ispkg  # what uses the registry, such as the importer
    for architecture in getattr(importlib.import_module(f"{__name__}.{module.name}"), "ARCHITECTURES", ())
)
"""Every architecture of this package: what each of its modules names in `ARCHITECTURES`."""


def load_network(name: str, device: str | torch.device = "cpu", *, offline: bool = False) -> nn.Module:
    """Return the network of a weights.toml table (or alias, or file of our own), fetched, verified and in eval mode.

    Image networks map (n, 3, h, w) in [-1, 1] to their output tensor alone. A stylegan2 prior maps z (n, style_dim) to
    pictures with its stored noise.

    Raises:
        WeightsError: any of its subclasses, the weights are unknown, out of reach, not verified, or of another layout.
    """
    from restorer.weights import fetch, resolve

    table = resolve(name)
    return REGISTRY.load(table, fetch(table, offline=offline), device).network
