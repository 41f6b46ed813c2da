"""Interrupts: a run ends at once, says how far it came, and leaves nothing half-written."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from restorer.batch.interrupts import heard
from restorer.batch.journal import NAME
from tests.support.albums import PLAIN, files, picture, run
from tests.support.in_process import restore
from tests.support.slow import parts, start, wait_for

Capsys = pytest.CaptureFixture[str]
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and limits")


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


def test_an_interrupt_while_a_thread_is_waited_for_is_one_too(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came where the lock was let go of: leaving the lock raised another error, and a traceback (campaign)."""
    for name in "ab":
        picture(tmp_path / f"{name}.png", seed=ord(name))

    def waited(*_: object) -> None:
        condition = threading.Condition()
        with condition:  # as a pool's semaphore does
            condition.release()
            raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPoolExecutor, "_adjust_thread_count", waited)
    done = restore(capsys, str(tmp_path), "-o", str(tmp_path / "out"), *PLAIN, code=130)
    assert "Interrupted" in done.err
    assert "not reached" in done.err


def test_other_errors_are_no_interrupts() -> None:
    with pytest.raises(RuntimeError, match="mine"), heard():
        raise RuntimeError("mine")
