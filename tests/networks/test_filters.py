"""Enlarging and convolving, in either order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from restorer.networks import filters
from restorer.networks.filters import bilinear_upsample, enlarged_beside, enlarged_conv

sides = st.integers(8, 21)


def _drawn(count: int, height: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (count, 3, height, width), (4, 3, 3, 3), (4,)
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in shapes)
    return x, weight, bias


@settings(deadline=None)
@given(st.integers(1, 2), sides, sides, st.integers(0, 99))
def test_enlarging_and_convolving_change_places(count: int, height: int, width: int, seed: int) -> None:
    x, weight, bias = _drawn(count, height, width, seed)
    wanted = F.conv2d(bilinear_upsample(x), weight, bias, padding=1)
    with torch.inference_mode():
        torch.testing.assert_close(enlarged_conv(x, weight, bias), wanted, rtol=0, atol=1e-4)


def test_strips_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = _drawn(1, 40, 20, 0)
    with torch.inference_mode():
        whole = enlarged_conv(x, weight, bias)
        monkeypatch.setattr(filters, "_STRIP", 1)
        torch.testing.assert_close(enlarged_conv(x, weight, bias), whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("few", "matrix"), [(1, True), (128, True), (1, False)])
def test_half_precision_is_near(few: int, matrix: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "_FEW", few)
    monkeypatch.setattr(filters, "_multiplies_first", lambda: not matrix)
    monkeypatch.setattr(filters, "_STRIP", 1)
    x, weight, bias = _drawn(2, 40, 20, 0)
    wanted = F.conv2d(bilinear_upsample(x), weight, bias, padding=1)
    convolve, calls = F.conv_transpose2d, list[Any]()

    def watched(*args: Any, **more: Any) -> torch.Tensor:
        calls.append(args)
        return convolve(*args, **more)

    monkeypatch.setattr(F, "conv_transpose2d", watched)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = enlarged_conv(x, weight, bias)
    assert bool(calls) == (few == 128 or not matrix)
    assert found.dtype == torch.bfloat16
    assert float((found.float() - wanted).square().mean().sqrt() / wanted.std()) < 0.02


@pytest.mark.parametrize(("matrix", "bf16", "first"), [(True, True, False), (False, True, True), (False, False, False)])
def test_what_comes_first_depends_on_the_processor(
    matrix: bool, bf16: bool, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrix, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16, raising=False)
    assert filters._multiplies_first.__wrapped__() is first
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert not filters._multiplies_first.__wrapped__()


@pytest.mark.parametrize("others", [0, 1, 2])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_what_is_enlarged_lies_beside_others_where_the_next_layer_reads_it(others: int, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 12, 5, 7, dtype=kind).contiguous(memory_format=torch.channels_last)
    beside = [torch.randn(1, 1 + number, 10, 14, dtype=kind).expand(2, -1, -1, -1) for number in range(others)]
    wanted = torch.cat([F.pixel_shuffle(x, 2), *beside], dim=1)
    with torch.inference_mode():
        found = enlarged_beside(x, beside)
    assert torch.equal(found, wanted)
    assert found.is_contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    enlarged_beside(x, beside).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
