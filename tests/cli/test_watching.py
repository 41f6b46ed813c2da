"""What is kept of a run for those who were not there: `--log` and `--metrics`."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from restorer.batch import metrics
from restorer.batch.metrics import Metrics
from restorer.cli.runlog import RunLog
from restorer.errors import UsageError, WeightsError
from restorer.pipeline.restorer import Restorer
from restorer.record import Record
from tests.support.albums import PLAIN, picture
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d (INFO|WARNING|ERROR) +\S+\[\d+\] (.*)")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(path: str = "run.log") -> list[tuple[str, str]]:
    """Return level and text of each line; every line must have them."""
    found = [LINE.fullmatch(line) for line in Path(path).read_text(encoding="utf-8").split("\n")[:-1]]
    assert all(found)
    return [(each[1], each[2]) for each in found if each]


def album() -> None:
    for number in range(2):
        picture(Path(f"in/{number}.png"), seed=number)
    Path("in/bad\nname.png").write_bytes(b"broken")


# ------------------------------------------------------------------------------------------------------------- the log


def test_a_log_tells_of_a_run_also_when_it_is_quiet(capsys: Capsys) -> None:
    album()
    restore(capsys, "in", "-o", "out", *PLAIN, "-q", "--log", "logs/run.log", code=1)
    lines = told("logs/run.log")
    texts = [text for _, text in lines]
    assert texts[0] == "start: restore in -o out --model none --background lanczos -q --log logs/run.log"
    assert "restorer" in texts[1]
    failed = next(text for level, text in lines if level == "ERROR")
    assert failed.startswith("failed (UnreadablePhoto) after ")
    assert r"in/bad\nname.png" in failed, "a name cannot begin a line of its own"
    assert sum(text.startswith("done: in/") for text in texts) == 2
    assert any(text.startswith("with: background lanczos") for text in texts)
    assert re.match(r"end: 2 photos restored .* 1 failed, in ", texts[-2])
    assert texts[-1] == "exit code 1"
    restore(capsys, "in", "-o", "out", *PLAIN, "--json", "--log", "logs/run.log", code=1)
    again = told("logs/run.log")
    assert again[: len(lines)] == lines, "what is there stays"
    more = again[len(lines) :]
    assert sum(text.startswith("skipped: in/") for _, text in more) == 2
    assert ("WARNING", "failed in an earlier run: ") in [(level, text[:26]) for level, text in more]
    assert not any(level == "ERROR" for level, _ in more), "nothing new went wrong"


def test_a_single_photo_and_a_stream_have_a_log_too(capsys: Capsys) -> None:
    picture(Path("a.png"))
    restore(capsys, "a.png", *PLAIN, "-o", "b.png", "--log", "run.log")
    assert any(text.startswith("done: a.png -> ") for _, text in told())
    restore(capsys, "-o", "-", "a.png", *PLAIN, "--dry-run", "--log", "other.log", "--metrics", "m.json")
    assert any(text.startswith("would be done: a.png -> -") for _, text in told("other.log"))
    assert json.loads(Path("m.json").read_text())["photos"]["total"] == 1


def test_without_a_log_nothing_more_is_printed(capsys: Capsys) -> None:
    said = restore(capsys, "nothing.png", *PLAIN, code=2).err
    assert said.count("there is no such file") == 1
    album()
    said = restore(capsys, "in", "-o", "out", *PLAIN, "-q", code=1).err
    assert said.count("cannot be read") == 1
    assert "failed (" not in said


def test_warnings_and_what_ends_a_run_stand_in_it(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(Path("in/a.png"))

    def warned(self: Restorer, photo: Any, record: Record, **rest: Any) -> Any:
        record.warn("This is odd.\nIndeed.")
        raise WeightsError("gone", "there is none", "Get one.")

    monkeypatch.setattr(Restorer, "restore", warned)
    restore(capsys, "in", "-o", "out", *PLAIN, "--log", "run.log", "--metrics", "m.json", code=3)
    assert ("ERROR", "the run ends: there is none Get one.") in told()
    assert told()[-1] == ("INFO", "exit code 3")
    figures = json.loads(Path("m.json").read_text())
    assert (figures["state"], figures["exit_code"]) == ("failed", 3)

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Restorer, "restore", interrupted)
    restore(capsys, "in", "-o", "out", *PLAIN, "--log", "run.log", "--metrics", "m.json", code=130)
    assert [text for _, text in told()[-2:]] == ["interrupted", "exit code 130"]
    assert json.loads(Path("m.json").read_text())["state"] == "interrupted"


@pytest.mark.parametrize("name", ["photo.jpg", "new.PNG", "notes.txt", "folder", "-", "page.pdf", "x.cr2"])
@pytest.mark.parametrize("flag", ["--log", "--metrics"])
def test_nothing_else_is_ever_written_into(name: str, flag: str, capsys: Capsys) -> None:
    picture(Path("photo.jpg"))
    Path("notes.txt").write_text("call grandmother\n")
    Path("folder").mkdir()
    before = {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert flag in restore(capsys, "photo.jpg", *PLAIN, flag, name, code=2).err
    assert {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def test_a_picture_without_a_name_that_says_so_is_no_log() -> None:
    picture(Path("a.png")).rename("a.log")
    with pytest.raises(UsageError, match="no log"):
        RunLog(Path("a.log"))
    with pytest.raises(UsageError, match="no file of this tool"):
        Metrics(Path("a.log"), warn=print)


def test_parts_share_one_log_without_mixing_lines() -> None:
    """Four writers of their own, each with lines longer than any buffer."""
    text = "x" * 20_000

    def write(log: RunLog, letter: str) -> None:
        for _ in range(20):
            log.say(letter * 20_000)

    logs = [RunLog(Path("run.log")) for _ in "abcd"]
    threads = [threading.Thread(target=write, args=pair) for pair in zip(logs, "abcd", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = told()
    assert len(lines) == 80
    assert all(len(set(line)) == 1 and len(line) == len(text) for _, line in lines)


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be moved there")
def test_a_log_that_is_moved_away_is_begun_anew() -> None:
    log = RunLog(Path("run.log"))
    log.say("one")
    Path("run.log").rename("run.log.1")
    log.say("two")
    assert [text for _, text in told("run.log.1")] == ["one"]
    assert [text for _, text in told()] == ["two"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
def test_a_full_disk_is_said_once_and_stops_nothing(capsys: Capsys) -> None:
    picture(Path("in/a.png"))
    said = restore(capsys, "in", "-o", "out", *PLAIN, "--log", "/dev/full").err
    assert said.count("--log /dev/full cannot be written") == 1
    assert Path("out/a_restored.png").exists()


# ---------------------------------------------------------------------------------------------------------- the figures


def test_figures_tell_new_failures_from_known_ones(capsys: Capsys) -> None:
    album()
    restore(capsys, "in", "-o", "out", *PLAIN, "--metrics", "m.json", code=1)
    first = json.loads(Path("m.json").read_text())
    assert (first["state"], first["exit_code"], first["pid"]) == ("finished", 1, os.getpid())
    assert first["photos"] == {
        "total": 3, "done": 2, "skipped": 0, "failed": 1, "failed_new": 1, "failed_before": 0, "left": 0,
    }  # fmt: skip
    assert first["photos_an_hour"] > 0
    assert first["started"] <= first["last_photo"] <= first["updated"]
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--metrics", "m.json", "--json", code=1)
    again = json.loads(Path("m.json").read_text())["photos"]
    assert (again["failed_new"], again["failed_before"], again["skipped"]) == (0, 1, 2)
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["failed_before"] for record in records if record["status"] == "failed"] == [True]
    assert not any(record["failed_before"] for record in records if record["status"] != "failed")


def test_prometheus_reads_them(capsys: Capsys) -> None:
    album()
    restore(capsys, "in", "-o", "out", *PLAIN, "--metrics", "m.prom", "--shard", "1/1", code=1)
    text = Path("m.prom").read_text()
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert samples['restorer_run_photos{shard="1/1",outcome="done"}'] == "2"
    assert samples['restorer_run_photos{shard="1/1",outcome="failed_new"}'] == "1"
    assert samples['restorer_run_exit_code{shard="1/1"}'] == "1"
    names = {re.split(r"[{ ]", sample)[0] for sample in samples}
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")} == names
    assert all(re.fullmatch(r'restorer_[a-z_]+\{(\w+="[^"]*",?)+\}', sample) for sample in samples)
    float(samples['restorer_run_update_timestamp_seconds{shard="1/1"}'])
    restore(capsys, "in", "-o", "out", *PLAIN, "--metrics", "m.prom", code=1)  # its own may be replaced


def test_they_are_written_while_photos_are_worked_on() -> None:
    written = threading.Event()

    class Watched(Metrics):
        def text(self) -> str:
            if self.figures()["photos"]["done"] == 1:
                written.set()
            return super().text()

    figures = Watched(Path("m.json"), warn=print, every=0.01)
    figures.photos(10, 100.0)
    figures.add(Record("a.png", seconds={"total": 1.0}), lambda: 90.0)
    assert written.wait(60)
    figures.end(0)
    assert not any(thread.name == "metrics" for thread in threading.enumerate())
    found = json.loads(Path("m.json").read_text())
    assert (found["photos"]["left"], found["eta_seconds"]) == (9, None)


@pytest.mark.parametrize("suffix", [".json", ".prom"])
def test_two_runs_do_not_share_a_file(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(f"m{suffix}")
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("restorer.batch.metrics.os.getpid", lambda: sleeper.pid)
            other = Metrics(None, warn=print)
        other._path = path
        other._write()
        with pytest.raises(UsageError, match=f"process {sleeper.pid} on {platform.node()}"):
            Metrics(path, warn=print)
        assert str(sleeper.pid) in path.read_text(), "it stays"
    finally:
        sleeper.communicate(b"\n")
    Metrics(path, warn=print).end(0)  # whoever was killed leaves a file that says it runs
    assert "finished" in path.read_text()


def test_what_cannot_be_written_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metrics, "write_atomic", full)
    figures = Metrics(Path("m.json"), warn=said.append, every=0.001)
    figures.end(0)
    assert said == ["--metrics m.json cannot be written: No space left on device."]
    Path("file").write_text("")
    with pytest.raises(UsageError, match="cannot be used"):
        Metrics(Path("file/m.json"), warn=print)
