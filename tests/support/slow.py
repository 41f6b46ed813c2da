"""A `restore` whose parts are slow and say what they do, for tests that interrupt it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.albums import environment, files

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
