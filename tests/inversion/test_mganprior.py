"""mGANprior's search, pinned by the trace of its authors' code; each prior, each task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from restorer.inversion.codes import DCGANPrior, PGGANPrior, StyleGAN2CodePrior, code_prior
from restorer.inversion.course import Limits
from restorer.inversion.mganprior import CodeSearch, CodeSettings, CodeStart, Pulls, draw_codes
from restorer.inversion.operators import grey, whole
from restorer.models import REGISTRY, load_network
from restorer.networks.dcgan import DCGANGenerator, init_weights
from restorer.networks.pggan import PGGANGenerator
from restorer.networks.stylegan2 import StyleGAN2Generator
from tests.support.golden import FOLDER, Record

CLOSE = 1e-6


def pggan(dtype: torch.dtype) -> PGGANGenerator:
    record = Record.read(FOLDER / "pggan_64_narrow.json")
    architecture = REGISTRY["pggan"]
    arguments = {**architecture.defaults, **record.content["arguments"]}
    network = architecture.build(arguments).to(dtype)
    state = {key: value.to(dtype) for key, value in record.state().items()}
    network.load_state_dict(architecture.convert(state, arguments))
    assert isinstance(network, PGGANGenerator)
    return network.requires_grad_(False)


def test_ten_steps_are_those_of_the_reference() -> None:
    record = Record.read(FOLDER / "mganprior_trace_64.json").content
    tensors = {key: value.double() for key, value in load_file(FOLDER / "mganprior_trace_64.safetensors").items()}
    prior = PGGANPrior(pggan(torch.float64))
    settings = CodeSettings(codes=record["codes"], layer=record["layer"], adam=False, rate=record["lr"])
    start = CodeStart(tensors["z"], tensors["channel_weights"], [])
    search = CodeSearch(prior, tensors["target"], whole, start, settings)
    for wanted in record["loss_float64"]:
        search.step()
        assert search.errors.item() == pytest.approx(wanted, rel=CLOSE)
    assert (search.codes - tensors["z_final_float64"]).abs().max() < CLOSE
    assert (search.weights - tensors["channel_weights_final_float64"]).abs().max() < CLOSE
    assert (search.pictures() - tensors["image_final"]).abs().max() < 1e-3  # of the run in float32


def dcgan() -> DCGANPrior:
    torch.manual_seed(0)
    network = DCGANGenerator(features=8)
    init_weights(network)
    return DCGANPrior(network.eval().requires_grad_(False))


def stylegan2() -> StyleGAN2CodePrior:
    network = load_network("tiny-prior", offline=True)
    assert isinstance(network, StyleGAN2Generator)
    return StyleGAN2CodePrior(network)


PRIORS: dict[str, Callable[[], Any]] = {
    "pggan": lambda: PGGANPrior(pggan(torch.float32)), "stylegan2": stylegan2, "dcgan": dcgan,
}  # fmt: skip


@pytest.mark.parametrize("name", PRIORS)
def test_one_code_joined_with_itself_is_the_priors_own_picture(name: str) -> None:
    """At every layer."""
    prior = PRIORS[name]()
    code = prior.draw(1, torch.Generator().manual_seed(1))
    network = prior._network
    with torch.no_grad():
        alone = network.synthesize(code[0]) if name == "stylegan2" else network(code[0])
        for layer in range(1, prior.layers):
            codes = code.expand(1, 3, -1)
            weights = torch.ones(1, 3, prior.width(layer))
            rest = [code.expand_as(each) for each in prior.rest(codes)]
            joined = prior.pictures(codes, weights, layer, rest)
            assert joined.shape == (1, 3, prior.size, prior.size)
            assert (joined - alone).abs().max() < 1e-3 * alone.std()


@pytest.mark.parametrize("name", PRIORS)
def test_searches_go_downhill_each_for_itself(name: str) -> None:
    prior = PRIORS[name]()
    settings = CodeSettings(codes=3, layer=2, rate=0.05)
    target = _own(prior, settings)
    both = CodeSearch(prior, target, whole, draw_codes(prior, [1, 2], settings), settings)
    alone = CodeSearch(prior, target, whole, draw_codes(prior, [2], settings), settings)
    errors = []
    for _ in range(8):
        both.step()
        alone.step()
        errors.append(both.errors)
    assert (errors[-1] < errors[0]).all()
    assert (both.codes[1] - alone.codes[0]).abs().max() < 0.02
    found = both.run(Limits(8))
    assert [each.met for each in found] == [None, None]
    assert found[0].error == pytest.approx(255 / 2 * float(min(each[0] for each in errors)) ** 0.5, rel=1e-3)


def _own(prior: Any, settings: CodeSettings) -> Tensor:
    start = draw_codes(prior, [50], settings)
    with torch.no_grad():
        pictures: Tensor = prior.pictures(start.codes, start.weights, settings.layer, start.rest)
    return pictures


def test_what_is_seen_is_what_counts() -> None:
    """A search for a brightness alone is as content with any colours."""
    prior = stylegan2()
    settings = CodeSettings(codes=2, layer=2)
    start = draw_codes(prior, [1], settings)
    target = prior.pictures(start.codes, start.weights, 2, start.rest)
    search = CodeSearch(prior, grey(target), grey, start, settings)
    search.step()
    assert search.errors.item() < 1e-10


def test_features_take_part_in_the_loss() -> None:
    prior = dcgan()
    settings = CodeSettings(codes=2, layer=2, perceptual=0.5)
    target = _own(prior, settings)

    def features(pictures: Tensor) -> list[Tensor]:
        return [torch.nn.functional.avg_pool2d(pictures, 8), pictures.diff(dim=-1)]

    plain = CodeSearch(prior, target, whole, draw_codes(prior, [1], settings), settings)
    felt = CodeSearch(prior, target, whole, draw_codes(prior, [1], settings), settings, features)
    plain.step()
    felt.step()
    assert felt.best.losses[0] > plain.best.losses[0]
    assert felt.best.squared == plain.best.squared
    assert not torch.equal(felt.codes, plain.codes)


def test_what_is_no_prior_with_codes() -> None:
    assert code_prior(torch.nn.Linear(1, 1)) is None
    assert code_prior(StyleGAN2Generator(8, style_dim=4, n_mlp=0, narrow=0.01)) is None


# ------------------------------------------------------------------------------------------------- held to the prior


def test_how_far_from_the_draws() -> None:
    """A drawn latent is 1 deviation away in each direction, the middle none."""
    prior = stylegan2()
    z = torch.randn(1, 400, prior.code_dim, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        w = prior._mapping(z[0])[None]
    first, last = prior.unlikely(w, [w[:, : prior.layers + 1]], 2)
    assert first.item() == pytest.approx(1, rel=0.25)
    assert last.item() == pytest.approx(1, rel=0.4)
    middle = torch.nn.functional.leaky_relu(prior.spread[0], 0.2)[None, None]
    assert prior.unlikely(middle, [middle.expand(1, prior.layers + 1, -1)], 2)[0].item() < 1e-3
    normal = dcgan().draw(300, torch.Generator().manual_seed(4))
    assert dcgan().unlikely(normal, [], 2)[0].item() == pytest.approx(1, rel=0.1)


def test_a_pull_keeps_a_search_near_the_draws() -> None:
    """Free codes go many deviations away for a picture that no code draws; held ones do not, and agree a bit less."""
    prior = stylegan2()
    noise = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    target = torch.nn.functional.interpolate(noise, (128, 128), mode="bilinear") * 0.5
    errors, away = [], []
    for pulls in (Pulls(), Pulls(codes=0.05, rest=0.05, weights=0.05)):
        settings = CodeSettings(codes=2, layer=4, pulls=pulls)
        search = CodeSearch(prior, target, grey, draw_codes(prior, [1], settings), settings)
        for _ in range(15):
            search.step()
        errors.append(search.errors.item())
        away.append(prior.unlikely(search.codes, search._descent.parameters[2:], 4)[0].item())
    assert away[0] > 4 * away[1]
    assert errors[0] < errors[1]


def test_items_end_at_what_is_enough() -> None:
    """Each for itself: what one found does not depend on how long another goes on."""
    prior = dcgan()
    settings = CodeSettings(codes=2, layer=2, rate=0.02)
    target = _own(prior, settings)
    start = draw_codes(prior, [1, 2], settings)
    free = [CodeSearch(prior, target, whole, draw_codes(prior, [seed], settings), settings) for seed in (1, 2)]
    ways = [search.run(Limits(30))[0].error for search in free]
    enough = (1.2 * max(ways) / 255) ** 2
    stopping = replace(settings, enough=enough)
    both = CodeSearch(prior, target, whole, start, stopping).run(Limits(30))
    for seed, each in zip((1, 2), both, strict=True):
        alone = CodeSearch(prior, target, whole, draw_codes(prior, [seed], settings), stopping).run(Limits(30))[0]
        assert each.steps < 30
        assert (each.steps, each.step) == (alone.steps, alone.step)
        assert (each.picture - alone.picture).abs().max() < 0.02
        assert each.error <= 255 * enough**0.5
