"""Which files of folders that are being filled have settled: nobody writes to them any more.

Folders are listed again and again, and each file is looked at from outside: size, time, number. That works on every
disk and on shares of the network, of whose changes no system tells.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from restorer.batch.walking import Walk, is_kept_back, real

EVERY = 1.0
"""Seconds between two looks, where a look takes little."""
SETTLED = 3.0
"""Seconds for which a file must stay as it is."""
PATIENCE = 60.0
"""The same for one that seems to lack its end: copying may pause for long; and some photos are cut off for ever."""
REST = 10.0
"""So many times as long as a look takes is waited for the next, so that large folders are not listed all the time."""
_TAIL = 1 << 16

State = tuple[int, int, int, int]
"""Device, number, size and time of a file."""


@dataclass
class _Sight:
    state: State
    since: float
    done: bool = False


class Settling:
    """Looks at folders, and tells of each file once it has settled.

    A file that changes later, and one that was away in between, is told of again.

    Args:
        folders: with all below them.
        out: a folder that is passed over, where results go; None = none.
        clock: seconds that only ever grow.

    Attributes:
        problems: why folders could not be listed the last time.
    """

    def __init__(
        self, folders: Sequence[Path], out: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folders, self._out, self._clock = folders, out, clock
        self._seen: dict[Path, _Sight] = {}
        self.problems: list[OSError] = []

    def look(self) -> list[Path]:
        """Return the files that have settled since the last look, in the order of the folders and of their names."""
        now, found = self._clock(), self._found()
        if not self.problems:  # where a share is away for a while, its files are not
            self._seen = {path: sight for path, sight in self._seen.items() if path in found}
        settled = []
        for path, state in found.items():
            sight = self._seen.get(path)
            if sight is None or sight.state != state:
                self._seen[path] = _Sight(state, now)
            elif not sight.done and now - sight.since >= SETTLED and self._is_over(path, now - sight.since):
                sight.done = True
                settled.append(path)
        return settled

    def _found(self) -> dict[Path, State]:
        walk = Walk(None if self._out is None else real(self._out))
        found: dict[Path, State] = {}
        for top in self._folders:
            for folder in (*walk.below(top), *walk.linked()):
                for name in folder.files:
                    state = None if is_kept_back(name) else _state(folder.path / name)
                    if state is not None:
                        found.setdefault(folder.path / name, state)
        self.problems = [error for _top, error in walk.problems]
        return found

    def _is_over(self, path: Path, age: float) -> bool:
        return age >= PATIENCE or has_end(path)

    def looks(self, sleep: Callable[[float], None] = time.sleep) -> Iterator[list[Path]]:
        """Look again and again, without end, and yield what has settled each time, also where that is nothing.

        Args:
            sleep: waits so many seconds; what it raises ends this.
        """
        while True:
            begin = self._clock()
            settled = self.look()
            took = self._clock() - begin
            yield settled
            sleep(max(EVERY, REST * took))


def has_end(path: Path) -> bool:
    """Return whether a picture's file ends as its format does; True also where that cannot be told.

    A copy that reserves its room first has its full size from the beginning, and zeros where nothing has come yet.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(12)
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _TAIL))
            tail = stream.read()
    except OSError:
        return False  # somebody still holds it, or it has gone
    if head.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in tail
    if head.startswith(b"\x89PNG"):
        return b"IEND" in tail
    if head[:4] == b"RIFF" and head[8:] == b"WEBP" and size < int.from_bytes(head[4:8], "little") + 8:
        return False
    return size > 0 and any(tail[-4096:])


def _state(path: Path) -> State | None:
    """Return what a file looks like; None for what is none, or has gone."""
    try:
        status = os.stat(path)  # noqa: PTH116 - quicker for many
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
