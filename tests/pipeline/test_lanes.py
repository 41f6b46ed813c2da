"""Runs whose photos share batches in lanes, as on a GPU: order, faults, interrupts, memory, second runs."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from restorer.batch.discovery import Job, find_photos
from restorer.batch.journal import NAME
from restorer.batch.run import Batch
from restorer.engine.device import Device
from restorer.errors import WeightsUnavailableError
from restorer.imaging.tensor_sampling import TensorSampling
from restorer.models.base import Face
from restorer.photo import read_photo
from restorer.pipeline.lanes import Lanes
from restorer.pipeline.restorer import Restorer
from restorer.record import Record
from restorer.upscaling.lanczos import Lanczos
from tests.pipeline.test_face_batches import PATIENCE, Negative
from tests.support.albums import environment, files
from tests.support.parts import Detector, Everything, face_at

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
pytestmark = pytest.mark.timeout(60)  # nobody waits forever


class Finder(Detector):
    """Finds the faces that belong to a photo's grey level at (0, 0); the first photos may be made to meet here.

    Only the first: faces left over of a full batch wait for the lanes that are at work, so a later photo that waited
    here for theirs would wait for ever.
    """

    def __init__(self, faces: dict[int, list[Face]], meet: int = 0) -> None:
        super().__init__([])
        self.by_level = faces
        self.meeting = threading.Barrier(max(1, meet))
        self.first = threading.Semaphore(meet)
        self.threads: list[str] = []

    def detect(self, pixels: np.ndarray) -> list[Face]:
        self.threads.append(threading.current_thread().name)
        if self.first.acquire(blocking=False):
            self.meeting.wait(PATIENCE)
        return self.by_level[int(pixels[0, 0, 0])]


def photo(name: str, level: int, size: tuple[int, int] = (120, 90)) -> Path:
    """Write a photo of noise around a level, which it has at (0, 0) exactly."""
    pixels = (
        np.random.default_rng([level, *name.encode()])
        .integers(level - 9, level + 9, (size[1], size[0], 3))
        .astype(np.uint8)
    )
    pixels[0, 0] = level
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


FOUND = {
    40: [face_at((40, 45), 14)],
    80: [face_at((40, 45), 14), face_at((85, 45), 12)],
    120: [],
    160: [face_at((30, 40), 11), face_at((60, 50), 13, 10), face_at((92, 40), 12)],
    200: [face_at((60, 45), 16, -20)],
}
"""Faces by the level of a photo."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def album() -> list[int]:
    """Eight photos in `in`, a to h; their levels."""
    levels = [40, 80, 160, 200, 120, 80, 40, 160]
    for name, level in zip("abcdefgh", levels, strict=True):
        photo(f"in/{name}.png", level)
    return levels


def a_restorer(network: Any, detector: Any = None, **options: Any) -> Restorer:
    options = {"background": "lanczos", "device": "cpu", **options}
    return Restorer(network, detector=detector or Finder(FOUND), mask=Everything(), **options)


def run(
    restorer: Restorer, out: str = "out", lanes: int | None = None, photos: str = "in", **watching: Any
) -> list[Record]:
    """Restore a folder; return the records."""
    batch = Batch(restorer, lanes=lanes)
    return batch.run(batch.plan(find_photos([photos], Path(out)).jobs), **watching).records


def pictures(folder: str) -> dict[str, bytes]:
    return {name: content for name, content in files(Path(folder)).items() if name != NAME}


def letters(records: Sequence[Record]) -> str:
    return "".join(Path(record.input).stem for record in records)


def test_faces_of_several_photos_are_in_one_call_and_go_to_the_right_photo(album: list[int]) -> None:
    alone, together = Negative(), Negative()
    run(a_restorer(alone), "alone")
    faces = [len(FOUND[level]) for level in album]
    assert alone.batches == [1] * sum(faces)

    meeting = Finder(FOUND, meet=4)  # what comes first is four photos at once
    records = run(a_restorer(together, meeting, batch_size=8), lanes=4)
    assert [[face.restored for face in record.faces] for record in records] == [[True] * count for count in faces]
    assert sum(together.batches) == sum(faces)
    assert together.batches[0] == sum(faces[:4]) == 7, "what the first four photos asked for was one call"
    assert pictures("out") == pictures("alone")
    assert len(set(pictures("out").values())) == 8
    assert set(meeting.threads) <= {f"lane_{number}" for number in range(4)}


def test_on_a_cpu_one_photo_is_restored_at_a_time(album: list[int]) -> None:
    network, finder = Negative(), Finder(FOUND)
    run(a_restorer(network, finder))
    assert set(network.batches) == {1}
    assert set(finder.threads) == {threading.main_thread().name}
    network.batches.clear()
    run(a_restorer(network, finder, batch_size=8), "eight")
    assert network.batches == [len(FOUND[level]) for level in album if FOUND[level]], "batches end with the photo"
    assert set(finder.threads) == {threading.main_thread().name}


@pytest.mark.parametrize(("batch_size", "first"), [(None, 7), (3, 3)])
def test_on_a_gpu_photos_share_batches_unless_told_otherwise(
    album: list[int], batch_size: int | None, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Negative()
    monkeypatch.setattr(TensorSampling, "__init__", lambda self, _: setattr(self, "device", "cpu"))
    run(a_restorer(Negative()), "alone")
    restorer = a_restorer(network, Finder(FOUND, meet=4), batch_size=batch_size)
    restorer.components._device = Device("cuda:0", "fp32")  # nothing else of this run computes with it
    records = run(restorer)
    plain = pictures("alone")
    for name, data in pictures("out").items():  # crops and pasting by torch, to within a level
        one, other = (np.asarray(Image.open(io.BytesIO(each))).astype(int) for each in (data, plain[name]))
        assert np.abs(one - other).max() <= 1
    assert max(network.batches) == first
    assert letters(records) == "abcdefgh"
    assert [(record.status, record.error, record.device) for record in records] == [("ok", None, "cuda:0")] * 8


def test_a_dry_run_has_no_lanes(album: list[int]) -> None:
    network = Negative()
    batch = Batch(a_restorer(network), dry_run=True, lanes=4)
    records = batch.run(batch.plan(find_photos(["in"], Path("out")).jobs)).records
    assert {record.reason for record in records} == {"dry run"}
    assert not network.batches


def test_lanes_begin_once_the_first_face_has_loaded_the_network() -> None:
    """So that a folder without faces loads no face network, and a download is one of the thread that hears Ctrl-C."""
    for name, level in zip("abcd", (120, 40, 200, 80), strict=True):
        photo(f"in/{name}.png", level)
    finder = Finder(FOUND)
    options: dict[str, Any] = {"background": "lanczos", "device": "cpu", "precision": "fp32"}
    restorer = Restorer("tiny", detector=finder, **options)
    threads: dict[str, str] = {}
    real = restorer.restore

    def restore(photo: Any, **rest: Any) -> Any:
        threads[photo.path.stem] = threading.current_thread().name.split("_")[0]
        assert restorer.components.loaded == (photo.path.stem not in "ab")
        return real(photo, **rest)

    restorer.restore = restore  # type: ignore[method-assign]
    records = run(restorer, lanes=3)
    main = threading.main_thread().name
    assert threads == {"a": main, "b": main, "c": "lane", "d": "lane"}
    assert all(record.status == "ok" and record.model == "tiny" for record in records)
    run(Restorer("tiny", detector=finder, **options), "alone")
    for name, content in pictures("alone").items():
        Path("x.png").write_bytes(content)
        difference = read_photo(Path("x.png")).pixels.astype(int) - read_photo(Path("out", name)).pixels
        assert np.abs(difference).max() <= 1, "a real network in batches of other sizes"


def test_records_and_starts_come_in_the_order_of_the_photos(album: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first photo is done last, and the others have long ended by then."""
    others = threading.Semaphore(0)
    real = Restorer.restore

    def restore(self: Restorer, photo: Any, **rest: Any) -> Any:
        name = photo.path.stem
        if name == "a":
            for _ in range(2):
                assert others.acquire(timeout=PATIENCE)
        try:
            return real(self, photo, **rest)
        finally:
            others.release()
            ended.append(name)

    monkeypatch.setattr(Restorer, "restore", restore)
    ended: list[str] = []
    heard: list[str] = []
    said: list[tuple[str, str, float]] = []

    def on_start(job: Job) -> Callable[[str, float], None]:
        heard.append(f"+{job.source.stem}")
        return lambda stage, share: said.append((job.source.stem, stage, share))

    nobody: dict[int, list[Face]] = {level: [] for level in FOUND}
    records = run(
        a_restorer(Negative(), Finder(nobody)), lanes=3, on_start=on_start,
        on_record=lambda record: heard.append(f"-{Path(record.input).stem}"),
    )  # fmt: skip
    assert ended.index("a") >= 2
    assert letters(records) == "abcdefgh"
    assert "".join(event[1] for event in heard if event[0] == "+") == "abcdefgh"
    assert "".join(event[1] for event in heard if event[0] == "-") == "abcdefgh"
    assert all(heard.index(f"+{name}") < heard.index(f"-{name}") for name in "abcdefgh")
    names = [name for name, _, _ in said]
    assert names == sorted(names), "progress is told of the first of the photos in the lanes alone"
    assert pictures("out").keys() == {f"{name}_restored.png" for name in "abcdefgh"}


def test_a_photo_that_fails_harms_no_other(album: list[int]) -> None:
    run(a_restorer(Negative()), "calm")

    class Choosy(Negative):
        def answer(self, crops: torch.Tensor) -> torch.Tensor:
            bright = crops.mean((1, 2, 3))
            if ((bright > 0.5) & (bright < 0.6)).any():  # level 200, which is photo d
                raise torch.OutOfMemoryError("no room for this one")
            return -crops

    class Failing(Finder):
        def detect(self, pixels: np.ndarray) -> list[Face]:
            found = super().detect(pixels)
            if not found:  # level 120, which is photo e
                raise ValueError("no idea")
            return found

    Path("in/bb.png").write_bytes(b"broken")
    network = Choosy()
    records = run(a_restorer(network, Failing(FOUND), batch_size=8), lanes=4)
    assert letters(records) == "a" + "b" + "bb" + "cdefgh"
    failed = {Path(record.input).stem: record.error for record in records if record.status == "failed"}
    assert {name: error and error["kind"] for name, error in failed.items()} == {
        "bb": "UnreadablePhoto", "d": "FaceNotRestored", "e": "Photo",
    }  # fmt: skip
    assert "no room for this one" in str(failed["d"])
    assert "no idea" in str(failed["e"])
    calm = pictures("calm")
    assert pictures("out") == {name: calm[name] for name in calm if name[0] not in "de"}


def test_an_error_that_ends_the_run_keeps_the_photos_before_it(album: list[int]) -> None:
    class Missing(Finder):
        def detect(self, pixels: np.ndarray) -> list[Face]:
            if pixels[0, 0, 0] == 200:  # d
                raise WeightsUnavailableError("x", "The weights are not there.", "Download them.")
            return super().detect(pixels)

    with pytest.raises(WeightsUnavailableError):
        run(a_restorer(Negative(), Missing(FOUND)), lanes=4)
    assert pictures("out").keys() == {f"{name}_restored.png" for name in "abc"}
    assert not lanes_alive()


@pytest.mark.parametrize(
    ("photos", "heavy", "most"), [(4, 10**8, 4), (3, 10**8, 3), (4, 2 * 240 * 180, 2), (4, 100, 1)]
)
def test_memory_is_bounded_by_photos_and_by_pixels(
    album: list[int], monkeypatch: pytest.MonkeyPatch, photos: int, heavy: int, most: int
) -> None:
    """The results have 240 x 180 pixels."""
    monkeypatch.setattr("restorer.batch.run.LARGE_PHOTO_PIXELS", heavy)
    here, peak = 0, 0
    lock = threading.Lock()
    full = threading.Event()
    real = Restorer.restore

    def restore(self: Restorer, photo: Any, **rest: Any) -> Any:
        nonlocal here, peak
        with lock:
            here += 1
            peak = max(peak, here)
            if here == most:
                full.set()
        assert full.wait(PATIENCE), f"never {most} at the same time"
        try:
            return real(self, photo, **rest)
        finally:
            with lock:
                here -= 1

    in_memory: list[int] = []
    recorded: list[Record] = []

    def read(path: Path, **rest: Any) -> Any:
        in_memory.append(len(in_memory) + 1 - len(recorded))
        return read_photo(path, **rest)

    monkeypatch.setattr(Restorer, "restore", restore)
    monkeypatch.setattr("restorer.batch.reading.read_photo", read)
    records = run(a_restorer(Negative()), lanes=photos, on_record=recorded.append)
    assert peak == most
    assert max(in_memory) <= most + 3, "one is read, one waits for its lane, one is written"
    assert letters(records) == "abcdefgh"


def test_large_photos_are_alone_among_others(album: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose result is large, and one that is so itself and not even read before its turn."""
    monkeypatch.setattr("restorer.batch.run.LARGE_PHOTO_PIXELS", 4 * 240 * 180)
    photo("in/d.png", 200, (300, 200))
    photo("in/f.png", 80, (500, 400))
    here: list[str] = []
    beside: dict[str, int] = {}
    real = Restorer.restore

    def restore(self: Restorer, photo: Any, **rest: Any) -> Any:
        here.append(photo.path.stem)
        try:
            return real(self, photo, **rest)
        finally:
            beside[photo.path.stem] = len(here) - 1
            here.remove(photo.path.stem)

    monkeypatch.setattr(Restorer, "restore", restore)
    network = Negative()
    records = run(a_restorer(network), lanes=4)
    assert letters(records) == "abcdefgh"
    assert beside["d"] == beside["f"] == 0
    run(a_restorer(Negative()), "calm")
    assert pictures("out") == pictures("calm")


def test_a_second_run_has_nothing_to_do_and_a_third_does_what_is_missing(album: list[int]) -> None:
    run(a_restorer(Negative()), lanes=4)
    before = files(Path("out"))
    again = run(a_restorer(Negative()), lanes=4)
    assert {record.status for record in again} == {"skipped"}
    assert files(Path("out")) == before
    for name in "bf":
        Path(f"out/{name}_restored.png").unlink()
    third = run(a_restorer(Negative()), lanes=4)
    assert letters([record for record in third if record.status == "ok"]) == "bf"
    assert letters(third) == "abcdefgh"
    assert pictures("out") == {name: content for name, content in before.items() if name != NAME}


# --------------------------------------------------------------------------------------------------------- interrupts


def lanes_alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("lane", "write"))]


def waits(thread: threading.Thread) -> bool:
    """Tell whether a thread waits for others, but not for one that is just being started.

    And not without end: an interrupt that comes just before such a wait is heard only after it.
    """
    frame, names = sys._current_frames().get(cast("int", thread.ident)), []
    if frame is None or frame.f_locals.get("timeout") is None:
        return False
    while frame is not None:
        names.append((Path(frame.f_code.co_filename).name, frame.f_code.co_name))
        frame = frame.f_back
    return names[0] == ("threading.py", "wait") and ("threading.py", "start") not in names


class Interrupted:
    """Ctrl-C from within a lane: tells the main thread, and waits until that has given everything up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stopped = threading.Event()
        stop = Lanes.stop

        def noted(lanes: Lanes[Any, Any]) -> None:
            stop(lanes)
            self.stopped.set()

        monkeypatch.setattr(Lanes, "stop", noted)

    def now(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not waits(threading.main_thread()):  # until it has started this lane and those beside it
            assert time.monotonic() < deadline
            time.sleep(0.01)
        signal.pthread_kill(cast("int", threading.main_thread().ident), signal.SIGINT)
        assert self.stopped.wait(PATIENCE)


def interrupted(restorer: Restorer) -> Batch:
    """Restore `in` in four lanes until the interrupt; return the batch."""
    batch = Batch(restorer, lanes=4)
    with pytest.raises(KeyboardInterrupt):
        batch.run(batch.plan(find_photos(["in"], Path("out")).jobs))
    assert batch.summary.interrupted
    return batch


@POSIX
@pytest.mark.parametrize("moment", ["finding", "restoring"])
def test_an_interrupt_ends_the_run_and_leaves_nothing_half_done(
    album: list[int], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """While one photo looks for faces and others wait for it; while a batch with the faces of all is in the network."""
    run(a_restorer(Negative()), "calm")
    ctrl_c = Interrupted(monkeypatch)
    last = read_photo(Path("in/h.png")).pixels

    class Finding(Finder):
        def detect(self, pixels: np.ndarray) -> list[Face]:
            if (pixels == last).all() and moment == "finding":
                ctrl_c.now()
            return super().detect(pixels)

    enlarged: list[bool] = []
    upscale = Lanczos.upscale

    def noted(self: Lanczos, pixels: np.ndarray, *rest: Any) -> np.ndarray:
        enlarged.append(np.array_equal(pixels, last))
        return upscale(self, pixels, *rest)

    monkeypatch.setattr(Lanczos, "upscale", noted)

    class Restoring(Negative):
        def answer(self, crops: torch.Tensor) -> torch.Tensor:
            if moment == "restoring" and sum(self.batches) > 10:
                ctrl_c.now()
            return -crops

    batch = interrupted(a_restorer(Restoring(), Finding(FOUND)))
    assert any(enlarged) == (moment == "restoring"), "a photo is given up when it next says how far it is"
    assert not batch.summary.abandoned
    assert not lanes_alive()
    done = letters(batch.summary.records)
    assert len(done) >= (4 if moment == "finding" else 1)
    assert "abcdefgh".startswith(done)
    calm = pictures("calm")
    assert pictures("out") == {f"{name}_restored.png": calm[f"{name}_restored.png"] for name in done}
    lines = Path("out", NAME).read_text().splitlines()
    assert len(lines) == len(done)
    records = run(a_restorer(Negative()), lanes=4)
    assert letters([record for record in records if record.status == "skipped"]) == done
    assert pictures("out") == calm


@POSIX
def test_a_second_interrupt_does_not_wait_for_the_lanes(album: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    ctrl_c = Interrupted(monkeypatch)
    left = threading.Event()

    class Stuck(Finder):
        def detect(self, pixels: np.ndarray) -> list[Face]:
            if int(pixels[0, 0, 0]) == 40:  # a, before anything is written
                ctrl_c.now()
                ctrl_c.now()
                assert left.wait(PATIENCE)
            return super().detect(pixels)

    try:
        batch = interrupted(a_restorer(Negative(), Stuck(FOUND)))
        assert batch.summary.abandoned
        assert [name for name in lanes_alive() if name.startswith("lane")], "one is still stuck"
        assert not batch.summary.records
        assert not Path("out").exists()
    finally:
        left.set()
    for thread in threading.enumerate():
        if thread.name.startswith("lane"):
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_an_interrupt_while_a_lane_starts_waits_for_it(album: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor does not know a thread yet whose start is interrupted, and would not wait for it."""
    begun, stopping, ended = threading.Event(), threading.Event(), threading.Event()
    start, stop = threading.Thread.start, Lanes.stop

    class Slow(Finder):
        def detect(self, pixels: np.ndarray) -> list[Face]:
            begun.set()
            assert stopping.wait(PATIENCE)  # the run has given up its lanes, and waits for this one
            ended.set()
            return super().detect(pixels)

    def noted_stop(lanes: Lanes[Any, Any]) -> None:
        stop(lanes)
        stopping.set()

    def interrupted_start(thread: threading.Thread) -> None:
        start(thread)
        if thread.name.startswith("lane"):
            assert begun.wait(PATIENCE)
            raise KeyboardInterrupt

    monkeypatch.setattr(Lanes, "stop", noted_stop)
    monkeypatch.setattr(threading.Thread, "start", interrupted_start)
    interrupted(a_restorer(Negative(), Slow(FOUND)))
    assert ended.is_set()
    assert not Path("out").exists()


@POSIX
def test_killed_in_the_middle_and_rerun(album: list[int]) -> None:
    run(a_restorer(Negative()), "calm")
    script = """
        import os, signal
        from tests.pipeline.test_face_batches import Negative
        from tests.pipeline.test_lanes import FOUND, Finder, a_restorer, run

        class Fatal(Negative):
            def answer(self, crops):
                if sum(self.batches) > 10:
                    os.kill(os.getpid(), signal.SIGKILL)
                return -crops

        run(a_restorer(Fatal(), Finder(FOUND)), lanes=4)
    """
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment(), capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    calm = pictures("calm")
    assert all(calm[name] == content for name, content in pictures("out").items() if not name.endswith(".part"))
    records = run(a_restorer(Negative()), lanes=4)
    assert letters(records) == "abcdefgh"
    assert "a" in letters([record for record in records if record.status == "skipped"])
    assert pictures("out") == calm
