"""Steps downhill, item by item: an item's way does not depend on those beside it, and one that is done can be left out.

A parameter is a tensor whose first dimension is the items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def gradients_of(losses: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradient of the sum of losses (n) for each parameter; 0 where it takes no part."""
    gradients = torch.autograd.grad(losses.sum(), parameters, allow_unused=True)
    return [
        torch.zeros_like(each) if gradient is None else gradient
        for each, gradient in zip(parameters, gradients, strict=True)
    ]


class Descent:
    """Gradient descent, or Adam (Kingma and Ba, 2015) with its usual constants.

    Args:
        parameters: tensors (n, ...) that require gradients; they are replaced at each step, see `parameters`.
        adam: whether steps are Adam's; else the plain gradient times the rate.
    """

    BETAS = 0.9, 0.999
    EPS = 1e-8

    def __init__(self, parameters: Sequence[Tensor], *, adam: bool) -> None:
        self.parameters = [each.detach().clone().requires_grad_() for each in parameters]
        self._adam = adam
        self._taken = 0
        self._first = [torch.zeros_like(each) for each in self.parameters]
        self._second = [torch.zeros_like(each) for each in self.parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Take one step along the gradients, one for each parameter."""
        self._taken += 1
        for each, gradient, first, second in zip(self.parameters, gradients, self._first, self._second, strict=True):
            if not self._adam:
                each.sub_(gradient, alpha=rate)
                continue
            one, two = self.BETAS
            first.lerp_(gradient, 1 - one)
            second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
            scale = second.sqrt().div_(math.sqrt(1 - two**self._taken)).add_(self.EPS)
            each.addcdiv_(first, scale, value=-rate / (1 - one**self._taken))

    def keep(self, chosen: Tensor) -> None:
        """Go on with some of the items only: those of the indices."""
        self.parameters = [each.detach()[chosen].requires_grad_() for each in self.parameters]
        self._first = [each[chosen] for each in self._first]
        self._second = [each[chosen] for each in self._second]


class Spheres:
    """The lengths that parameters had at the start; after each step they are brought back to them.

    A vector of many normal numbers has nearly always the same length, so the probable ones lie on a sphere.

    Args:
        parameters: tensors (n, k, ...): each of the k parts of an item has its own length, over all dimensions behind.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._lengths = [_lengths(each.detach()) for each in parameters]

    @torch.no_grad()
    def restore(self, parameters: Sequence[Tensor]) -> None:
        """Bring parameters back to their lengths, in place."""
        for each, length in zip(parameters, self._lengths, strict=True):
            each.mul_(length / _lengths(each))

    def keep(self, chosen: Tensor) -> None:
        """Go on with some of the items only."""
        self._lengths = [each[chosen] for each in self._lengths]


def _lengths(tensor: Tensor) -> Tensor:
    behind = tuple(range(2, tensor.ndim))
    return (tensor.square().sum(behind, keepdim=True) + 1e-9).sqrt()
