"""Several photos at once on a processor of many cores: how many, the same bytes as one by one, and nobody harmed."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from restorer.batch import jobs
from restorer.batch.jobs import RESERVED, Jobs, need_of, share
from restorer.batch.journal import NAME
from restorer.batch.one import LARGE_PHOTO_PIXELS
from restorer.batch.reading import Reader
from restorer.batch.writing import Writer
from restorer.engine import device
from restorer.evaluation.ageing import age, photograph
from restorer.imaging.resize import resize
from restorer.pipeline.restorer import Restorer
from tests.support.albums import PLAIN, files, picture, run
from tests.support.in_process import restore
from tests.support.parts import Identity
from tests.support.slow import parts, start, wait_for

Capsys = pytest.CaptureFixture[str]
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
PATIENCE = 60.0
GB = 1_000_000_000


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine seem to have sixteen cores, and memory enough for them."""
    for place in ("restorer.batch.run", "restorer.cli.batches", "restorer.engine.device"):
        monkeypatch.setattr(f"{place}.allowed_cores", lambda: 16)
    monkeypatch.setattr("restorer.batch.run.free_memory", lambda: 64 * GB)
    monkeypatch.setattr(device, "_threads", [])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.parametrize(
    ("asked", "count", "threads", "memory", "photos", "wanted"),
    [
        ("auto", 2, 2, 64 * GB, 40, 1),
        ("auto", 8, 8, 64 * GB, 40, 1),
        ("auto", 16, 8, 64 * GB, 40, 2),
        ("auto", 64, 8, 64 * GB, 40, 8),
        ("auto", 64, 8, 64 * GB, 3, 3),
        ("auto", 64, 8, None, 40, 8),
        ("auto", 64, 8, 4 * GB, 40, 2),
        ("auto", 64, 8, GB, 40, 1),
        (4, 2, 2, 64 * GB, 40, 4),
        (4, 2, 2, 4 * GB, 40, 2),
        (4, 16, 8, 64 * GB, 2, 2),
        (1, 64, 8, 64 * GB, 40, 1),
    ],
)
def test_cores_and_memory_say_how_many(
    asked: int | str, count: int, threads: int, memory: int | None, photos: int, wanted: int
) -> None:
    found = share(asked, cores=count, threads=threads, memory=memory, need=GB, photos=photos)
    assert found.count == wanted
    assert found.asked == (asked if memory == 4 * GB and asked == 4 else None)
    assert found == share(asked, cores=count, threads=threads, memory=memory, need=GB, photos=photos)
    if memory is not None and found.count > 1:
        assert RESERVED + found.count * GB + found.pixels * jobs._OF_PIXEL <= memory
    assert found.pixels <= max(1, found.count) * LARGE_PHOTO_PIXELS


def test_what_a_photo_takes_grows_with_the_face_that_comes_out() -> None:
    needs = [need_of(Restorer(Identity(size), device="cpu").components) for size in (128, 512, 1024)]
    assert needs == [jobs._OF_NONE, jobs._OF_FACE, 4 * jobs._OF_FACE]
    assert need_of(Restorer("none", device="cpu").components) == jobs._OF_NONE
    assert need_of(Restorer("tiny", device="cpu").components) <= jobs._OF_FACE


def family(folder: Path) -> None:
    """Six photos with a face, one without, one that is broken."""
    folder.mkdir()
    old = photograph()[:320, 60:380]
    for number, side in enumerate((200, 240, 280, 220, 260, 300)):
        small = np.clip(resize(old, (side, side)), 0, 255).astype(np.uint8)
        suffix = ("png", "jpg")[number % 2]
        Image.fromarray(age(small, seed=number)).save(folder / f"{number}.{suffix}")
    Image.fromarray(np.full((90, 120, 3), 120, np.uint8)).save(folder / "nobody.png")
    (folder / "35.jpg").write_bytes(b"broken")


def timeless(text: str) -> list[dict[str, Any]]:
    """Return records without what a clock, or a folder's name, decides."""
    found = [json.loads(line.replace("jobs1", "out").replace("jobs3", "out")) for line in text.splitlines()]
    return [{name: value for name, value in each.items() if name not in ("seconds", "time")} for each in found]


@pytest.mark.usefixtures("cores")
@pytest.mark.timeout(240)
def test_the_same_bytes_records_and_journal_as_one_by_one_on_sixteen_cores(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    family(Path("in"))
    names: dict[str, set[str]] = {}
    threads: set[int] = set()
    real = Restorer.restore

    def noted(self: Restorer, photo: Any, **rest: Any) -> Any:
        names.setdefault(kept, set()).add(threading.current_thread().name.split("_")[0])
        if self.components.loaded:
            threads.add(torch.get_num_threads())
        return real(self, photo, **rest)

    monkeypatch.setattr(Restorer, "restore", noted)
    told, once = {}, ("--model", "tiny", "--offline", "--always", "--json", "--threads", "2")
    for kept in ("jobs1", "jobs3"):
        told[kept] = restore(capsys, "in", "-o", kept, *once, "--jobs", kept[-1], code=1)
    one, three = (timeless(told[kept].out) for kept in told)
    assert one == three
    assert [Path(each["input"]).stem for each in one] == ["0", "1", "2", "3", "35", "4", "5", "nobody"]
    assert [each["status"] for each in one].count("failed") == 1
    assert sum(len([face for face in each["faces"] if face["restored"]]) for each in one) >= 4
    assert told["jobs1"].err.replace("jobs1", "jobs3").count("Failed:") == told["jobs3"].err.count("Failed:") == 1
    assert names["jobs1"] == {threading.main_thread().name}
    assert "lane" in names["jobs3"], "photos were beside each other"
    assert threads == {2}, "each lane computes with as many as a photo alone"
    out = {kept: files(Path(kept)) for kept in told}
    lines = [timeless(out[kept].pop(NAME).decode()) for kept in told]
    assert [line["input"] for line in lines[0]] == [line["input"] for line in lines[1]]
    assert out["jobs1"] == out["jobs3"]

    again = restore(capsys, "in", "-o", "jobs3", *once, "--jobs", "3", code=1)
    assert [each["status"] for each in timeless(again.out)].count("skipped") == 7
    (Path("jobs3") / "2_restored.png").unlink()
    restore(capsys, "in", "-o", "jobs3", *once, "--jobs", "auto", code=1)
    assert files(Path("jobs3"))["2_restored.png"] == out["jobs1"]["2_restored.png"]


@pytest.mark.usefixtures("cores")
def test_auto_is_two_on_sixteen_cores_and_one_where_threads_were_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from restorer.batch.run import Batch

    def found(*told: Any, **more: Any) -> Jobs:
        return Batch(Restorer("none", background="lanczos", device="cpu")).share(*told, **more)

    assert found("auto", 40).count == 2
    assert found("auto", 40, 4).count == found("auto", 1).count == found("auto").count == 1
    assert found(5, 40, 4).count == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert device.threads_said() == 3
    assert found(5, 3).count == 3
    assert found(5).count == 5, "where they come one by one"
    assert device.threads_of(16) == 8


@pytest.mark.usefixtures("cores")
def test_memory_that_does_not_suffice_is_said_and_cores_that_are_too_few(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "abcd":
        picture(Path(f"in/{name}.png"), seed=ord(name))
    said = restore(capsys, "in", "-o", "one", *PLAIN, "--jobs", "4").err
    assert "4 photos at once with 8 threads each share 16 cores" in said
    assert "--threads 4" in said
    monkeypatch.setattr("restorer.batch.run.free_memory", lambda: RESERVED + 700_000_000)
    assert (
        "Memory has room for 2 photos at once, not 4" in restore(capsys, "in", "-o", "two", *PLAIN, "--jobs", "4").err
    )
    assert "room" not in restore(capsys, "in", "-o", "three", *PLAIN, "--jobs", "4", "-q").err
    assert files(Path("one")).keys() == files(Path("two")).keys()


def test_what_makes_no_sense_is_wrong_usage(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("a.png"))
    assert "--jobs" in restore(capsys, "a.png", "--jobs", "0", code=2).err
    assert "--jobs many is no whole number" in restore(capsys, "a.png", "--jobs", "many", code=2).err
    assert "--workers" in restore(capsys, "a.png", "--jobs", "4", "--cluster", "local", code=2).err
    assert "--jobs" in restore(capsys, "serve", "--jobs", "4", code=2).err


@pytest.mark.usefixtures("cores")
def test_reading_and_encoding_wait_for_no_network(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While b is in its network, those behind it are read, restored and encoded, as far as there are lanes."""
    monkeypatch.chdir(tmp_path)
    for name in "abcde":
        picture(Path(f"in/{name}.png"), seed=ord(name))
    happened: set[str] = set()
    changed = threading.Condition()

    def say(text: str) -> None:
        with changed:
            happened.add(text)
            changed.notify_all()

    read, restored, encode = Reader.read, Restorer.restore, Writer.encode

    def noted_read(self: Reader, job: Any, ahead: bool = True) -> Any:
        work = read(self, job, ahead)
        say(f"read {job.source.stem}")
        return work

    def slow_restore(self: Restorer, photo: Any, **rest: Any) -> Any:
        if photo.path.stem == "b":
            with changed:
                wanted = {"read c", "encoded c", "read d", "encoded d", "read e"}
                assert changed.wait_for(lambda: wanted <= happened, PATIENCE), wanted - happened
        return restored(self, photo, **rest)

    def noted_encode(self: Writer, work: Any, result: Any) -> None:
        encode(self, work, result)
        say(f"encoded {work.job.source.stem}")

    monkeypatch.setattr(Reader, "read", noted_read)
    monkeypatch.setattr(Restorer, "restore", slow_restore)
    monkeypatch.setattr(Writer, "encode", noted_encode)
    out = restore(capsys, "in", "-o", "out", *PLAIN, "--jobs", "3", "--threads", "1", "--json").out
    assert [Path(each["input"]).stem for each in timeless(out)] == list("abcde")
    assert {"encoded b", "encoded c", "encoded d", "encoded e"} <= happened


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize("how", ["restore", "encode"])
def test_a_photo_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "abcdef":
        picture(Path(f"in/{name}.png"), seed=ord(name))
    restored, encoded = Restorer.restore, Writer._encoded

    def breaking(self: Restorer, photo: Any, **rest: Any) -> Any:
        if photo.path.stem in "ce" and how == "restore":
            raise (MemoryError if photo.path.stem == "c" else RuntimeError)("it broke")
        return restored(self, photo, **rest)

    def not_encoded(work: Any, result: Any) -> Any:
        if work.job.source.stem in "ce" and how == "encode":
            raise OSError("it broke")
        return encoded(work, result)

    monkeypatch.setattr(Restorer, "restore", breaking)
    monkeypatch.setattr(Writer, "_encoded", staticmethod(not_encoded))
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--jobs", "3", "--json", code=1)
    failed = [each["input"] for each in timeless(done.out) if each["status"] == "failed"]
    assert failed == [str(Path("in/c.png")), str(Path("in/e.png"))]
    assert done.err.count("Failed:") == 2
    assert set(files(Path("out"))) == {NAME, *(f"{name}_restored.png" for name in "abdf")}


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_or_killed_and_done_again(tmp_path: Path, number: int) -> None:
    for name in "abcdef":
        picture(tmp_path / f"in/{name}.png", seed=ord(name))
    many = (*PLAIN, "--jobs", "3")
    process = start(tmp_path, "in", "-o", "out", *many, stuck=["c.png", "d.png"])
    wait_for(process, "restoring d.png")  # beside c, which is stuck as well
    process.send_signal(number)
    if number == signal.SIGINT:
        wait_for(process, "giving up")
        (tmp_path / "go").touch()
    _, err = process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -number), err
    assert "Traceback" not in err
    assert {name[0] for name in files(tmp_path / "out") if name.endswith(".png")} <= {"a", "b"}
    if number == signal.SIGINT:
        assert "Interrupted" in err
        assert not parts(tmp_path / "out")
    run(tmp_path, "in", "-o", "out", *many)
    run(tmp_path, "in", "-o", "calm", *PLAIN)
    out, calm = files(tmp_path / "out"), files(tmp_path / "calm")
    assert {**out, NAME: b""} == {**calm, NAME: b""}


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(("pixels", "most"), [(3 * 1536, 3), (2 * 1536, 2)])
def test_memory_is_bounded_by_photos_and_by_their_pixels_whatever_their_number(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, pixels: int, most: int
) -> None:
    """The results have 48 x 32 pixels."""
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        picture(Path(f"in/{number:02}.png"), seed=number)
    memory = RESERVED + 3 * jobs._OF_NONE + jobs._OF_PIXEL * pixels
    monkeypatch.setattr("restorer.batch.run.free_memory", lambda: memory)
    here, peak, held, most_held = 0, 0, 0, 0
    lock, full = threading.Lock(), threading.Event()
    read, restored, finish = Reader.read, Restorer.restore, Writer.finish

    def noted_read(self: Reader, job: Any, ahead: bool = True) -> Any:
        nonlocal held, most_held
        with lock:
            held += 1
            most_held = max(most_held, held)
        return read(self, job, ahead)

    def slow_restore(self: Restorer, photo: Any, **rest: Any) -> Any:
        nonlocal here, peak
        with lock:
            here += 1
            peak = max(peak, here)
            if here == most:
                full.set()
        if threading.current_thread() is not threading.main_thread():
            assert full.wait(PATIENCE), f"never {most} at the same time"
        try:
            return restored(self, photo, **rest)
        finally:
            with lock:
                here -= 1

    def noted_finish(self: Writer, work: Any, result: Any) -> Any:
        nonlocal held
        try:
            return finish(self, work, result)
        finally:
            with lock:
                held -= 1

    monkeypatch.setattr(Reader, "read", noted_read)
    monkeypatch.setattr(Restorer, "restore", slow_restore)
    monkeypatch.setattr(Writer, "finish", noted_finish)
    restore(capsys, "in", "-o", "out", *PLAIN, "--jobs", "3", "--threads", "1")
    assert peak == most
    assert most_held <= most + 3, "one is read, one waits for its lane, one is written"
