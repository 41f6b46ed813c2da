"""The convolution of a generator that is searched: the same pictures and gradients as autograd's, for less."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from restorer.networks.frozen_conv import FrozenConv
from restorer.networks.stylegan2 import StyledConv, StyleGAN2Generator


@pytest.fixture(scope="module")
def network() -> StyleGAN2Generator:
    """A generator in double precision with noise, some of whose features are fewer than the weights, some more."""
    torch.manual_seed(0)
    made = StyleGAN2Generator(32, style_dim=8, n_mlp=1, narrow=0.03)
    made.init_weights()
    for module in made.modules():
        if isinstance(module, StyledConv):
            torch.nn.init.normal_(module.noise_gain)
            torch.nn.init.normal_(module.bias)
    return made.double().requires_grad_(False)


def gradients(network: StyleGAN2Generator, w: Tensor, noise: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return pictures, and the gradients of latents and noise of a loss that weighs every pixel differently."""
    leaves = [each.clone().requires_grad_() for each in (w, *noise)]
    pictures = network.synthesize(leaves[0], leaves[1:])
    weights = torch.randn(pictures.shape, dtype=pictures.dtype, generator=torch.Generator().manual_seed(5))
    return pictures.detach(), list(torch.autograd.grad((pictures * weights).sum(), leaves))


@pytest.mark.parametrize(("count", "maps"), [(1, 1), (3, 3), (3, 1)])
def test_pictures_and_gradients_are_autograds(
    network: StyleGAN2Generator, count: int, maps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For one picture and several, with a noise for each and one for all."""
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(count, network.num_latents, network.style_dim, generator=generator).double()
    noise = [torch.randn(maps, 1, *each.shape[2:], generator=generator).double() for each in network.stored_noise()]
    calls: list[int] = []
    plain = FrozenConv.apply

    def counted(*given: Any) -> Any:
        calls.append(1)
        return plain(*given)

    monkeypatch.setattr(FrozenConv, "apply", counted)
    ours = gradients(network, w, noise)
    assert len(calls) == network.num_convs
    # Parameters that are trained leave everything to autograd.
    usual = gradients(copy.deepcopy(network).requires_grad_(True), w, noise)
    assert len(calls) == network.num_convs
    assert (ours[0] - usual[0]).abs().max() < 1e-12 * usual[0].abs().max()
    for mine, wanted in zip(ours[1], usual[1], strict=True):
        assert mine.shape == wanted.shape
        assert (mine - wanted).abs().max() < 1e-10 * max(float(wanted.abs().max()), 1.0)


@pytest.mark.parametrize("enlarge", [False, True])
@pytest.mark.parametrize("side", [2, 12])
def test_the_gradient_is_that_of_small_steps(enlarge: bool, side: int) -> None:
    """Also where a style is 0; checked by differences, so without autograd's own formulas."""
    torch.manual_seed(2)
    factor = 2 if enlarge else 1
    style = torch.randn(2, 3).double()
    style[0, 1] = 0.0
    given = [
        torch.randn(2, 3, side, side).double(), style, torch.rand(2, 4).double() + 0.5,
        torch.randn(2, 1, factor * side, factor * side).double(),
    ]  # fmt: skip
    bias, weight = torch.randn(4).double(), torch.randn(*((3, 4) if enlarge else (4, 3)), 3, 3).double()
    leaves = [each.requires_grad_() for each in given]
    assert torch.autograd.gradcheck(
        lambda x, s, d, n: FrozenConv.apply(x, s, d, n, bias, weight, enlarge), leaves, fast_mode=True, atol=1e-4
    )


def test_without_a_gradient_nothing_is_kept(network: StyleGAN2Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrozenConv, "apply", lambda *_: pytest.fail("a run that is no search has no use for it"))
    w = torch.randn(2, network.num_latents, network.style_dim).double()
    with torch.no_grad():
        network.synthesize(w.clone().requires_grad_())
    with torch.inference_mode():
        network.synthesize(w)
    # What such a run has left behind is no hindrance to a search after it.
    monkeypatch.undo()
    assert gradients(network, w, network.stored_noise())[1][0].isfinite().all()
