"""Two runs on one folder, and what a killed one left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from restorer.batch.journal import NAME
from restorer.pipeline.restorer import Restorer
from restorer.storage import temporary
from tests.support.albums import PLAIN, environment, files, picture, run
from tests.support.in_process import restore
from tests.support.slow import parts, start, wait_for

Capsys = pytest.CaptureFixture[str]
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and limits")


@POSIX
@pytest.mark.parametrize("more", [(), ("--strip-metadata",)])
def test_two_runs_at_once_do_not_harm_each_other(tmp_path: Path, more: tuple[str, ...]) -> None:
    for number in range(10):
        picture(tmp_path / f"in/{number}{('.png', '.bmp', '.jpg')[number % 3]}", seed=number)
    (tmp_path / "in/broken.png").write_bytes(b"broken")
    run(tmp_path, "in", "-o", "calm", *PLAIN, *more, code=1)
    both = [start(tmp_path, "in", "-o", "out", *PLAIN, *more, writing=2) for _ in range(2)]
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [1, 1], ends
    out, calm = files(tmp_path / "out"), files(tmp_path / "calm")
    lines = [json.loads(line) for line in out.pop(NAME).splitlines()]
    calm.pop(NAME)
    assert out == calm
    made = [line["result"] for line in lines if line["status"] == "ok"]
    assert sorted(made) == sorted(calm), "each was written once"
    for _, err in ends:
        assert err.count("Failed:") == 1


@POSIX
def test_a_run_does_not_take_the_other_ones_file_for_left_behind(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    picture(tmp_path / "in/b.png", seed=1)
    first = start(tmp_path, "in/a.png", "-o", "out", *PLAIN, writing=12_000)
    wait_for(first, "writing a_restored.png")
    assert len(parts(tmp_path / "out")) == 1
    run(tmp_path, "in/b.png", "-o", "out", *PLAIN)
    assert len(parts(tmp_path / "out")) == 1
    (tmp_path / "go").touch()
    _, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    assert set(files(tmp_path / "out")) == {"a_restored.png", "b_restored.png"}


@POSIX
def test_what_a_killed_run_left_is_removed_also_without_a_journal(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    killed = start(tmp_path, "in/a.png", *PLAIN, writing=3000)
    wait_for(killed, "writing a_restored.png")
    killed.kill()
    killed.communicate()
    assert len(parts(tmp_path / "in")) == 1
    run(tmp_path, "in/a.png", *PLAIN, "--dry-run")
    assert len(parts(tmp_path / "in")) == 1, "a dry run changes nothing"
    run(tmp_path, "in/a.png", *PLAIN)
    assert set(files(tmp_path / "in")) == {"a.png", "a_restored.png"}


def test_only_our_own_files_are_removed_and_those_of_other_machines_after_a_day(tmp_path: Path) -> None:
    other = tmp_path / f".restorer-00000000-{'a' * 32}.part"
    kept = [tmp_path / name for name in ("x.part", ".restorer-x.part", ".restorer-journal.jsonl", ".hidden")]
    for path in (other, *kept):
        path.write_bytes(b"x")
    with temporary.part_in(tmp_path) as part:
        mine = part.path
        assert temporary.remove_abandoned(tmp_path) == []
        assert mine.exists()
    assert not mine.exists()
    yesterday = time.time() - temporary.STRANGER_AGE - 60
    for path in (other, *kept):
        os.utime(path, (yesterday, yesterday))
    assert temporary.remove_abandoned(tmp_path) == [other]
    assert temporary.remove_abandoned(tmp_path / "nowhere") == []


def test_what_is_left_behind_during_a_run_is_removed_at_its_end(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run, which writes to the same folder, may be killed meanwhile."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        picture(Path(f"in/{name}.png"), seed=ord(name))
    original, left = Restorer.restore, []

    def killed_beside(self: Restorer, photo: Any, **rest: Any) -> Any:
        if photo.path.name == "b.png":
            with temporary.part_in(Path("out")) as part:
                left.append(part.path)
            part.path.write_bytes(b"half of a picture")
        return original(self, photo, **rest)

    Path("out").mkdir()
    monkeypatch.setattr(Restorer, "restore", killed_beside)
    restore(capsys, "in", "-o", "out", *PLAIN)
    assert left
    assert not parts(Path("out"))


def test_making_and_removing_files_at_the_same_time(tmp_path: Path) -> None:
    """Whoever removes may see a file before its maker has locked it; the maker then makes another."""
    if os.name == "nt":
        pytest.skip("files that are open cannot be removed there")
    script = f"""
        from pathlib import Path
        from restorer.storage import temporary
        with open("passes", "ab", buffering=0) as passes:
            while True:
                temporary.remove_abandoned(Path({str(tmp_path)!r}) / "out")
                passes.write(b".")
    """
    out, passes = tmp_path / "out", tmp_path / "passes"
    out.mkdir()
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=environment(), cwd=tmp_path) as remover:
        try:
            count = 0
            while count < 200 or not passes.exists() or passes.stat().st_size < 200:
                assert remover.poll() is None
                with temporary.part_in(out) as part:
                    part.stream.write(b"content")
                    part.move_to(out / f"{count % 50}")
                assert (out / f"{count % 50}").read_bytes() == b"content"
                count += 1
        finally:
            remover.kill()
