"""Layers at large resolutions give strip by strip what they give as a whole, and no more than strips lie between."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from restorer.engine.casting import cast_weights, pack_weights
from restorer.networks import filters, fused, strips
from restorer.networks.filters import fir_blur, fir_enlarged_conv
from restorer.networks.fused import conv_leaky, conv_rows
from restorer.networks.glean import GLEAN, LightGLEAN
from restorer.networks.strips import enlarged_conv_beside, enlarged_picture
from restorer.networks.winograd import Winograd, WinogradConv2d

packing = pytest.mark.skipif(not fused.available(), reason="this torch has no oneDNN")
bf16 = pytest.mark.skipif(not fused._has_bf16(), reason="bf16 is not computed by this processor")


def features(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(3)
    return torch.randn(shape).to(kind).contiguous(memory_format=torch.channels_last)


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    torch.manual_seed(inputs + outputs)
    return nn.Conv2d(inputs, outputs, 3, padding=1).to(memory_format=torch.channels_last).requires_grad_(False)


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes how many values the largest tensor has that was made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and not func.is_view:
            self.values = max(self.values, made.numel())
        return made


@pytest.fixture(name="narrow")
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "_STRIP", 1)
    monkeypatch.setattr(filters, "_STRIP", 1)


@pytest.mark.parametrize("slope", [None, 0.2])
@pytest.mark.parametrize("kind", ["plain", pytest.param("packed", marks=packing), "winograd", "two"])
def test_rows_are_those_of_the_whole(kind: str, slope: float | None) -> None:
    x, layer = features(2 if kind == "two" else 1, 8, 21, 10), convolution(8, 12)
    with torch.inference_mode():
        wanted = layer(x) if slope is None else F.leaky_relu(layer(x), slope)
        part: nn.Module = layer
        if kind == "winograd":
            part = WinogradConv2d(layer, Winograd(layer.weight))
        if kind == "packed":
            holder = nn.Sequential(layer)
            assert pack_weights(holder) == 1
            part = holder[0]
        for top, bottom in ((0, 21), (0, 5), (1, 2), (7, 20), (16, 21)):
            found = conv_rows(part, x, top, bottom, slope)
            torch.testing.assert_close(found, wanted[:, :, top:bottom], rtol=0, atol=1e-4)
        whole = part(x) if slope is None else conv_leaky(part, x, slope)
        torch.testing.assert_close(whole, wanted, rtol=0, atol=1e-4)  # and it is as it was


@packing
@bf16
def test_rows_in_half_precision() -> None:
    x, layer = features(1, 8, 21, 10), convolution(8, 12)
    wanted = F.leaky_relu(layer(x), 0.2)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for cast in (False, True):
            if cast:
                cast_weights(layer, torch.bfloat16)
            found = conv_rows(layer, x, 3, 21, 0.2)
            assert found.dtype == torch.bfloat16
            assert torch.allclose(found.float(), wanted[:, :, 3:], atol=0.03)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("height", [16, 21, 40])
@pytest.mark.usefixtures("narrow")
def test_what_is_enlarged_by_stylegans_filter(height: int, count: int) -> None:
    x, weight, bias = features(count, 6, height, 9), torch.randn(6, 5, 3, 3), torch.randn(5)
    wanted = fir_blur(F.conv_transpose2d(x, weight, stride=2), 1, gain=4.0, bias=bias)
    with torch.inference_mode(), Largest() as between:
        found = fir_enlarged_conv(x, weight, bias)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert between.values == wanted.numel()  # the blur alone would have seen a line and a column more
    x.requires_grad_()
    fir_enlarged_conv(x, weight, bias).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None


@pytest.mark.parametrize("height", [16, 21, 40])
@pytest.mark.usefixtures("narrow")
def test_a_decoders_level_and_its_end(height: int) -> None:
    x, beside = features(1, 6, height, 9), [features(1, 3, 2 * height, 18), features(1, 1, 2 * height, 18)]
    up, middle, last = convolution(6, 20), convolution(9, 8), convolution(8, 3)
    joined = torch.cat([F.pixel_shuffle(up(x), 2), *beside], dim=1)
    wanted = last(F.leaky_relu(middle(joined), 0.2))
    with torch.inference_mode():
        with Largest() as between:
            level = enlarged_conv_beside(up, x, beside)
        assert between.values == joined.numel()
        with Largest() as between:
            picture = enlarged_picture(up, x, beside, middle, last)
    assert picture is not None
    assert between.values < 0.8 * joined.numel()
    torch.testing.assert_close(level, joined, rtol=0, atol=1e-5)
    torch.testing.assert_close(picture, wanted, rtol=0, atol=1e-5)
    assert level.is_contiguous(memory_format=torch.channels_last)
    assert enlarged_picture(up, x, beside, middle, last) is None  # where gradients are kept
    torch.testing.assert_close(enlarged_conv_beside(up, x, beside), joined, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["glean", "light", "grain"])
def test_a_network_gives_the_same_picture_strip_by_strip(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sizes = {"style_channels": 8, "rrdb_channels": 8, "num_rrdbs": 1, "narrow": 0.0625}
    network: nn.Module
    if kind == "glean":
        network = GLEAN(16, 128, **sizes).eval()  # type: ignore[arg-type]
    else:
        grain = {"decoder_noise": True, "decoder_grain": 2.0} if kind == "grain" else {}
        network = LightGLEAN(16, 128, **sizes, **grain).eval()  # type: ignore[arg-type]
        network.decoder.keep_constants()
    pictures = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.inference_mode():
        wanted = network(pictures)
        for module in (strips, filters):
            monkeypatch.setattr(module, "_STRIP", 1)
        with Largest() as between:
            found = network(pictures)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    joined = network.decoder.conv.in_channels * 128 * 128
    assert between.values < joined
