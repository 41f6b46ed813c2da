"""Faces that somebody points at: by a closer look, by their boxes, numbered, restored, refused where they cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer import Options, Restorer, weights
from restorer.errors import UsageError
from restorer.evaluation.ageing import age, photograph
from restorer.faces import align
from restorer.faces.outlined import LANDMARKS, WIDTH, landmarks_of
from restorer.models.base import Face
from restorer.models.templates import FACEXLIB
from restorer.pipeline import pointed
from restorer.pipeline.components import Components
from restorer.pipeline.fingerprint import note_of
from restorer.pipeline.pointed import at_hand
from restorer.record import NEEDS_NOTHING
from tests.support.faces import smooth_photo
from tests.support.in_process import restore
from tests.support.parts import Colour, Detector, Everything, face_at

Capture = pytest.CaptureFixture[str]
TINY = ("--model", "tiny", "--background", "lanczos", "--offline")


@pytest.fixture(scope="module")
def aged() -> np.ndarray:
    """A photograph with one face."""
    return age(photograph())


@pytest.fixture(scope="module")
def found(aged: np.ndarray) -> Face:
    """Its face, as the detector finds it."""
    return max(Components(Options(model="tiny", offline=True)).detector().detect(aged), key=lambda face: face.size)


def typed(box: tuple[float, float, float, float], by: float = 0.0) -> str:
    """Return a box, wider by a share on each side, as it is typed."""
    x0, y0, x1, y1 = box
    dx, dy = by * (x1 - x0), by * (y1 - y0)
    return f"{x0 - dx:.0f},{y0 - dy:.0f},{x1 - x0 + 2 * dx:.0f},{y1 - y0 + 2 * dy:.0f}"


def run(pixels: np.ndarray, *faces: Any, found: list[Face] | None = None, **options: Any) -> Any:
    """Restore a photo in which a detector finds the given faces, with a red picture for each face."""
    restorer = Restorer(
        Colour(), detector=Detector(found or []), mask=Everything(), background="lanczos", scale=1, offline=True,
        face=faces, **options,
    )  # fmt: skip
    return restorer.restore(pixels)


# -------------------------------------------------------------------------------------------------- how it is found


@pytest.mark.parametrize("by", [0.0, 0.15, -0.1])
def test_a_closer_look_finds_the_landmarks(aged: np.ndarray, found: Face, by: float) -> None:
    """The run's own detector is told to be so sure that it finds nothing."""
    options = Options(model="tiny", min_score=1.0, background="lanczos", offline=True, face=(typed(found.box, by),))
    result = Restorer(**options.values()).restore(aged)
    (face,) = result.record.faces
    assert face.restored
    assert face.pointed == "landmarks by tiny-detector-free at a closer look"
    assert face.detector == face.as_dict()["detector"] == "tiny-detector-free"
    assert not any("No face" in line or "Look at it" in line for line in result.record.warnings)
    apart = np.linalg.norm(np.array(face.landmarks) - found.landmarks, axis=1)
    assert apart.max() < 0.12 * found.size
    assert 0 < face.score <= 1


def test_without_landmarks_the_box_says_where_the_face_is() -> None:
    even = np.full((300, 400, 3), 120, np.uint8)
    result = run(even, (100, 80, 69, 100))
    (face,) = result.record.faces
    assert face.restored
    assert face.score == 0
    assert str(face.pointed).startswith("no landmarks were found: aligned by its box")
    assert any("Face 1 was pointed at, and no landmarks" in line for line in result.record.warnings)
    changed = np.argwhere(np.any(result.image != even, axis=2))
    assert abs(changed.mean(0) - [130, 134.5]).max() < 15  # around the box's middle
    assert face.as_dict()["pointed"] == face.pointed


@pytest.mark.parametrize("box", [(10, 10, 79, 110), (0, 0, 200, 100), (50, 20, 70, 300)])
def test_the_landmarks_of_a_box_can_be_aligned_and_lie_in_it(box: tuple[float, float, float, float]) -> None:
    points = landmarks_of(box)
    assert (points > box[:2]).all()
    assert (points < box[2:]).all()
    matrix = align.estimate(points, FACEXLIB, 512.0)
    assert matrix is not None
    assert abs(matrix[0, 1] / matrix[0, 0]) < 0.05  # upright
    spread = np.ptp(points[:, 1]) / np.ptp(np.array(LANDMARKS)[:, 1])
    assert spread == pytest.approx(min(box[3] - box[1], (box[2] - box[0]) / WIDTH), rel=1e-4)


def test_landmarks_of_a_box_are_near_those_that_a_detector_sees(found: Face) -> None:
    apart = np.linalg.norm(landmarks_of(found.box) - found.landmarks, axis=1)
    assert apart.max() < 0.15 * found.size


def test_a_box_around_a_face_that_was_found_names_that_face(aged: np.ndarray, found: Face) -> None:
    result = run(aged, typed(found.box, 0.05), found=[found, face_at((60, 60), 12)])
    assert len(result.record.faces) == 2
    assert [face.pointed for face in result.record.faces] == ["found by the detector, too", None]


def test_every_detector_at_hand_is_asked_that_of_the_run_first() -> None:
    names = [each.name for each in at_hand(Components(Options(model="tiny", detector="tiny-detector", offline=True)))]
    assert names[0] == "tiny-detector"
    assert len(names) == len(set(names))
    assert "tiny-detector" in [each.name for each in at_hand(Restorer(Colour(), detector=Detector([])).components)]


def test_the_detectors_at_hand_are_part_of_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that came since may see landmarks where none did; where nobody is pointed at it makes no difference."""

    def made(*face: str) -> str:
        return note_of(Components(Options(model="tiny", offline=True, face=face)), "0" * 64).fingerprint

    before = made("1,2,30,40"), made()
    monkeypatch.setattr(pointed, "tables_at_hand", lambda _components: [])
    assert made("1,2,30,40") != before[0]
    assert made() == before[1]


def test_the_licence_of_another_detector_is_told_where_its_landmarks_were_used(
    aged: np.ndarray, found: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's own detector, here an object that finds nothing, has no licence to tell."""
    licence = weights.resolve("tiny-detector")
    monkeypatch.setattr(pointed, "tables_at_hand", lambda _components: [licence])
    assert licence.commercial is False
    seen = run(aged, typed(found.box))
    assert seen.record.faces[0].detector == "tiny-detector"
    assert seen.record.licenses == {"tiny-detector": licence.license}
    blind = run(np.full_like(aged, 120), typed(found.box))
    assert blind.record.faces[0].restored
    assert blind.record.licenses == {}


# ------------------------------------------------------------------------------------------------- what becomes of it


def test_it_is_numbered_behind_those_that_were_found_and_chosen_by_number() -> None:
    pixels, known = smooth_photo(300, 400), [face_at((60, 60), 20), face_at((300, 60), 20)]
    for faces, wanted in (("all", [True] * 4), ("4", [False, False, False, True]), ("1,3", [True, False, True, False])):
        result = run(pixels, (100, 150, 50, 70), "250,150,50,70", found=known, faces=faces)
        assert [face.restored for face in result.record.faces] == wanted
    assert [face.box for face in result.record.faces][2:] == [(100, 150, 150, 220), (250, 150, 300, 220)]


def test_neither_size_nor_condition_leaves_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a face is like: here each is taken for one that needs nothing."""
    monkeypatch.setattr("restorer.faces.worth.needs_nothing", lambda *_args, **_more: True)
    known = [face_at((60, 60), 20)]
    result = run(smooth_photo(300, 400), (100, 150, 50, 70), found=known, min_face=200.0)
    assert [face.restored for face in result.record.faces] == [False, True]
    result = run(smooth_photo(300, 400), (100, 150, 50, 70), found=known)
    assert [face.reason for face in result.record.faces] == [NEEDS_NOTHING, None]


def test_sixteen_bits_and_another_colour_space_are_no_hindrance() -> None:
    result = run(smooth_photo(300, 400, np.uint16), (100, 80, 69, 100))
    assert result.image.dtype == np.uint16
    assert result.record.faces[0].restored


# --------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,2,3",
        "1,2,3,4,5",
        "a,b,c,d",
        "-1,2,30,40",
        "1,2,0,40",
        "1,2,30,7.9",
        "1,2,nan,40",
        "1;2;30;40",
        "1,2,3e1,40",
    ],
)
def test_what_is_no_box_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match=r"^face.*(no box|too small)") as error:
        Restorer("tiny", face=text)
    assert error.value.remedy


def test_boxes_as_people_and_programs_write_them() -> None:
    wanted = ("1,2,30,40",)
    for given in ("1,2,30,40", " 1, 2, 30, 40.0 ", (1, 2, 30, 40), [1.0, 2, 30, 40], ["1,2,30,40"], [(1, 2, 30, 40)],
                  np.array([1, 2, 30, 40]), np.array([[1, 2, 30, 40]])):  # fmt: skip
        assert Options(face=given).face == wanted  # type: ignore[arg-type]
    assert Options(face=[(1, 2, 30, 40), "5,6,70,80"]).face == (*wanted, "5,6,70,80")  # type: ignore[arg-type]


@pytest.mark.parametrize("box", ["390,10,20,20", "10,290,20,20", "1000,1000,50,50", "0,0,401,10"])
def test_a_box_beyond_the_photo_is_wrong_usage(box: str, tmp_path: Path, capsys: Capture) -> None:
    Image.fromarray(smooth_photo(300, 400)).save(tmp_path / "a.png")
    for more in ([], ["--dry-run"]):
        done = restore(capsys, str(tmp_path / "a.png"), *TINY, "--face", box, *more, code=2)
        assert "reaches beyond the photo, which is 400 x 300 pixels" in done.err
    assert "beyond" in restore(capsys, "faces", str(tmp_path / "a.png"), "--offline", "--face", box, code=2).err
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".png"] == ["a.png"]


def test_what_does_not_go_together_is_wrong_usage(tmp_path: Path, capsys: Capture) -> None:
    for name in ("a", "b"):
        Image.fromarray(smooth_photo(60, 80)).save(tmp_path / f"{name}.png")
    photo, box = str(tmp_path / "a.png"), ("--face", "1,2,30,40")
    assert "--model none" in restore(capsys, photo, *box, "--model", "none", code=2).err
    assert "--aligned" in restore(capsys, photo, *box, *TINY, "--aligned", code=2).err
    assert "2 were given" in restore(capsys, str(tmp_path), *box, *TINY, code=2).err


# ------------------------------------------------------------------------------------------------------ the command


def test_the_commands_show_it_restore_it_and_find_it_again(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, aged: np.ndarray, found: Face
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(aged).save("a.png")
    box = typed(found.box)
    detector = ("--detector", "tiny-detector-free", "--offline", "--min-score", "1")
    (shown,) = json.loads(restore(capsys, "faces", "a.png", *detector, "--face", box, "--json").out)
    assert (shown["number"], shown["pointed"]) == (1, "landmarks by tiny-detector-free at a closer look")
    done = restore(capsys, "faces", "a.png", *detector, "--face", box)
    assert "landmarks by tiny-detector-free" in " ".join(done.out.split())
    assert f"--face {box}" in " ".join(done.err.split())
    assert Path("a_faces.png").is_file()
    words = ("a.png", *TINY, "--min-score", "1", "--face", box, "--json")
    record = json.loads(restore(capsys, *words).out)
    assert [face["restored"] for face in record["faces"]] == [True]
    assert record["faces"][0]["landmarks"] == shown["landmarks"]
    assert json.loads(restore(capsys, *words).out)["reason"] == "done already"
    assert "this run asks for" in restore(capsys, *words[:-2], "1,2,30,40").err
