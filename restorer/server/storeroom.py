"""Where uploads and results lie while the server runs: a folder for its own user alone, gone when it ends."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import BinaryIO

from restorer.server.refusals import BusyError, TooLargeError
from restorer.storage import locks

PREFIX = "restore-serve-"
_LOCK = "lock"
_CHUNK = 1 << 20


class Storeroom:
    """A folder for the files of one server.

    It is locked as long as the server lives, so that the next one knows the folder of one that was killed, and removes
    it.

    Args:
        most: bytes that it may hold.
        parent: where it is made; None = the system's place for temporary files.
    """

    def __init__(self, most: int, parent: Path | None = None) -> None:
        self._most = most
        place = Path(tempfile.gettempdir()) if parent is None else parent
        remove_abandoned(place)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        self._lock_file = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        locks.try_lock(self._lock_file)
        self._guard = threading.Lock()
        self._bytes = 0
        self._owned: Counter[str] = Counter()

    @property
    def bytes(self) -> int:
        """How much it holds."""
        return self._bytes

    def reserve(self, count: int, owner: str = "") -> None:
        """Take room for a file, before it is there.

        Args:
            count: its bytes.
            owner: the photo that it belongs to.

        Raises:
            BusyError: there is none at the moment.
        """
        with self._guard:
            if self._bytes + count > self._most:
                raise BusyError(
                    "There is no room for more photos at the moment.",
                    "Save what is done and remove it from the page, or ask again later.",
                    60,
                )
            self._bytes += count
            self._owned[owner] += count

    def release(self, count: int, owner: str = "") -> None:
        """Give room back: no more of it than its owner has."""
        with self._guard:
            count = min(count, self._owned[owner])
            self._owned[owner] -= count
            if not self._owned[owner]:
                del self._owned[owner]
            self._bytes -= count

    def release_all(self, owner: str) -> None:
        """Give back all the room that a photo has, once."""
        with self._guard:
            self._bytes -= self._owned.pop(owner, 0)

    def receive(self, stream: BinaryIO, path: Path, most: int, owner: str = "") -> int:
        """Write a stream into a file of this room, in a folder of its own, and return its bytes.

        Raises:
            TooLargeError: it is longer than `most`; nothing is left of it.
            BusyError: there is no room at the moment.
        """
        path.parent.mkdir(mode=0o700)
        count = 0
        try:
            with path.open("wb") as file:
                while chunk := stream.read(_CHUNK):
                    if count + len(chunk) > most:
                        raise too_large(most)
                    self.reserve(len(chunk), owner)
                    count += len(chunk)
                    file.write(chunk)
        except BaseException:
            self.release(count, owner)
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        return count

    def close(self) -> None:
        """Remove all of it."""
        if os.name == "nt":
            os.close(self._lock_file)
        shutil.rmtree(self.folder, ignore_errors=True)
        if os.name != "nt":
            os.close(self._lock_file)


def too_large(most: int) -> TooLargeError:
    """Return the error for a file of more bytes than are taken."""
    return TooLargeError(
        f"The file is larger than the {most / 1e6:,.0f} MB that this server takes.",
        "Send a smaller file, or restore it with the command line, which has no such limit.",
    )


def remove_abandoned(place: Path) -> list[Path]:
    """Remove the folders of servers that were killed, and return them."""
    removed = []
    for folder in place.glob(f"{PREFIX}*"):
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:
            continue  # somebody else's, or just being made
        try:
            if locks.try_lock(descriptor) is True:
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
        finally:
            os.close(descriptor)
    return removed
