"""The photos that were sent: taken in within bounds, kept while somebody asks for them, and removed."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from restorer.photo import Photo, read_photo
from restorer.photo.header import read_header
from restorer.pipeline.holes import read_hole
from restorer.server import names
from restorer.server.jobs import Upload, new_id
from restorer.server.limits import Limits
from restorer.server.memory import Memory
from restorer.server.refusals import BusyError, TooLargeError, UnknownThingError
from restorer.server.storeroom import Storeroom
from restorer.storage.atomic import write_atomic

_log = logging.getLogger(__name__)


class Album:
    """Photos by their numbers.

    Args:
        limits: how much is taken in.
        memory: keeps those that were read.
        parent: where files lie; None = the system's place for temporary files.
    """

    def __init__(self, limits: Limits, memory: Memory, parent: Path | None = None) -> None:
        self._limits, self._memory = limits, memory
        self.store = Storeroom(limits.disk, parent)
        self._uploads: dict[str, Upload] = {}
        self._users: Counter[str] = Counter()
        self._lock = threading.Lock()

    def receive(self, stream: BinaryIO, name: str | None, client: str) -> Upload:
        """Take a photo in; see `restorer.server.service.Service.receive`."""
        with self._lock:
            if len(self._uploads) >= self._limits.photos:
                raise BusyError("There are too many photos here already.", "Remove some, or ask again later.", 60)
        upload = Upload(client, names.clean(name), Path(), 0)
        upload.path = self.store.folder / upload.identity / "photo"
        upload.bytes = self.store.receive(stream, upload.path, self._limits.upload, upload.identity)
        try:
            header = read_header(upload.path)
            upload.format, upload.size = header.format, header.size
            if header.format is None:
                read_photo(upload.path.read_bytes())  # says why not
            if header.size is not None:
                check_size(header.size, self._limits.pixels)
        except BaseException:
            self._remove_files(upload)
            raise
        with self._lock:
            self._uploads[upload.identity] = upload
        return upload

    def get(self, identity: str) -> Upload:
        """Return a photo by its number; raises `UnknownThingError`."""
        with self._lock:
            found = self._uploads.get(identity)
        if found is None:
            raise UnknownThingError("There is no such photo here, or no longer.", "Send it again.")
        found.asked = time.monotonic()
        return found

    def __contains__(self, upload: Upload) -> bool:
        with self._lock:
            return upload.identity in self._uploads

    def of(self, client: str) -> list[Upload]:
        """Return a client's photos, in the order in which they came."""
        with self._lock:
            return [each for each in self._uploads.values() if each.client == client]

    def opened(self, upload: Upload) -> Photo:
        """Return a photo that was read; raises `PhotoError` where it cannot be."""

        def opened() -> Photo:
            return read_photo(upload.path.read_bytes())

        with self._memory.working_for(upload.identity):
            return self._memory.get(("photo", upload.identity), opened, lambda photo: 2 * photo.pixels.nbytes)

    def draw(self, upload: Upload, drawing: bytes | None) -> None:
        """Take in where somebody has drawn what is damaged in a photo, white on black; None = it is damaged nowhere.

        Each drawing is a file of its own, since a job may be at work with an earlier one.

        Raises:
            UsageError: it is not of the photo's size, or has no white in it.
            UnreadablePhotoError: it is no picture.
            BusyError: there is no room at the moment.
        """
        if drawing is None:
            upload.mask = None
            return
        size = self.opened(upload).size
        self.store.reserve(len(drawing), upload.identity)
        folder = upload.path.parent / f"mask-{new_id()}"
        try:
            folder.mkdir(mode=0o700)
            path = folder / f"{Path(upload.name).stem}_mask.png"
            write_atomic(path, drawing, durable=False)
            read_hole(path, size, "mask")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            self.store.release(len(drawing), upload.identity)
            raise
        upload.mask = path

    def old(self, busy: Collection[Upload]) -> list[Upload]:
        """Return the photos that nobody has asked for in a long time, without those that are busy."""
        before = time.monotonic() - self._limits.idle
        with self._lock:
            return [each for each in self._uploads.values() if each.asked < before and each not in busy]

    @contextmanager
    def at_work(self, upload: Upload) -> Iterator[bool]:
        """Let nobody remove a photo's files as long as somebody works on them; tell whether they are still there.

        What is removed meanwhile goes when the last who works on it has ended, by that one alone. What is remembered
        on the way is the photo's, and goes with it.
        """
        with self._lock:
            there = upload.identity in self._uploads
            self._users[upload.identity] += there
        try:
            with self._memory.working_for(upload.identity):
                yield there
        finally:
            with self._lock:
                self._users[upload.identity] -= there
                idle = self._users[upload.identity] == 0
                if idle:
                    del self._users[upload.identity]
                gone = there and idle and upload.identity not in self._uploads
            if gone:
                self._remove_files(upload)

    def remove(self, upload: Upload) -> None:
        """Let a photo be unknown from now on; its files, and all that was made of it, go once nobody works on them."""
        with self._lock:
            known = self._uploads.pop(upload.identity, None) is not None
            idle = not self._users[upload.identity]
        if known and idle:
            self._remove_files(upload)

    def _remove_files(self, upload: Upload) -> None:
        """Remove the folder of a photo; whoever calls this is the only one."""
        try:
            shutil.rmtree(upload.path.parent)
        except FileNotFoundError as error:
            if upload.path.parent.exists():
                _not_removed(upload, error)
        except OSError as error:
            _not_removed(upload, error)
        self._memory.forget(upload.identity)
        self.store.release_all(upload.identity)


def _not_removed(upload: Upload, error: OSError) -> None:
    """Say what stays; the folder of the server, which goes with its end, holds it."""
    _log.warning("The files of %s cannot be removed, and stay until the server ends: %s", upload.name, error)


def check_size(size: tuple[int, int], most: int, *, result: bool = False) -> None:
    """Refuse a photo, or a result, of too many pixels.

    Args:
        size: (width, height).
        most: pixels that are taken.
        result: whether it is what a photo would become.

    Raises:
        TooLargeError: it has more.
    """
    pixels = size[0] * size[1]
    if pixels <= most:
        return
    what = "The result would have" if result else "The picture has"
    remedy = "Choose a smaller --scale." if result else "Send a smaller one."
    raise TooLargeError(
        f"{what} {pixels / 1e6:,.0f} megapixels, and this server takes {most / 1e6:,.0f}.",
        f"{remedy} The command line has no such limit.",
    )
