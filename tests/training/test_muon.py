"""Muon: steps of equal length in every direction."""

from __future__ import annotations

import pytest
import torch

from restorer.training.muon import Muon, orthogonal


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
