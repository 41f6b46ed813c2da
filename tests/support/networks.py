"""Networks at work on the CPU, around whatever module a test puts in the place of a trained one."""

from __future__ import annotations

from torch import nn

from restorer.engine.device import Device
from restorer.engine.network import Network
from restorer.engine.torch_engine import TorchNetwork
from restorer.models.base import LoadedNetwork, Precision


def at_work(loaded: LoadedNetwork, precision: Precision = "fp32") -> TorchNetwork:
    """Return a loaded network as a run on the CPU has it."""
    return TorchNetwork(loaded, Device("cpu", precision))


def module_of(network: Network) -> nn.Module:
    """Return the module behind a network at work, to ask it what it saw."""
    assert isinstance(network, TorchNetwork)
    return network._loaded.network
