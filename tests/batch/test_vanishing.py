"""Photos, results, journals and folders that vanish during a run."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from restorer.batch.journal import NAME
from restorer.errors import (
    FaceNotRestoredError,
    MissingSupportError,
    PhotoError,
    UnreadablePhotoError,
    UnwritableOutputError,
)
from restorer.pipeline.restorer import Restorer
from restorer.record import Record
from restorer.storage import locks
from tests.support.albums import PLAIN, files, picture
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and limits")


def test_a_photo_that_vanishes_during_the_run(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "abcd":
        picture(Path(f"in/{name}.png"), seed=ord(name))
    original = Restorer.restore

    def vanish(self: Restorer, photo: Any, **rest: Any) -> Any:
        Path("in/c.png").unlink(missing_ok=True)  # b is being read by now
        return original(self, photo, **rest)

    monkeypatch.setattr(Restorer, "restore", vanish)
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["status"] for record in records] == ["ok", "ok", "failed", "ok"]
    assert records[2]["error"]["kind"] == "UnreadablePhoto"
    assert "c.png" in records[2]["error"]["message"]


@pytest.mark.parametrize(
    ("error", "remembered"),
    [
        (MissingSupportError("a.png", "A package is missing.", "Install it."), False),
        (UnwritableOutputError("a.png", "No room.", "Make some."), False),
        (UnreadablePhotoError("a.png", "It is broken.", "Look at it."), True),
        (FaceNotRestoredError("a.png", "A face failed.", "Leave it out."), True),
    ],
    ids=lambda value: getattr(value, "kind", str(value)),
)
def test_only_failures_that_lie_in_the_photo_are_remembered(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, error: PhotoError, remembered: bool
) -> None:
    """Whoever has installed the package, or made room, expects the same command to go on."""
    monkeypatch.chdir(tmp_path)
    picture(Path("in/a.png"))
    original = Restorer.restore

    def failing(self: Restorer, photo: Any, **rest: Any) -> Any:
        raise error

    monkeypatch.setattr(Restorer, "restore", failing)
    restore(capsys, "in", "-o", "out", *PLAIN, code=1)
    monkeypatch.setattr(Restorer, "restore", original)
    again = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1 if remembered else 0)
    assert [json.loads(line)["status"] for line in again.out.splitlines()] == ["failed" if remembered else "ok"]


def test_a_photo_whose_writing_fails_has_no_output_in_its_record(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("a.png"))

    def full(*_given: Any) -> None:
        raise UnwritableOutputError("a_restored.png", "No room.", "Make some.")

    monkeypatch.setattr("restorer.batch.writing.write_whole", full)
    done = restore(capsys, "a.png", *PLAIN, "--json", code=1)
    (told,) = map(json.loads, done.out.splitlines())
    assert (told["status"], told["output"]) == ("failed", None)
    record = Record("a.png", output="a_restored.png")
    record.fail(UnwritableOutputError("a_restored.png", "No room."))
    assert (record.status, record.as_dict()["output"]) == ("failed", None)


@POSIX
@pytest.mark.parametrize("what", ["journal", "folder"])
def test_an_output_folder_or_journal_that_vanishes_is_begun_anew(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """What is written after that must be known to the next run, although the file that was open is gone."""
    monkeypatch.chdir(tmp_path)
    for name in "abcd":
        picture(Path(f"in/{name}.bmp"), seed=ord(name))
    original = Restorer.restore

    def vanish(self: Restorer, photo: Any, **rest: Any) -> Any:
        result = original(self, photo, **rest)
        if photo.path.name == "c.bmp":
            while b'"out/b_restored.bmp", "status": "ok"' not in Path("out", NAME).read_bytes():
                time.sleep(0.01)
            with Path("out", NAME).open("r+b") as journal:  # until the journal is given back
                assert locks.try_lock(journal.fileno(), wait=True)
                locks.unlock(journal.fileno())
            shutil.rmtree("out") if what == "folder" else Path("out", NAME).unlink()
        return result

    monkeypatch.setattr(Restorer, "restore", vanish)
    restore(capsys, "in", "-o", "out", *PLAIN)
    monkeypatch.setattr(Restorer, "restore", original)
    if what == "folder":
        assert set(files(Path("out"))) == {NAME, "c_restored.bmp", "d_restored.bmp"}
        again = restore(capsys, "in", "-o", "out", *PLAIN, "--json")
        statuses = [json.loads(line)["status"] for line in again.out.splitlines()]
        assert statuses == ["ok", "ok", "skipped", "skipped"]
    else:
        again = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
        statuses = [json.loads(line)["status"] for line in again.out.splitlines()]
        assert statuses == ["failed", "failed", "skipped", "skipped"], "of the first two nothing tells the origin"


def test_a_photo_that_vanishes_after_it_was_done_loses_nothing(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("in/a.png"))
    picture(Path("in/b.png"))
    restore(capsys, "in", "-o", "out", *PLAIN)
    before = files(Path("out"))
    Path("in/a.png").unlink()
    restore(capsys, "in", "-o", "out", *PLAIN)
    assert files(Path("out")) == before
