"""RetinaFace without its batch norms finds what it finds with them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from restorer.engine.arithmetic import RULES, Rule
from restorer.engine.device import Device
from restorer.engine.torch_engine import TorchNetwork
from restorer.models import REGISTRY
from restorer.models.base import LoadedNetwork
from restorer.networks.facexlib_networks import Activated, fold_norms
from restorer.networks.winograd import WinogradConv2d
from restorer.weights import resolve


@pytest.mark.parametrize(
    ("table", "backbone"), [("retinaface-mobilenet0.25", "mobile0.25"), ("retinaface-r50", "resnet50")]
)
def test_at_work_it_has_no_batch_norms_and_finds_the_same(
    table: str, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restorer.engine.torch_engine.capability", lambda: "here")
    monkeypatch.setitem(RULES, "here", Rule(16, 16, 16))
    architecture = REGISTRY.architecture_of(resolve(table))
    torch.manual_seed(0)
    network = architecture.build({"network_name": backbone}).eval().requires_grad_(False)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1), part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            part.weight.uniform_(0.5, 1.5), part.bias.normal_(0, 0.1)
    loaded = LoadedNetwork(copy.deepcopy(network), resolve(table), architecture)
    at_work = TorchNetwork(loaded, Device("cpu", "fp32"))
    picture = torch.rand(1, 3, 64, 96) * 2 - 1
    with torch.inference_mode():
        wanted = network(picture)
    found = at_work(picture)
    assert float((found - wanted).abs().max() / wanted.std()) < 1e-3
    assert torch.equal(at_work(picture), found)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in loaded.network.modules())
    quick = [part.quick for part in loaded.network.modules() if isinstance(part, WinogradConv2d)]
    assert any(each._transformed is not None for each in quick)
    assert any(isinstance(part, Activated) for part in loaded.network.modules())


def test_what_is_no_row_of_its_own_stays() -> None:
    alone = nn.Sequential(
        nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3), nn.ConvTranspose2d(3, 3, 1)
    )
    network = nn.Sequential(alone, nn.BatchNorm2d(3)).eval()
    picture = torch.randn(2, 3, 5, 7)
    with torch.inference_mode():
        wanted = network(picture)
        fold_norms(network)
        torch.testing.assert_close(network(picture), wanted)
    assert sum(isinstance(part, nn.BatchNorm2d) for part in network.modules()) == 3
