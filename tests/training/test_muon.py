"""Muon: steps of equal length in every direction."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from restorer.training.muon import Muon, MuonAndAdam, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 50
    found = orthogonal(matrix)
    assert found.shape == matrix.shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.4
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    nearest = left @ right
    assert (found * nearest).sum() / (found.norm() * nearest.norm()) > 0.95


def test_it_goes_down_and_its_state_is_kept() -> None:
    torch.manual_seed(0)
    wanted = torch.randn(8, 4, 3, 3)
    weight = torch.nn.Parameter(torch.zeros(8, 4, 3, 3))
    optimiser = Muon([weight], lr=0.05)

    def loss() -> torch.Tensor:
        return (weight - wanted).square().mean()

    before = loss().item()
    for _ in range(60):
        optimiser.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss().item() < before / 2
    other = Muon([torch.nn.Parameter(weight.detach().clone())], lr=0.05)
    other.load_state_dict(optimiser.state_dict())
    assert torch.equal(*(each.state[each.param_groups[0]["params"][0]]["average"] for each in (optimiser, other)))


def test_rates_rise_hold_and_fall_and_the_outer_layers_are_adams() -> None:
    network = nn.ModuleDict({"first": nn.Conv2d(3, 4, 3), "body": nn.Conv2d(4, 4, 3)})
    values = {"lr": 0.02, "lr_adam": 1e-3, "betas": [0.9, 0.99], "steps": 100, "warmup": 10, "falls": 0.4}
    both = MuonAndAdam(network, values, ("first.",))
    muon, adam = both.parts()["optimiser"], both.parts()["optimiser_of_rest"]
    assert isinstance(muon, torch.optim.Optimizer)
    assert isinstance(adam, torch.optim.Optimizer)
    assert [id(value) for value in muon.param_groups[0]["params"]] == [id(network.get_parameter("body.weight"))]
    assert len(adam.param_groups[0]["params"]) == 3
    for step, part in ((1, 0.1), (5, 0.5), (10, 1), (60, 1), (81, 0.5), (100, 1 / 40)):
        both.begin(step)
        assert muon.param_groups[0]["lr"] == pytest.approx(0.02 * part)
        assert adam.param_groups[0]["lr"] == pytest.approx(1e-3 * part)
    before = copy.deepcopy(network.state_dict())
    torch.autograd.backward([sum((value.square().sum() for value in network.parameters()), torch.zeros(()))])
    both.step()
    assert not [name for name, value in network.state_dict().items() if torch.equal(value, before[name])]
    both.begin(2)
    assert not [name for name, value in network.named_parameters() if value.grad is not None]
