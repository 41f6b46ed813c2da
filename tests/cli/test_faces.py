"""`restore faces`: the list, the picture, and that its numbers are those that `--faces` means."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer import Restorer
from restorer.batch.discovery import find_photos
from restorer.cli.faces import _place
from restorer.photo import read_note, read_photo
from restorer.pipeline.components import Components
from tests.support import standins
from tests.support.in_process import restore
from tests.support.parts import Colour, Detector, Everything, face_at

FACES = [face_at((80, 90), 26), face_at((200, 100), 30, 10), face_at((330, 90), 12)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one photo, and a detector that finds three faces in any."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((240, 400, 3), 120, np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Components, "detector", lambda _components: Detector(FACES))
    return tmp_path


Capture = pytest.CaptureFixture[str]


def test_the_list_has_number_box_landmarks_and_score(folder: Path, capsys: Capture) -> None:
    done = restore(capsys, "faces", "a.png", "--json")
    found = json.loads(done.out)
    assert [face["number"] for face in found] == [1, 2, 3]
    assert [set(face) for face in found] == [{"number", "box", "landmarks", "score", "reason", "pointed"}] * 3
    for face, truth in zip(found, FACES, strict=True):
        assert face["box"] == pytest.approx(truth.box, abs=0.01)
        assert np.allclose(face["landmarks"], truth.landmarks, atol=0.01)
        assert face["score"] == 0.99
        assert face["reason"] is None


def test_people_get_a_table(folder: Path, capsys: Capture) -> None:
    lines = restore(capsys, "faces", "a.png", "--min-face", "50").out.splitlines()
    assert [re.split(r"  +", line.strip()) for line in lines] == [
        ["Face", "Where", "Size", "Sure"],
        ["1", "left", "63 x 63 px", "99 %"],
        ["2", "middle", "73 x 73 px", "99 %"],
        ["3", "right", "29 x 29 px", "99 %", "smaller than --min-face 50 px"],
    ]
    assert len({line.index("px") for line in lines[1:]}) == 1


@pytest.mark.parametrize(
    ("centre", "place"),
    [((5, 5), "top left"), ((50, 5), "top"), ((95, 50), "right"), ((50, 50), "middle"), ((90, 90), "bottom right")],
)
def test_a_face_is_somewhere(centre: tuple[float, float], place: str) -> None:
    assert _place(face_at(centre, 2), (100, 100)) == place


def test_the_picture_stands_beside_the_photo_and_shows_the_numbers(folder: Path, capsys: Capture) -> None:
    done = restore(capsys, "faces", "a.png")
    assert "3 faces found; a_faces.png shows them." in done.err
    drawn = read_photo(folder / "a_faces.png")
    assert drawn.size == (1200, 720)
    yellow = (drawn.pixels == (255, 221, 0)).all(axis=2)
    for face in FACES:
        x0, y0, x1, y1 = (round(value * 3) for value in face.box)
        assert yellow[y0 - 60 : y1 + 60, x0 - 60 : x1 + 60].sum() > 100
    assert yellow.sum() < 20_000


def test_the_numbers_are_those_of_the_faces_option(folder: Path, capsys: Capture) -> None:
    """What is restored by --faces 2 is the face that the list calls 2, and no other."""
    second = json.loads(restore(capsys, "faces", "a.png", "--json").out)[1]
    restorer = Restorer(Colour(), detector=Detector(FACES), mask=Everything(), background="lanczos", scale=1, faces="2")
    result = restorer.restore(folder / "a.png")
    assert [face.restored for face in result.faces] == [False, True, False]
    changed = np.argwhere((result.image != 120).any(axis=2))
    middle = changed.mean(axis=0)[::-1]
    x0, y0, x1, y1 = second["box"]
    assert x0 < middle[0] < x1
    assert y0 < middle[1] < y1


def test_out_names_a_picture_or_a_folder(folder: Path, capsys: Capture) -> None:
    restore(capsys, "faces", "a.png", "-o", "deep/er/b.jpg")
    assert read_photo(folder / "deep/er/b.jpg").format == "JPEG"
    (folder / "there").mkdir()
    restore(capsys, "faces", "a.png", "-o", "there")
    assert [path.name for path in (folder / "there").iterdir()] == ["a_faces.png"]
    assert not (folder / "a_faces.png").exists()
    assert "cannot be written" in restore(capsys, "faces", "a.png", "-o", "b.doc", code=2).err


def test_json_draws_nothing_and_says_nothing_unless_a_picture_is_named(folder: Path, capsys: Capture) -> None:
    done = restore(capsys, "faces", "a.png", "--json")
    assert len(json.loads(done.out)) == 3
    assert done.err == ""
    assert sorted(path.name for path in folder.iterdir()) == ["a.png"]
    restore(capsys, "faces", "a.png", "--json", "-o", "b.png")
    assert (folder / "b.png").exists()


def test_a_drawing_is_drawn_again_and_anything_else_kept(folder: Path, capsys: Capture) -> None:
    restore(capsys, "faces", "a.png")
    restore(capsys, "faces", "a.png")
    foreign = folder / "b.png"
    Image.new("RGB", (9, 9)).save(foreign)
    before = foreign.read_bytes()
    assert "--overwrite" in restore(capsys, "faces", "a.png", "-o", "b.png", code=1).err
    assert foreign.read_bytes() == before
    restore(capsys, "faces", "a.png", "-o", "b.png", "--overwrite")
    assert foreign.read_bytes() != before
    photo = (folder / "a.png").read_bytes()
    assert "never overwritten" in restore(capsys, "faces", "a.png", "-o", "a.png", "--overwrite", code=1).err
    assert (folder / "a.png").read_bytes() == photo


def test_a_run_over_the_folder_passes_drawings_over(folder: Path, capsys: Capture) -> None:
    restore(capsys, "faces", "a.png")
    assert read_note(folder / "a_faces.png") is not None
    assert [job.source.name for job in find_photos([str(folder)], None).jobs] == ["a.png"]


def test_faces_below_min_face_are_listed_with_the_reason(folder: Path, capsys: Capture) -> None:
    done = restore(capsys, "faces", "a.png", "--min-face", "40", code=0)
    assert [line.count("smaller than --min-face 40 px") for line in done.out.splitlines()] == [0, 0, 0, 1]
    # What decides the numbers is part of what is to be typed next.
    assert "restore a.png --faces 1,2 --min-face 40" in done.err


def test_options_reach_the_detector(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def detector(parts: Components) -> Detector:
        seen.append(parts.options)
        return Detector([])

    monkeypatch.setattr(Components, "detector", detector)
    arguments = ("--detector", "retinaface-mobilenet0.25", "--min-score", "0.6", "--min-face", "12", "--offline")
    done = restore(capsys, "faces", "a.png", *arguments, "--device", "cpu")
    assert done.out == ""
    assert "No faces found" in done.err
    (options,) = seen
    assert (options.detector, options.min_score, options.min_face) == ("retinaface-mobilenet0.25", 0.6, 12.0)
    assert options.offline
    assert options.device == "cpu"


def test_options_may_come_from_restore_toml(folder: Path, capsys: Capture) -> None:
    (folder / "restore.toml").write_text("min-face = 40\nscale = 8\n")
    assert json.loads(restore(capsys, "faces", "a.png", "--json").out)[2]["reason"] == "smaller than --min-face 40 px"
    assert json.loads(restore(capsys, "faces", "a.png", "--json", "--min-face", "5").out)[2]["reason"] is None


@pytest.mark.parametrize(
    ("arguments", "word", "code"),
    [
        (("a.png", "--detector", "gfpgan"), "face detector", 2),
        (("a.png", "--detector", "retinafase-r50"), "retinaface-r50", 2),
        (("a.png", "--min-score", "2"), "--min-score", 2),
        (("missing.png",), "missing.png", 1),
        (("A.jpg",), "Did you mean a.png?", 1),
        (("text.jpg",), "text.jpg", 1),
    ],
)
def test_what_is_wrong_is_said(folder: Path, capsys: Capture, arguments: tuple[str, ...], word: str, code: int) -> None:
    (folder / "text.jpg").write_text("no picture")
    done = restore(capsys, "faces", *arguments, code=code)
    assert word in done.err
    assert done.out == ""


def test_stdin(folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO((folder / "a.png").read_bytes())

    monkeypatch.setattr("sys.stdin", Stdin())
    assert len(json.loads(restore(capsys, "faces", "-", "--json").out)) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["a.png"]


def test_any_kind_of_photo_can_be_drawn_on(folder: Path, capsys: Capture) -> None:
    grey = np.full((240, 400), 120, np.uint8)
    Image.fromarray(grey).save(folder / "grey.jpg")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    Image.merge("RGBA", [Image.fromarray(grey)] * 4).save(folder / "alpha.webp")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.full((400, 240, 3), 120, np.uint8).transpose(1, 0, 2)).save(folder / "turned.jpg", exif=turned)
    for name in ("grey.jpg", "deep.png", "alpha.webp", "turned.jpg"):
        restore(capsys, "faces", name)
        drawn = read_photo(folder / f"{Path(name).stem}_faces{Path(name).suffix}").pixels.astype(int)
        assert (np.abs(drawn[..., 0] - drawn[..., 2]) > 100).sum() > 1000, name
    assert read_photo(folder / "turned_faces.jpg").size == (720, 1200)


@pytest.mark.shared
def test_numbers_on_a_real_photo_are_those_of_its_record(
    shared: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = shared / "weights/retinaface_mobilenet0.25.pth"
    (tmp_path / "weights.toml").write_text(standins.table("mnet", "retinaface", weights, network_name="mobile0.25"))
    monkeypatch.setenv("RESTORER_WEIGHTS", str(tmp_path / "weights.toml"))
    photo = shared / "data/photos/facenet_multiface.jpg"
    target = tmp_path / "b.png"
    listed = json.loads(restore(capsys, "faces", str(photo), "--detector", "mnet", "-o", str(target), "--json").out)
    restorer = Restorer(Colour(), detector="mnet", mask=Everything(), background="lanczos", scale=1, faces="2,4")
    record = restorer.restore(photo).record
    assert len(listed) == len(record["faces"]) > 4
    assert [face["box"] for face in listed] == [face["box"] for face in record["faces"]]
    assert [n for n, face in enumerate(record["faces"], 1) if face["restored"]] == [2, 4]
    assert [face["box"][0] for face in listed] == sorted(face["box"][0] for face in listed)
    assert read_photo(target).size[0] >= 1200
