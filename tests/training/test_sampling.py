"""Pictures of each prior, and the walk from one draw to another."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restorer.errors import UsageError
from restorer.models.base import LoadedNetwork
from restorer.networks.dcgan import DCGANGenerator, init_weights
from restorer.training.sampling import draw, walk
from tests.support.golden import FOLDER, Record, load
from tests.support.in_process import restore


@pytest.fixture
def dcgan(tmp_path: Path) -> LoadedNetwork:
    torch.manual_seed(0)
    network = DCGANGenerator(features=8)
    init_weights(network)
    torch.save(network.state_dict(), tmp_path / "dcgan.pth")
    return load("dcgan", tmp_path / "dcgan.pth")


def test_a_walk_goes_from_the_first_draw_to_the_second_in_small_steps(dcgan: LoadedNetwork) -> None:
    ends, strip = draw(dcgan, 2, seed=4), walk(dcgan, 20, seed=4)
    assert len(strip) == 20
    assert np.abs(strip[0].astype(int) - ends[0]).max() <= 1
    assert np.abs(strip[-1].astype(int) - ends[1]).max() <= 1
    apart = [np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(strip)]
    assert max(apart) < 0.5 * np.abs(ends[0].astype(int) - ends[1]).mean()
    assert min(apart) > 0
    with pytest.raises(UsageError, match="two ends"):
        walk(dcgan, 1)


def test_the_command_writes_a_strip(
    dcgan: LoadedNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    restore(capsys, "models", "import", "dcgan.pth", "--name", "dcgan")
    restore(capsys, "sample", "dcgan", "--walk", "--count", "9", "-o", "walk.png", "--offline")
    assert Image.open("walk.png").size == (9 * 64, 64)


def test_the_older_priors_draw_too(tmp_path: Path) -> None:
    for name in ("stylegan1_128_narrow", "stylegan1_mapping", "pggan_64_narrow"):
        Record.read(FOLDER / f"{name}.json").write(tmp_path / f"{name}.pth")
    assert draw(load("pggan", tmp_path / "pggan_64_narrow.pth"), 2)[0].shape == (64, 64, 3)
    prior = load("stylegan1", tmp_path / "stylegan1_128_narrow.pth")
    mapping = load("stylegan1-mapping", tmp_path / "stylegan1_mapping.pth").network
    first, second = draw(prior, 2, mapping=mapping)
    assert first.shape == (128, 128, 3)
    assert not np.array_equal(first, second)
    with pytest.raises(UsageError, match="mapping network"):
        draw(prior, 1)
