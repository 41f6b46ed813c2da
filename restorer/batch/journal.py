"""The journal of a folder: one JSON line for each photo that was tried, so that a second run does only what is left.

It is one hidden file in the output folder. A line is the photo's record (as `--json` prints it) with four more fields:
"result", the result's path as seen from the journal's folder; "source", the photo's absolute path; "fingerprint", of
the photo's bytes, the options, the model's weights and the version; "result_sha256". Lines are only ever added, each in
one write; the last one of a result counts. What a run that was killed left unfinished at the end is passed over.

The note inside a result says the same as its line, so the journal is asked only where there is no note (formats without
XMP, `--strip-metadata`), and for photos that failed. For results without a note a line with the status "writing" goes
ahead of the file: should the run be killed between the two, the file's hash tells whose it is.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restorer.errors import UsageError
from restorer.storage import locks
from restorer.storage.digest import sha256_of

NAME = ".restorer-journal.jsonl"

_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        status: "ok", "skipped" (found to be done), "failed" or "writing".
        fingerprint: None when the photo could not even be read.
        source: the photo's absolute path at that time.
        result_sha256: of the result's bytes, where there is one.
        record: the whole line.
    """

    status: str
    fingerprint: str | None
    source: str
    result_sha256: str | None
    record: dict[str, Any] = field(repr=False)


class Journal:
    """The journal of one folder, read when it is first asked, and again when another run has added to it.

    Its methods may be called from several threads.

    Args:
        folder: the output folder; it is made with the first line.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.damaged = 0
        self._root = Path(os.path.realpath(folder))
        self._done: dict[str, Entry] = {}
        self._failed: dict[str, Entry] = {}
        self._read = 0
        self._descriptor: int | None = None
        self._guard = threading.RLock()
        self._depth = 0

    # ------------------------------------------------------------------------------------------------- what it says

    def made(self, target: Path, fingerprint: str) -> bool:
        """Return whether the file at `target` is the result with this fingerprint, as far as the journal knows."""
        with self._guard:
            self._refresh()
            entry = self._done.get(self._place(target))
        if entry is None or entry.fingerprint != fingerprint:
            return False
        return entry.status != "writing" or sha256_of(target) == entry.result_sha256

    def knows(self, target: Path, fingerprint: str) -> bool:
        """Return whether a finished line says that `target` was made with this fingerprint."""
        with self._guard:
            self._refresh()
            entry = self._done.get(self._place(target))
        return entry is not None and entry.status != "writing" and entry.fingerprint == fingerprint

    def failure(self, target: Path) -> Entry | None:
        """Return the line of the photo of `target`, if the last attempt at it failed."""
        with self._guard:
            self._refresh()
            return self._failed.get(self._place(target))

    def belongs(self, source: Path, target: Path) -> bool:
        """Return whether a line says that `target` was made from `source`."""
        with self._guard:
            self._refresh()
            entry = self._done.get(self._place(target))
        return entry is not None and entry.source == str(source.absolute())

    def results(self) -> set[Path]:
        """Return the results that it knows of, as real paths."""
        with self._guard:
            self._refresh()
            return {self._root / place for place in self._done}

    def _place(self, target: Path) -> str:
        """Return a result's path as seen from here, in the form that stands in the lines."""
        real = Path(os.path.realpath(target.parent), target.name)
        return real.relative_to(self._root).as_posix() if real.is_relative_to(self._root) else real.as_posix()

    def _refresh(self) -> None:
        """Read what was added since; a line without its end is left for the next time.

        Raises:
            UsageError: the journal is there and cannot be read.
        """
        try:
            if self.path.stat().st_size <= self._read:
                return
            with self.path.open("rb") as stream:
                stream.seek(self._read)
                added = stream.read()
        except FileNotFoundError:
            return
        except OSError as error:
            what = "is a folder" if self.path.is_dir() else f"cannot be read: {error.strerror or error}"
            raise UsageError(f"The journal {self.path} {what}.", "Change its permissions, or move it away.") from error
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.split(b"\n"):
            self._take(line)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            record = json.loads(line)
            place, status = str(record["result"]), str(record["status"])
            entry = Entry(status, record["fingerprint"], str(record["source"]), record.get("result_sha256"), record)
            if status == "failed":
                record["error"] = {name: record["error"][name] for name in ("kind", "message", "remedy")}
        except (ValueError, KeyError, TypeError, RecursionError):
            self.damaged += 1
            return
        if status == "failed":
            self._failed[place] = entry
        else:
            self._done[place] = entry
            if status != "writing":
                self._failed.pop(place, None)

    # ------------------------------------------------------------------------------------------------- what it hears

    def add(
        self,
        record: dict[str, Any],
        *,
        source: Path,
        target: Path,
        fingerprint: str | None,
        result_sha256: str | None = None,
        lasting: bool = False,
    ) -> None:
        """Add a line in one write.

        Args:
            record: as `Record.as_dict` gives it.
            source: the photo.
            target: the result.
            fingerprint: of what was done, or tried.
            result_sha256: of the result's bytes.
            lasting: flush it to the disk, so that it is there also after a power cut.

        Raises:
            OSError: it cannot be written; nothing of the line stays.
        """
        more = {
            "result": self._place(target),
            "source": str(source.absolute()),
            "fingerprint": fingerprint,
            "result_sha256": result_sha256,
        }
        # In ASCII: names that are no valid text survive, and a line is read the same on any system.
        line = json.dumps({**record, **more}, ensure_ascii=True).encode() + b"\n"
        with self.alone():
            descriptor = self._open()
            size = os.lseek(descriptor, 0, os.SEEK_END)
            if size and _last_byte(descriptor) != b"\n":  # someone was killed in the middle of a line
                line = b"\n" + line
            try:
                rest = memoryview(line)
                while rest:  # one turn, but on a disk that is getting full
                    rest = rest[os.write(descriptor, rest) :]
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
            if lasting:
                os.fsync(descriptor)
            self._refresh()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs from adding lines, and from writing results of this folder, for a moment.

        Raises:
            OSError: the journal cannot be opened for writing.
        """
        with self._guard:
            if self._depth == 0 and self._is_gone():
                self.close()
                self._read = 0
            descriptor = self._open()
            if self._depth == 0:
                locks.try_lock(descriptor, wait=True)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    locks.unlock(descriptor)

    def _is_gone(self) -> bool:
        """Return whether the file that is open is no longer the one of that name: someone removed it, or its folder."""
        if self._descriptor is None:
            return False
        try:
            return not os.path.samestat(os.fstat(self._descriptor), self.path.stat())
        except FileNotFoundError:
            return True

    def _open(self) -> int:
        if self._descriptor is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o666)
        return self._descriptor

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def _last_byte(descriptor: int) -> bytes:
    os.lseek(descriptor, -1, os.SEEK_END)
    return os.read(descriptor, 1)
