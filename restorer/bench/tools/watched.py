"""Runs the `restore` command and watches it; `python -m restorer.bench.tools.watched LOG STEP EVERY ARGUMENTS...`.

Every photo whose restoring begins is added to LOG, with the time on the system's clock and the processor seconds up to
there, so that one sees what was done twice, and when other programs had the processor. At the given step the process
is killed (0: never). Steps are what changes the disk: each write to the journal (of which half is written first), each
flush, each renaming. The lines about the time that is left come every EVERY seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from restorer.cli import main, progress
from restorer.pipeline.restorer import Restorer

_left = 0


def _step() -> None:
    global _left
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def _install(log: Path) -> None:
    write, fsync, replace, restore = os.write, os.fsync, Path.replace, Restorer.restore

    def killing_write(descriptor: int, data: Any) -> int:
        half = len(data) // 2
        if _left == 1:
            write(descriptor, bytes(data)[:half])
        _step()
        written = write(descriptor, data)
        _step()
        return written

    def killing_fsync(descriptor: Any) -> None:
        _step()
        fsync(descriptor)

    def killing_replace(self: Path, target: Path) -> Path:
        _step()
        done = replace(self, target)
        _step()
        return done

    def logged_restore(self: Restorer, photo: Any, **rest: Any) -> Any:
        now = f"{time.monotonic()} {time.process_time()} ".encode()
        with log.open("ab", buffering=0) as stream:
            stream.write(now + os.fsencode(str(photo.path)).replace(b"\n", b"\\n") + b"\n")
        return restore(self, photo, **rest)

    os.write = killing_write
    os.fsync = killing_fsync  # type: ignore[assignment]
    Path.replace = killing_replace  # type: ignore[method-assign, assignment]
    Restorer.restore = logged_restore  # type: ignore[method-assign]


if __name__ == "__main__":
    _left = int(sys.argv[2])
    progress.EVERY = float(sys.argv[3])
    _install(Path(sys.argv[1]))
    main(sys.argv[4:])
