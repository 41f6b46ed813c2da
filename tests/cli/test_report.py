"""`restore --report` and options out of restore.toml, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from restorer.photo import read_photo
from tests.report.test_page import parsed
from tests.support.in_process import restore

PLAIN = ("--model", "none", "--background", "lanczos")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an album of two photos and one that is broken."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "album/deep").mkdir(parents=True)
    Image.new("RGB", (60, 40), (200, 30, 30)).save(tmp_path / "album/a.png")
    Image.new("RGB", (60, 40), (30, 200, 30)).save(tmp_path / "album/deep/b.jpg")
    (tmp_path / "album/c.jpg").write_text("no picture")
    return tmp_path


def test_report_shows_every_photo_of_the_run(folder: Path, capsys: Capture) -> None:
    done = restore(capsys, "album", "-o", "out", *PLAIN, "--report", code=1)
    assert "out/report.html" in done.err
    page = parsed(folder / "out/report.html")
    names = [str(each["alt"]) for each in page.all("img")]
    assert names == ["a.png, as it was", "a.png, restored", "b.jpg, as it was", "b.jpg, restored"]
    assert "album/c.jpg" in page.text
    assert "Failed" in page.text
    # A second run skips what is done, and its page shows it all the same.
    restore(capsys, "album", "-o", "out", *PLAIN, "--report", code=1)
    again = parsed(folder / "out/report.html")
    assert [str(each["alt"]) for each in again.all("img")] == names
    assert "Skipped: done already" in again.text


def test_without_report_there_is_none(folder: Path, capsys: Capture) -> None:
    restore(capsys, "album/a.png", *PLAIN)
    restore(capsys, "album", "-o", "out", *PLAIN, "--report", "--dry-run", code=None)
    assert not list(folder.rglob("*.html"))


def test_a_foreign_report_is_refused_before_the_work(folder: Path, capsys: Capture) -> None:
    (folder / "album/report.html").write_text("mine")
    done = restore(capsys, "album/a.png", *PLAIN, "--report", code=1)
    assert "report.html" in done.err
    assert not (folder / "album/a_restored.png").exists()
    assert (folder / "album/report.html").read_text() == "mine"


def test_a_photo_from_stdin_has_no_report(folder: Path, capsys: Capture) -> None:
    assert "--report" in restore(capsys, "-", *PLAIN, "--report", code=2).err


def test_options_out_of_restore_toml(folder: Path, capsys: Capture) -> None:
    (folder / "restore.toml").write_text('model = "none"\nbackground = "lanczos"\nscale = 3\nname = "{stem}-large"\n')
    record = json.loads(restore(capsys, "album/a.png", "--json").out)
    assert record["scale"] == 3.0
    assert read_photo(folder / "album/a-large.png").size == (180, 120)
    restore(capsys, "album/a.png", "--scale", "4", "-o", "b.png")
    assert read_photo(folder / "b.png").size == (240, 160)


def test_wrong_settings_are_usage_errors_that_name_the_file(folder: Path, capsys: Capture) -> None:
    (folder / "restore.toml").write_text("skale = 3\n")
    assert "skale" in restore(capsys, "album/a.png", code=2).err
    assert "--scale" in restore(capsys, "--help").out
    (folder / "restore.toml").write_text("scale = 0\n")
    assert "restore.toml sets scale" in restore(capsys, "album/a.png", code=2).err
