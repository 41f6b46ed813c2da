"""Convolutions by fewer multiplications give what the plain ones give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from restorer.networks import winograd
from restorer.networks.fused import conv_leaky
from restorer.networks.stylegan2 import StyledConv
from restorer.networks.winograd import Border, Winograd, WinogradConv2d

sides = st.integers(1, 23)


def _plain(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    around: dict[str, torch.Tensor],
    slope: float | None,
) -> torch.Tensor:
    """Return what `Winograd` computes, one step after another."""
    if "factors" in around:
        x = x * around["factors"][:, :, None, None]
    x = F.conv2d(x, weight, padding=1)
    if "scales" in around:
        x = x * around["scales"][:, :, None, None]
    x = x if bias is None else x + bias[:, None, None]
    x = x + around["noise"] if "noise" in around else x
    return x if slope is None else F.leaky_relu(x, slope)


@settings(deadline=None)
@given(
    st.integers(1, 2), st.integers(1, 5), st.integers(1, 6), sides, sides,
    st.sets(st.sampled_from(["factors", "scales", "noise", "noises", "bias", "slope"])), st.integers(0, 99),
)  # fmt: skip
def test_any_size_is_convolved_as_the_plain_way_does(
    count: int, inputs: int, outputs: int, height: int, width: int, wanted: set[str], seed: int
) -> None:
    torch.manual_seed(seed)
    x, weight = torch.randn(count, inputs, height, width), torch.randn(outputs, inputs, 3, 3)
    bias, slope = torch.randn(outputs) if "bias" in wanted else None, 0.2 if "slope" in wanted else None
    around: dict[str, Any] = {
        "factors": torch.rand(count, inputs) + 0.5,
        "scales": torch.rand(count, outputs) + 0.5,
        "noise": torch.randn(count if "noises" in wanted else 1, 1, height, width),
    }
    around = {name: value for name, value in around.items() if name in wanted}
    with torch.inference_mode():
        found = Winograd(weight)(x, bias, slope=slope, **around)
    plain = _plain(x, weight, bias, around, slope)
    assert found.shape == plain.shape
    torch.testing.assert_close(found, plain, rtol=0, atol=2e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("border", ["zeros", "reflect", "replicate"])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 9), (8, 4), (17, 12)])
def test_the_border_is_what_padding_makes(border: Border, height: int, width: int) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 3, height, width), torch.randn(5, 3, 3, 3), torch.randn(5)
    padded = F.pad(x, (1, 1, 1, 1)) if border == "zeros" else F.pad(x, (1, 1, 1, 1), border)
    with torch.inference_mode():
        Winograd(weight)(torch.full((1, 3, 40, 40), torch.nan))  # what an earlier call left in the buffers is not seen
        found = Winograd(weight)(x, bias, slope=0.2, border=border)
    torch.testing.assert_close(found, F.leaky_relu(F.conv2d(padded, weight, bias), 0.2), rtol=0, atol=2e-4)


def test_work_in_several_strips_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, weight, noise = torch.randn(2, 8, 45, 31), torch.randn(4, 8, 3, 3), torch.randn(2, 1, 45, 31)
    with torch.inference_mode():
        whole = Winograd(weight)(x, noise=noise)
        monkeypatch.setattr(winograd, "_SCRATCH", 36 * 8 * 8 * 2)
        torch.testing.assert_close(Winograd(weight)(x, noise=noise), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_a_styled_convolution_is_the_same(count: int) -> None:
    torch.manual_seed(0)
    layer = StyledConv(6, 5, 4).requires_grad_(False)
    layer.noise_gain.fill_(0.7)
    layer.bias.normal_()
    x, latent, noise = torch.randn(count, 6, 13, 10), torch.randn(count, 4), torch.randn(1, 1, 13, 10)
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        wanted = layer(x, latent, noise)
        layer.quick = Winograd(layer.weight)
        found = layer(x, latent, noise)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layout_stays(layout: torch.memory_format) -> None:
    plain = nn.Conv2d(3, 5, 3, padding=1).requires_grad_(False)
    x = torch.randn(2, 3, 9, 8).contiguous(memory_format=layout)
    with torch.inference_mode():
        assert WinogradConv2d(plain, Winograd(plain.weight))(x).is_contiguous(memory_format=layout)


def test_learning_tracing_and_other_precisions_take_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    quick, outermost = Winograd(torch.randn(4, 4, 3, 3), pixels=64), torch.randn(1, 4, 8, 8)
    x = outermost.contiguous(memory_format=torch.channels_last)
    assert not quick.takes(x)
    with torch.no_grad():
        assert quick.takes(x)
        assert not quick.takes(outermost)
        assert not quick.takes(x[..., :7])
        assert not quick.takes(x.bfloat16())
        with torch.autocast("cpu", torch.bfloat16):
            assert not quick.takes(x)
        for module, name in ((torch.jit, "is_tracing"), (torch.compiler, "is_compiling")):
            with monkeypatch.context() as patch:
                patch.setattr(module, name, lambda: True)
                assert not quick.takes(x)


def test_a_leaky_relu_is_applied_on_the_way() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 5, 3, padding=1).requires_grad_(False)
    quick = WinogradConv2d(plain, Winograd(plain.weight))
    x = torch.randn(1, 6, 13, 9).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        wanted = F.leaky_relu(plain(x), 0.2)
        torch.testing.assert_close(conv_leaky(quick, x, 0.2), wanted, rtol=0, atol=1e-4)
        torch.testing.assert_close(conv_leaky(quick, x.contiguous(), 0.2), wanted, rtol=0, atol=1e-5)
