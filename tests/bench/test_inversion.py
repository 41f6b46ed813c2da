"""The measurement of searches: what it counts, and its plot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restorer.bench import inversion
from restorer.models import load_network
from restorer.networks.stylegan2 import StyleGAN2Generator


@pytest.fixture(scope="module")
def network() -> StyleGAN2Generator:
    found = load_network("tiny-prior", offline=True)
    assert isinstance(found, StyleGAN2Generator)
    return found


def test_what_is_counted(network: StyleGAN2Generator) -> None:
    pulse = inversion.pulse_meets(network, 2, steps=3)
    assert (pulse["seeds"], pulse["met"], pulse["steps"]) == (2, 0, 3)
    assert pulse["worst"] > pulse["allowed"]
    row = inversion.codes_reach(network, 2, 1, steps=3)
    assert 3 < row["psnr"] <= row["worst"] + 1e-9 < 30
    speed = inversion.steps_a_second(network, 1, rounds=1)
    for name in ("one_by_one", "plain_loop"):
        assert speed[f"times_{name}"] == pytest.approx(speed[name] / speed["together"], rel=0.2)


def test_the_plain_form_draws_the_same_pictures(network: StyleGAN2Generator) -> None:
    z = torch.randn(2, network.style_dim, generator=torch.Generator().manual_seed(1))
    ours, plain = network(z), inversion.plain_form(network)(z)
    assert (ours - plain).abs().max() < 1e-3 * ours.std()


def test_the_plot_rises_where_the_figures_do() -> None:
    rows = [{"codes": codes, "psnr": value} for codes, value in ((1, 20.0), (10, 25.0), (20, 32.0))]
    picture = inversion.plot(rows)
    curve = (np.abs(picture.astype(int) - (180, 90, 30)).sum(2) == 0).argmax(0)
    drawn = curve[curve > 0]
    assert drawn[0] > drawn[-1]
    assert len(drawn) > 200
