"""Which layers compute by fewer multiplications: what the rules say, and nothing that a run could change."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from restorer.engine import arithmetic
from restorer.engine.arithmetic import RULES, Rule, quicken
from restorer.engine.device import Device
from restorer.engine.torch_engine import TorchNetwork
from restorer.models import REGISTRY
from restorer.models.base import LoadedNetwork
from restorer.networks.gfpgan import GFPGAN
from restorer.networks.parsenet import ParseNet
from restorer.networks.stylegan2 import StyledConv
from restorer.networks.winograd import WinogradConv2d
from restorer.weights import resolve


def _quick(network: nn.Module) -> list[str]:
    """Return which layers are computed so."""
    return [
        name
        for name, part in network.named_modules()
        if isinstance(part, WinogradConv2d) or (isinstance(part, StyledConv) and part.quick is not None)
    ]


def _gfpgan() -> GFPGAN:
    torch.manual_seed(0)
    return GFPGAN(64, num_style_feat=32, narrow=0.125).eval().requires_grad_(False)


def test_a_network_at_work_computes_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "capability", lambda: "here")
    monkeypatch.setattr("restorer.engine.torch_engine.capability", lambda: "here")
    monkeypatch.setitem(RULES, "here", Rule(8, 8, 16))
    network = _gfpgan()
    table = resolve("gfpgan-1.4")
    loaded = LoadedNetwork(copy.deepcopy(network), table, REGISTRY.architecture_of(table))
    at_work = TorchNetwork(loaded, Device("cpu", "fp32"))
    assert len(_quick(loaded.network)) > 10
    faces = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        wanted = network(faces)
    found = at_work(faces)
    assert float((found - wanted).abs().max() / wanted.std()) < 1e-3
    assert torch.equal(at_work(faces), found)
    assert loaded.network.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize("coarse", [True, False])
def test_a_parser_says_the_same_of_each_pixel(coarse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "here", Rule(8, 8, 16))
    torch.manual_seed(0)
    network = ParseNet(in_size=128, out_size=128, min_feat_size=16, base_ch=32, res_depth=1).eval()
    picture = torch.rand(2, 3, 128, 128) * 2 - 1
    with torch.inference_mode():
        wanted = network(picture, coarse=coarse)
        before = arithmetic.described(network)
        count = quicken(network, "here")
        found = network(picture, coarse=coarse)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(picture, coarse=coarse)
    assert float((found - wanted).abs().max() / wanted.std()) < 1e-4
    assert half.dtype == torch.bfloat16
    assert before == {"convolutions": "direct"}
    told = arithmetic.described(network)
    assert told["layers"] == count > 6
    used = [quick for part in network.modules() for quick in getattr(part, "quick", {}).values()]
    assert any(quick._transformed is not None for quick in used)
    monkeypatch.setattr(arithmetic, "BUDGET", 0)
    assert quicken(ParseNet(in_size=128, out_size=128), "here") == 0


def test_half_precision_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restorer.engine.torch_engine.capability", lambda: "here")
    monkeypatch.setitem(RULES, "here", Rule(8, 8, 16))
    table = resolve("gfpgan-1.4")
    loaded = LoadedNetwork(_gfpgan(), table, REGISTRY.architecture_of(table))
    TorchNetwork(loaded, Device("cpu", "bf16"))
    assert _quick(loaded.network) == []


def test_the_weights_kept_are_bounded_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "here", Rule(8, 8, 16))
    network, again = _gfpgan(), _gfpgan()
    monkeypatch.setattr(arithmetic, "BUDGET", 1 << 20)
    count = quicken(network, "here")
    kept = [part.quick for part in network.modules() if getattr(part, "quick", None) is not None]
    assert len(kept) == count > 2
    assert sum(each.bytes for each in kept) <= 1 << 20  # type: ignore[union-attr, misc]
    assert quicken(again, "here") == count
    assert _quick(again) == _quick(network)
    monkeypatch.setattr(arithmetic, "BUDGET", 0)
    assert quicken(_gfpgan(), "here") == 0


def test_layers_that_never_see_enough_pixels_take_none_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "here", Rule(8, 8, 32 * 32))
    network = _gfpgan()
    quicken(network, "here")
    sides = [part.side for part in network.modules() if isinstance(part, StyledConv) and part.quick is not None]
    assert sides == [32, 64]
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))
    kept = {name: part.quick for name, part in network.named_modules() if hasattr(part, "quick") and part.quick}
    assert sum(isinstance(network.get_submodule(name), WinogradConv2d) for name in kept) > 3
    # What was never transformed was never called with features that are large enough.
    assert [name for name, quick in kept.items() if quick._transformed is None] == []


def test_nothing_is_done_where_nothing_was_measured() -> None:
    network = nn.Sequential(nn.Conv2d(512, 512, 3, padding=1))
    assert quicken(network, "DEFAULT") == 0
    assert type(network[0]) is nn.Conv2d


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 3, 2, 1),
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, 1, 1, groups=2),
        nn.Conv2d(8, 8, 3, 1, 2, dilation=2),
        nn.Conv2d(8, 8, 3, 1, 1, padding_mode="reflect"),
    ],
)
def test_other_convolutions_are_left_alone(convolution: nn.Conv2d, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "here", Rule(1, 1, 1))
    assert quicken(nn.Sequential(convolution), "here") == 0
