"""`--task` and `--hole`: through a search, and through networks that were trained for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from restorer import Restorer
from restorer.errors import UsageError
from restorer.models.base import CropSpec
from restorer.models.templates import EYES_AND_MOUTH
from tests.support.in_process import restore

SIDE = 96
COMMON: dict[str, Any] = {"aligned": True, "offline": True, "background": "lanczos", "scale": 1.0}


@pytest.fixture
def hole(tmp_path: Path) -> Path:
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    drawn[40:60, 30:70] = 255
    Image.fromarray(drawn).save(tmp_path / "hole.png")
    return tmp_path / "hole.png"


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from restorer.imaging.tensors import to_pictures
    from restorer.models import load_network

    with torch.no_grad():
        drawn = load_network("tiny-prior", offline=True)(torch.ones(1, 128))
    picture = Image.fromarray(to_pictures(drawn)[0]).resize((SIDE, SIDE))
    return np.asarray(picture)


class Seen:
    """A network that remembers what it saw, and answers with one colour."""

    name = "seen"
    crop = CropSpec(64, 64, 64, EYES_AND_MOUTH)

    def __init__(self) -> None:
        self.crops = torch.zeros(0)

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        self.crops = crops
        return torch.tensor([1.0, -0.5, 0.0])[:, None, None].expand(1, 3, 64, 64).clone()


def test_networks_that_colour_see_no_colours_and_keep_theirs(photo: np.ndarray) -> None:
    model = Seen()
    grey = np.repeat(photo.mean(2, keepdims=True).astype(np.uint8), 3, axis=2)
    result = Restorer(model, task="colorize", **COMMON).restore(photo)
    assert (model.crops.std(1) < 0.01).all()
    assert np.abs(result.image[48, 48].astype(int) - [255, 64, 128]).max() <= 2
    plain = Restorer(Seen(), **COMMON).restore(grey)
    assert np.ptp(plain.image[48, 48].astype(int)) <= 2  # without the task, black and white stays so
    assert np.ptp(Restorer(Seen(), task="colorize", **COMMON).restore(grey).image[48, 48].astype(int)) > 100


def test_networks_that_fill_see_white_and_change_nothing_else(photo: np.ndarray, hole: Path) -> None:
    model = Seen()
    result = Restorer(model, task="inpaint", hole=str(hole), **COMMON).restore(photo)
    assert (model.crops[0, :, 31:36, 25:40] > 0.95).all()
    assert (model.crops[0, :, :20] < 1).any()
    inside = np.zeros((SIDE, SIDE), bool)
    inside[40:60, 30:70] = True
    assert np.array_equal(result.image[~inside], photo[~inside])
    assert np.abs(result.image[inside].astype(int) - [255, 64, 128]).max() <= 2
    assert result.changed is not None
    assert (result.changed > 0).sum() == inside.sum()


def test_a_face_that_the_hole_does_not_touch_is_left(photo: np.ndarray, tmp_path: Path) -> None:
    from restorer.models.base import Face

    two = np.concatenate([photo, photo], axis=1)
    drawn = np.zeros((SIDE, 2 * SIDE), np.uint8)
    drawn[40:60, 30:70] = 255
    Image.fromarray(drawn).save(tmp_path / "hole.png")
    points = np.array(EYES_AND_MOUTH.points, np.float32) * SIDE
    faces = [Face((x + 10.0, 10.0, x + 80.0, 90.0), points + np.array([x, 0], np.float32), 1.0) for x in (0, SIDE)]
    restorer = Restorer(Seen(), task="inpaint", hole=str(tmp_path / "hole.png"), scale=1.0, background="lanczos",
                        mask=lambda restored, _points: np.ones((len(restored), 8, 8), np.float32))  # fmt: skip
    result = restorer.restore(two, faces=faces)
    assert [face.restored for face in result.faces] == [True, False]
    assert result.faces[1].reason == "the hole does not touch it"
    assert np.array_equal(result.image[:, SIDE:], two[:, SIDE:])


def test_a_search_colours_and_keeps_the_brightness(photo: np.ndarray) -> None:
    luma = np.array([0.299, 0.587, 0.114])
    grey = np.repeat((photo @ luma)[..., None].round().astype(np.uint8), 3, axis=2)
    result = Restorer("mganprior", task="colorize", steps=3, **COMMON).restore(grey)
    assert (result.record["task"], result.record["prior"]) == ("colorize", "tiny-prior")
    assert np.ptp(result.image.astype(int), axis=2).mean() > 3
    # Colours that no screen shows are cut off, which costs brightness here and there.
    assert np.median(np.abs(result.image @ luma - grey[..., 0])) <= 2
    assert result.faces[0].answers[0]["met"] is None


@pytest.mark.parametrize("task", ["super-resolution", "denoise", "reconstruct"])
def test_a_search_for_every_task(task: str, photo: np.ndarray) -> None:
    result = Restorer("mganprior", task=task, steps=2, variants=2, **COMMON).restore(photo)
    assert result.record["task"] == task
    assert result.image.shape == result.variants[0].shape == photo.shape
    assert [answer["seed"] for answer in result.faces[0].answers] == [0, 1]
    assert result.faces[0].answers[0]["allowed"] is None
    assert not any("levels off" in line for line in result.record["warnings"])


def test_a_search_fills_a_hole_and_nothing_else(photo: np.ndarray, hole: Path) -> None:
    inside = np.zeros((SIDE, SIDE), bool)
    inside[40:60, 30:70] = True
    broken = photo.copy()
    broken[inside] = 0
    result = Restorer("mganprior", task="inpaint", hole=str(hole), steps=3, **COMMON).restore(broken)
    assert np.array_equal(result.image[~inside], photo[~inside])
    assert (result.image[inside] > 0).mean() > 0.9
    # What is in the hole is not looked at.
    broken[inside] = 255
    again = Restorer("mganprior", task="inpaint", hole=str(hole), steps=3, **COMMON).restore(broken)
    assert np.array_equal(again.image, result.image)


def test_what_a_hole_must_be(photo: np.ndarray, hole: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs to know what is missing"):
        Restorer("mganprior", task="inpaint", **COMMON)
    for name, pixels, why in (
        ("small", np.full((9, 9), 255, np.uint8), "9 x 9 pixels"),
        ("black", np.zeros((SIDE, SIDE), np.uint8), "no white"),
    ):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        restorer = Restorer("mganprior", task="inpaint", hole=str(tmp_path / f"{name}.png"), steps=1, **COMMON)
        with pytest.raises(UsageError, match=why):
            restorer.restore(photo)
    with pytest.raises(UsageError, match="cannot be read"):
        Restorer("mganprior", task="inpaint", hole=str(tmp_path / "none.png"), **COMMON).note("0" * 64)


def test_the_holes_drawing_is_part_of_the_fingerprint(hole: Path) -> None:
    restorer = Restorer("mganprior", task="inpaint", hole=str(hole), **COMMON)
    before = restorer.note("0" * 64).fingerprint
    Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8)).save(hole)
    assert restorer.note("0" * 64).fingerprint != before


@pytest.mark.parametrize(
    ("model", "task", "fits"),
    [
        ("gfpgan-1", "colorize", True), ("gpen-colorization", "colorize", True), ("gpen-inpainting", "colorize", False),
        ("gfpgan-1.4", "colorize", False), ("gfpgan-1", "denoise", False),
    ],
)  # fmt: skip
def test_which_networks_have_which_task(model: str, task: str, fits: bool) -> None:
    if fits:
        Restorer(model, task=task, **COMMON)
        return
    with pytest.raises(UsageError, match=f"{model} cannot {task}"):
        Restorer(model, task=task, **COMMON)


def test_a_wrong_hole_is_wrong_usage_for_the_command(
    photo: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("a.png")
    Image.fromarray(photo[:9]).save("hole.png")
    done = restore(
        capsys,
        "a.png",
        "--model",
        "mganprior",
        "--aligned",
        "--offline",
        "--task",
        "inpaint",
        "--hole",
        "hole.png",
        code=2,
    )
    assert "96 x 9 pixels, the photo 96 x 96" in done.err
    assert not Path("a_restored.png").exists()


def test_layers_of_a_filled_hole_show_what_the_picture_shows(photo: np.ndarray, hole: Path) -> None:
    result = Restorer(Seen(), task="inpaint", hole=str(hole), layers=True, **COMMON).restore(photo)
    inside = np.zeros((SIDE, SIDE), bool)
    inside[40:60, 30:70] = True
    assert np.array_equal(result.image[~inside], photo[~inside])
    assert np.abs(result.image[inside].astype(int) - [255, 64, 128]).max() <= 2
