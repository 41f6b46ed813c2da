"""Full and read-only disks, files in the place of folders: clear errors, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from restorer.batch.journal import NAME
from restorer.errors import (
    UnwritableOutputError,
)
from restorer.storage.atomic import write_whole
from tests.support.albums import PLAIN, command, environment, files, picture, run
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and limits")


@POSIX
def test_a_file_that_may_not_grow_fails_alone_and_leaves_nothing(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for any disk that takes small files and no large one."""
    picture(tmp_path / "in/a.png", (20, 20))
    picture(tmp_path / "in/b.png", (300, 300))
    picture(tmp_path / "in/c.png", (20, 20), seed=3)
    script = f"""
        import resource, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        from restorer.cli import main
        main(["in", "-o", "out", "--json", *{PLAIN!r}])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1, done.stderr
    status = {Path(r["input"]).name: r for r in map(json.loads, done.stdout.splitlines())}
    assert [status[name]["status"] for name in ("a.png", "b.png", "c.png")] == ["ok", "failed", "ok"]
    assert status["b.png"]["error"]["kind"] == "UnwritableOutput"
    assert "b_restored.png" in status["b.png"]["error"]["message"]
    assert set(files(tmp_path / "out")) == {NAME, "a_restored.png", "c_restored.png"}
    run(tmp_path, "in", "-o", "out", *PLAIN)  # with room again, and without being asked to retry
    assert "b_restored.png" in files(tmp_path / "out")


def mounted(tmp_path: Path, options: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script with a small disk of its own at `disk`, where the system allows that."""
    if not shutil.which("unshare"):
        pytest.skip("there is no unshare to make a small disk with")
    (tmp_path / "disk").mkdir()
    mount = f"mount -t tmpfs -o {options} none disk"
    test = subprocess.run(["unshare", "-rm", "sh", "-c", mount], cwd=tmp_path, capture_output=True, check=False)
    if test.returncode != 0:
        pytest.skip("this system does not let a test make a disk of its own")
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && {script}"], cwd=tmp_path, env=environment(),
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def shell(*arguments: str) -> str:
    return " ".join(f"'{word}'" for word in command(*arguments))


def test_a_full_disk_is_said_for_each_photo_and_a_rerun_with_room_goes_on(tmp_path: Path) -> None:
    for name in "abcde":
        picture(tmp_path / f"in/{name}.png", (120, 120), seed=ord(name))  # about 170 kB each when enlarged
    line = shell("in", "-o", "disk/out", *PLAIN, "--json")
    script = (
        f"{line}; echo code $?; ls -A disk/out; mount -o remount,size=8m disk; {line}; echo code $?; ls -A disk/out"
    )
    done = mounted(tmp_path, "size=400k", script)
    first, second = done.stdout.split("code 1\n")
    records = [json.loads(text) for text in first.splitlines()]
    kinds = [record["error"] and record["error"]["kind"] for record in records]
    assert kinds[0] is None
    assert kinds.count("UnwritableOutput") == 5 - kinds.count(None) >= 3
    failed = [record for record in records if record["error"]]
    assert all("full" in r["error"]["message"].lower() or "No space" in r["error"]["message"] for r in failed)
    assert all("Free some space" in record["error"]["remedy"] for record in failed)
    assert any("restore" not in record["seconds"] and "background" not in record["seconds"] for record in failed), (
        "once the disk is full, photos are not restored for nothing"
    )
    listing = [text for text in second.splitlines() if not text.startswith("{")]
    assert ".part" not in second
    assert "code 0" in listing
    assert set(listing[listing.index("code 0") + 1 :]) == {NAME, *(f"{name}_restored.png" for name in "abcde")}


@pytest.mark.parametrize(("free", "tried"), [(80_000, False), (100_000, True)])
def test_a_full_disk_refuses_only_what_is_as_large(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, free: int, tried: bool
) -> None:
    """An uncompressed picture that did not fit says nothing about the JPEGs after it.

    Where at least half of what is expected would fit, the next one is tried: it may be smaller.
    """
    monkeypatch.chdir(tmp_path)
    for number, suffix in enumerate((".bmp", ".jpg", ".bmp", ".jpg")):
        picture(Path(f"in/{number}{suffix}"), (120, 120), seed=number)  # enlarged, 173 kB and about 61 kB
    written = write_whole

    def write(target: Path, content: Any, **how: Any) -> None:
        if len(content) > free:
            cause = OSError(errno.ENOSPC, "No space left on device")
            raise UnwritableOutputError(target, f"{target} cannot be written: {cause.strerror}.") from cause
        written(target, content, **how)

    monkeypatch.setattr("restorer.batch.writing.write_whole", write)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["status"] for record in records] == ["failed", "ok", "failed", "ok"]
    assert "background" in records[0]["seconds"]
    assert ("background" in records[2]["seconds"]) == tried, "it would be restored for nothing"


def test_a_read_only_folder_is_said_before_the_work(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"in/{name}.png")
    line = shell("in", "-o", "disk/out", *PLAIN, "--json")
    done = mounted(
        tmp_path, "size=4m", f"mkdir disk/out && mount -o remount,ro disk && {line}; echo code $?; ls -A disk/out"
    )
    assert "code 1" in done.stdout, done.stderr
    records = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
    assert [record["error"]["kind"] for record in records] == ["UnwritableOutput"] * 2
    assert all("read-only" in record["error"]["message"] for record in records)
    assert all("background" not in record["seconds"] for record in records)


def test_a_file_in_the_place_of_a_folder(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("in/deep/a.png"))
    picture(Path("in/b.png"))
    Path("out").mkdir()
    Path("out/deep").write_text("in the way")
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    records = {Path(record["input"]).name: record for record in map(json.loads, done.out.splitlines())}
    assert records["a.png"]["error"]["kind"] == "UnwritableOutput"
    assert records["b.png"]["status"] == "ok"


def test_a_journal_that_cannot_be_written_is_a_warning_where_notes_suffice(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("in/a.png"))
    picture(Path("in/b.bmp"))
    Path("out", NAME).mkdir(parents=True)  # in the journal's place, so that it cannot be opened
    monkeypatch.setattr("restorer.batch.journal.Journal._refresh", lambda _: None)
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    records = {Path(record["input"]).name: record for record in map(json.loads, done.out.splitlines())}
    assert records["a.png"]["status"] == "ok"
    assert "journal" in records["a.png"]["warnings"][0]
    assert records["b.bmp"]["error"]["kind"] == "UnwritableOutput", (
        "without it nothing would know what this was made of"
    )
    assert "b_restored.bmp" not in files(Path("out"))
