"""The measurement of finding and filling damage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.bench import repair
from restorer.evaluation.ageing import photograph
from restorer.imaging.resize import resize
from restorer.training.wear.prints import Damaged

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def photos() -> dict[str, np.ndarray]:
    return {"face.png": np.ascontiguousarray(resize(photograph(), (200, 200)))}


def test_a_mask_within_two_pixels_is_right_and_what_is_unsure_does_not_count() -> None:
    clean = np.full((40, 40, 3), 100, np.uint8)
    mask, unsure, found = (np.zeros((40, 40), bool) for _ in range(3))
    mask[:, 10], unsure[:, 20], found[:, 12], found[:, 20], found[0, 30] = True, True, True, True, True
    worn = np.where(mask[..., None], 220, clean).astype(np.uint8)
    tally = repair.Tally()
    tally.add(clean, Damaged(worn, mask, unsure), found, worn)
    row = tally.row()
    assert row["precision"] == pytest.approx(40 / 41)
    assert row["recall"] == 1
    assert row["before"] == row["after"] == pytest.approx(10 * np.log10(255**2 / 120**2))
    assert row["outside bit-equal"] is True
    worn[5, 5] += 1
    tally.add(clean, Damaged(np.where(mask[..., None], 220, clean).astype(np.uint8), mask, unsure), found, worn)
    assert tally.row()["outside bit-equal"] is False


def test_the_same_seed_damages_a_photo_alike_whatever_else_is_measured(photos: dict[str, np.ndarray]) -> None:
    clean = photos["face.png"]
    first, again = (repair.drawn(clean, "face.png", "cracks", 0) for _ in range(2))
    assert np.array_equal(first.picture, again.picture)
    assert not np.array_equal(first.picture, repair.drawn(clean, "face.png", "cracks", 1).picture)
    assert not np.array_equal(first.picture, repair.drawn(clean, "other.png", "cracks", 0).picture)


def test_lines_are_found_without_a_network_and_a_clean_plain_photo_has_none() -> None:
    plain = np.full((200, 200, 3), 90, np.uint8)
    assert not repair.lines(plain).any()
    assert not repair.hats(plain).any()
    worn = plain.copy()
    worn[20:180, 100:102] = 200
    found = repair.lines(worn)
    assert found[40:160, 100:102].mean() > 0.9
    assert found.sum() < 3 * 2 * 160


def test_the_command_prints_a_table_and_sheets(photos: dict[str, np.ndarray], tmp_path: Path, capsys: Capture) -> None:
    Image.fromarray(photos["face.png"]).save(tmp_path / "face.png")
    given = [str(tmp_path), "--kinds", "scratches,folds", "--json"]
    assert repair.main([*given, "--sheets", str(tmp_path / "sheets")]) == 0
    rows = json.loads(capsys.readouterr().out)["kinds"]
    assert set(rows) == {"scratches", "folds"}
    for kind in rows.values():
        assert set(kind) == {"lines", "hats", "true, splines", repair.TELEA}
        assert (kind["true, splines"]["f1"], kind["true, splines"]["outside bit-equal"]) == (1, True)
        assert kind["true, splines"]["after"] > kind["true, splines"]["before"] + 3
    assert (tmp_path / "sheets/folds.png").is_file()
    assert repair.main([str(tmp_path), "--kinds", "scratches", "--filling", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["kinds"]["scratches"]
    assert set(rows) == {"true, splines", repair.TELEA}
    assert rows["true, splines"]["after"] > rows[repair.TELEA]["after"] + 0.5
    assert repair.main([str(tmp_path), "--match", "face.png", "--clean"]) == 0
    assert "of 1 clean photos" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        repair.main([str(tmp_path), "--kinds", "rust"])
    assert "there is no damage called 'rust'" in capsys.readouterr().err
