"""A run that is killed at any moment loses nothing, does nothing twice, and leaves nothing behind.

The issue's full size (300 photos, twenty kills) runs with RESTORER_FULL=1; by default a smaller album is killed less
often.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from restorer.journal import NAME
from tests.albums import PLAIN, Album, album, command, environment, files, run

FULL = bool(os.environ.get("RESTORER_FULL"))
GOOD, BROKEN, KILLS = (288, 12, 20) if FULL else (57, 12, 6)

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL"),
    pytest.mark.timeout(3600 if FULL else 300),
]


def start(folder: Path, log: Path, step: int, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(str(log), str(step), *arguments, module="tests.killed"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment(),
    )  # fmt: skip


def begun(log: Path) -> list[str]:
    return log.read_text("utf-8", "surrogateescape").splitlines() if log.exists() else []


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Album:
    return album(tmp_path_factory.mktemp("tree") / "album", GOOD, BROKEN)


def test_an_undisturbed_run_gives_every_photo_and_names_every_failure(tree: Album, tmp_path: Path) -> None:
    done = run(tmp_path, str(tree.folder), "-o", "out", *PLAIN, "--json", code=1)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    status = {record["input"]: record["status"] for record in records}
    assert len(status) == len(records) == GOOD + BROKEN
    assert {name for name, how in status.items() if how == "failed"} == {str(tree.folder / p) for p in tree.broken}
    results = files(tmp_path / "out")
    assert results.pop(NAME)
    assert len(results) == GOOD
    summary = done.stderr[done.stderr.rindex(f"{GOOD} photos restored") :]
    assert f"{BROKEN} failed" in summary
    assert all(path.name in summary for path in tree.broken)
    folders = {path.parent.as_posix() for path in tree.good}
    assert {Path(name).parent.as_posix() for name in results} == folders
    assert not any(name in done.stderr for name in ("MANIFEST", "Thumbs", "DS_Store", "notes.txt", "desktop.ini"))


@pytest.mark.parametrize("metadata", ["noted", "stripped"])
def test_killed_at_random_moments_and_rerun(tree: Album, tmp_path: Path, metadata: str) -> None:
    """Results with a note in them, and results of which only the journal knows."""
    if metadata == "stripped" and not FULL:
        tree = album(tmp_path / "small", 24, 3, seed=3)
    good, broken, kills = len(tree.good), len(tree.broken), KILLS if metadata == "noted" or FULL else 4
    rng = random.Random(f"20 moments, {metadata}")
    rest = (*PLAIN, "--json", *(["--strip-metadata"] if metadata == "stripped" else []))
    calm = run(tmp_path, str(tree.folder), "-o", "calm", *rest, code=1)
    seconds = sum(json.loads(line)["seconds"]["total"] for line in calm.stdout.splitlines())
    expected = files(tmp_path / "calm")
    del expected[NAME]

    log = tmp_path / "log"
    logs: list[list[str]] = []
    reported: Counter[str] = Counter()
    killed = 0
    while killed < kills:
        # Every other time at a random step that changes the disk, every other time at a random moment.
        by_step = killed % 2 == 0
        log.unlink(missing_ok=True)
        step = rng.randint(1, 4 * good // kills) if by_step else 0
        process = start(tmp_path, log, step, str(tree.folder), "-o", "out", *rest)
        if not by_step:
            while not log.exists() and process.poll() is None:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, seconds / kills))
            process.kill()
        out, err = process.communicate(timeout=240)
        assert process.returncode == -signal.SIGKILL, f"all was done before kill {killed + 1}\n{err}"
        killed += 1
        logs.append(begun(log))
        reported.update(r["input"] for r in map(json.loads, out.splitlines()[:-1]) if r["status"] == "ok")
        for name, content in files(tmp_path / "out").items() if (tmp_path / "out").exists() else ():
            assert (name in expected and content == expected[name]) or name == NAME or name.endswith(".part")

    log.unlink(missing_ok=True)
    last = start(tmp_path, log, 0, str(tree.folder), "-o", "out", *rest)
    out, err = last.communicate(timeout=600)
    assert last.returncode == 1, err
    logs.append(begun(log))
    records = [json.loads(line) for line in out.splitlines()]
    assert Counter(record["status"] for record in records)["failed"] == broken
    left = files(tmp_path / "out")
    assert left.pop(NAME)
    assert left == expected

    assert max(reported.values(), default=0) <= 1
    # In flight are one photo that is restored and one that is written.
    for number, photos in enumerate(logs):
        again = {photo for later in logs[number + 1 :] for photo in later}
        assert not again & set(photos[:-2]), "restored twice, although it was not in flight"
    assert sum(map(len, logs)) <= good + 2 * killed


def test_a_kill_in_the_middle_of_a_journal_line_costs_nothing(tmp_path: Path) -> None:
    """Each step is a moment at which the disk is half changed: within a line, before a flush, around a renaming."""
    made = album(tmp_path / "album", 3, 1, seed=5)
    run(tmp_path, "album", "-o", "calm", *PLAIN, "--strip-metadata", code=1)
    expected = files(tmp_path / "calm")
    del expected[NAME]
    log = tmp_path / "log"
    for step in (1, 4, 6) if not FULL else range(1, 13):
        out = f"out{step}"
        process = start(tmp_path, log, step, "album", "-o", out, *PLAIN, "--strip-metadata")
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        again = run(tmp_path, "album", "-o", out, *PLAIN, "--strip-metadata", code=1)
        assert again.stderr.count("Failed:") == len(made.broken)
        left = files(tmp_path / out)
        lines = left.pop(NAME).splitlines()
        assert left == expected
        done = [json.loads(line)["result"] for line in lines if line.endswith(b"}") and b'"status": "ok"' in line]
        assert len(done) == len(set(done))
