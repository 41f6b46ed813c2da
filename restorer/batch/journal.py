"""The journal of a folder: one JSON line for each photo that was tried, so that a second run does only what is left.

It is one hidden file in the output folder, and one more for each part of a run that several machines share, so that
none waits for another; whoever reads, reads them all as one, and a part that ends adds its lines to the common file. A
line is the photo's record (as `--json` prints it) with more fields: "result", the result's path as seen from the
journal's folder; "source", the photo's path as seen from the folder that was restored; "fingerprint", of the photo's
bytes, the options, the model's weights and the version; "result_sha256"; "time", when it was written; "made", the note
of results that cannot hold one. No path of this machine stands in it. Lines are only ever added, each in one write; the
last one of a result counts. What a run that was killed left unfinished at the end is passed over.

The note inside a result says the same as its line, so the journal is asked only where there is no note (formats without
XMP, `--strip-metadata`), and for photos that failed. For results without a note a line with the status "writing" goes
ahead of the file: should the run be killed between the two, the file's hash tells whose it is.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from restorer.batch.index import Index
from restorer.batch.lines import BEGIN, END, NAME, TOLD, Entry, journals_in, without_folders
from restorer.batch.parts import Part, digest_of
from restorer.photo import Note
from restorer.storage import locks
from restorer.storage.digest import sha256_of

__all__ = ["NAME", "Entry", "Journal"]

_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows
_NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
"""A journal that is a link is none: somebody else may have put it there, and lines would go into any file of theirs."""
_BLOCK = 1 << 24


class Journal:
    """The journals of one folder, read when they are first asked, and again when another run has added to them.

    Its methods may be called from several threads. Only where the lines are is kept in memory.

    Args:
        folder: the output folder; it is made with the first line.
        worker: a name for what writes, which then has a file of its own; None = the file that all share.
        part: of the results, those that are ever asked for; None = all.
        targets: the folder of the results, where these journals are copies that lie elsewhere; None = `folder`.
    """

    def __init__(
        self, folder: Path, worker: str | None = None, part: Part | None = None, *, targets: Path | None = None
    ) -> None:
        self.folder = folder
        self.path = folder / (NAME if worker is None else f"{BEGIN}-{worker}{END}")
        self._root = Path(os.path.realpath(targets or folder))
        self._roots: dict[str, str] = {}
        self._index = Index(folder, self.path, part)
        self._descriptor: int | None = None
        self._guard = threading.RLock()
        self._depth = 0

    # ------------------------------------------------------------------------------------------------- what it says

    def made(self, target: Path, fingerprint: str) -> bool:
        """Return whether the file at `target` is the result with this fingerprint, as far as the journal knows."""
        entry = self.entry(target)
        return entry is not None and entry.fingerprint == fingerprint

    def entry(self, target: Path) -> Entry | None:
        """Return the line about the file at `target`; None where that is another file, as far as can be told."""
        place = self._place(target)
        with self._guard:
            self._refresh()
            entry, contested = self._index.done(place), place in self._index.contested
        if entry is None or not (entry.status == "writing" or contested):
            return entry
        try:
            return entry if sha256_of(target) == entry.result_sha256 else None
        except OSError:
            return None

    def knows(self, target: Path, fingerprint: str) -> bool:
        """Return whether a finished line says that `target` was made with this fingerprint."""
        place = self._place(target)
        with self._guard:
            if self._index.says(place, fingerprint):  # whatever was added since, it says so too
                return True
            self._refresh()
            return self._index.says(place, fingerprint)

    def failure(self, target: Path | str) -> Entry | None:
        """Return the line of the photo of `target`, if the last attempt at it failed."""
        with self._guard:
            self._refresh()
            return self._index.failed(self._place(target))

    def belongs(self, source: Path, target: Path, place: str | None = None) -> bool:
        """Return whether a line says that `target` was made from `source`, which stands at `place` in its folder."""
        with self._guard:
            self._refresh()
            entry = self._index.done(self._place(target))
        return entry is not None and entry.source in (place, str(source.absolute()))

    def results(self) -> set[Path]:
        """Return the results that it knows of, as real paths."""
        with self._guard:
            self._refresh()
            return {self._root / place for place in self._index.results()}

    def lines(self, target: Path | str) -> bytes:
        """Return the lines that tell of `target` what any run has to know, as they stand there."""
        with self._guard:
            self._refresh()
            return self._index.lines(self._place(target))

    def look_again(self) -> None:
        """Look for journals that others have begun since, and read what is new in those that are known."""
        with self._guard:
            self._index.look_again()

    @property
    def damaged(self) -> int:
        """How many lines could not be understood."""
        return self._index.damaged

    def _refresh(self) -> None:
        """Read what was added since; raises `UsageError` where a journal is there and cannot be read."""
        self._index.refresh()

    def _place(self, target: Path | str) -> str:
        """Return a result's path as seen from here, in the form that stands in the lines."""
        parent, name = os.path.split(target)
        if parent not in self._roots:
            real = Path(os.path.realpath(parent))
            inside = real.is_relative_to(self._root)
            seen = real.relative_to(self._root).as_posix() if inside else real.as_posix()
            self._roots[parent] = "" if seen == "." else seen + "/"
        return self._roots[parent] + name

    # ------------------------------------------------------------------------------------------------- what it hears

    def add(
        self,
        record: dict[str, Any],
        *,
        source: Path,
        target: Path,
        fingerprint: str | None,
        result_sha256: str | None = None,
        note: Note | None = None,
        place: str = "",
        lasting: bool = False,
    ) -> None:
        """Add a line in one write.

        Args:
            record: as `Record.as_dict` gives it.
            source: the photo.
            target: the result.
            fingerprint: of what was done, or tried.
            result_sha256: of the result's bytes.
            note: what the result's own note would say, where it cannot hold one.
            place: the photo's path as seen from the folder that is restored.
            lasting: flush it to the disk, so that it is there also after a power cut.

        Raises:
            OSError: it cannot be written; nothing of the line stays.
        """
        result = self._place(target)
        first = {"part": digest_of(result), "result": result, "source": place or source.name}
        more: dict[str, Any] = {"fingerprint": fingerprint, "result_sha256": result_sha256, "time": _now()}
        if note is not None:
            more["made"] = {name: getattr(note, name) for name in TOLD}
        told = without_folders(record, source, place or source.name, target, result)
        # In ASCII: names that are no valid text survive, and a line is read the same on any system.
        line = json.dumps({**first, **told, **more}, ensure_ascii=True).encode() + b"\n"
        with self.alone():
            self._append(line, lasting=lasting)
            self._refresh()

    def _append(self, line: bytes, *, lasting: bool) -> None:
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

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs from adding lines, and from writing results of this folder, for a moment.

        Raises:
            OSError: the journal cannot be opened for writing.
        """
        with self._guard:
            descriptor = self._open() if self._depth else self._locked()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    locks.unlock(descriptor)

    def _locked(self) -> int:
        """Return the file, for this run alone; it is opened again where the one of that name is another by now."""
        while True:
            descriptor = self._open()
            locks.try_lock(descriptor, wait=True)
            if not self._is_gone():
                return descriptor
            locks.unlock(descriptor)
            self.close()
            self._index.forget(self.path)

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
            if self.path.is_symlink():
                raise OSError(errno.ELOOP, "it is a link to another file")
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | _NO_LINK | _BINARY
            self._descriptor = os.open(self.path, flags, 0o666)
        return self._descriptor

    # ------------------------------------------------------------------------------------------------------- the end

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def end(self) -> None:
        """Close the file, and let the journals of parts become lines of the common one, where locks allow that.

        A part does so with its own journal; a whole run with all that it finds: those of parts that were killed too.
        """
        with self._guard:
            own = [] if self._descriptor is None or self.path.name == NAME else [self.path]
            self.close()
            others = [path for path in journals_in(self.folder) if path.name != NAME] if self.path.name == NAME else []
        with suppress(OSError):  # they are read as they are
            for path in (*own, *others):
                _merge(path, self.folder / NAME)


def _merge(path: Path, common: Path) -> None:
    """Add the lines of a journal to another one, and remove it; raises `OSError`, and then none is lost."""
    descriptor = os.open(path, os.O_RDWR | _NO_LINK | _BINARY)
    try:
        if not locks.try_lock(descriptor, wait=False):  # someone writes just now, or nobody could know it
            return
        whole = Journal(common.parent)
        try:
            with whole.alone(), path.open("rb") as stream:
                while lines := stream.readlines(_BLOCK):
                    whole._append(b"".join(line for line in lines if line.endswith(b"\n")), lasting=True)
                path.unlink()  # whoever has it open sees that before the next line
        finally:
            whole.close()
    finally:
        os.close(descriptor)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _last_byte(descriptor: int) -> bytes:
    os.lseek(descriptor, -1, os.SEEK_END)
    return os.read(descriptor, 1)
