"""Where the lines of a folder's journals are: of all files at once, each read on from where it was read before."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from restorer.batch.lines import NAME, Entry, journals_in, parsed
from restorer.batch.parts import Part
from restorer.errors import UsageError

_HEAD = b'{"part": "'


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a line stands, and what tells it from others about the same result."""

    path: Path
    offset: int
    length: int
    time: str
    fingerprint: str | None
    finished: bool


class Index:
    """Finds the line about a result; only where the lines are is kept in memory.

    Args:
        folder: the journals' folder.
        own: the journal that grows meanwhile, beside the common one.
        part: of the results, those that are ever asked for; None = all.

    Attributes:
        contested: results about which several journals say different things: the file's hash must decide.
        others: journals that other parts of a run left.
        damaged: how many lines could not be understood.
    """

    def __init__(self, folder: Path, own: Path, part: Part | None) -> None:
        self.contested: set[str] = set()
        self.others: list[Path] = []
        self.damaged = 0
        self._folder = folder
        self._common = folder / NAME
        self._own = own
        self._part = part
        self._done: dict[str, _Place] = {}
        self._failed: dict[str, _Place] = {}
        self._last: tuple[_Place, Entry] | None = None
        self._read: dict[Path, int] = {}
        self._listed = False

    def done(self, place: str) -> Entry | None:
        """Return the last line that says a result was made, or is being written; see `lines.Entry`."""
        found = self._done.get(place)
        return None if found is None else self._entry(found)

    def failed(self, place: str) -> Entry | None:
        """Return the line of a photo whose last attempt failed."""
        found = self._failed.get(place)
        return None if found is None else self._entry(found)

    def says(self, place: str, fingerprint: str) -> bool:
        """Return whether the last line about a result says that it was finished with this fingerprint."""
        found = self._done.get(place)
        return found is not None and found.finished and found.fingerprint == fingerprint

    def lines(self, place: str) -> bytes:
        """Return the lines about a result: the last that says it was made, and that of an attempt that failed since."""
        found = [each for each in (self._done.get(place), self._failed.get(place)) if each is not None]
        lines = b""
        for each in found:
            with each.path.open("rb") as stream:
                stream.seek(each.offset)
                lines += stream.read(each.length)
        return lines

    def results(self) -> list[str]:
        """Return all results."""
        return list(self._done)

    def forget(self, path: Path) -> None:
        """Read a journal from its beginning the next time: it is another file by now."""
        self._read.pop(path, None)

    def look_again(self) -> None:
        """List the journals anew the next time."""
        self._listed = False

    def refresh(self) -> None:
        """Read what was added since; a line without its end is left for the next time.

        Raises:
            UsageError: a journal is there and cannot be read.
        """
        common = self._common
        if not self._listed:
            self._listed = True
            self.others = [path for path in journals_in(self._folder) if path not in (self._own, common)]
            for path in self.others:
                self._read_on(path)
        self._read_on(common)
        if self._own != common:
            self._read_on(self._own)

    def _read_on(self, path: Path) -> None:
        begin = self._read.get(path, 0)
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):  # is no journal; see `Journal`
                raise OSError(errno.ELOOP, "it is a link to another file")
            if status.st_size <= begin:
                return
            with path.open("rb") as stream:
                stream.seek(begin)
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    if self._part is None or self._is_ours(line):
                        self._take(path, begin, line)
                    begin += len(line)
        except FileNotFoundError:
            return
        except OSError as error:
            what = "is a folder" if path.is_dir() else f"cannot be read: {error.strerror or error}"
            raise UsageError(f"The journal {path} {what}.", "Change its permissions, or move it away.") from error
        self._read[path] = begin

    def _is_ours(self, line: bytes) -> bool:
        """Return whether a line may be about our part; one of an earlier version does not tell it at once."""
        assert self._part is not None
        begin = len(_HEAD)
        return not line.startswith(_HEAD) or self._part.has(line[begin : begin + 8].decode("ascii", "replace"))

    def _take(self, path: Path, offset: int, line: bytes) -> None:
        if not line.strip():
            return
        try:
            record = parsed(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            self.damaged += 1
            return
        key, status = str(record["result"]), record["status"]
        place = _Place(
            path, offset, len(line), str(record.get("time") or ""), record["fingerprint"], status != "writing"
        )
        done, failed = self._done.get(key), self._failed.get(key)
        if status == "failed":
            if not any(before is not None and before.time > place.time for before in (done, failed)):
                self._failed[key] = place
            return
        # Lines of parts come into the common file late, and machines' clocks differ: the file's hash decides then.
        late = done is not None and done.time > place.time
        if done is not None and done.fingerprint != place.fingerprint and (late or done.path != path):
            self.contested.add(key)
        if not late:
            self._done[key] = place
        if status != "writing" and failed is not None and failed.time <= place.time:
            del self._failed[key]

    def _entry(self, place: _Place) -> Entry | None:
        """Return the line of a place; None where the file is another one by now."""
        if self._last is not None and self._last[0] is place:
            return self._last[1]
        try:
            with place.path.open("rb") as stream:
                stream.seek(place.offset)
                record = parsed(stream.read(place.length))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        sha256 = record.get("result_sha256")
        entry = Entry(record["status"], record["fingerprint"], record["source"], sha256, record)
        self._last = place, entry
        return entry
