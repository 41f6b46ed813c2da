"""Downloads from plain web servers: resumed after a cut, also by a later run; no HEAD request, no length needed."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from restorer.errors import NotEnoughDiskError, WeightsUnavailableError
from restorer.storage.atomic import write_atomic
from restorer.storage.folders import cache_folder
from restorer.version import __version__
from restorer.weights.progress import Progress, megabytes
from restorer.weights.reach import Slowness, SourceError, proxies
from restorer.weights.sources import StoreSource, UrlSource
from restorer.weights.table import Table

_TIMEOUT = 10.0  # seconds without a byte
_TRIES = 5  # in a row that bring nothing new
_PAUSE = 0.2  # seconds before the first repetition; doubled each time
LOOK = 1 << 26  # bytes after which the disk is looked at again, where nobody says how many there are
_CHUNK = 1 << 16
_KEPT = "; what came is kept, and the next try goes on from there"
_RESERVE = 16 << 20  # bytes that stay free on the disk

Tell = Callable[[Progress], None]


class _CutError(Exception):
    """The connection ended before the file did; what came is kept."""


def place(table: Table, source: UrlSource | StoreSource) -> Path:
    """Return where the file of a table lies once it is downloaded from a mirror and verified."""
    return cache_folder() / "weights" / f"{_slug(table.name)}-{table.wanted_hash[:8]}" / _slug(source.file)


def _slug(name: str) -> str:
    """Return a name that is safe as a file's; no separators, no leading dots."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def part_of(target: Path) -> Path:
    """Return the unfinished download beside its target."""
    return target.with_name(target.name + ".part")


def download(table: Table, source: UrlSource, target: Path, tell: Tell) -> Path:
    """Bring the whole file to `part_of(target)` and return that; it is neither verified nor renamed yet.

    Raises:
        SourceError: the server does not give the file, or another size than the table says.
        NotEnoughDiskError: before the download, when it does not fit; or when the disk fills up meanwhile.
    """
    part = part_of(target)
    failures, slow = 0, Slowness(_KEPT)
    while True:
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(table, part, error, 0) from error
        before = _have(part, source)
        try:
            _transfer(table, source, part, tell, slow)
            return part
        except _CutError as error:
            slow.check()
            failures = 0 if _have(part, source) > before else failures + 1
            if failures >= _TRIES:
                raise SourceError(f"{error}{_KEPT}") from error
            time.sleep(_PAUSE * 2**failures)


def discard(part: Path) -> None:
    """Delete an unfinished download of ours and the note beside it."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty: the verified file lies there
        part.parent.rmdir()


def _note(part: Path) -> Path:
    """Return the file that says where an unfinished download comes from."""
    return part.with_name(part.name + ".json")


def _validator(part: Path, source: UrlSource) -> str | None:
    """Return the server's mark of the version that the part belongs to: "" for none; None when it is from elsewhere."""
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(note, dict) or note.get("url") != source.text:
        return None
    return str(note.get("validator") or "")


def _have(part: Path, source: UrlSource) -> int:
    """Return how many bytes of this source's file are here."""
    return part.stat().st_size if part.exists() and _validator(part, source) is not None else 0


def _transfer(table: Table, source: UrlSource, part: Path, tell: Tell, slow: Slowness) -> None:
    """Ask once for what is missing and write what comes; raises `_CutError` when that was not all."""
    have = _have(part, source)
    headers = {"User-Agent": f"restorer/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := _validator(part, source):
            headers["If-Range"] = validator
    response = _open(source, headers, part)
    if response is None:
        return
    with response:
        begin, total = _extent(response, have)
        if total is not None and table.size is not None and total != table.size:
            raise SourceError(f"it offers {total:,} bytes, and the table says {table.size:,}: another file")
        expected = total if total is not None else table.size
        check_disk(table, part.parent, None if expected is None else expected - begin)
        tell(Progress(table.name, source.host, "start", begin, expected))
        try:
            write_atomic(_note(part), json.dumps({"url": source.text, "validator": _mark(response)}))
            with part.open("r+b" if begin else "wb") as file:
                file.seek(begin)
                file.truncate()
                received = _receive(table, source, response, file, begin, expected, tell, slow)
        except OSError as error:  # of the disk alone: what the network raises is another error by then
            here = part.stat().st_size if part.is_file() else 0
            raise unwritable(table, part, error, max((expected or 0) - here, 0)) from error
    if expected is not None and received < expected:
        raise _CutError(f"the connection ended after {received:,} of {expected:,} bytes")


def opener() -> urllib.request.OpenerDirector:
    """Return what opens addresses, by the proxies that are named now."""
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies()))


def _open(source: UrlSource, headers: dict[str, str], part: Path) -> http.client.HTTPResponse | None:
    """Return the answer to a request; None when the part is complete already."""
    request = urllib.request.Request(source.text, headers=headers)
    try:
        response: http.client.HTTPResponse = opener().open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and "Range" in headers:
                if error.headers.get("Content-Range") == f"bytes */{part.stat().st_size}":
                    return None
                discard(part)  # longer than the file: it is of another version
                raise _CutError("the server has another version of the file") from error
            if error.code in (408, 429, 500, 502, 503, 504):
                raise _CutError(f"the server answers {error.code} {error.reason}") from error
            raise SourceError(f"the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _CutError(f"no connection: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(f"no connection: {error}") from error
    return response


def _extent(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Return where the answer's first byte belongs, and the size of the whole file where the server says it."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            raise SourceError("it answers with another part of the file than the one asked for")
        return have, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _mark(response: http.client.HTTPResponse) -> str | None:
    """Return what tells this version of the file from another: a strong ETag, or the date of its last change."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _receive(
    table: Table,
    source: UrlSource,
    response: http.client.HTTPResponse,
    file: BinaryIO,
    received: int,
    expected: int | None,
    tell: Tell,
    slow: Slowness,
) -> int:
    """Write what comes and flush it to the disk; return how many bytes of the file are here then.

    Raises:
        OSError: it cannot be written.
    """

    def keep() -> None:
        file.flush()
        os.fsync(file.fileno())

    while True:
        if expected is not None and received > expected:
            raise SourceError(f"it sends more than the {expected:,} bytes that were expected: another file")
        if expected is None and received % LOOK < _CHUNK:
            check_disk(table, Path(file.name).parent, 0)
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            keep()
            reason = str(error) or type(error).__name__
            raise _CutError(f"the connection broke after {received:,} bytes ({reason})") from error
        if not chunk:
            keep()
            return received
        file.write(chunk)
        received += len(chunk)
        slow.check(len(chunk))
        tell(Progress(table.name, source.host, "receive", received, expected))


def check_disk(table: Table, folder: Path, needed: int | None) -> None:
    """Raise `NotEnoughDiskError` when a download does not fit, with a little left over; unknown sizes pass."""
    if needed is None:
        return
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if free < needed + _RESERVE:
        raise NotEnoughDiskError(
            table.name,
            f"The disk of {folder} has {megabytes(free)} free; the weights of {table.name} need {megabytes(needed)}.",
            "Free some space, or let RESTORER_CACHE and HF_HOME name folders on another disk.",
            needed=needed,
            free=free,
        )


def unwritable(table: Table, part: Path, error: OSError, missing: int) -> Exception:
    """Return the error for a disk that filled up, or a cache that cannot be written, in the middle of a download."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(part.parent).free
        return NotEnoughDiskError(
            table.name,
            f"The disk filled up while {table.name} was downloaded; {megabytes(missing)} are missing.",
            "Free some space and run the same command again; it goes on where it stopped.",
            needed=missing,
            free=free,
        )
    return WeightsUnavailableError(
        table.name,
        f"{part} cannot be written: {error}.",
        "Let RESTORER_CACHE name a folder that can be written.",
        attempts=[(str(part), str(error))],
    )
