"""Muon (Jordan et al. 2024): steps of convolutions whose directions all have the same length.

The averaged gradient of a layer, written as a matrix, is replaced by the orthogonal matrix nearest to it, which a few
products of matrices come close to (Newton and Schulz). What a layer learns slowly because its gradient is small beside
others in the same layer is then learnt as quickly as they are: small networks need fewer steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)  # steep at 0: after five rounds all singular values lie between 0.7 and 1.2
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Updates weights of two or more dimensions; all beyond the first are taken as one.

    Args:
        parameters: what learns.
        lr: the length of a step.
        momentum: share of the former gradients in their average.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "factor": 1.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Make a step along the gradients that are there."""
        if closure is not None:
            with torch.enable_grad():
                closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["average"] = torch.zeros_like(parameter)
                state["average"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(state["average"], group["momentum"])
                step = orthogonal(ahead.flatten(1))
                high, wide = step.shape
                parameter.add_(step.view_as(parameter), alpha=-group["lr"] * max(1.0, high / wide) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about the orthogonal matrix nearest to one (m, n): its singular vectors stay, its values come near 1."""
    high, wide = matrix.shape
    x = matrix.T if high > wide else matrix
    x = x / (x.norm() + 1e-7)
    first, third, fifth = _QUINTIC
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = first * x + (third * square + fifth * square @ square) @ x
    found: Tensor = x.T if high > wide else x
    return found
