"""A result tells how it was made: in note and record, in a later run's report, and before a run that differs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.batch.existing import difference
from restorer.batch.journal import NAME, Journal
from restorer.bench.tools.running import Weights
from restorer.photo import Note, read_note
from restorer.pipeline.restorer import Restorer
from tests.report.test_page import parsed
from tests.support.albums import PLAIN, picture
from tests.support.in_process import restore
from tests.support.parts import Colour, Detector, Everything, face_at

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights.toml by which the quick upscaler is here, which is not when a test begins."""
    stand_ins = Weights({}, tmp_path / "weights")
    stand_ins.make("realesr-general")
    monkeypatch.setenv("RESTORER_WEIGHTS", "")  # what is set below is undone with it
    listing = Path(stand_ins.environment()["RESTORER_WEIGHTS"])
    monkeypatch.delenv("RESTORER_WEIGHTS")
    return listing


# -------------------------------------------------------------------------------------------------- what a result says


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_note_and_record_name_what_took_part_and_never_a_choice(suffix: str, capsys: Capsys) -> None:
    """All choices automatic, all models the built-in ones."""
    picture(Path("a" + suffix), (64, 48))
    record = json.loads(restore(capsys, "a" + suffix, "--offline", "--model", "tiny", "--json").out)
    parts = record["components"]
    assert {name: part["name"] for name, part in parts.items()} == {
        "model": "tiny", "detector": "tiny-detector-free", "background": "tiny-upscaler",
    }  # fmt: skip
    assert {name: part["named"] for name, part in parts.items()} == {
        "model": True, "detector": False, "background": False,
    }  # fmt: skip
    assert all(re.fullmatch("[0-9a-f]{16}", part["sha256"]) for part in parts.values())
    note = read_note(f"a_restored{suffix}")
    assert note is not None
    assert note.components == parts
    assert note.options == {"scale": 2.0, "detector": "tiny-detector-free", "background": "tiny-upscaler"}
    packet = Path(f"a_restored{suffix}").read_bytes()
    assert b'"auto"' not in packet
    assert b"&quot;auto&quot;" not in packet


def test_the_mask_and_the_faces_stand_in_the_note_and_parts_of_ones_own_have_no_hash(tmp_path: Path) -> None:
    photo = np.full((200, 200, 3), 90, np.uint8)
    run = Restorer(Colour(), detector=Detector([face_at((100, 100), 40)]), background="lanczos", mask=Everything())
    result = run.restore(photo)
    result.save(tmp_path / "a.png")
    note = read_note(tmp_path / "a.png")
    assert note is not None
    assert note.components["mask"] == {"name": "everything", "sha256": None, "named": True}
    assert note.components["model"] == {"name": "colour", "sha256": None, "named": True}
    assert [face["restored"] for face in note.faces] == [True]
    assert note.faces[0]["box"] == result.record["faces"][0]["box"]
    assert note.input == result.photo.sha256


def test_restoring_a_result_is_noted(capsys: Capsys) -> None:
    picture(Path("a.png"))
    assert "is a result" not in restore(capsys, "a.png", *PLAIN).err
    done = restore(capsys, "a_restored.png", *PLAIN)
    assert "a_restored.png: It is a result of this tool already (model none, --scale 2)" in done.err


# ------------------------------------------------------------------------------------- results that were made otherwise


def test_other_options_are_said_once_with_what_to_type(capsys: Capsys) -> None:
    for number in range(7):
        picture(Path(f"in/{number}.png"), seed=number)
    restore(capsys, "in", "-o", "out", *PLAIN)
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    typed = ("in", "-o", "out", *PLAIN, "--scale", "3")
    done = restore(capsys, *typed, "--json")
    assert {json.loads(line)["status"] for line in done.out.splitlines()} == {"skipped"}
    assert done.err.count("made with --scale 2; this run asks for --scale 3") == 1
    assert "7 results are there" in done.err
    assert "Failed" not in done.err
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before
    commands = [line.partition("restore ")[2] for line in done.err.splitlines() if "restore in" in line]
    assert len(commands) == 2
    beside, anew = map(shlex.split, commands)
    restore(capsys, *beside)
    assert Image.open("out/0_restored_3x.png").size == (72, 48)
    assert Image.open("out/0_restored.png").size == (48, 32)
    restore(capsys, *anew)
    assert Image.open("out/0_restored.png").size == (72, 48)


def test_for_one_photo_the_other_name_is_a_file(capsys: Capsys) -> None:
    picture(Path("a.png"))
    restore(capsys, "a.png", "-o", "b.png", *PLAIN)
    said = restore(capsys, "a.png", "-o", "b.png", *PLAIN, "--scale", "4", "-q").err
    assert "b_4x.png" in said, "also when quiet: what was asked for was not made"


def test_another_photo_in_the_place_is_a_failure_whatever_the_options(capsys: Capsys) -> None:
    for suffix in ("png", "bmp"):
        picture(Path(f"in/a.{suffix}"))
    restore(capsys, "in", "-o", "out", *PLAIN)
    for suffix in ("png", "bmp"):
        picture(Path(f"in/a.{suffix}"), seed=9)
    for more in ((), ("--scale", "3")):
        assert restore(capsys, "in", "-o", "out", *PLAIN, *more, code=1).err.count("another photo") == 2


def test_results_that_hold_no_note_tell_it_by_the_journal(capsys: Capsys) -> None:
    picture(Path("in/a.bmp"))
    picture(Path("in/b.bmp"))
    restore(capsys, "in", "-o", "out", *PLAIN)
    assert "2 results are there, made with --scale 2" in restore(capsys, "in", "-o", "out", *PLAIN, "--scale", "3").err


def test_a_journal_of_an_earlier_version_is_read(capsys: Capsys) -> None:
    picture(Path("in/a.bmp"))
    picture(Path("in/b.png"))
    Path("in/c.png").write_bytes(b"broken")
    restore(capsys, "in", "-o", "out", *PLAIN, code=1)
    old = []
    for line in map(json.loads, Path("out", NAME).read_text().splitlines()):
        for name in ("part", "time", "made", "components", "earlier"):
            line.pop(name, None)
        line["source"] = str(Path("in", line["source"]).absolute())
        old.append(json.dumps(line))
    Path("out", NAME).write_text("\n".join(old) + "\n")
    journal = Journal(Path("out"))
    assert journal.belongs(Path("in/a.bmp"), Path("out/a_restored.bmp"), "a.bmp")
    again = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    records = {Path(record["input"]).name: record for record in map(json.loads, again.out.splitlines())}
    assert [records[name]["reason"] for name in ("a.bmp", "b.png")] == ["done already"] * 2
    assert "earlier run" in records["c.png"]["reason"]


def test_no_path_of_this_machine_stands_in_the_journal(capsys: Capsys, tmp_path: Path) -> None:
    picture(Path("in/deep/a.png"))
    Path("in/b.png").write_bytes(b"broken")
    restore(capsys, str(tmp_path / "in"), "-o", str(tmp_path / "out"), *PLAIN, code=1)
    assert str(tmp_path) not in Path("out", NAME).read_text()
    assert "b.png cannot be read" in Path("out", NAME).read_text()


@pytest.mark.parametrize(
    ("found", "wanted", "made", "asked"),
    [
        ({}, {"strength": 0.5}, "--strength 1", "--strength 0.5"),
        ({"grain": True}, {}, "--grain", "without --grain"),
        ({"match_color": False}, {}, "--no-match-color", "--match-color"),
        ({"max_faces": 3}, {}, "--max-faces 3", "without --max-faces"),
        ({"background": "auto"}, {"background": "auto"}, None, None),
        ({"background": "lanczos"}, {"background": "auto"}, "--background lanczos", "--background auto"),
    ],
)
def test_differences_are_told_as_they_are_typed(
    found: dict[str, object], wanted: dict[str, object], made: str | None, asked: str | None
) -> None:
    notes = [Note("restorer", "1", "tiny", "f", {"scale": 2.0, **options}) for options in (found, wanted)]
    told = difference(*notes)
    assert (told and told.made, told and told.asked) == (made, asked)


# ----------------------------------------------------------------------------------------------------- better than then


def test_what_built_in_models_did_is_made_anew_when_better_ones_are_here(
    capsys: Capsys, better: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.bmp"):
        picture(Path("in", name), (40, 30))
    rest = ("in", "-o", "out", "--model", "none", "--offline")
    first = restore(capsys, *rest, "--json")
    assert {json.loads(line)["background"] for line in first.out.splitlines()} == {"tiny-upscaler"}
    assert "better" not in restore(capsys, *rest).err
    monkeypatch.setenv("RESTORER_WEIGHTS", str(better))
    picture(Path("in/c.png"), (40, 30))
    said = restore(capsys, *rest)
    assert "2 results are by built-in models, and better ones are here now." in said.err
    assert "--redo built-in" in said.err
    assert "--redo" not in restore(capsys, *rest, "--background", "tiny-upscaler", "--overwrite", "--dry-run").err
    again = restore(capsys, *rest, "--redo", "built-in", "--json")
    records = {Path(record["input"]).name: record for record in map(json.loads, again.out.splitlines())}
    assert {name: record["status"] for name, record in records.items()} == {
        "a.png": "ok", "b.bmp": "ok", "c.png": "skipped",
    }  # fmt: skip
    assert {record["background"] for record in records.values()} == {"realesr-general"}
    assert restore(capsys, *rest, "--redo", "built-in").err.splitlines()[-1] == "3 photos, all done already."


def test_redoing_replaces_nothing_but_its_own_results(
    capsys: Capsys, better: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        picture(Path(f"in/{name}.png"), (40, 30), seed=ord(name))
    rest = ("in", "-o", "out", "--model", "none", "--offline")
    restore(capsys, *rest)
    monkeypatch.setenv("RESTORER_WEIGHTS", str(better))
    foreign = picture(Path("out/a_restored.png"), seed=5).read_bytes()
    picture(Path("in/b.png"), (40, 30), seed=77)  # another photo of that name
    kept = Path("out/b_restored.png").read_bytes()
    done = restore(capsys, *rest, "--redo", "built-in", code=1)
    assert "in/b.png" in done.err
    assert Path("out/a_restored.png").read_bytes() == foreign
    assert Path("out/b_restored.png").read_bytes() == kept


# ------------------------------------------------------------------------------------------------------------ a report


def test_the_report_of_a_later_run_shows_what_the_earlier_one_did(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an output folder by the journal, beside the photos by the notes."""
    face = Detector([face_at((100, 100), 40)])
    monkeypatch.setattr("restorer.pipeline.components.Components.detector", lambda _self: face)
    for out in ((), ("-o", "out/")):
        for name in "ab":
            picture(Path(f"in/{name}.png"), (200, 200), seed=ord(name))
        rest = ("in", *out, "--model", "tiny", "--background", "lanczos", "--offline")
        restore(capsys, *rest)
        restore(capsys, *rest, "--report")
        page = parsed(Path(out[1] if out else "in", "report.html"))
        assert "restored earlier" in page.text
        assert "Skipped: done already; 1 face by tiny" in page.text
        assert sum("Face 1 restored" in str(each.get("alt")) for each in page.all("img")) == 2
