"""Labelled profiles and lying faces: read, turned with their photo, matched, counted and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.bench import profiles
from restorer.bench.profiles import LABELS, TILE, Label, found, read_labels, same, turned
from restorer.errors import UsageError
from restorer.evaluation.ageing import photograph
from restorer.imaging.boxes import area


def label(*box: float, kind: str = "profile", photo: str = "a/b.png") -> Label:
    return Label(photo, kind, np.array(box, np.float32))


def test_the_packages_labels_name_enough_faces_of_each_kind() -> None:
    labels = read_labels(LABELS)
    kinds = [each.kind for each in labels if not each.photo.startswith("photos_free")]
    assert kinds.count("profile") >= 15
    assert kinds.count("upright") >= 12
    assert len(labels) >= 100
    assert all((each.box[2:] - each.box[:2]).max() >= 28 for each in labels)
    assert len({(each.photo, *each.box) for each in labels}) == len(labels)


@pytest.mark.parametrize("face", ['["asleep", 1, 2, 3, 4]', '["profile", 1, 2, 3]', '["profile", 3, 2, 1, 4]'])
def test_a_label_that_is_none_is_refused(tmp_path: Path, face: str) -> None:
    (tmp_path / "labels.toml").write_text(f'[a]\n"b.png" = [{face}]\n')
    with pytest.raises(UsageError, match=r"a/b\.png"):
        read_labels(tmp_path / "labels.toml")


def test_a_find_is_the_face_where_both_middles_and_the_size_fit() -> None:
    face = np.array([100, 100, 200, 200], np.float32)
    for box, fits in [
        ((100, 100, 200, 200), True),
        ((140, 100, 240, 200), True),
        ((155, 100, 255, 200), False),  # its middle lies beside the label
        ((60, 60, 240, 240), True),
        ((40, 40, 260, 260), False),  # more than twice as large
        ((130, 130, 175, 175), False),  # less than half
        ((151, 90, 200, 210), False),  # the label's middle lies beside it
    ]:
        assert same(np.array(box, np.float32), face) == fits, box


def test_each_find_counts_for_one_face_and_each_face_once() -> None:
    labels = [label(0, 0, 40, 40), label(10, 0, 50, 40)]
    assert found(np.array([[5, 0, 45, 40]], np.float32), labels) == [True, False]
    assert found(np.array([[5, 0, 45, 40]] * 2, np.float32), labels) == [True, True]
    assert found(np.array([[5, 0, 45, 40]] * 2, np.float32), labels[:1]) == [True]
    assert found(np.zeros((0, 4), np.float32), labels) == [False, False]


@pytest.mark.parametrize("turn", [0, 45, 90, 180, 270, 300])
def test_a_face_is_where_its_label_says_however_the_photo_is_turned(turn: int) -> None:
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[30:71, 60:101] = 255
    canvas, there = turned(picture, label(60, 30, 100, 70, kind="upright"), turn)
    left, top, right, bottom = (round(float(value)) for value in there.box)
    assert there.turn == turn
    assert area(there.box[None])[0] == pytest.approx(1600, rel=1e-3)
    assert canvas[(top + bottom) // 2, (left + right) // 2].min() == 255
    bright = np.argwhere(canvas.min(axis=2) > 200)
    assert len(bright) == pytest.approx(41 * 41, rel=0.06)
    assert np.abs(bright.mean(axis=0) - ((top + bottom) / 2, (left + right) / 2)).max() < 1.5
    if turn == 90:  # clockwise: what was at the left top is at the right top
        assert canvas.shape == (400, 300, 3)
        assert left > 150
        assert top < 150


def test_only_faces_that_look_into_the_camera_are_turned() -> None:
    labels = [label(0, 0, 9, 9), label(0, 0, 9, 9, kind="upright"), label(0, 0, 9, 9, photo="a/c.png")]
    seen = [(photo, turn, [each.kind for each in here]) for photo, turn, here in profiles.looks(labels, (0, 90))]
    assert seen == [
        ("a/b.png", 0, ["profile", "upright"]),
        ("a/b.png", 90, ["upright"]),
        ("a/c.png", 0, ["profile"]),
    ]


def test_what_is_found_is_counted_by_folder_and_kind_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(photograph()).save(tmp_path / "a" / "b.png")
    (face,) = profiles_of(photograph())
    (tmp_path / "labels.toml").write_text(
        f'[a]\n"b.png" = [["upright", {face}], ["profile", 0, 0, 30, 30]]\n'
        '[elsewhere]\n"c.png" = [["tilted", 0, 0, 9, 9]]\n'
    )
    command = [str(tmp_path), "--labels", str(tmp_path / "labels.toml"), "--turn", "0", "180"]
    assert profiles.main([*command, "--json", "--sheet", str(tmp_path / "sheet.png")]) == 0
    figures = json.loads(capsys.readouterr().out)["tiny-detector-free"]
    assert figures == {
        "a: upright": {"wanted": 1, "found": 1},
        "a: profile": {"wanted": 1, "found": 0},
        "a: upright, by 180": {"wanted": 1, "found": 1},
    }
    shown = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert shown.shape[:2] == (2 * TILE, 2 * TILE)
    red = (shown[TILE // 2, ::TILE] == (255, 0, 0)).all(axis=1)
    assert red.tolist() == [True, False]  # the profile comes first and is framed; the face that was found is not
    assert profiles.main(command) == 0
    assert "1.00 (1 of 1)" in capsys.readouterr().out


def profiles_of(picture: np.ndarray) -> list[str]:
    """Return the boxes that the detector finds, as they stand in a file of labels."""
    from restorer.engine.device import choose
    from restorer.engine.pool import POOL
    from restorer.faces.detect import FaceDetector
    from restorer.weights import resolve

    boxes = profiles.by_detector(FaceDetector(POOL.get(resolve("tiny-detector-free"), choose("cpu"))))(picture)
    return [", ".join(str(round(float(value))) for value in box) for box in boxes]


def test_a_folder_without_any_of_the_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"profiles\.toml"):
        profiles.main([str(tmp_path)])
