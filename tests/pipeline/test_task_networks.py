"""`--task` through the tables of networks that were trained for it, as the command takes them: stand-in weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support import textbook
from tests.support.in_process import restore
from tests.support.standins import table

SIDE = 96


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks of the real architectures under the real names; a photo and a hole in the folder."""
    monkeypatch.chdir(tmp_path)
    torch.save(textbook.gfpgan_state(64, 16, 1, 0.125), "gfpgan.pth")
    torch.save(textbook.gpen_state(64, 16, 2, 2, 0.0625), "gpen.pth")
    gfpgan, gpen = tmp_path / "gfpgan.pth", tmp_path / "gpen.pth"
    text = table("gfpgan-1", "gfpgan-original", gfpgan) + "".join(
        table(name, "gpen", gpen) for name in ("gpen-colorization", "gpen-inpainting")
    )
    (tmp_path / "weights.toml").write_text(text)
    monkeypatch.setenv("RESTORER_WEIGHTS", str(tmp_path / "weights.toml"))
    ramp = np.linspace(20, 230, SIDE).astype(np.uint8)
    Image.fromarray(np.repeat(np.tile(ramp, (SIDE, 1))[..., None], 3, axis=2)).save("a.png")
    hole = np.zeros((SIDE, SIDE), np.uint8)
    hole[40:60, 30:70] = 255
    Image.fromarray(hole).save("hole.png")


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


COMMON = ("--aligned", "--offline", "--background", "lanczos", "--scale", "1", "--json")


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("model", ["gfpgan-1", "gpen-colorization"])
def test_a_network_colours(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = restore(capsys, "a.png", "--model", model, "--task", "colorize", *COMMON)
    record = json.loads(done.out)
    assert (record["status"], record["model"], record["task"]) == ("ok", model, "colorize")
    assert np.ptp(pixels("a_restored.png"), axis=2).mean() > 3  # the photo has no colour at all


@pytest.mark.usefixtures("stand_ins")
def test_a_network_fills(capsys: pytest.CaptureFixture[str]) -> None:
    done = restore(capsys, "a.png", "--model", "gpen-inpainting", "--task", "inpaint", "--hole", "hole.png", *COMMON)
    record = json.loads(done.out)
    assert (record["status"], record["model"], record["task"]) == ("ok", "gpen-inpainting", "inpaint")
    before, after = pixels("a.png"), pixels("a_restored.png")
    inside = np.asarray(Image.open("hole.png")) > 0
    assert np.array_equal(after[~inside], before[~inside])
    assert np.abs(after[inside] - before[inside]).mean() > 3


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize(
    ("model", "task", "why"),
    [
        ("gpen-inpainting", "colorize", "gpen-inpainting cannot colorize"),
        ("gpen-colorization", "inpaint", "gpen-colorization cannot inpaint"),
        ("gfpgan-1", "inpaint", "gfpgan-1 cannot inpaint"),
    ],
)
def test_a_network_is_not_asked_for_what_it_never_learnt(
    model: str, task: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hole = ("--hole", "hole.png") if task == "inpaint" else ()
    assert why in restore(capsys, "a.png", "--model", model, "--task", task, *hole, *COMMON, code=2).err
