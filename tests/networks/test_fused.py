"""A convolution and its ReLU in one pass give what the two give, wherever they are run."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from restorer.engine.casting import cast_weights
from restorer.networks import fused
from restorer.networks.fused import conv_relu


def _layer(bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(8, 16, 3, 2, 1, groups=2, bias=bias)


@pytest.fixture(name="calls")
def _calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record whether each call is fused."""
    found: list[bool] = []
    decide = fused._fuses

    def remembered(convolution: nn.Conv2d, features: torch.Tensor) -> bool:
        found.append(decide(convolution, features))
        return found[-1]

    monkeypatch.setattr(fused, "_fuses", remembered)
    return found


@pytest.mark.skipif(not fused.available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("bias", [True, False])
def test_fused_it_is_the_same_in_fp32(calls: list[bool], bias: bool) -> None:
    layer, x = _layer(bias), torch.randn(2, 8, 13, 17)
    with torch.inference_mode():
        assert torch.allclose(conv_relu(layer, x), F.relu(layer(x)), atol=1e-6)
    assert calls == [True]


@pytest.mark.skipif(not fused.available(), reason="this torch has no oneDNN")
def test_fused_it_is_the_same_in_bf16_when_the_weights_were_cast(calls: list[bool]) -> None:
    layer, x = _layer(), torch.randn(2, 8, 13, 17)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        uncast = conv_relu(layer, x)
        cast_weights(layer, torch.bfloat16)
        found, expected = conv_relu(layer, x), F.relu(layer(x))
    assert calls == [False, fused._has_bf16()], "on a processor without bf16 torch emulates it, and the operator raises"
    assert found.dtype == expected.dtype == uncast.dtype == torch.bfloat16
    assert torch.allclose(found.float(), expected.float(), atol=0.02)
    assert torch.allclose(uncast.float(), expected.float(), atol=0.02)


def test_gradients_go_through_and_other_types_are_left_to_torch(calls: list[bool]) -> None:
    layer, x = _layer(), torch.randn(1, 8, 9, 9)
    conv_relu(layer, x).sum().backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is not None
    with torch.inference_mode():
        assert conv_relu(layer.double(), x.double()).dtype == torch.float64
    assert calls == [False, False]
