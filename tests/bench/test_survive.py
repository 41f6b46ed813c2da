"""The campaign's short form: a few cases of each part, whether its counts add up, and whether it would see a loss."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from restorer.bench.survive import (
    bombs,
    campaign,
    company,
    comparing,
    crowds,
    devices,
    guided,
    luck,
    mutating,
    pictures,
    powercut,
    records,
    running,
    sandbox,
)
from restorer.bench.survive.campaign import Plan
from restorer.bench.survive.counting import Report, Tally
from restorer.bench.survive.luck import Calm
from restorer.bench.survive.running import PLAIN, Ran, restore
from restorer.bench.survive.samples import kinds, samples
from restorer.bench.survive.sandbox import Died, Job, Marker
from restorer.bench.survive.shim import Fault, Shim, read_log
from restorer.bench.survive.soak import growth
from restorer.photo import read_photo

pytestmark = pytest.mark.skipif(os.name == "nt", reason="it forks processes")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    running.prepare()
    (folder := tmp_path_factory.mktemp("calm") / "work").mkdir()
    return luck.calm_run(folder, PLAIN)


# ------------------------------------------------------------------------------------------------------- it survives


def test_changed_files_of_every_kind(tmp_path: Path) -> None:
    trial = pictures.Trial(tmp_path, None)
    jobs = [Job(kind, 11, 0, 40) for kind in kinds()]
    total = Tally("pictures")
    for _, answer in sandbox.run(jobs, trial, memory=pictures.MEMORY):
        assert isinstance(answer, Tally), answer
        total.take(answer)
    assert (total.cases, total.losses, total.words) == (40 * len(kinds()), 0, [])
    ended = Counter(name.split(": ")[1].split(",")[0] for name in total.outcomes.elements())
    assert min(ended["read"], ended["refused"]) > total.cases // 8, ended


def test_what_is_forked_does_not_wait_for_threads_that_it_has_not(tmp_path: Path) -> None:
    """Where OpenCV has made its pool of threads before, as in whoever used it for anything else."""
    (folder := tmp_path / "work").mkdir()
    large = np.zeros((2000, 2000, 3), np.uint8)

    def used() -> None:
        cv2.resize(large, (4000, 4000))
        cv2.setNumThreads(1)  # it ends the threads of a pool, and waits for them

    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        cv2.resize(large, (4000, 4000))
        ran = restore(folder, "--version", before=used, seconds=20)
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(before)
    assert (ran.code, ran.hung) == (0, False), ran.err


def test_a_run_that_is_killed_before_it_has_begun(tmp_path: Path) -> None:
    (folder := tmp_path / "work").mkdir()
    run = running.Run(folder, ("--version",))
    run.kill()
    ran = run.wait()
    assert ran.code in (-9, 0)
    assert list(tmp_path.glob(".work*")) == []


def test_a_run_that_went_on_for_hours_has_its_time_to_end(tmp_path: Path) -> None:
    """A server that had been asked for half an hour was told to end, and taken for one that hangs."""
    (folder := tmp_path / "work").mkdir()
    run = running.Run(folder, ("--version",), before=lambda: time.sleep(0.3))
    run._begin -= 1e6
    assert not run.wait().hung


def test_a_folder_of_changed_files_through_the_command(tmp_path: Path) -> None:
    from restorer.bench.survive import command

    running.prepare()
    tally = Tally("command")
    command.try_folder(Plan(3, 0.0, tmp_path), 0, tally)
    assert tally.words == []
    assert tally.cases > command.PHOTOS // 2


@pytest.mark.parametrize("fault", [Fault(7, "full"), Fault(20, "broken"), Fault(12, "full", lasting=True)])
def test_a_step_that_fails(calm: Calm, fault: Fault, tmp_path: Path) -> None:
    assert luck.fail(calm, fault, tmp_path / "place") == []


def test_a_forked_run_computes_with_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more it would wait for those that OpenMP had before the fork, for ever."""
    running.prepare()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    (work := tmp_path / "work").mkdir()
    told = tmp_path / "told"
    restore(work, "--version", before=lambda: told.write_text(os.environ["OMP_NUM_THREADS"], encoding="utf-8"))
    assert told.read_text(encoding="utf-8") == "1"


def test_a_crowd_and_a_device_that_fails(tmp_path: Path) -> None:
    """Each run is a process of its own; what they do to networks stays there."""
    running.prepare()
    tally = Tally("crowds")
    crowds.many(tmp_path / "many", 1, 40, tally)
    (calm := tmp_path / "calm").mkdir()
    photos = devices.album(calm / "in")
    ran = restore(calm, "in", "-o", "out", *devices.OPTIONS)
    right = {each["input"]: read_photo(calm / each["output"]).pixels.astype(np.int32) for each in ran.records}
    for trouble in (devices.Trouble(devices.FULL[0]), devices.Trouble(devices.GONE[0], first=3, room=-1)):
        devices.try_trouble(tmp_path / "place", calm, photos, right, ("a device", trouble), tally)
    assert tally.words == []
    assert tally.cases == 3


@pytest.mark.parametrize("endless", [False, True], ids=["a pipe", "a device"])
def test_pipes_and_devices_are_not_waited_for(endless: bool, tmp_path: Path) -> None:
    """Among somebody's photos a pipe may lie where a result will, or be called restore.toml: the run hung."""
    running.prepare()
    for place, text, options in company.SPECIAL[endless :: 1 + endless]:
        world = company.World(tmp_path / "world")
        problems = company.special(place, text, options, endless, world) + world.changed()
        assert problems == [], (place, text)


@pytest.mark.slow
def test_files_chosen_by_what_they_reach(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    tally = Tally("guided")
    guided.try_kind("PNG", Plan(1, 0.0, tmp_path), 5.0, tally)
    assert tally.words == []
    assert tally.cases > 50
    assert tally.notes["places reached, PNG"] > 100


def test_a_kill_and_a_power_cut(calm: Calm, tmp_path: Path) -> None:
    assert luck.kill(calm, calm.steps // 2, tmp_path / "place") == []
    assert luck.cut(calm, calm.steps - 3, 1, tmp_path / "place") == []


# ----------------------------------------------------------------------------------------------- it would see a loss


def test_cases_that_crash_hang_or_raise_are_told_and_the_others_go_on() -> None:
    def attempt(job: Job, marker: Marker) -> list[int]:
        done = []
        for number in range(job.first, job.last):
            marker.begin(number)
            if number == 3:
                os.abort()
            if number == 5:
                raise KeyError("five")
            while number == 7:
                pass
            done.append(number)
        marker.pause()
        return done

    answers = [answer for _, answer in sandbox.run([Job("x", 0, 0, 10)], attempt, memory=2**30, seconds=1.0)]
    died = {each.number: each.words for each in answers if isinstance(each, Died)}
    assert sorted(died) == [3, 5, 7]
    assert "SIGABRT" in died[3]
    assert "KeyError: 'five'" in died[5]
    assert "more than 1 s" in died[7]
    assert sorted(n for each in answers if isinstance(each, list) for n in each) == [0, 1, 2, 4, 6, 8, 9]


def test_a_picture_that_is_another_one_is_seen() -> None:
    for kind in ("JPEG", "PNG", "BMP"):
        data = samples(kind)[0]
        photo = read_photo(data)
        assert comparing.verdict(data, photo) == "agrees"
        photo.pixels = photo.pixels.copy()
        photo.pixels[:8] = 255 - photo.pixels[:8]
        assert comparing.verdict(data, photo) == "differs"


def test_a_case_is_found_again_by_its_number() -> None:
    for kind in kinds():
        assert mutating.mutated(kind, 5, 77) == mutating.mutated(kind, 5, 77)
    assert len({mutating.mutated("JPEG", 5, number) for number in range(50)}) > 45
    assert mutating.sealed(samples("PNG")[0]) == samples("PNG")[0]


def test_records_that_do_not_agree_are_seen(calm: Calm) -> None:
    ran = restore(calm.folder, "in", "-o", "out", *PLAIN)
    assert records.check(ran, calm.folder, luck.photos()) == []

    def words(other: Ran, photos: list[str] | None = None) -> str:
        return " ".join(records.check(other, calm.folder, photos or luck.photos()))

    assert "exit code 0 with 1 failed" in words(replace(ran, code=0))
    assert "not among the messages" in words(replace(ran, err=""))
    assert "Traceback" in words(replace(ran, err=f"{ran.err}Traceback (most recent call last)"))
    assert "control characters" in words(replace(ran, err=f"{ran.err}\x1b[31m"))
    assert "no record of ['in/more.png']" in words(ran, [*luck.photos(), "in/more.png"])
    assert "signal" in words(replace(ran, code=-11))
    good = next(record for record in ran.records if record["status"] == "skipped")
    for change, sign in (
        ({"status": "failed"}, "failed with the error None"),
        ({"status": "ok", "output_size": [1, 1]}, "the record says"),
        ({"status": "ok", "output": "out/none.png"}, "cannot be read"), ({"status": "well"}, "the status"),
    ):  # fmt: skip
        assert sign in " ".join(records.of_one({**good, **change}, calm.folder))


def test_results_that_are_lost_changed_or_left_over_are_seen(calm: Calm, tmp_path: Path) -> None:
    place = luck.fresh(calm, tmp_path / "place")
    (place / "out").mkdir()
    (place / "out" / ".restorer-x.part").touch()
    (place / "out" / "a_restored.png").write_bytes(b"half")
    (place / "in" / "d.bmp").write_bytes(b"changed")
    problems = " ".join(luck.after_it(calm, place))
    for sign in ("a_restored.png is not what", ".part was left behind", "the originals", "d_restored.bmp is missing"):
        assert sign in problems


def test_a_power_cut_keeps_what_was_asked_for_and_no_more() -> None:
    steps = [("mkdir", "out"), ("create", "out/p"), ("write", ("out/p", b"abc")), ("rename", ("out/p", "out/a")),
             ("fsync", "out")]  # fmt: skip
    states = dict(powercut.states(steps, 5, random.Random(0)))
    assert states["nothing but what was asked for"] == {"out": None, "out/a": b""}, "renamed before it was flushed"
    assert states["everything"] == {"out": None, "out/a": b"abc"}
    sound = [*steps[:3], ("fsync", "out/p"), *steps[3:]]
    for last in range(len(sound) + 1):
        for state in dict(powercut.states(sound, last, random.Random(last))).values():
            assert state.get("out/a", b"abc") == b"abc"


def test_the_shim_sees_every_step(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (work := tmp_path / "work").mkdir()

    def write() -> None:
        from restorer.storage.atomic import write_atomic

        Shim(work, Fault(), log).install()
        write_atomic(work / "deep" / "file", b"content")
        os._exit(0)

    process = os.fork()
    if process == 0:
        write()
    assert os.waitpid(process, 0)[1] == 0
    kinds_of = [kind for kind, _ in read_log(log)]
    assert kinds_of == ["mkdir", "create", "write", "fsync", "rename", "fsync"]


def test_growth_is_seen() -> None:
    flat = [(photos, 500.0, 12, 9) for photos in range(0, 3000, 50)]
    assert growth(flat) == []
    assert "MiB of memory" in growth([(n, 500.0 + n / 20, 12, 9) for n in range(0, 3000, 50)])[0]
    assert "open files" in growth([(n, 500.0, 12 + n // 500, 9) for n in range(0, 3000, 50)])[0]


# ------------------------------------------------------------------------------------------------------------ figures


def reports() -> Iterator[Report]:
    for seed in (1, 2):
        report, tally = Report(hours=0.5), Tally("pictures")
        for number in range(3):
            tally.add("JPEG", "read", f"JPEG-{seed}-{number}", seconds=float(seed + number), mib=10.0 * seed)
        if seed == 2:
            tally.lose("PNG", "PNG-2-9", "a | crash")
        report.add(tally, seed)
        yield report


def test_runs_with_other_seeds_add_up_and_the_same_seed_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, report in enumerate(reports()):
        report.save(tmp_path / f"{number}.json")
    assert campaign.main(["--hours", "0", "--add", str(tmp_path), "--add", str(tmp_path / "0.json")]) == 1
    out, err = capsys.readouterr()
    assert "left out" in err
    assert "| pictures | 7 | read 6, LOST 1 | 4.0 s (JPEG-2-2) | 20 MiB (JPEG-2-0) | 1 |" in out
    assert "pictures LOST: PNG-2-9: a | crash" in out
    assert "1.00 hours" in out
    whole = Report.load(tmp_path / "1.json")
    assert Tally.from_dict(whole.tallies["pictures"].as_dict()) == whole.tallies["pictures"]


def test_bounds_of_what_a_file_may_cost() -> None:
    assert bombs.bound(0, 0) == 256
    assert bombs.bound(2**20, 0) == 288
    assert bombs.bound(0, 2**20) == 272
    assert len(bombs.files()) > 35
