"""Files that are being written: their names, and the removal of those that a killed process left behind."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from restorer.storage import locks

STRANGER_AGE = 24 * 3600.0
"""Seconds after which a file of another machine is taken for left behind; its locks may not be seen from here."""

_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows
_HOST = hashlib.sha256(platform.node().encode("utf-8", "replace")).hexdigest()[:8]
_PATTERN = re.compile(r"\.restorer-([0-9a-f]{8})-[0-9a-f]{32}\.part")
_mine: set[Path] = set()


@dataclass(frozen=True)
class Part:
    """A file that is being written; nobody takes it for a picture, and it is gone unless `move_to` was called."""

    path: Path
    stream: BinaryIO

    def move_to(self, target: Path, *, durable: bool = True, replace: bool = True) -> None:
        """Flush the content, to the disk where it shall be durable, and let it take the target's place in one step.

        Args:
            target: the file.
            durable: whether it is there also after a power cut.
            replace: whether what is there already is replaced.

        Raises:
            FileExistsError: something is there, and is not to be replaced.
        """
        self.stream.flush()
        if durable:
            os.fsync(self.stream.fileno())
        if os.name == "nt":  # open files cannot be renamed there; elsewhere the lock is kept until all is done
            self.stream.close()
        if replace:
            self.path.replace(target)
        else:
            _put_where_nothing_is(self.path, target)


def _put_where_nothing_is(path: Path, target: Path) -> None:
    """Give a file another name, which must be free; where the disk knows links, in one step."""
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:  # a disk without links: between the question and the answer somebody may be quicker
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        path.replace(target)


@contextmanager
def part_in(folder: Path) -> Iterator[Part]:
    """Open a hidden file of its own name in `folder`, locked as long as it is open, and remove it in the end.

    Raises:
        OSError: it cannot be made or written.
    """
    path, descriptor = _create(folder)
    try:
        # Closing comes last: the lock must outlast the renaming, or the file might be taken for left behind.
        with os.fdopen(descriptor, "wb") as stream:
            try:
                yield Part(path, stream)
            finally:
                if os.name == "nt":
                    stream.close()
                path.unlink(missing_ok=True)
    finally:
        path.unlink(missing_ok=True)
        _mine.discard(path)


def _create(folder: Path) -> tuple[Path, int]:
    while True:
        # Unique, so that two processes never share one, and short, so that a long target's name does not pass a limit.
        path = folder / f".restorer-{_HOST}-{uuid.uuid4().hex}.part"
        _mine.add(path)
        try:
            # By number and mode, so that the result gets the permissions that any new file here gets.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        except BaseException:
            _mine.discard(path)
            raise
        # Between the two calls someone may have taken the file for left behind: then it is locked, or gone by now.
        if locks.try_lock(descriptor) is not False and (os.name == "nt" or os.fstat(descriptor).st_nlink > 0):
            return path, descriptor
        os.close(descriptor)
        _mine.discard(path)


def remove_mine() -> None:
    """Remove all files that this process is writing; for leaving at once."""
    for path in list(_mine):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> list[Path]:
    """Remove what killed processes left in a folder (not below it), and return it.

    Only names that this module makes are looked at. A file whose lock can be had has no process that writes it. Where
    locks are not known, or not seen between machines, it is left alone for a day.
    """
    try:
        found = [Path(entry.path) for entry in os.scandir(folder) if _PATTERN.fullmatch(entry.name)]
    except (OSError, ValueError):
        return []  # no such folder yet, none of ours, or a name that none can have: whoever writes there will hear why
    return [path for path in found if path not in _mine and _remove_if_abandoned(path)]


def _remove_if_abandoned(path: Path) -> bool:
    try:
        old = time.time() - path.stat().st_mtime > STRANGER_AGE
        if f"-{_HOST}-" not in path.name or os.name == "nt":
            if old or os.name == "nt":  # deleting fails there while someone has it open
                path.unlink()
                return True
            return False
        descriptor = os.open(path, os.O_RDWR | _BINARY)
    except OSError:
        return False  # gone, open on Windows, or not ours to touch
    try:
        free = locks.try_lock(descriptor)
        if free or (free is None and old):
            path.unlink(missing_ok=True)  # while it is locked: who has just made it finds out, see `_create`
            return True
        return False
    except PermissionError:
        return False  # a folder that may be read only
    finally:
        os.close(descriptor)
