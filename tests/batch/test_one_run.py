"""Inside one run: reading and writing beside the work, photos that do not touch each other, odd names."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from restorer.batch.discovery import Job
from restorer.batch.estimate import Estimate, Load, Rates
from restorer.batch.journal import NAME
from restorer.cli.progress import ProgressView
from restorer.errors import (
    UnsuitableFormatError,
)
from restorer.photo import read_photo
from restorer.pipeline.restorer import Restorer
from restorer.storage import temporary
from restorer.upscaling.lanczos import Lanczos
from tests.support.albums import PLAIN, files, picture
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize("slow", ["restoring", "writing"])
def test_reading_and_writing_overlap_with_the_work_and_are_bounded(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """Where restoring is slow it waits until the next photo is read and the last one is being written."""
    monkeypatch.chdir(tmp_path)
    for name in "abcdef":
        picture(Path(f"in/{name}.png"), seed=ord(name))
    events: list[str] = []
    changed = threading.Condition()

    def say(text: str) -> None:
        with changed:
            events.append(text)
            changed.notify_all()

    def meanwhile(name: str) -> None:
        """Wait for what is to happen while a photo is restored."""
        wanted = {f"-read {chr(ord(name) + 1)}"} - {"-read g"} | {f"+write {chr(ord(name) - 1)}"} - {"+write `"}
        with changed:
            assert changed.wait_for(lambda: wanted <= set(events), timeout=60), f"{wanted} while {name} is restored"

    read, restored, saved = read_photo, Restorer.restore, temporary.Part.move_to

    def slow_read(path: Path, **rest: Any) -> Any:
        say(f"+read {path.name[0]}")
        photo = read(path, **rest)
        say(f"-read {path.name[0]}")
        return photo

    def slow_restore(self: Restorer, photo: Any, **rest: Any) -> Any:
        say(f"+restore {photo.path.name[0]}")
        result = restored(self, photo, **rest)
        if slow == "restoring":
            meanwhile(photo.path.name[0])
        say(f"-restore {photo.path.name[0]}")
        return result

    def slow_write(self: temporary.Part, target: Path, **rest: Any) -> None:
        say(f"+write {target.name[0]}")
        if slow == "writing":
            time.sleep(0.1)  # long enough for the others to go too far, if they may
        saved(self, target, **rest)
        say(f"-write {target.name[0]}")

    monkeypatch.setattr("restorer.batch.reading.read_photo", slow_read)
    monkeypatch.setattr(Restorer, "restore", slow_restore)
    monkeypatch.setattr(temporary.Part, "move_to", slow_write)
    restore(capsys, "in", "-o", "out", *PLAIN)
    read_count = written = 0
    for event in events:
        read_count += event.startswith("+read")
        written += event.startswith("-write")
        assert read_count - written <= 3, "photos in memory"


@pytest.mark.parametrize(
    ("heavy", "expected"),
    [
        (100, ["read a", "+a", "wrote a", "read b", "+b", "wrote b", "read c", "+c", "wrote c"]),
        (1000, ["+a", "wrote a", "+b", "wrote b", "+c", "wrote c"]),  # 24 x 16 pixels come in, 48 x 32 go out
    ],
)
def test_large_photos_are_neither_read_ahead_nor_written_behind(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, heavy: int, expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("restorer.batch.run.LARGE_PHOTO_PIXELS", heavy)
    for name in "abc":
        picture(Path(f"in/{name}.png"), seed=ord(name))
    events: list[str] = []
    read, restored, move = read_photo, Restorer.restore, temporary.Part.move_to

    def noted_read(path: Path, **rest: Any) -> Any:
        events.append(f"read {path.name[0]}")
        return read(path, **rest)

    def noted_restore(self: Restorer, photo: Any, **rest: Any) -> Any:
        events.append(f"+{photo.path.name[0]}")
        return restored(self, photo, **rest)

    def noted_move(self: temporary.Part, target: Path, **rest: Any) -> None:
        time.sleep(0.05)
        move(self, target, **rest)
        if target.suffix == ".png":
            events.append(f"wrote {target.name[0]}")

    monkeypatch.setattr("restorer.batch.reading.read_photo", noted_read)
    monkeypatch.setattr(Restorer, "restore", noted_restore)
    monkeypatch.setattr(temporary.Part, "move_to", noted_move)
    restore(capsys, "in", "-o", "out", *PLAIN)
    assert [event for event in events if heavy == 100 or not event.startswith("read")] == expected


def test_a_photos_bytes_do_not_depend_on_its_neighbours(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        picture(Path(f"in/{name}.png"), seed=ord(name))
    restore(capsys, "in", "-o", "out", *PLAIN)
    restore(capsys, "in/b.png", "-o", "alone", *PLAIN)
    assert files(Path("alone"))["b_restored.png"] == files(Path("out"))["b_restored.png"]


def test_an_error_that_ends_the_run_keeps_what_was_done(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from restorer.errors import WeightsUnavailableError

    monkeypatch.chdir(tmp_path)
    for name in "abc":
        picture(Path(f"in/{name}.png"), seed=ord(name))
    upscale = Lanczos.upscale
    calls: list[int] = []

    def fail(self: Lanczos, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise WeightsUnavailableError("x", "The weights are not there.", "Download them.")
        return upscale(self, *arguments)

    monkeypatch.setattr(Lanczos, "upscale", fail)
    assert "weights are not there" in restore(capsys, "in", "-o", "out", *PLAIN, code=3).err
    assert set(files(Path("out"))) == {NAME, "a_restored.png"}


def test_odd_names_do_not_upset_the_terminal(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: Sequence[str] = ["two\nlines", "\x1b[31mred", "[bold]x", "right\u202eleft"]
    for number, name in enumerate(names):
        picture(Path("in", name + ".png"), seed=number)
    if sys.platform == "linux":
        picture(Path("in/x.png")).rename(os.fsdecode(b"in/latin\xe9.png"))
    done = restore(capsys, "in", "-o", "out", *PLAIN)
    assert len(done.out.splitlines()) == len(files(Path("in")))
    assert "\x1b[31m" not in done.out
    assert "[bold]x" in done.out
    again = restore(capsys, "in", "-o", "out", *PLAIN, "--json")
    assert {json.loads(line)["input"] for line in again.out.splitlines()} == {
        str(path) for path in Path("in").iterdir()
    }


def test_wrong_usage_about_one_photo_does_not_end_a_folder(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "c.png"):
        picture(Path("in", name))
    original = Restorer.restore

    def fails(self: Restorer, photo: Any, **rest: Any) -> Any:
        if photo.path.name == "b.png":
            raise UnsuitableFormatError("Files that end in '.gif' cannot be written.", "Use .png.")
        return original(self, photo, **rest)

    monkeypatch.setattr(Restorer, "restore", fails)
    done = restore(capsys, "in", "-o", "out", *PLAIN, code=1)
    assert "2 photos restored" in done.err
    assert "in/b.png: cannot be in that format" in done.err


class Screen:
    """Stands for a progress bar."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def add_task(self, _words: str, total: int) -> int:
        return total

    def update(self, _task: int, **changes: Any) -> None:
        self.heard.append(changes)


def test_a_stage_that_the_bar_does_not_know_is_shown_as_it_is_called() -> None:
    screen = Screen()
    jobs = [Job(Path("a.png"), Path("out"))]
    view = ProgressView(cast(Any, screen), 1, Estimate([Load(1.0)], Rates(), 0.0), lines=False)
    on_stage = view.begin(jobs[0])
    on_stage("detect", 0.5)
    on_stage("sharpen", 0.5)
    assert screen.heard[-1]["description"] == "Sharpen: a.png"
    assert screen.heard[-1].get("completed") is None
