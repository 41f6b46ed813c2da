"""A convolution and its ReLU in one pass over the numbers, where torch's CPU kernels can."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F


def conv_relu(convolution: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
    """Return relu(convolution(features)), to the last bit; quicker on a CPU where no gradients are kept.

    The operator is the one that torch's own compiler puts there. It takes features and weights of one type only, which
    under autocast are those that `restorer.engine.casting.cast_weights` went over.
    """
    if not _fuses(convolution, features):
        plain: torch.Tensor = F.relu(convolution(features), inplace=True)
        return plain
    weight = convolution.weight
    bias = None if convolution.bias is None else convolution.bias.to(weight.dtype)
    how = list(cast("tuple[int, int]", convolution.padding)), list(convolution.stride), list(convolution.dilation)
    fused: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
        features.to(weight.dtype), weight, bias, *how, convolution.groups, "relu", [], ""
    )
    return fused


def available() -> bool:
    """Return whether this torch has the operator: it comes with oneDNN."""
    return hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def _has_bf16() -> bool:
    """Return whether the operator knows bf16 on this processor; elsewhere it raises, where torch itself emulates."""
    known = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return known is not None and bool(known())


def _fuses(convolution: nn.Conv2d, features: torch.Tensor) -> bool:
    """Return whether the operator is there, and computes in the type in which the convolution would."""
    weight = convolution.weight
    if weight.device.type != "cpu" or torch.is_grad_enabled() or not available():
        return False
    if torch.is_autocast_enabled("cpu"):
        return weight.dtype == torch.get_autocast_dtype("cpu") and (weight.dtype != torch.bfloat16 or _has_bf16())
    return weight.dtype == features.dtype == torch.float32
