"""A convolution and its activation in one pass over the numbers, where torch's CPU kernels can.

The operators are those that torch's own compiler puts there. They take features and weights of one type only, which
under autocast are those that `restorer.engine.casting.cast_weights` went over.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F


def conv_relu(convolution: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
    """Return relu(convolution(features)); quicker on a CPU where no gradients are kept.

    It is the same to the last bit, unless the convolution has a way of its own, as in `conv_leaky`.
    """
    if isinstance(convolution, PackedConv2d):
        return convolution.run(features, "relu")
    own = getattr(convolution, "leaky", None)
    if own is not None:
        return cast("torch.Tensor", own(features, 0.0))
    if _fuses(convolution, features):
        return _pointwise(convolution, features, convolution.weight, "relu")
    plain: torch.Tensor = F.relu(convolution(features), inplace=True)
    return plain


def conv_leaky(convolution: nn.Module, features: torch.Tensor, slope: float = 0.2) -> torch.Tensor:
    """Return the leaky ReLU of convolution(features); quicker on a CPU where no gradients are kept.

    In half precision it is rounded once, where the plain way rounds twice. A convolution with a way of its own says so
    by a method `leaky(features, slope)`.
    """
    if isinstance(convolution, PackedConv2d):
        return convolution.run(features, "leaky_relu", slope)
    own = getattr(convolution, "leaky", None)
    if own is not None:
        return cast("torch.Tensor", own(features, slope))
    if type(convolution) is nn.Conv2d and _lies_right(features) and _fuses(convolution, features):
        return _pointwise(convolution, features, convolution.weight, "leaky_relu", slope)
    return F.leaky_relu_(convolution(features), slope)


def leaky_conv(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, slope: float | None, stride: int = 1, padding: int = 0
) -> torch.Tensor:
    """Return the leaky ReLU of a convolution, or the convolution alone without a slope; in one pass where that goes.

    Args:
        x: (n, in, h, w), in the precision of the weight.
        weight: (out, in, h, w).
        bias: (out,), likewise.
        slope: of the leaky ReLU.
        stride: of the convolution.
        padding: zeros around x.
    """
    if slope is None:
        return F.conv2d(x, weight, bias, stride, padding)
    fuses = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if fuses and not torch.is_grad_enabled() and available() and _lies_right(x):
        how = [padding, padding], [stride, stride], [1, 1], 1
        fused: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *how, "leaky_relu", [slope], "")
        return fused
    return F.leaky_relu_(F.conv2d(x, weight, bias, stride, padding), slope)


def conv_rows(
    convolution: nn.Module, features: torch.Tensor, top: int, bottom: int, slope: float | None = None
) -> torch.Tensor:
    """Return some rows of what a 3x3 convolution of stride 1, with a line of zeros around, makes of features.

    A chain of layers can so be computed strip by strip, with no more than a strip of what lies between in memory.

    Args:
        convolution: one as in `conv_leaky`.
        features: (n, in, h, w).
        top: the first row.
        bottom: the one behind the last, h at most.
        slope: of a leaky ReLU behind it; None for none.
    """
    first, last = max(top - 1, 0), min(bottom + 1, features.shape[2])
    strip = features[:, :, first:last]
    if type(convolution) not in (nn.Conv2d, PackedConv2d):  # by a way of its own, and two rows for nothing
        made = convolution(strip) if slope is None else conv_leaky(convolution, strip, slope)
        rows: torch.Tensor = made[:, :, top - first : bottom - first]
        return rows
    assert isinstance(convolution, nn.Conv2d)
    if last - first < bottom - top + 2:
        strip = F.pad(strip, (0, 0, first - (top - 1), bottom + 1 - last))
    activation, sides = "none" if slope is None else "leaky_relu", (0, 1)
    if isinstance(convolution, PackedConv2d):
        return convolution.run(strip, activation, slope, padding=sides)
    if _lies_right(strip) and _fuses(convolution, strip):
        return _pointwise(convolution, strip, convolution.weight, activation, slope, padding=sides)
    made = F.conv2d(strip, convolution.weight, convolution.bias, padding=sides)
    return made if slope is None else F.leaky_relu_(made, slope)


class LeakyPair(nn.Sequential):
    """A convolution, a leaky ReLU, a convolution, and a second leaky ReLU if there is one; parts bear their numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map features (n, c, h, w) to (n, c', h, w), as the parts do, one after another."""
        first, between, second, *behind = self
        x = conv_leaky(first, x, cast("nn.LeakyReLU", between).negative_slope)
        if behind:
            return conv_leaky(second, x, cast("nn.LeakyReLU", behind[0]).negative_slope)
        result: torch.Tensor = second(x)
        return result


class PackedConv2d(nn.Conv2d):
    """A convolution on a CPU whose weights lie as oneDNN wants them: else it brings them there at each call.

    They are brought there at the first call, for features of that size, and do not stand beside the plain ones. It is
    for a network that is only run.

    Args:
        convolution: of which `packs` says yes; its weights are in the precision in which it is to compute.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(convolution.__dict__)
        self._packed: torch.Tensor | None = None
        self._kind = convolution.weight.dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, in, h, w) to (n, out, h', w')."""
        return self.run(x, "none")

    def run(
        self,
        features: torch.Tensor,
        activation: str,
        slope: float | None = None,
        *,
        padding: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """Return the activation of the convolution.

        Args:
            features: (n, in, h, w).
            activation: "none", "relu" or "leaky_relu".
            slope: of the last.
            padding: zeros above and below, and at the sides; None for the convolution's own.

        Raises:
            RuntimeError: it is to compute in another precision than that of its weights.
        """
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else features.dtype
        if kind != self._kind:
            raise RuntimeError(f"This convolution has weights in {self._kind} only, and is to compute in {kind}.")
        around = _pair(self.padding) if padding is None else padding
        return _pointwise(self, features, self._weight_for(features, around), activation, slope, kind, around)

    def _weight_for(self, features: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
        # No lock, which a fork could take along: plain weights go after the packed ones came, and are looked at first.
        weight, packed = self.weight, self._packed
        if packed is None:
            how = list(padding), list(self.stride), list(self.dilation), self.groups
            with torch.inference_mode(False), torch.no_grad():
                reorder = torch.ops.mkldnn._reorder_convolution_weight
                packed = cast("torch.Tensor", reorder(weight.detach(), *how, list(features.shape)))
            self._packed = packed
            self.register_parameter("weight", None)
        return packed


def packs(convolution: nn.Module) -> bool:
    """Return whether `PackedConv2d` computes what a module does: on this processor, with this torch."""
    return (
        type(convolution) is nn.Conv2d
        and (convolution.weight.dtype == torch.float32 or (convolution.weight.dtype == torch.bfloat16 and _has_bf16()))
        and convolution.weight.device.type == "cpu"
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and convolution.groups == 1
        and available()
        and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")
    )


def _pointwise(
    convolution: nn.Conv2d,
    features: torch.Tensor,
    weight: torch.Tensor,
    activation: str,
    slope: float | None = None,
    kind: torch.dtype | None = None,
    padding: tuple[int, int] | None = None,
) -> torch.Tensor:
    """Return the activation of a convolution by weights of a type that may lie in any order; None = as they say it."""
    kind = kind or weight.dtype
    padding = _pair(convolution.padding) if padding is None else padding
    bias = None if convolution.bias is None else convolution.bias.to(kind)
    how = list(padding), list(convolution.stride), list(convolution.dilation), convolution.groups
    scalars = [] if slope is None else [slope]
    fused: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
        features.to(kind), weight, bias, *how, activation, scalars, ""
    )
    return fused


def _pair(padding: object) -> tuple[int, int]:
    return cast("tuple[int, int]", padding)


def _lies_right(features: torch.Tensor) -> bool:
    """Return whether channels lie innermost; other layouts were not measured to be worth it."""
    return features.is_contiguous(memory_format=torch.channels_last)


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
