"""The sheet of anchors: which picture stands where, and what the models make of the inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.bench import anchors
from restorer.errors import UsageError


def picture(folder: Path, name: str, value: int) -> None:
    Image.fromarray(np.full((64, 64, 3), value, np.uint8)).save(folder / f"{name}.png")


def test_one_row_a_face_the_input_first_and_ones_own_beside_it(tmp_path: Path) -> None:
    for name, value in (("b__input", 10), ("b__Aaa", 60), ("a__Zzz", 90), ("a__input", 30), ("c__Aaa", 1), ("d", 2)):
        picture(tmp_path, name, value)
    faces = anchors.answers(tmp_path, 32)
    assert {face: list(shown) for face, shown in faces.items()} == {"a": ["input", "Zzz"], "b": ["input", "Aaa"]}
    faces["b"]["mine"] = np.full((32, 32, 3), 200, np.uint8)
    table = anchors.rows(faces, ["mine"])
    assert [[int(shown[-1, -1, 0]) for shown in row] for row in table] == [[30, 90], [10, 200, 60]]
    assert faces["b"]["mine"].min() == 200, "the name is written into a copy"


def test_each_model_answers_each_input(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8))
    for name in ("a__input", "b__input", "b__Other"):
        small.resize((128, 128), Image.Resampling.BICUBIC).save(tmp_path / f"{name}.png")
    folder = [str(tmp_path), "--sheet", str(tmp_path / "out" / "sheet.png")]
    (tmp_path / "out").mkdir()
    assert anchors.main([*folder, "--model", "tiny-free", "--match", "b*"]) == 0
    shown = np.asarray(Image.open(tmp_path / "out" / "sheet.png").convert("RGB")).astype(int)
    assert shown.shape == (anchors.SIDE, 3 * anchors.SIDE, 3)
    given, own, other = (shown[32:, start : start + anchors.SIDE] for start in range(0, 3 * anchors.SIDE, anchors.SIDE))
    assert np.abs(given - other).max() == 0
    assert np.abs(given - own).max() > 0
    assert np.abs(given - own).mean() < 40


def test_a_folder_without_inputs_is_refused(tmp_path: Path) -> None:
    picture(tmp_path, "a__GFPGAN", 1)
    with pytest.raises(UsageError, match="FACE__input"):
        anchors.answers(tmp_path, 32)
