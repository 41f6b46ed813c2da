"""Weights in the precision that a network computes in, so that a run does not keep and cast larger ones."""

from __future__ import annotations

import torch
from torch import nn

from restorer.engine.mapped import MappedPages
from restorer.networks.fused import PackedConv2d, packs

SMALL = 32 << 20
"""Bytes of the plain convolutions' weights, in fp32, up to which a network keeps them packed."""


def cast_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Bring the weights that autocast casts at each call to a precision, once; for a network that is only run.

    These are the weights of convolutions and plain linear layers; other modules compute in their own precision. All
    other parameters and buffers become copies of their own: a single tensor of a mapped checkpoint keeps all of that
    file in memory.
    """
    mapped = MappedPages()  # else the whole file would be in memory at the end, and the copies with it
    with torch.no_grad():
        for module in network.modules():
            pages = mapped.of(module.parameters(recurse=False))
            for name, parameter in module.named_parameters(recurse=False):
                cast = name == "weight" and (parameter.ndim == 4 or isinstance(module, nn.Linear))
                parameter.data = parameter.data.to(dtype) if cast else parameter.data.clone()
            for buffer in module.buffers(recurse=False):
                buffer.data = buffer.data.clone()
            mapped.give_back(pages)


def pack_weights(network: nn.Module) -> int:
    """Let plain convolutions on a CPU keep their weights as the processor's kernels want them.

    In fp32 only those of small networks do, `SMALL` bytes of weights: packed ones stand in memory beside a mapped file,
    and what a kernel wins by them is a larger share where layers are small. Where this torch or this processor cannot,
    nothing changes.

    Returns:
        How many convolutions do.
    """
    found = [
        (owner, name, part)
        for owner in list(network.modules())
        for name, part in list(owner.named_children())
        if isinstance(part, nn.Conv2d) and packs(part)
    ]
    if sum(part.weight.nbytes for _, _, part in found if part.weight.dtype == torch.float32) > SMALL:
        return 0
    for owner, name, part in found:
        setattr(owner, name, PackedConv2d(part))
    return len(found)
