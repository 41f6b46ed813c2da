"""The command's process ends at once, and loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.albums import environment

LEAVING = """
import atexit, sys, threading, time
if {torch}:
    sys.modules["torch"] = sys.modules["sys"]  # its name is all that counts here
import restorer.cli
from restorer.cli import program

class Kept:
    def __del__(self):
        print("taken apart")

kept = Kept()

def late():
    time.sleep(0.3)
    print("thread")

def main():
    threading.Thread(target=late).start()
    atexit.register(print, "registered")
    sys.stdout.write("written, ")
    sys.exit({code})

restorer.cli.main = main
if {watched}:
    sys.setprofile(slice)  # takes what a profiler is told, and keeps nothing
program()
"""


@pytest.mark.parametrize(
    ("torch", "watched", "code", "quick"),
    [
        (True, False, 0, True),
        (True, False, 3, True),
        (True, False, None, True),
        (False, False, 3, False),
        (True, True, 3, False),
        (True, False, "'a reason'", False),
    ],
)
def test_the_program_ends_at_once_and_loses_nothing(torch: bool, watched: bool, code: object, quick: bool) -> None:
    script = LEAVING.format(torch=torch, watched=watched, code=code)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == (code if isinstance(code, int) else 1 if code else 0), done.stderr
    assert done.stdout == "written, thread\nregistered\n" + ("" if quick else "taken apart\n")
    assert ("a reason" in done.stderr) == isinstance(code, str)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_what_cannot_be_written_at_the_end_is_said_as_python_says_it() -> None:
    script = LEAVING.format(torch=True, watched=False, code=0)
    with Path("/dev/full").open("w") as full:
        env = {**environment(), "PYTHONUNBUFFERED": ""}
        done = subprocess.run([sys.executable, "-c", script], env=env, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 120
    assert b"No space left" in done.stderr
