"""Parts of different splits (1/3 and 1/4) must not work on one folder at once: they would do the same photos twice.

Each part keeps a small file beside its journal, locked as long as it is at work; whoever is killed leaves one that is
not locked, and the next part removes it. Where a disk has no locks, nobody can tell, and nothing is refused.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from restorer.batch.parts import Part
from restorer.errors import UsageError
from restorer.storage import locks

_NAME = re.compile(r"\.restorer-part-(\d+)-of-(\d+)\.lock")
_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows


class Claims:
    """What a part of a run holds of the folders that it works on.

    Args:
        part: the part; None = the whole run, which claims nothing.
    """

    def __init__(self, part: Part | None) -> None:
        self._part = part
        self._held: dict[Path, int | None] = {}

    def claim(self, folder: Path) -> None:
        """Say that this part works on a folder, when its first photo comes.

        Raises:
            UsageError: a part of another split is at work on it.
        """
        if self._part is None or folder in self._held:
            return
        self._held[folder] = None
        mine = folder / f".restorer-part-{self._part.worker}.lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(mine, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | _BINARY, 0o666)
        except OSError:
            return  # nothing can be written there, which is said of each photo
        taken = locks.try_lock(descriptor)
        if taken:
            self._held[folder] = descriptor
        else:  # the same part at work twice is no worse than a whole run twice; or there are no locks
            os.close(descriptor)
            if taken is None:
                mine.unlink(missing_ok=True)
        other = self._other_at_work(folder)
        if other is not None:
            raise UsageError(
                f"Part {other} of another split is at work on {folder} now; some photos would be done twice.",
                f"Wait until it is through, or let all parts have the same N: I/{other.partition('/')[2]}.",
            )

    def _other_at_work(self, folder: Path) -> str | None:
        """Return a part of another split that is at work on a folder; files that nobody holds any more are removed."""
        assert self._part is not None
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                found = _NAME.fullmatch(entry.name)
                if found is None or int(found[2]) == self._part.count:
                    continue
                if _is_held(Path(entry.path)):
                    return f"{found[1]}/{found[2]}"
        return None

    def release(self) -> None:
        """Give the folders back."""
        while self._held:
            folder, descriptor = self._held.popitem()
            if descriptor is not None and self._part is not None:
                with suppress(OSError):
                    (folder / f".restorer-part-{self._part.worker}.lock").unlink(missing_ok=True)
                os.close(descriptor)


def _is_held(path: Path) -> bool:
    """Return whether a process holds a file's lock; one that nobody holds is removed."""
    try:
        descriptor = os.open(path, os.O_RDWR | _BINARY)
    except FileNotFoundError:  # it has just ended
        return False
    try:
        free = locks.try_lock(descriptor)
        if free:
            path.unlink(missing_ok=True)
        return free is False
    finally:
        os.close(descriptor)
