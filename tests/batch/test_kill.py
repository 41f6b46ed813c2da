"""A run that is killed at any moment loses nothing, does nothing twice, and leaves nothing behind.

The issue's full size (300 photos with faces, twenty kills) is `python -m restorer.bench album`; here a smaller album
without any network is killed less often, by the same code.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from restorer.batch.journal import NAME
from restorer.bench import album as bench
from restorer.bench.album import Foretold, check_estimate, check_results, kill_and_rerun, seconds_of
from restorer.bench.tools.watching import Moment, Run
from restorer.bench.tools.watching import run as watched_run
from restorer.formatting import duration
from tests.support.albums import PLAIN, Album, album, files, run

GOOD, BROKEN, KILLS = 57, 12, 6

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Album:
    return album(tmp_path_factory.mktemp("tree") / "album", GOOD, BROKEN)


@pytest.fixture(scope="module")
def calm(tree: Album) -> Run:
    """An undisturbed run into `calm` beside the album."""
    return watched_run(tree.folder.parent, (str(tree.folder), "-o", "calm", *PLAIN), every=0.0)


def test_an_undisturbed_run_gives_every_photo_and_names_every_failure(tree: Album, calm: Run) -> None:
    assert check_results(tree, calm, tree.folder.parent / "calm") == []
    assert (calm.count("ok"), calm.count("failed"), calm.code) == (GOOD, BROKEN, 1)
    assert len(calm.begun) == GOOD


@pytest.mark.slow
def test_killed_at_random_moments_and_rerun(tree: Album, calm: Run) -> None:
    """Results with a note in them."""
    done = kill_and_rerun(tree, tree.folder.parent, calm, KILLS, 1, PLAIN)
    assert done.problems == []
    assert [each.code for each in done.runs] == [-9] * KILLS + [1]
    assert done.again <= 2 * KILLS


@pytest.mark.slow
def test_killed_at_random_moments_where_only_the_journal_knows(tmp_path: Path) -> None:
    made = album(tmp_path / "album", 24, 3, seed=3)
    stripped = (*PLAIN, "--strip-metadata")
    calm = watched_run(tmp_path, ("album", "-o", "calm", *stripped))
    done = kill_and_rerun(made, tmp_path, calm, 4, 2, stripped)
    assert done.problems == []
    assert [each.code for each in done.runs] == [-9] * 4 + [1]


def test_a_kill_in_the_middle_of_a_journal_line_costs_nothing(tmp_path: Path) -> None:
    """Each step is a moment at which the disk is half changed: within a line, before a flush, around a renaming."""
    made = album(tmp_path / "album", 3, 1, seed=5)
    run(tmp_path, "album", "-o", "calm", *PLAIN, "--strip-metadata", code=1)
    expected = files(tmp_path / "calm")
    del expected[NAME]
    for step in (1, 4, 6):
        out = f"out{step}"
        assert watched_run(tmp_path, ("album", "-o", out, *PLAIN, "--strip-metadata"), Moment(step)).code == -9
        again = run(tmp_path, "album", "-o", out, *PLAIN, "--strip-metadata", code=1)
        assert again.stderr.count("Failed:") == len(made.broken)
        left = files(tmp_path / out)
        lines = left.pop(NAME).splitlines()
        assert left == expected
        done = [json.loads(line)["result"] for line in lines if line.endswith(b"}") and b'"status": "ok"' in line]
        assert len(done) == len(set(done))


# ------------------------------------------------------------------------------------------- the checks can fail


def remove_one(out: Path, name: str) -> None:
    (out / name).unlink()


def leave_a_part(out: Path, name: str) -> None:
    (out / name).with_name(".restorer-x.part").touch()


def forget(out: Path, _: str) -> None:
    (out / NAME).unlink()


@pytest.mark.parametrize(
    ("harm", "words"), [(remove_one, "56 files"), (leave_a_part, "58 files"), (forget, "no journal")]
)
def test_the_check_of_an_undisturbed_run_sees_what_is_wrong(
    tree: Album, calm: Run, tmp_path: Path, harm: Callable[[Path, str], None], words: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(tree.folder.parent / "calm", out)
    harm(out, next(name for name in files(out) if name != NAME))
    problems = check_results(tree, calm, out)
    assert any(words in problem for problem in problems), problems


def test_the_check_of_an_undisturbed_run_sees_a_failure_that_is_not_named(tree: Album, calm: Run) -> None:
    lines = [(at, line) for at, line in calm.lines if tree.broken[0].name not in line]
    quiet = Run(0, calm.records[1:], calm.begun, [*lines, (0.0, "Thumbs.db")], calm.first, calm.seconds)
    problems = check_results(tree, quiet, tree.folder.parent / "calm")
    for words in ("exit code 0", f"{GOOD + BROKEN - 1} records", "does not name", "Thumbs.db was spoken of"):
        assert any(words in problem for problem in problems), problems


def test_the_check_of_killed_runs_sees_what_is_done_twice(
    tree: Album, calm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that forgets everything between two kills does all again."""
    shutil.copytree(tree.folder.parent / "calm", tmp_path / "calm")
    honest = watched_run

    def forgetful(folder: Path, arguments: tuple[str, ...], moment: Moment | None = None, every: float = 60.0) -> Run:
        return honest(folder, (*arguments, "--overwrite", "--no-resume"), moment and Moment(step=60), every)

    monkeypatch.setattr(bench, "run", forgetful)
    done = kill_and_rerun(tree, tmp_path, calm, 1, 1, PLAIN)
    assert any("restored again, although it was not in flight at kill 1" in problem for problem in done.problems)
    assert any("was written again" in problem for problem in done.problems)
    assert any("was reported 2 times" in problem for problem in done.problems)
    assert done.again > bench.IN_FLIGHT


def test_the_check_of_the_time_left() -> None:
    def said(*lefts: float, clock: Sequence[tuple[float, float]] = ((0, 0), (101, 101))) -> Run:
        """A run of 100 s that says after 0, 10, 20 ... seconds how many are left."""
        lines = [(0.0, "50 photos: about 99 s, about 3 MB on disk.")]
        lines += [(10.0 * i, f"{i} of 50 photos, about {duration(left)} left.") for i, left in enumerate(lefts)]
        return Run(1, [], [], [*lines, (100.0, "50 photos restored (0 faces), in 100 s.")], 0.0, 101.0, list(clock))

    right = [100.0 - 10 * i for i in range(10)]
    assert check_estimate(said(*right)) == Foretold(0.0, 0.0, 8, [])
    assert check_estimate(said(500, 500, *right[2:])).problems == []
    assert check_estimate(said(*right[:3], 90, *right[4:])).problems == []
    assert check_estimate(said(*right[:3], 95, *right[4:])).problems == [
        "after 30% of the work 95 s were said, 70 s were left"
    ]
    assert len(check_estimate(said(*right[:3], 45, *right[4:])).problems) == 1
    assert check_estimate(said()).problems == ["the time left was never said"]
    # Another program took half of the processor in the first 40 s: two tenths of the work is done by then, not four.
    busy = [(0.0, 0.0), (40.0, 20.0), (100.0, 80.0), (101.0, 81.0)]
    by_work = [0.0, 150, 140, 130, 120, 83, 60, 43, 27, 12]
    assert check_estimate(said(*by_work, clock=busy)).problems == []
    assert check_estimate(said(*by_work, clock=busy)).worst_by_clock > 0.9
    assert check_estimate(said(*by_work)).problems


@pytest.mark.parametrize("seconds", [0.004, 0.8, 12, 200, 7500])
def test_durations_are_read_as_they_are_written(seconds: float) -> None:
    assert seconds_of(duration(seconds)) == pytest.approx(seconds)
