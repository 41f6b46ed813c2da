"""Weights in the precision that a network computes in, so that a run does not keep and cast larger ones."""

from __future__ import annotations

import torch
from torch import nn


def cast_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Bring the weights that autocast casts at each call to a precision, once; for a network that is only run.

    These are the weights of convolutions and plain linear layers; other modules compute in their own precision. All
    other parameters and buffers become copies of their own: a single tensor of a mapped checkpoint keeps all of that
    file in memory.
    """
    with torch.no_grad():
        for module in network.modules():
            for name, parameter in module.named_parameters(recurse=False):
                cast = name == "weight" and (parameter.ndim == 4 or isinstance(module, nn.Linear))
                parameter.data = parameter.data.to(dtype) if cast else parameter.data.clone()
            for buffer in module.buffers(recurse=False):
                buffer.data = buffer.data.clone()
