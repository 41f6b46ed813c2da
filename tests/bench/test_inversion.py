"""The measurement of searches: what it counts, and its plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restorer.bench import inversion
from restorer.bench.tools import real_faces
from restorer.models import load_network
from restorer.networks.stylegan2 import StyleGAN2Generator
from restorer.storage.pictures import save_picture
from tests.support.reader import portrait


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


def test_real_faces_are_searched_for(network: StyleGAN2Generator, tmp_path: Path) -> None:
    """A face is found and aligned; PULSE's levels and the tasks' figures are told, and a sheet shows them."""
    save_picture(Image.fromarray(portrait(320)), tmp_path / "face.png")
    faces = list(real_faces.aligned_faces([tmp_path, tmp_path / "face.png"], 3, 128))
    assert [name for name, _ in faces] == ["face", "face"]
    assert faces[0][1].shape == (128, 128, 3)
    assert 60 < faces[0][1].mean() < 200
    reached = real_faces.pulse_reaches(network, faces[:1], 16, steps=2)
    assert list(reached["levels"]) == ["face"]
    assert reached["met"] == 0
    assert reached["levels"]["face"] == reached["mean"] > reached["allowed"]
    rows = inversion.real_tasks(faces[:1], ["inpaint", "super-resolution"], 1, tmp_path / "sheet.png")
    assert [(row["face"], row["task"]) for row in rows] == [("face", "inpaint"), ("face", "super-resolution")]
    assert rows[1]["answer"] > 0.9 * rows[1]["input"]  # whatever the answer, the small face is the photo's
    assert rows[0]["answer"] > rows[0]["input"]
    assert Image.open(tmp_path / "sheet.png").size == (5 * 128, 128 + 16)
