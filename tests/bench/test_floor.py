"""The plain U-Net that restorers with a prior are compared with."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from restorer.bench import floor
from tests.support.basicsr import needs_basicsr


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """304 pictures of stripes: the recipe `tiny` keeps 300 of them for validation."""
    folder = tmp_path / "faces"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(304):
        stripes = np.sin(np.arange(64) / rng.uniform(2, 8))[:, None, None] * rng.uniform(20, 90, 3) + 128
        cv2.imwrite(str(folder / f"{number}.png"), np.repeat(stripes, 64, axis=1).astype(np.uint8))
    return folder


def test_it_begins_with_the_identity_and_its_loss_falls() -> None:
    torch.manual_seed(0)
    network = floor.UNet((8, 16, 32))
    inputs = torch.rand(2, 3, 32, 32) * 2 - 1
    wanted = inputs.flip(1) * 0.5
    with torch.no_grad():
        assert torch.equal(network(inputs), inputs)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = (network(inputs) - wanted).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


@needs_basicsr
def test_it_trains_on_the_recipe_s_pictures_and_stands_below_the_model(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, few = tmp_path / "floor.pt", tmp_path / "few"
    few.mkdir()
    for name in ("0.png", "1.png"):
        (pictures / name).rename(few / name)
    assert floor.main(["train", str(pictures), str(out), "--steps", "2", "--batch", "2", "--threads", "1"]) == 0
    assert floor.main(["measure", str(out), str(few)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["pictures"] == 2
    assert [row["method"] for row in told["rows"]] == ["input", "bicubic", "gaussian", "tiny", "truth", "u-net"]
    by_name = {row["method"]: row for row in told["rows"]}
    assert by_name["u-net"]["psnr"] == pytest.approx(by_name["input"]["psnr"], abs=0.5)  # two steps from the identity
