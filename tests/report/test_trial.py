"""`restore try`: what is tried, what each tile shows and says, and what becomes of the sheet."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer import Options
from restorer.errors import FaceNotRestoredError
from restorer.evaluation.ageing import age, photograph
from restorer.photo import photo_from_array, read_note, read_photo
from restorer.pipeline.components import Components
from restorer.report import trial
from restorer.report.trial import FOOT, GAP, HEAD, TILE, Tried, Way
from tests.support.faces import smooth_photo
from tests.support.in_process import restore
from tests.support.parts import face_at

Capture = pytest.CaptureFixture[str]


def tried(face: int = 1, model: str = "tiny", strength: float = 1.0, **more: Any) -> Tried:
    picture = np.full((TILE, TILE, 3), round(255 * strength) // 2, np.uint8)
    return Tried(face, Way(model, strength, more.get("fidelity")), picture, more.get("likeness"), 0.5, "restore a.jpg")


# ------------------------------------------------------------------------------------------------------------- ways


def test_ways_are_all_combinations_and_only_models_with_a_knob_turn_it() -> None:
    found = trial.ways(["tiny", "codeformer"], [0.5, 1.0], [0.0, 1.0])
    assert [str(way) for way in found] == [
        "tiny, strength 0.5", "tiny, strength 1",
        "codeformer, fidelity 0, strength 0.5", "codeformer, fidelity 0, strength 1",
        "codeformer, fidelity 1, strength 0.5", "codeformer, fidelity 1, strength 1",
    ]  # fmt: skip


def test_what_is_at_hand_is_what_can_be_used_without_a_network() -> None:
    found = trial.at_hand()
    assert "tiny" in found
    assert not {"pulse", "mganprior", "gpen-colorization", "glean-cat8"} & set(found)


# ------------------------------------------------------------------------------------------------------------ tiles


@pytest.mark.parametrize("centre", [(150, 100), (5, 5), (299, 199)])
def test_a_part_of_a_photo_holds_the_face_where_it_was(centre: tuple[float, float]) -> None:
    photo = photo_from_array(smooth_photo(200, 300))
    face = face_at(centre, 10)
    part, moved = trial.cut(photo, face)
    shift = np.array(face.box[:2]) - moved.box[:2]
    assert np.allclose(face.landmarks - moved.landmarks, shift)
    (left, top), (width, height) = shift.round().astype(int), part.size
    assert np.array_equal(part.pixels, photo.pixels[top : top + height, left : left + width])
    assert part.pixels.flags.writeable


@pytest.mark.parametrize("size", [(40, 300), (300, 40), (10, 10), (500, 700)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiles_are_of_one_size_whatever_the_photo(size: tuple[int, int], dtype: type) -> None:
    found = trial.tile(smooth_photo(*size, dtype), (2.0, 3.0, 8.0, 9.0))
    assert found.shape == (TILE, TILE, 3)
    assert found.dtype == np.uint8


def test_the_sheet_has_a_row_for_each_model_and_the_photo_in_each() -> None:
    original = np.full((TILE, TILE, 3), 17, np.uint8)
    several = [tried(strength=0.5), tried(strength=1.0, likeness=0.7), tried(model="other", strength=0.5)]
    page = trial.sheet("a.jpg", {1: original}, several)
    assert page.shape == (HEAD + 2 * (TILE + FOOT) + GAP, GAP + 3 * (TILE + GAP), 3)
    for row in range(2):
        top = HEAD + row * (TILE + FOOT)
        assert (page[top : top + TILE, GAP : GAP + TILE] == 17).all()
    left = GAP + (TILE + GAP)
    assert (page[HEAD : HEAD + TILE, left : left + TILE] == several[0].picture).all()
    words = page[HEAD + TILE + 4 : HEAD + TILE + FOOT, left : left + TILE]
    assert words.min() < 100
    assert (page[HEAD + TILE + FOOT + GAP : HEAD + 2 * TILE + FOOT, left + TILE + GAP :] == 255).all()  # nothing there


def test_a_face_that_could_not_be_restored_is_a_tile_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise FaceNotRestoredError(None, "The memory does not suffice.", None, faces=(1,), reasons=("memory",))

    monkeypatch.setattr("restorer.report.trial.Restorer.restore", refuse)
    work = trial.Trial(photo_from_array(smooth_photo(100, 100)), "a.jpg", Options(background="lanczos"), None)
    (found,) = work.run({3: face_at((50, 50), 20)}, [Way("tiny", 1.0)], lambda _each: None)
    assert (found.picture, found.problem, found.face) == (None, "The memory does not suffice.", 3)
    assert trial.sheet("a", {3: np.zeros((TILE, TILE, 3), np.uint8)}, [found]).shape[1] == GAP + 2 * (TILE + GAP)


# ------------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    Image.fromarray(age(photograph())).save("my photo.png")
    return tmp_path


TYPED = ("my photo.png", "--models", "tiny", "--background", "lanczos")


def test_the_sheet_its_figures_and_commands_that_do_the_same(folder: Path, capsys: Capture) -> None:
    told = json.loads(restore(capsys, "try", *TYPED, "--strengths", "0,0.5,1", "--json").out)
    assert (told["sheet"], told["left_out"]) == ("my photo_try.png", {})
    assert [(each["model"], each["strength"], each["problem"]) for each in told["tries"]] == [
        ("tiny", 0.0, None), ("tiny", 0.5, None), ("tiny", 1.0, None),
    ]  # fmt: skip
    assert all(each["seconds"] > 0 and each["fidelity"] is None for each in told["tries"])
    sheet = read_photo("my photo_try.png")
    assert sheet.size == (GAP + 4 * (TILE + GAP), HEAD + TILE + FOOT + GAP)
    note = read_note(Path("my photo_try.png"))
    assert note is not None
    assert note.model == "contact sheet"
    tiles = [sheet.pixels[HEAD : HEAD + TILE, GAP + i * (TILE + GAP) :][:, :TILE].astype(float) for i in range(4)]
    apart = [np.abs(tiles[i] - tiles[1]).mean() for i in (2, 3)]  # from what is blended in not at all
    assert 0 < apart[0] < apart[1]
    words = shlex.split(told["tries"][1]["command"])
    assert words[:2] == ["restore", "my photo.png"]
    record = json.loads(restore(capsys, *words[1:], "-o", "done.png", "--json").out)
    face = record["faces"][told["tries"][1]["face"] - 1]
    assert face["restored"]
    assert [each["restored"] for each in record["faces"]].count(True) == 1
    done = read_photo("done.png").pixels
    whole = trial.tile(done, tuple(2 * edge for edge in face["box"]))
    assert np.abs(whole.astype(float) - tiles[2]).mean() < 3  # the tile shows what the command makes


def test_nothing_is_overwritten_and_folders_pass_the_sheet_over(folder: Path, capsys: Capture) -> None:
    before = Path("my photo.png").read_bytes()
    for name in ("my photo_try.png", "my photo_try_2.png"):
        done = restore(capsys, "try", *TYPED, "--strengths", "1")
        assert "restore 'my photo.png' --model tiny --faces" in " ".join(done.out.split())
        assert name in " ".join(done.err.split())
        assert Path(name).is_file()
    assert "exists already" in restore(capsys, "try", *TYPED, "-o", "my photo_try.png", code=1).err
    assert "exists already" in restore(capsys, "try", *TYPED, "--out", "my photo.png", code=1).err
    assert Path("my photo.png").read_bytes() == before
    done = restore(capsys, ".", "-o", "out", "--model", "none", "--background", "lanczos", "--dry-run", "--json")
    assert [Path(json.loads(line)["input"]).name for line in done.out.splitlines()] == ["my photo.png"]


def test_models_that_are_not_here_are_left_out_by_name(folder: Path, capsys: Capture) -> None:
    words = ("try", "my photo.png", "--background", "lanczos", "--strengths", "1")
    told = json.loads(restore(capsys, *words, "--models", "tiny,gpen-2048", "--json").out)
    assert list(told["left_out"]) == ["gpen-2048"]
    assert {each["model"] for each in told["tries"]} == {"tiny"}
    assert "restore models pull gpen-2048" in restore(capsys, *words, "--models", "gpen-2048", code=3).err
    assert "gpen-204" in restore(capsys, *words, "--models", "tiny,gpen-204", code=2).err


@pytest.mark.parametrize(
    ("words", "said"),
    [("--strengths 2", "--strengths 2 is outside"), ("--strengths a", "--strengths a is no number"),
     ("--strengths ,", "names no number"), ("--fidelities 1.5", "outside"), ("--models ,", "--models names none"),
     ("--faces 99", "No face of")],
)  # fmt: skip
def test_what_makes_no_sense_is_wrong_usage(words: str, said: str, folder: Path, capsys: Capture) -> None:
    assert said in restore(capsys, "try", *TYPED, *words.split(), code=2).err
    assert [path.name for path in folder.glob("*.png")] == ["my photo.png"]


def test_a_photo_that_is_not_there_is_said_with_the_nearest(folder: Path, capsys: Capture) -> None:
    done = restore(capsys, "try", "my foto.png", "--models", "tiny", code=1)
    assert "there is no such file" in done.err


def test_likeness_is_of_what_was_blended_in(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Here the figure is how near the pixels are: nothing blended in is the photo itself, but for its enlargement."""

    def near(before: np.ndarray, after: np.ndarray, _points: np.ndarray) -> float:
        return float(1 - np.abs(before - after).mean())

    monkeypatch.setattr(trial, "likeness_at_hand", lambda _components: near)
    told = json.loads(restore(capsys, "try", *TYPED, "--strengths", "0,0.5,1", "--json").out)
    alike = [each["likeness"] for each in told["tries"]]
    assert alike[0] > alike[1] > alike[2]
    assert alike[0] > 0.98
    done = restore(capsys, "try", *TYPED, "--strengths", "1")
    assert f"likeness {alike[2]:.2f}" in done.out


def test_open_shows_the_sheet(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("restorer.cli.viewer.show", lambda made, page: seen.append((made, page)))
    restore(capsys, "try", *TYPED, "--strengths", "1", "--open", "-o", "sheet.jpg")
    assert seen == [([Path("sheet.jpg")], None)]
    with Image.open("sheet.jpg") as picture:
        assert picture.format == "JPEG"


def test_the_detectors_numbers_are_those_of_the_command(folder: Path, capsys: Capture) -> None:
    found = Components(Options(model="none", offline=True)).detector().detect(read_photo("my photo.png").pixels)
    largest = max(range(len(found)), key=lambda i: found[i].size) + 1
    told = json.loads(restore(capsys, "try", *TYPED, "--strengths", "1", "--json").out)
    assert [each["face"] for each in told["tries"]] == [largest]


def test_its_other_flags_are_those_of_a_restoration(folder: Path, capsys: Capture) -> None:
    words = ("--scale", "3", "--background", "lanczos", "--detector", "tiny-detector", "--min-score", "0.5",
             "--min-face", "12", "--device", "cpu", "--engine", "torch",
             "--precision", "fp32", "--offline")  # fmt: skip
    told = json.loads(restore(capsys, "try", *TYPED[:3], "--strengths", "1", *words, "--json").out)
    assert told["tries"][0]["command"].endswith(
        "--scale 3 --background lanczos --detector tiny-detector --min-score 0.5 --min-face 12 --device cpu "
        "--engine torch --precision fp32"
    )
    assert "No face of" in restore(capsys, "try", *TYPED, "--min-face", "9000", code=2).err


def test_a_face_that_is_pointed_at_is_the_one_that_is_tried(folder: Path, capsys: Capture) -> None:
    """The detector is told to be so sure that it finds nothing; the line to copy restores the same face."""
    photo = read_photo("my photo.png").pixels
    face = max(Components(Options(model="none", offline=True)).detector().detect(photo), key=lambda each: each.size)
    x0, y0, x1, y1 = face.box
    box = f"{x0:.0f},{y0:.0f},{x1 - x0:.0f},{y1 - y0:.0f}"
    words = ("--min-score", "1", "--face", box)
    (one,) = json.loads(restore(capsys, "try", *TYPED, "--strengths", "1", *words, "--json").out)["tries"]
    assert (one["face"], one["problem"]) == (1, None)
    typed = shlex.split(one["command"])
    assert typed[-6:] == ["--face", box, "--background", "lanczos", "--min-score", "1"]
    (done,) = json.loads(restore(capsys, *typed[1:], "--offline", "-o", "done.png", "--json").out)["faces"]
    assert done["restored"]
    assert done["pointed"] == "landmarks by tiny-detector-free at a closer look"
    sheet = read_photo(json.loads(restore(capsys, "try", *TYPED, *words, "--json").out)["sheet"])
    shown = sheet.pixels[HEAD : HEAD + TILE, GAP + 2 * (TILE + GAP) :][:, :TILE].astype(float)
    made = trial.tile(read_photo("done.png").pixels, tuple(2 * float(edge) for edge in done["box"]))
    assert np.abs(made.astype(float) - shown).mean() < 3
    assert "beyond" in restore(capsys, "try", *TYPED, "--face", "0,0,9000,9000", code=2).err
