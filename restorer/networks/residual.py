"""Residual blocks without normalisation (EDSR; Lim et al. 2017), of which the small built-in networks are made."""

from __future__ import annotations

import torch
from torch import nn

from restorer.networks.fused import conv_relu


class Residual(nn.Module):
    """Two convolutions whose result is added to their input, small at first so that the block begins as no change."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, 1, 1)
        self.second = nn.Conv2d(width, width, 3, 1, 1)
        shrink(self.second)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (n, width, h, w) to the same shape."""
        result: torch.Tensor = self.second(conv_relu(self.first, features))
        return result + features if torch.is_grad_enabled() else result.add_(features)


def residuals(width: int, count: int) -> nn.Sequential:
    """Return so many blocks, one after the other."""
    return nn.Sequential(*(Residual(width) for _ in range(count)))


@torch.no_grad()
def shrink(convolution: nn.Conv2d) -> None:
    """Make what a convolution gives small, so that training begins at what it is added to."""
    convolution.weight.mul_(0.1)
    if convolution.bias is not None:
        convolution.bias.zero_()
