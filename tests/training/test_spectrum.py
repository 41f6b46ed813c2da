"""The loss and the measure of regular patterns."""

from __future__ import annotations

import torch

from restorer.training.spectrum import mesh, power, rings, spectral_loss


def noise(count: int = 8, size: int = 128, seed: int = 0) -> torch.Tensor:
    grey = torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(seed)) * 0.05
    return grey.expand(-1, 3, -1, -1)


def pattern(size: int = 128, period: float = 6.4, strength: float = 0.03) -> torch.Tensor:
    wave = torch.cos(torch.arange(size) * 2 * torch.pi / period)
    return (strength * wave[:, None] * wave[None, :]).expand(1, 3, -1, -1)


def test_white_noise_has_its_variance_at_every_frequency() -> None:
    found = power(noise())
    assert found.shape == (8, 9, 64, 33)
    assert 0.9 < (found[..., 3:, 3:-1].mean() / (0.05 * 127.5) ** 2).item() < 1.1


def test_rings_count_periods() -> None:
    found = rings(64)
    assert [int(found[place]) for place in ((0, 5), (5, 0), (-5, 0), (3, 4))] == [5, 5, 5, 5]


def test_the_same_texture_elsewhere_costs_little_and_a_mesh_much() -> None:
    truth, other = noise(), noise(seed=1)
    smooth = torch.zeros_like(truth)
    same, mesh_added, waxen = (spectral_loss(x, truth).item() for x in (other, other + pattern(), smooth))
    assert same < 0.8
    assert mesh_added > 1.5 * same
    assert waxen > 2.0
    assert spectral_loss(truth, truth).item() == 0


def test_the_loss_has_a_gradient_that_takes_the_mesh_away() -> None:
    strength = torch.tensor(0.03, requires_grad=True)
    loss = spectral_loss(noise(seed=1) + pattern(strength=1.0) * strength, noise())
    (gradient,) = torch.autograd.grad(loss, strength)
    assert gradient > 0
    assert torch.isfinite(gradient)


def test_a_mesh_stands_out() -> None:
    plain = noise(4)
    assert (mesh(plain) < 8).all()
    assert (mesh(plain + pattern()) > 12).all()
    assert mesh(torch.zeros(2, 3, 32, 32)).shape == (2,)
