"""Runs over more photos than anybody looks at: plans in memory that does not grow, splits that do not mix."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from restorer.batch import plan
from restorer.batch.discovery import Job
from restorer.batch.estimate import Load
from restorer.batch.outlook import Loads, Outlook
from restorer.batch.parts import Part, digest_of
from restorer.batch.plan import Line, Naming, PlannedJobs
from restorer.batch.splits import Claims
from restorer.errors import UsageError
from restorer.options import Options
from restorer.pipeline.restorer import Restorer
from restorer.storage import locks
from restorer.storage.atomic import write_whole
from tests.support.albums import PLAIN, files, picture
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]
NAMING = Naming("{stem}_restored", "keep", 2.0)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made_plan(count: int) -> Path:
    """Return a plan of so many photos, none of which is there."""
    lines = [plan._line({"plan": plan.VERSION, "name": NAMING.name, "format": "keep", "scale": 2.0})]
    for number in range(count):
        result = f"{number:07}_restored.jpg"
        told: dict[str, Any] = {"part": digest_of(result), "source": f"in/{number:07}.jpg", "place": f"{number:07}.jpg"}
        told |= {"result": result, "format": "JPEG", "kind": "JPEG", "size": [640, 480], "bytes": 1000}
        lines.append(plan._line(told))
    path = Path(f"plan-{count}.jsonl")
    path.write_bytes(b"".join(lines))
    return path


# -------------------------------------------------------------------------------------------------------------- plans


def test_the_memory_of_a_plan_does_not_grow_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_KEPT", 100)
    count = 3000
    gc.collect()
    before = sum(isinstance(each, Job | Line) for each in gc.get_objects())  # what other tests have left
    jobs, outlook = PlannedJobs(made_plan(count), Path("out"), NAMING), Outlook()
    for job in jobs:
        outlook.add(job, Load(1.0, 0.5, False, 0.25))
    gc.collect()
    assert sum(isinstance(each, Job | Line) for each in gc.get_objects()) - before < 10, "photos are let go"
    assert sum(sys.getsizeof(each) for each in vars(outlook.loads).values()) < 20 * count + 1000
    assert len(jobs) == len(outlook.loads) == outlook.work == count
    assert [each.source.name for each in jobs] == [f"{number:07}.jpg" for number in range(count)], "again"


def test_a_part_of_a_long_plan_is_what_a_short_one_would_give(monkeypatch: pytest.MonkeyPatch) -> None:
    path = made_plan(300)
    parts = [Part(number, 4) for number in range(1, 5)]
    kept = [list(PlannedJobs(path, None, NAMING, part)) for part in parts]
    monkeypatch.setattr(plan, "MOST_KEPT", 10)
    for part, jobs in zip(parts, kept, strict=True):
        again = PlannedJobs(path, None, NAMING, part)
        assert (len(again), list(again)) == (len(jobs), jobs)
        assert jobs[3] in again
    assert sum(map(len, kept)) == 300


def test_a_run_by_a_plan_that_is_not_kept(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_KEPT", 2)
    for number in range(6):
        picture(Path(f"in/{number}.png"), seed=number)
    restore(capsys, "plan", "in", "-o", "plan.jsonl")
    restore(capsys, "--files-from", "plan.jsonl", "-o", "out", *PLAIN)
    assert len(files(Path("out"))) == 7
    said = restore(capsys, "--files-from", "plan.jsonl", "-o", "out", *PLAIN).err
    assert "6 photos, all done already." in said
    assert "Kinds: PNG 6" in restore(capsys, "--files-from", "plan.jsonl", "-o", "b", *PLAIN, "--dry-run").err
    with Path("plan.jsonl").open("ab") as stream:
        stream.write(b"{no line\n")
    assert "at line 8" in restore(capsys, "--files-from", "plan.jsonl", "-o", "c", *PLAIN, code=2).err
    assert not Path("c").exists(), "found out before the work"


def test_loads_are_what_was_put_in() -> None:
    given = [Load(2.0, 0.5, False, 0.25), Load(0.0, 4.0, True), Load(0.5)]
    found = Loads(given)
    assert (list(found), found[-1], found[1:]) == (given, given[-1], given[1:])


def test_the_sample_of_sizes_is_of_all_photos() -> None:
    path, outlook = made_plan(3000), Outlook()
    for number, job in enumerate(PlannedJobs(path, None, NAMING)):
        outlook.add(job, Load(1.0 + (number >= 1500)))
    weights = [megapixels for _, megapixels in outlook._sample]
    assert len(weights) == 1000
    assert 0.4 < sum(weight == 2.0 for weight in weights) / 1000 < 0.6


# -------------------------------------------------------------------------------------------------------------- splits


@pytest.mark.skipif(os.name == "nt", reason="no locks there")
def test_another_split_at_work_is_refused_in_words(capsys: Capsys) -> None:
    for number in range(3):
        picture(Path(f"in/{number}.png"), seed=number)
    other = Claims(Part(1, 3))
    other.claim(Path("out"))
    try:
        said = restore(capsys, "in", "-o", "out", *PLAIN, "--shard", "1/4", code=2).err
        assert "Part 1/3 of another split is at work on" in said
        assert "I/3" in said
        assert not list(Path("out").glob("*.png"))
        restore(capsys, "in", "-o", "out", *PLAIN, "--shard", "2/3"), "its own split goes on"
        restore(capsys, "in", "-o", "elsewhere", *PLAIN, "--shard", "1/4")
        restore(capsys, "in", "-o", "out", *PLAIN, "--shard", "1/4", "--dry-run")
    finally:
        other.release()
    restore(capsys, "in", "-o", "out", *PLAIN, "--shard", "1/4")
    assert not list(Path("out").glob(".restorer-part*"))


@pytest.mark.skipif(os.name == "nt", reason="no locks there")
def test_what_a_killed_part_left_is_removed() -> None:
    Path("out").mkdir()
    left = Path("out/.restorer-part-2-of-5.lock")
    left.write_bytes(b"")
    mine = Claims(Part(1, 2))
    mine.claim(Path("out"))
    assert not left.exists()
    Claims(Part(1, 2)).claim(Path("out"))  # the same part twice does no harm
    mine.release()
    assert not list(Path("out").iterdir())


def test_where_there_are_no_locks_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "try_lock", lambda *_, **__: None)
    Claims(Part(1, 2)).claim(Path("out"))
    Claims(Part(1, 3)).claim(Path("out"))
    assert not list(Path("out").iterdir())
    Claims(None).claim(Path("none"))
    assert not Path("none").exists()


def test_of_two_runs_that_write_at_once_the_second_replaces_nothing(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run writes between this one's last look and its own writing."""
    picture(Path("in/a.png"))
    target = Path("out/a_restored.png")

    def late(path: Path, content: Any, **how: Any) -> None:
        if path.name == target.name:
            path.write_bytes(b"another file")
        write_whole(path, content, **how)

    monkeypatch.setattr("restorer.batch.writing.write_whole", late)
    restore(capsys, "in", "-o", "out", *PLAIN, code=1)
    assert target.read_bytes() == b"another file"
    restorer = Restorer(**Options(model="none", background="lanczos").values())

    def same(path: Path, content: Any, **how: Any) -> None:
        restorer.restore("in/a.png").save(path)
        write_whole(path, content, **how)

    target.unlink()
    monkeypatch.setattr("restorer.batch.writing.write_whole", same)
    said = restore(capsys, "in", "-o", "out", *PLAIN).out
    assert "another run has just done it" in said


def test_parts_of_the_same_split_are_refused_nothing() -> None:
    first, second = Claims(Part(1, 2)), Claims(Part(2, 2))
    first.claim(Path("out"))
    second.claim(Path("out"))
    first.release()
    second.release()
    with pytest.raises(UsageError):
        Part.read("3/2")
