"""sha256 of files, remembered so that hundreds of megabytes are not hashed again on every run.

A record holds a file's path, device, inode, size, and its times of modification and of change to the nanosecond. While
all of them are what they were, the file is taken for unchanged. That is safe against what happens by accident: a
download that was cut, another tool that writes into the cache, a restored backup, a disk copy all change at least one
of them (a program that sets the modification time back cannot set back the time of change). It does not protect
against someone who can already write to the user's own folders, nor against bits that flip on the disk by themselves;
`restore models verify` reads every byte again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path

from restorer.storage.atomic import write_atomic
from restorer.storage.folders import cache_folder

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20
_SETTLE = 0.02
"""Seconds. File systems stamp times with the kernel's tick (1 to 10 ms); a file that changes twice within one tick
bears one time, so hashing waits until its last change is that old."""


def sha256_of(path: Path, start: int = 0) -> str:
    """Return the sha256 of a file's bytes from `start` on, 64 small hexadecimal digits."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def digest(path: Path, start: int = 0, *, fresh: bool = False) -> str:
    """Return the sha256 of a file's bytes from `start` on: the remembered one while the file is unchanged.

    Args:
        path: the file.
        start: where to begin, bytes.
        fresh: read every byte, whatever is remembered.

    Raises:
        OSError: the file cannot be read.
    """
    record = _record_file(path, start)
    state = _state(path)
    if not fresh:
        known = _read(record)
        if known is not None and known.get("state") == state and isinstance(known.get("sha256"), str):
            return str(known["sha256"])
    age = time.time() - path.stat().st_ctime
    if 0 <= age < _SETTLE:
        time.sleep(_SETTLE - age)
    result = sha256_of(path, start)
    if _state(path) == state:
        _write(record, {"state": state, "sha256": result})
    return result


def remember(path: Path, sha256: str) -> None:
    """Keep the sha256 of a whole file that was hashed before it got its name."""
    _write(_record_file(path, 0), {"state": _state(path), "sha256": sha256})


def forget(path: Path) -> None:
    """Drop what is remembered of a file that is about to go; what must stay tells of no other file than that one."""
    for record in _record_file(path, 0).parent.glob(f"{key_of(path)}-*.json"):
        try:
            record.unlink(missing_ok=True)
        except OSError as error:
            _log.info("The verification record %s cannot be deleted: %s", record, error)


def _state(path: Path) -> list[str | int]:
    """Return everything that would change if the file did; a link counts as what it points to."""
    status = path.stat()
    return [
        str(path.absolute()),
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    ]


def key_of(path: Path) -> str:
    """Return a short name for a path, the same on every run."""
    return hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _record_file(path: Path, start: int) -> Path:
    return cache_folder() / "verified" / f"{key_of(path)}-{start}.json"


def _read(record: Path) -> dict[str, object] | None:
    """Return a record; None where there is none or it is damaged, which only costs another reading of the file."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.info("The verification record %s cannot be read: %s", record, error)
        return None
    return content if isinstance(content, dict) else None


def _write(record: Path, content: dict[str, object]) -> None:
    """Keep a record; where the cache cannot be written, the next run hashes again."""
    try:
        write_atomic(record, json.dumps(content), durable=False)
    except OSError as error:
        _log.info("The verification record %s cannot be written: %s", record, error)
