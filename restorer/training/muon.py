"""Muon (Jordan et al. 2024): steps of convolutions whose directions all have the same length.

The averaged gradient of a layer, written as a matrix, is replaced by the orthogonal matrix nearest to it, which a few
products of matrices come close to (Newton and Schulz). What a layer learns slowly because its gradient is small beside
others in the same layer is then learnt as quickly as they are: small networks need fewer steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

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


class MuonAndAdam:
    """Muon for a network's inner convolutions, Adam for all else, at rates that rise, hold and fall together.

    Args:
        network: what learns.
        values: `lr` of Muon, `lr_adam` and `betas` of Adam, `warmup`, `steps`, and `falls`, the share of them at the
            end in which the rates fall: a run can be made longer or shorter until then.
        outer: beginnings of the names of layers that Muon is not for, the first and the last ones.
    """

    def __init__(self, network: nn.Module, values: Mapping[str, Any], outer: tuple[str, ...]) -> None:
        inner: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, value in network.named_parameters():
            (inner if value.ndim == 4 and not name.startswith(outer) else rest).append(value)
        self._values = values
        self._muon = Muon(inner, values["lr"])
        self._adam = torch.optim.Adam(rest, values["lr_adam"], (values["betas"][0], values["betas"][1]))

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Return both by the names that checkpoints know them by."""
        return {"optimiser": self._muon, "optimiser_of_rest": self._adam}

    def begin(self, step: int) -> None:
        """Set the rates of a step, counted from 1, and forget the gradients of the last."""
        for optimiser, rate in ((self._muon, "lr"), (self._adam, "lr_adam")):
            for group in optimiser.param_groups:
                group["lr"] = self._values[rate] * self.part(step)
            optimiser.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Make a step along the gradients that are there."""
        self._muon.step()
        self._adam.step()

    def part(self, step: int) -> float:
        """Return by what the rates are multiplied: a linear warm-up, then 1, at the end a linear fall to 0."""
        steps, falls = self._values["steps"], self._values["falls"]
        return float(min(1.0, step / self._values["warmup"], (steps + 1 - step) / max(falls * steps, 1)))


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
