"""`restore demo`: its pictures, what it prints, and that it needs nothing from anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from restorer.evaluation import ageing as demo
from tests.conftest import Restore


def test_the_demo_finds_and_restores_the_face(restore: Restore, tmp_path: Path) -> None:
    done = restore("demo", "--json", HF_HUB_OFFLINE="1")
    record = json.loads(done.stdout)
    assert record["status"] == "ok"
    assert (record["model"], record["detector"], record["background"]) == (
        "tiny",
        "tiny-detector-free",
        "tiny-upscaler",
    )
    assert record["repair"]["done"] is True
    (face,) = [face for face in record["faces"] if face["restored"]]
    x0, y0, x1, y1 = face["box"]
    assert 100 < (x0 + x1) / 2 < 180  # hers is the only face, left of the middle at the top
    assert 40 < (y0 + y1) / 2 < 110
    before = Image.open(tmp_path / record["input"])
    after = Image.open(tmp_path / record["output"])
    assert before.size == (demo.SIDE, demo.SIDE)
    assert after.size == (2 * demo.SIDE, 2 * demo.SIDE)
    assert Image.open(tmp_path / record["comparison"]).size == (4 * demo.SIDE + 12, 4 * demo.SIDE + 12)
    third = restore("demo", "--scale", "1.5")  # its own pictures are replaced
    Image.open(tmp_path / record["input"]).resize((80, 80)).save(tmp_path / record["input"])
    refused = restore("demo", code=1)
    assert "--overwrite" in refused.stderr
    assert Image.open(tmp_path / record["input"]).size == (80, 80)
    words = third.stdout + third.stderr
    assert all(word in words for word in ("before.jpg", "after.png", "comparison.jpg", " photo.jpg", "NASA"))


def test_the_restored_face_is_nearer_to_the_photograph(restore: Restore, tmp_path: Path) -> None:
    """The point of the demo: grain and blur are less, the person is the same."""
    restore("demo", "-o", "d")
    truth = Image.fromarray(demo.photograph()).resize((640, 640), Image.Resampling.LANCZOS)
    after = Image.open(tmp_path / "d/after.png").convert("RGB")
    before = Image.open(tmp_path / "d/before.jpg").resize((640, 640), Image.Resampling.BICUBIC)
    area = (200, 60, 370, 250)

    def distance(picture: Image.Image) -> float:
        """Return the difference from the photograph after fitting contrast, since fading is not undone."""
        a = np.asarray(picture.crop(area).convert("L"), np.float64).ravel()
        b = np.asarray(truth.crop(area).convert("L"), np.float64).ravel()
        slope, shift = np.polyfit(a, b, 1)
        return float(np.sqrt(np.mean((slope * a + shift - b) ** 2)))

    assert distance(after) < 0.93 * distance(before)


def test_ageing_is_seeded_and_shows() -> None:
    photograph = demo.photograph()
    assert photograph.shape == (512, 512, 3)
    aged = demo.age(photograph)
    assert np.array_equal(aged, demo.age(photograph))
    assert not np.array_equal(aged, demo.age(photograph, seed=1))
    small = np.asarray(Image.fromarray(photograph).resize((320, 320), Image.Resampling.BOX), np.float64)
    assert aged.min() > small.min() + 5  # faded
    saturation = [np.ptp(picture.astype(np.float64), axis=2).mean() for picture in (aged, small)]
    assert saturation[0] < 0.8 * saturation[1]


def test_a_print_that_was_carried_about_is_scratched_and_folded_by_its_seed() -> None:
    aged = demo.age(demo.photograph())
    worn = demo.wear(aged)
    assert np.array_equal(worn, demo.wear(aged))
    assert not np.array_equal(worn, demo.wear(aged, seed=1))
    lighter = (worn.astype(int) - aged).min(axis=2) > 40
    assert 0.005 < lighter.mean() < 0.05
    assert lighter.any(axis=0).mean() > 0.5  # the fold goes across
    assert lighter.any(axis=1).mean() > 0.5  # the scratches go down
