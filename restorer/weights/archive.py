"""One file out of a zip on a server: only the archive's list and that file's bytes are asked for."""

from __future__ import annotations

import http
import http.client
import io
import re
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from restorer.version import __version__
from restorer.weights.mirror import Tell, check_disk, opener, part_of, unwritable
from restorer.weights.progress import Progress
from restorer.weights.reach import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from restorer.weights.sources import UrlSource
    from restorer.weights.table import Table

T = TypeVar("T")
_TIMEOUT, _TRIES, _PAUSE = 30.0, 4, 0.5
_CHUNK = 1 << 20


def download(table: Table, source: UrlSource, target: Path, tell: Tell) -> Path:
    """Bring the member that a source names to `part_of(target)` and return that; it is not verified yet.

    Args:
        table: whose file it is.
        source: an address with the member behind a "#".
        target: where the file will lie.
        tell: hears the size before the download, then every step.

    Raises:
        SourceError: the server gives no parts of files, the archive has no such member, or it is damaged.
        NotEnoughDiskError: before the download.
    """
    part = part_of(target)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with _Remote(source) as remote, zipfile.ZipFile(io.BufferedReader(remote, _CHUNK)) as archive:
            try:
                member = archive.getinfo(source.member)
            except KeyError as error:
                raise SourceError(f"the archive holds no {source.member}") from error
            check_disk(table, part.parent, member.file_size)
            tell(Progress(table.name, source.host, "start", 0, member.file_size))
            received = 0
            with archive.open(member) as stream, part.open("wb") as file:
                while chunk := stream.read(_CHUNK):
                    received += file.write(chunk)
                    tell(Progress(table.name, source.host, "receive", received, member.file_size))
    except OSError as error:  # of the disk alone: what the network raises is a `SourceError` by then
        here = part.stat().st_size if part.is_file() else 0
        raise unwritable(table, part, error, max((table.size or 0) - here, 0)) from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise SourceError(f"the archive cannot be read: {error}") from error
    return part


class _Remote(io.RawIOBase):
    """A file on a server, read where it is asked for: one request as long as reading goes straight on.

    A connection that breaks is opened again where it broke.

    Args:
        source: its address.
    """

    def __init__(self, source: UrlSource) -> None:
        super().__init__()
        self._source = source
        self._response: http.client.HTTPResponse | None = None
        self._at = self._read_to = 0
        self._mark: str | None = None
        self._size = self._again(lambda: self._open(0))
        self._read_to = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._at >= self._size:
            return 0
        data = self._again(lambda: self._some(len(buffer)))
        buffer[: len(data)] = data
        self._at += len(data)
        self._read_to = self._at
        return len(data)

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
        super().close()

    def _some(self, count: int) -> bytes:
        """Return a few bytes of where reading stands; at least one."""
        if self._response is None or self._read_to != self._at:
            self._open(self._at)
        assert self._response is not None
        data = self._response.read(count)
        if not data:
            raise OSError(f"the connection ended after {self._at:,} bytes")
        return data

    def _again(self, action: Callable[[], T]) -> T:
        """Return what an action returns; it is tried anew where the connection breaks."""
        for failures in range(_TRIES):
            try:
                return action()
            except (OSError, http.client.HTTPException) as error:
                if self._response is not None:
                    self._response.close()
                    self._response = None
                if failures == _TRIES - 1:
                    raise SourceError(f"no connection: {getattr(error, 'reason', error)}") from error
                time.sleep(_PAUSE * 2**failures)
        raise AssertionError("unreachable")

    def _open(self, begin: int) -> int:
        """Ask for all from a byte on; return how large the file is.

        Raises:
            SourceError: the server gives no parts of files, or another version of the file than before.
            OSError: it gives nothing now.
        """
        if self._response is not None:
            self._response.close()
            self._response = None
        headers = {"User-Agent": f"restorer/{__version__}", "Accept-Encoding": "identity", "Range": f"bytes={begin}-"}
        try:
            answer: http.client.HTTPResponse = opener().open(
                urllib.request.Request(self._source.text, headers=headers), timeout=_TIMEOUT
            )
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (408, 429, 500, 502, 503, 504):
                    raise OSError(f"the server answers {error.code} {error.reason}") from error
                raise SourceError(f"the server answers {error.code} {error.reason}") from error
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT or found is None or int(found[1]) != begin:
            answer.close()
            raise SourceError("the server gives whole files only, and one file of an archive was wanted")
        mark = f"{answer.headers.get('ETag')} {found[2]}"
        if self._mark not in (None, mark):
            answer.close()
            raise SourceError("the archive was replaced while it was read")
        self._response, self._mark, self._read_to = answer, mark, begin
        return int(found[2])
