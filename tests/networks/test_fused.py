"""A convolution and its ReLU in one pass give what the two give, wherever they are run."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from restorer.engine import casting
from restorer.engine.casting import cast_weights, pack_weights
from restorer.networks import fused
from restorer.networks.fused import LeakyPair, PackedConv2d, conv_leaky, conv_relu, leaky_conv


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


def _like_it_was(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not fused.available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("bias", [True, False])
def test_a_leaky_relu_in_the_same_pass_is_the_same(calls: list[bool], bias: bool) -> None:
    layer, x = _layer(bias), _like_it_was(torch.randn(2, 8, 13, 17))
    with torch.inference_mode():
        found = conv_leaky(layer, x, 0.1)
        assert torch.allclose(found, F.leaky_relu(layer(x), 0.1), atol=1e-6)
        assert found.is_contiguous(memory_format=torch.channels_last)
    assert calls == [True]


def test_gradients_go_through_the_leaky_way_too(calls: list[bool]) -> None:
    layer, x = _layer(), _like_it_was(torch.randn(1, 8, 9, 9))
    conv_leaky(layer, x).sum().backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is not None
    assert calls == [False]


def test_a_pair_is_its_parts_one_after_another() -> None:
    torch.manual_seed(0)
    parts = [nn.Conv2d(4, 6, 3, padding=1), nn.LeakyReLU(0.3), nn.Conv2d(6, 5, 3, padding=1), nn.LeakyReLU(0.1)]
    x = _like_it_was(torch.randn(1, 4, 9, 8))
    with torch.inference_mode():
        for count in (3, 4):
            plain, pair = nn.Sequential(*parts[:count]), LeakyPair(*parts[:count])
            assert pair.state_dict().keys() == plain.state_dict().keys()
            assert torch.allclose(pair(x), plain(x), atol=1e-6)


HALF = pytest.param(
    torch.bfloat16, marks=pytest.mark.skipif(not fused._has_bf16(), reason="bf16 is not computed by this processor")
)
packing = pytest.mark.skipif(not fused.available(), reason="this torch has no oneDNN")


@packing
@pytest.mark.parametrize("kind", [torch.float32, HALF])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 0), (1, 1, 0)])
def test_packed_weights_give_the_same_for_any_size(kernel: int, stride: int, padding: int, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 16, kernel, stride, padding).requires_grad_(False)
    half = kind == torch.bfloat16
    if half:
        cast_weights(layer, kind)
    near = 0.02 if half else 1e-5
    network = nn.Sequential(layer)
    plain = copy.deepcopy(network)
    assert pack_weights(network) == 1
    packed = network[0]
    assert isinstance(packed, PackedConv2d)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        for count, height, width in ((1, 13, 17), (2, 8, 8)):  # the first decides how the weights lie
            x = _like_it_was(torch.randn(count, 8, height, width))
            wanted = plain(x).float()
            found = network(x)
            assert found.dtype == kind
            assert torch.allclose(found.float(), wanted, atol=near)
            assert torch.allclose(conv_relu(packed, x).float(), F.relu(wanted), atol=near)
            assert torch.allclose(conv_leaky(packed, x, 0.2).float(), F.leaky_relu(wanted, 0.2), atol=near)
    assert packed.weight is None  # they are not there twice


@packing
@pytest.mark.parametrize("kind", [torch.float32, HALF])
def test_packed_weights_compute_in_no_other_precision(kind: torch.dtype) -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3)).requires_grad_(False)
    if kind == torch.bfloat16:
        cast_weights(network, kind)
    pack_weights(network)
    other = torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == torch.float32)
    with torch.inference_mode(), other, pytest.raises(RuntimeError, match=f"{kind} only"):
        network(torch.randn(1, 4, 9, 9))


@packing
def test_in_fp32_small_networks_alone_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    def network() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))

    one = 4 * 4 * 3 * 3 * 4  # bytes
    monkeypatch.setattr(casting, "SMALL", 2 * one)
    assert pack_weights(network()) == 2
    monkeypatch.setattr(casting, "SMALL", 2 * one - 1)
    assert pack_weights(network()) == 0


def test_other_convolutions_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.ConvTranspose2d(4, 4, 3))
    cast_weights(network, torch.bfloat16)
    monkeypatch.setattr(fused, "_has_bf16", lambda: False)
    assert pack_weights(network) == 0
    monkeypatch.setattr(fused, "_has_bf16", lambda: True)
    monkeypatch.setattr(fused, "available", lambda: False)
    assert pack_weights(network) == 0


@pytest.mark.parametrize("slope", [None, 0.2])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_convolution_by_its_weights_is_what_its_parts_are(slope: float | None, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x, weight, bias = (
        torch.randn(2, 8, 13, 17).contiguous(memory_format=layout),
        torch.randn(16, 8, 3, 3),
        torch.ones(16),
    )
    plain = F.conv2d(x, weight, bias, 2, 1)
    wanted = plain if slope is None else F.leaky_relu(plain, slope)
    for context in (torch.inference_mode(), torch.enable_grad()):
        with context:
            found = leaky_conv(x, weight, bias, slope, 2, 1)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
