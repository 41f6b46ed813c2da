"""Training the upscaler: its degradation, both factors, resuming, and a result that enlarges photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from restorer import weights
from restorer.background import NetworkUpscaler
from restorer.device import Device
from restorer.errors import UsageError
from restorer.registry import load
from restorer.training.loop import Place, run
from restorer.training.recipe import load_recipe, parse_recipe
from restorer.training.upscaling import MILD, MildDegradation, UpscalerTrainer, at_factor, reduce
from tests.test_training import column, rows

RECIPE = """
recipe = "upscaler"
name = "mine"
seed = 3
precision = "fp32"
log_every = 1
checkpoint_minutes = 0.0
steps = 60
batch = 4
side = 16
lr = 2e-3
warmup = 5
texture_from = 4
[network]
num_feat = 8
num_conv = 2
[losses]
l1 = 1.0
texture = 0.02
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs with edges, one of them smaller than the squares that are drawn."""
    folder = tmp_path_factory.mktemp("photos")
    for index, size in enumerate([(90, 120), (50, 60)]):
        picture = np.full((*size, 3), 90, np.uint8)
        for k in range(12):
            cv2.circle(picture, (9 * k, 7 * k % 50), 4 + k, (20 * k, 250 - 20 * k, 120), -1)
        Image.fromarray(picture).save(folder / f"{index}.png")
    return folder


def trainer(text: str, photos: Path) -> UpscalerTrainer:
    return UpscalerTrainer(parse_recipe(text, photos, "test"), photos, Place(torch.device("cpu")))


def test_the_loss_falls_and_the_result_enlarges_photos(photos: Path, tmp_path: Path) -> None:
    made = trainer(RECIPE.replace("checkpoint_minutes = 0.0", "checkpoint_minutes = 9.0"), photos)
    run(made, tmp_path)
    found = column(tmp_path, "l1")
    assert np.mean(found[-10:]) < 0.85 * np.mean(found[:5])
    assert [bool(row["texture"]) for row in rows(tmp_path)[:6]] == [False] * 4 + [True] * 2
    assert made.sample().size == (4 * 64, 16 + 4 * 64)
    file = made.export(tmp_path)[0]
    loaded = load(weights.resolve(str(file)), file)
    photo = np.asarray(Image.open(photos / "1.png"))
    for size in ((120, 100), (240, 200), (200, 130)):
        result = NetworkUpscaler(loaded, Device("cpu", "fp32")).upscale(photo, size)
        assert result.shape == (size[1], size[0], 3)
        assert abs(result.mean((0, 1)) - photo.mean((0, 1))).max() < 3


def test_a_stopped_run_goes_on_to_the_same_losses(photos: Path, tmp_path: Path) -> None:
    text = RECIPE.replace("steps = 60", "steps = 6")
    run(trainer(text, photos), tmp_path / "whole")
    run(trainer(text, photos), tmp_path / "parts", until=2)
    run(trainer(text, photos), tmp_path / "parts")
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_what_is_left_out_is_not_seen(photos: Path) -> None:
    text = f"{RECIPE}[data]\nleave_out = '1.*'\n"
    assert len(trainer(text, photos).photos.photos) == 1


def test_slips_in_the_recipe_are_errors(photos: Path) -> None:
    with pytest.raises(UsageError, match="halved"):
        trainer(RECIPE.replace("batch = 4", "batch = 3"), photos)
    with pytest.raises(UsageError, match="enlarges by 2"):
        trainer(RECIPE.replace("num_feat = 8", "num_feat = 8\nupscale = 2"), photos)
    with pytest.raises(UsageError, match="noise"):
        MildDegradation.of({**MILD, "noise": [9.0, 1.0]})


def test_the_recipe_of_the_package_is_complete(photos: Path) -> None:
    values = load_recipe("tiny-upscaler").complete({**UpscalerTrainer.defaults, **dict.fromkeys(COMMON, None)})
    assert values["network"]["upscale"] == 4


COMMON = ("precision", "sample_every", "log_every", "checkpoint_minutes")


@pytest.mark.parametrize("factor", [2, 4])
def test_the_degradation_keeps_position_and_colour(factor: int) -> None:
    ramp = np.linspace(20, 220, 64, dtype=np.float32)
    picture = np.repeat(np.repeat(ramp[None, :, None], 64, 0), 3, 2).astype(np.uint8)
    for method in (cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LINEAR):
        small = reduce(picture.astype(np.float32), factor, method)
        expected = picture.reshape(64, 64 // factor, factor, 3).mean(2)[::factor]
        assert abs(small - expected)[:, 2:-2].max() < 1
    rng = np.random.default_rng(0)
    degradation = MildDegradation.of(MILD)
    results = [degradation(picture, factor, rng) for _ in range(20)]
    assert {result.shape for result in results} == {(64 // factor, 64 // factor, 3)}
    assert abs(np.mean([result.mean() for result in results]) - picture.mean()) < 1
    assert max(result.std(axis=0).mean() for result in results) > 1  # noise
    same = (
        degradation(picture, factor, np.random.default_rng(5)),
        degradation(picture, factor, np.random.default_rng(5)),
    )
    assert np.array_equal(*same)


def test_reducing_the_enlargement_keeps_its_place() -> None:
    large = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64).contiguous()
    small = at_factor(large, 2)
    assert small.shape == (1, 3, 32, 32)
    assert torch.allclose(small, torch.nn.functional.avg_pool2d(large, 2), atol=0.02)
    assert at_factor(large, 4) is large
