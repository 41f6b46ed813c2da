"""Group normalisation keeps its digits in either layout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from restorer.models import REGISTRY
from restorer.networks import norms
from restorer.networks.codeformer import Fusion
from restorer.networks.norms import GroupNorm
from restorer.networks.vqgan import ResBlock


def norm(channels: int = 64) -> GroupNorm:
    torch.manual_seed(1)
    made = GroupNorm(32, channels, eps=1e-6)
    torch.nn.init.normal_(made.weight)
    torch.nn.init.normal_(made.bias)
    return made.requires_grad_(False)


def features(count: int, channels: int, height: int, width: int) -> Tensor:
    """Return features (n, c, h, w), channels innermost, whose channels differ in mean and deviation."""
    torch.manual_seed(2)
    scale, middle = torch.rand(channels) * 3 + 0.1, torch.randn(channels) * 5
    made = torch.randn(count, channels, height, width) * scale[:, None, None] + middle[:, None, None]
    return made.to(memory_format=torch.channels_last)


def wanted(layer: GroupNorm, x: Tensor, swish: bool) -> Tensor:
    exact = F.group_norm(x.double(), layer.num_groups, layer.weight.double(), layer.bias.double(), layer.eps)
    return F.silu(exact) if swish else exact


@pytest.mark.parametrize("swish", [False, True])
@pytest.mark.parametrize("size", [(1, 64, 9, 13), (2, 96, 40, 8), (1, 64, 300, 200), (3, 32, 1, 7)])
def test_the_layout_makes_no_difference(size: tuple[int, int, int, int], swish: bool) -> None:
    x, layer = features(*size), norm(size[1])
    with torch.no_grad():
        found = layer.swished(x) if swish else layer(x)
        plain = layer.swished(x.contiguous()) if swish else layer(x.contiguous())
    exact = wanted(layer, x, swish)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 2e-5
    assert (plain - exact).abs().max() < 2e-5


def test_a_mean_far_from_nothing_costs_no_digits() -> None:
    x, layer = features(1, 64, 200, 200) * 0.01 + 100, norm()
    with torch.no_grad():
        found = layer(x)
    assert (found - wanted(layer, x, False)).abs().max() < 1e-3  # the features themselves are rounded to 4e-6


def test_half_precision_is_rounded_once_at_the_end() -> None:
    x, layer = features(1, 64, 50, 60).bfloat16(), norm()
    with torch.no_grad():
        found = layer.swished(x)
    assert found.dtype == torch.bfloat16
    exact = wanted(layer, x, True)
    assert ((found - exact).abs() <= exact.abs() / 256 + 1e-5).all()


def test_with_gradients_it_is_torchs_own() -> None:
    x, layer = features(1, 64, 10, 12).requires_grad_(), norm()
    layer.swished(x).sum().backward()  # type: ignore[no-untyped-call]
    found = x.grad
    other = x.detach().clone().requires_grad_()
    F.silu(F.group_norm(other, 32, layer.weight, layer.bias, 1e-6)).sum().backward()  # type: ignore[no-untyped-call]
    assert found is not None
    assert other.grad is not None
    assert torch.allclose(found, other.grad, atol=1e-5)


def test_what_is_gone_through_at_a_time_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    x, layer = features(1, 64, 37, 20), norm()
    with torch.no_grad():
        whole = layer.swished(x)
        for strip, summed in ((3 * 64 * 20 * 4, 100), (1, 7), (1 << 30, 1)):
            monkeypatch.setattr(norms, "_STRIP", strip)
            monkeypatch.setattr(norms, "_SUMMED", summed)
            assert torch.allclose(layer.swished(x), whole, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_result_takes_the_room_of_the_features_where_it_may(kind: torch.dtype) -> None:
    x, layer = features(2, 64, 30, 20).to(kind), norm()
    kept = x.clone()
    with torch.no_grad():
        apart = layer.swished(x)
        assert torch.equal(x, kept)
        found = layer.swished(x, inplace=True)
    assert found.data_ptr() == x.data_ptr()
    assert torch.equal(found, apart)


def test_a_block_lets_its_input_be(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    swish = GroupNorm.swished
    for block in (ResBlock(64, 64).requires_grad_(False), ResBlock(64, 96).requires_grad_(False)):
        x = features(1, 64, 20, 20)
        kept, wanted = x.clone(), block(x)
        rooms: list[int] = []

        def watched(layer: GroupNorm, x: Tensor, *, inplace: bool = False, rooms: list[int] = rooms) -> Tensor:
            made = swish(layer, x, inplace=inplace)
            rooms.append(int(made.data_ptr() == x.data_ptr()))
            return made

        with torch.no_grad(), monkeypatch.context() as changed:
            changed.setattr(GroupNorm, "swished", watched)
            found = block(x)
        assert torch.equal(x, kept)
        assert torch.allclose(found, wanted, atol=1e-5)
        assert rooms == [0, 1]  # the second norm takes the room of the first convolution's result


def test_the_encoder_counts_as_much_with_gradients_and_without() -> None:
    torch.manual_seed(0)
    fusion = Fusion(64)
    generated, encoded = features(1, 64, 20, 20), features(1, 64, 20, 20).flip(2)
    kept = generated.clone(), encoded.clone()
    for fidelity in (0.3, torch.tensor(0.7)):
        wanted = fusion(generated, encoded, fidelity)
        with torch.no_grad():
            found = fusion(generated, encoded, fidelity)
        assert torch.allclose(found, wanted, atol=1e-5)
    assert torch.equal(generated, kept[0])
    assert torch.equal(encoded, kept[1])


@pytest.mark.parametrize("name", ["codeformer", "restoreformer"])
def test_networks_of_the_codebook_family_have_channels_innermost_on_a_cpu(name: str) -> None:
    assert REGISTRY[name].channels_last
