"""Building a network as a mere plan, on torch's meta device, without the cost of pretending to fill it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_FILLS = frozenset({torch.Tensor.normal_, torch.Tensor.uniform_})


class SkipInit(TorchFunctionMode):
    """Within it, tensors on the meta device are not initialised: `with SkipInit(), torch.device("meta"): Network()`.

    They have no values, so nothing is lost; but torch computes the shapes of random numbers there with its compiler,
    whose import alone takes seconds. Tensors on other devices are filled as ever.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Skip `nn.init` and in-place random numbers for meta tensors, and take `torch.randn` for `torch.empty`."""
        options = dict(kwargs or {})
        if func in _FILLS or getattr(func, "__module__", None) == "torch.nn.init":
            tensor = args[0] if args else options.get("tensor")
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                return tensor
        elif func is torch.randn and "generator" not in options:
            plan = torch.empty(*args, **options)
            if plan.is_meta:
                return plan
        return func(*args, **options)
