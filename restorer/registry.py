"""Which architectures there are, and the one way from a weights.toml table to a network.

An architecture says how to recognise a checkpoint, translate it and build the network for it. Entries register
themselves when their module in `restorer/models` or `restorer/faces` is imported; `architectures` imports those,
which must stay light (no torch at import), because the command's help and `restore models list` read them.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from restorer.errors import CheckpointLayoutError, InvalidTableError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.weights import Table

    StateDict = dict[str, torch.Tensor]
    Shapes = Mapping[str, tuple[int, ...]]

Role = Literal["face restorer", "prior", "face detector", "face parser", "upscaler"]


class Architecture(ABC):
    """A kind of network that checkpoints exist for.

    A subclass is registered by `register` under its `name`. `defaults` are the reference implementation's own argument
    names with the official values; a table's `arguments` may set only these.
    """

    name: ClassVar[str]
    role: ClassVar[Role]
    defaults: ClassVar[Mapping[str, Any]] = {}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Return the arguments that the checkpoint's own shapes tell; an unfit checkpoint gives a partial dict."""
        return {}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Return the state dict under the network's own names, without branches that never reach the output."""
        return state

    @abstractmethod
    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network; called on torch's meta device, so it must not compute with its parameters."""


_architectures: dict[str, Architecture] = {}


def register(architecture: Architecture) -> None:
    """Add an architecture; a name that is taken raises ValueError and leaves the registry as it was."""
    if architecture.name in _architectures:
        raise ValueError(f"An architecture named {architecture.name!r} is registered already.")
    _architectures[architecture.name] = architecture


def architectures() -> Mapping[str, Architecture]:
    """Return all registered architectures by name; imports the modules that register them on the first call."""
    import restorer.faces
    import restorer.models

    for package in (restorer.models, restorer.faces):
        for module in pkgutil.iter_modules(package.__path__):
            if package is restorer.models or module.name in restorer.faces.ARCHITECTURE_MODULES:
                importlib.import_module(f"{package.__name__}.{module.name}")
    return _architectures


def architecture_of(table: Table) -> Architecture:
    """Return the architecture that a table names; raises `InvalidTableError` when there is none of that name."""
    known = architectures()
    if table.architecture not in known:
        raise InvalidTableError(
            table.name,
            f"The table {table.name!r} names the architecture {table.architecture!r}, which is not known.",
            f"Use one of: {', '.join(sorted(known))}.",
        )
    return known[table.architecture]


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in eval mode, with what it was made from."""

    network: nn.Module
    table: Table
    architecture: Architecture
    arguments: Mapping[str, Any] = field(default_factory=dict)


def load(table: Table, path: Path, device: str | torch.device = "cpu") -> LoadedNetwork:
    """Build the network of a table from its verified file and return it in eval mode, without gradients.

    Args:
        table: the weights.toml table.
        path: its verified file.
        device: where the network goes.

    Raises:
        UnsafeCheckpointError: the file holds more than tensors and plain values.
        InvalidTableError: the table sets an argument that the architecture does not have.
        CheckpointLayoutError: keys or shapes are not the architecture's. Checked before any tensor is copied.
    """
    import torch

    from restorer.weights import load_state_dict

    architecture = architecture_of(table)
    unknown = sorted(set(table.arguments) - set(architecture.defaults))
    if unknown:
        raise InvalidTableError(
            table.name,
            f"The table {table.name!r} sets {', '.join(unknown)}, which {architecture.name!r} does not know.",
            f"Its arguments are: {', '.join(architecture.defaults) or 'none'}.",
        )
    state = load_state_dict(path, table.name)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    arguments = {**architecture.defaults, **architecture.infer(shapes), **table.arguments}
    try:
        state = architecture.convert(state, arguments)
        with torch.device("meta"):
            network = architecture.build(arguments)
    except (KeyError, IndexError) as error:
        raise CheckpointLayoutError(
            table.name,
            f"{path.name} is no checkpoint of {architecture.name!r}: {error!s} is missing.",
            f"Check the file, or the architecture of the table {table.name!r}.",
        ) from error
    _check_layout(table, path, architecture, state, network)
    network.load_state_dict(state, assign=True)
    network.requires_grad_(False)
    return LoadedNetwork(network.to(device).eval(), table, architecture, arguments)


def _check_layout(
    table: Table, path: Path, architecture: Architecture, state: StateDict, network: nn.Module
) -> None:
    """Compare keys and shapes with the network's own, before a tensor reaches it."""
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    problems = [f"{key} is missing" for key in wanted if key not in found]
    problems += [f"{key} is unknown" for key in found if key not in wanted]
    problems += [
        f"{key} has shape {list(found[key])}, not {list(shape)}"
        for key, shape in wanted.items()
        if key in found and found[key] != shape
    ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointLayoutError(
            table.name,
            f"{path.name} does not fit the architecture {architecture.name!r}: {'; '.join(problems[:3])}{more}.",
            f"Check the file, or the architecture and arguments of the table {table.name!r}.",
        )


def load_network(name: str, device: str | torch.device = "cpu", *, offline: bool = False) -> nn.Module:
    """Return the network of a weights.toml table (or alias, or file of our own), fetched, verified and in eval mode.

    Image networks map (n, 3, h, w) in [-1, 1] to their output tensor alone. A stylegan2 prior maps z (n, style_dim) to
    pictures with its stored noise.

    Raises:
        WeightsError: any of its subclasses, the weights are unknown, out of reach, not verified, or of another layout.
    """
    from restorer.weights import fetch, resolve

    table = resolve(name)
    return load(table, fetch(table, offline=offline), device).network
