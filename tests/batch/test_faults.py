"""Interrupts, full and read-only disks, photos that vanish, and two runs at once: errors are clear, nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
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
    FaceNotRestoredError,
    MissingSupportError,
    PhotoError,
    UnreadablePhotoError,
    UnsuitableFormatError,
    UnwritableOutputError,
)
from restorer.photo import read_photo
from restorer.pipeline.restorer import Restorer
from restorer.record import Record
from restorer.storage import locks, temporary
from restorer.storage.atomic import write_whole
from restorer.upscaling.lanczos import Lanczos
from tests.support.albums import PLAIN, command, environment, files, picture, run
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and limits")

SLOW = """
    import os, signal, sys, time
    from pathlib import Path
    from restorer.pipeline.lanes import Lanes
    from restorer.cli import main
    from restorer.storage import atomic as files
    from restorer.pipeline.restorer import Restorer
    restore, write, stop = Restorer.restore, files.temporary.Part.move_to, Lanes.stop
    hearers = {{"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}}
    for name in {defaults}:  # a child inherits what its parent ignores, as `nohup` and some shells do
        signal.signal(getattr(signal, name), hearers[name])

    def say(text):
        os.write(1, text.encode() + b"\\n")

    def linger(turns):
        while turns and not Path("go").exists():
            time.sleep(0.02)
            turns -= 1

    def slow_restore(self, photo, **rest):
        say("restoring " + photo.path.name)
        linger(30000 if photo.path.name in {stuck!r} else 0)
        return restore(self, photo, **rest)

    def slow_write(self, target, **rest):
        say("writing " + target.name)
        linger({writing})
        write(self, target, **rest)

    def noted_stop(self):
        stop(self)
        say("giving up")

    Restorer.restore, files.temporary.Part.move_to, Lanes.stop = slow_restore, slow_write, noted_stop
    main(sys.argv[1:])
"""


def start(
    folder: Path,
    *arguments: str,
    stuck: Sequence[str] = (),
    writing: int = 0,
    defaults: Sequence[str] = ("SIGINT", "SIGHUP"),
) -> subprocess.Popen[str]:
    """Start `restore` with slow parts that say on stdout what they do; a file "go" lets it go on at once.

    Args:
        folder: where it works.
        arguments: of the command.
        stuck: photos that are restored for ten minutes.
        writing: how long each result is written, in fiftieths of a second.
        defaults: signals that are heard in it whatever this process ignores.
    """
    script = textwrap.dedent(SLOW).format(stuck=tuple(stuck), writing=writing, defaults=tuple(defaults))
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=folder, env=environment(),
    )  # fmt: skip


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for said in process.stdout:
        if said.strip() == line:
            return
    pytest.fail(f"{line!r} was not said: {process.stderr.read() if process.stderr else ''}")


def parts(folder: Path) -> list[str]:
    return [name for name in files(folder) if name.endswith(".part")] if folder.exists() else []


# ---------------------------------------------------------------------------------------------------------- interrupts


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_gives_the_photo_in_hand_up_and_tells_how_far_it_came(tmp_path: Path, number: int) -> None:
    for name in "abcd":
        picture(tmp_path / f"in/{name}.png", seed=ord(name))
    process = start(tmp_path, "in", "-o", "out", *PLAIN, stuck=["c.png"])
    wait_for(process, "restoring c.png")
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "2 photos restored" in err
    assert "2 not reached" in err
    assert "Interrupted" in err
    assert "Traceback" not in err
    assert sorted(files(tmp_path / "out")) == [NAME, "a_restored.png", "b_restored.png"]
    assert len((tmp_path / "out" / NAME).read_text().splitlines()) == 2
    run(tmp_path, "in", "-o", "out", *PLAIN)
    run(tmp_path, "in", "-o", "calm", *PLAIN)
    out, calm = files(tmp_path / "out"), files(tmp_path / "calm")
    assert {**out, NAME: b""} == {**calm, NAME: b""}


@POSIX
def test_under_nohup_a_hangup_is_not_heard(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"in/{name}.png", seed=ord(name))
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(tmp_path, "in", "-o", "out", *PLAIN, stuck=["a.png"], defaults=["SIGINT"])
    finally:
        signal.signal(signal.SIGHUP, hangup)
    wait_for(process, "restoring a.png")
    process.send_signal(signal.SIGHUP)
    (tmp_path / "go").touch()
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert {"a_restored.png", "b_restored.png"} <= set(files(tmp_path / "out"))


@POSIX
def test_a_result_that_is_being_written_is_finished(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"in/{name}.png", seed=ord(name))
    process = start(tmp_path, "in", "-o", "out", *PLAIN, writing=30000)
    wait_for(process, "writing a_restored.png")
    process.send_signal(signal.SIGINT)
    wait_for(process, "giving up")
    (tmp_path / "go").touch()
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert "a_restored.png" in files(tmp_path / "out")
    assert not parts(tmp_path / "out")


@POSIX
def test_a_second_interrupt_leaves_at_once_and_nothing_half_written(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"in/{name}.png", seed=ord(name))
    process = start(tmp_path, "in", "-o", "out", *PLAIN, writing=30000)  # ten minutes
    wait_for(process, "writing a_restored.png")
    process.send_signal(signal.SIGINT)
    wait_for(process, "giving up")
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "0 photos restored" in err
    assert "2 not reached" in err
    assert set(files(tmp_path / "out")) <= {NAME}


def test_an_interrupt_in_the_middle_of_planning_is_one_too(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    picture(tmp_path / "a.png")
    monkeypatch.setattr("restorer.batch.run.glance", interrupt)
    assert "Interrupted" in restore(capsys, str(tmp_path / "a.png"), *PLAIN, code=130).err


# ------------------------------------------------------------------------------------------------ disks that will not


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


# ------------------------------------------------------------------------------------------------- photos that vanish


def test_a_photo_that_vanishes_during_the_run(tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "abcd":
        picture(Path(f"in/{name}.png"), seed=ord(name))
    original = Restorer.restore

    def vanish(self: Restorer, photo: Any, **rest: Any) -> Any:
        Path("in/c.png").unlink(missing_ok=True)  # b is being read by now
        return original(self, photo, **rest)

    monkeypatch.setattr(Restorer, "restore", vanish)
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["status"] for record in records] == ["ok", "ok", "failed", "ok"]
    assert records[2]["error"]["kind"] == "UnreadablePhoto"
    assert "c.png" in records[2]["error"]["message"]


@pytest.mark.parametrize(
    ("error", "remembered"),
    [
        (MissingSupportError("a.png", "A package is missing.", "Install it."), False),
        (UnwritableOutputError("a.png", "No room.", "Make some."), False),
        (UnreadablePhotoError("a.png", "It is broken.", "Look at it."), True),
        (FaceNotRestoredError("a.png", "A face failed.", "Leave it out."), True),
    ],
    ids=lambda value: getattr(value, "kind", str(value)),
)
def test_only_failures_that_lie_in_the_photo_are_remembered(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, error: PhotoError, remembered: bool
) -> None:
    """Whoever has installed the package, or made room, expects the same command to go on."""
    monkeypatch.chdir(tmp_path)
    picture(Path("in/a.png"))
    original = Restorer.restore

    def failing(self: Restorer, photo: Any, **rest: Any) -> Any:
        raise error

    monkeypatch.setattr(Restorer, "restore", failing)
    restore(capsys, "in", "-o", "out", *PLAIN, code=1)
    monkeypatch.setattr(Restorer, "restore", original)
    again = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1 if remembered else 0)
    assert [json.loads(line)["status"] for line in again.out.splitlines()] == ["failed" if remembered else "ok"]


def test_a_photo_whose_writing_fails_has_no_output_in_its_record(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("a.png"))

    def full(*_given: Any) -> None:
        raise UnwritableOutputError("a_restored.png", "No room.", "Make some.")

    monkeypatch.setattr("restorer.batch.writing.write_whole", full)
    done = restore(capsys, "a.png", *PLAIN, "--json", code=1)
    (told,) = map(json.loads, done.out.splitlines())
    assert (told["status"], told["output"]) == ("failed", None)
    record = Record("a.png", output="a_restored.png")
    record.fail(UnwritableOutputError("a_restored.png", "No room."))
    assert (record.status, record.as_dict()["output"]) == ("failed", None)


@POSIX
@pytest.mark.parametrize("what", ["journal", "folder"])
def test_an_output_folder_or_journal_that_vanishes_is_begun_anew(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """What is written after that must be known to the next run, although the file that was open is gone."""
    monkeypatch.chdir(tmp_path)
    for name in "abcd":
        picture(Path(f"in/{name}.bmp"), seed=ord(name))
    original = Restorer.restore

    def vanish(self: Restorer, photo: Any, **rest: Any) -> Any:
        result = original(self, photo, **rest)
        if photo.path.name == "c.bmp":
            while b'"out/b_restored.bmp", "status": "ok"' not in Path("out", NAME).read_bytes():
                time.sleep(0.01)
            with Path("out", NAME).open("r+b") as journal:  # until the journal is given back
                assert locks.try_lock(journal.fileno(), wait=True)
                locks.unlock(journal.fileno())
            shutil.rmtree("out") if what == "folder" else Path("out", NAME).unlink()
        return result

    monkeypatch.setattr(Restorer, "restore", vanish)
    restore(capsys, "in", "-o", "out", *PLAIN)
    monkeypatch.setattr(Restorer, "restore", original)
    if what == "folder":
        assert set(files(Path("out"))) == {NAME, "c_restored.bmp", "d_restored.bmp"}
        again = restore(capsys, "in", "-o", "out", *PLAIN, "--json")
        statuses = [json.loads(line)["status"] for line in again.out.splitlines()]
        assert statuses == ["ok", "ok", "skipped", "skipped"]
    else:
        again = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
        statuses = [json.loads(line)["status"] for line in again.out.splitlines()]
        assert statuses == ["failed", "failed", "skipped", "skipped"], "of the first two nothing tells the origin"


def test_a_photo_that_vanishes_after_it_was_done_loses_nothing(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("in/a.png"))
    picture(Path("in/b.png"))
    restore(capsys, "in", "-o", "out", *PLAIN)
    before = files(Path("out"))
    Path("in/a.png").unlink()
    restore(capsys, "in", "-o", "out", *PLAIN)
    assert files(Path("out")) == before


# -------------------------------------------------------------------------------------------------------- side by side


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


# -------------------------------------------------------------------------------------------------- inside one run


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
