"""Object stores: where photos and results may lie as well, opened by fsspec, or by pyarrow where it knows more.

A store's place is written as a URL, `s3://bucket/folder/a.jpg`. As a `Path` it is `s3:/bucket/folder/a.jpg`, which no
disk has, so that folders, suffixes and places are those of paths; `url` gives what was written.
"""

from __future__ import annotations

import random
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from restorer.errors import MissingPackageError, UsageError
from restorer.formatting import install_line

T = TypeVar("T")
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/+(?P<rest>[^/].*)?", re.DOTALL)
TRIES = 6
"""How often a store is asked that throttles, or answers that it cannot just now."""
WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "memory"})
"""Kinds of stores, as fsspec names them, that put an object as a whole or not at all."""
PAUSE = 0.5
"""Seconds before the second time; each pause is about twice as long as the one before."""


def is_store(place: Path | str) -> bool:
    """Return whether a place is in a store; `file://` is a store too, of this machine's disk."""
    return _URL.fullmatch(str(place)) is not None


def url(place: Path | str) -> str:
    """Return the URL that a path stands for, or that was given."""
    found = _URL.fullmatch(str(place))
    assert found is not None, f"{place} is in no store"
    slashes = ":///" if found["scheme"] in ("file", "local") else "://"  # a disk's paths begin at its root
    return f"{found['scheme']}{slashes}{found['rest'] or ''}"


def opened(place: Path | str) -> tuple[Any, str]:
    """Return the file system of a place, as fsspec has them, and the place's path there.

    Raises:
        MissingPackageError: what opens such stores is not installed.
        UsageError: there is no such kind of store, or it cannot be reached with what is known of it.
    """
    import fsspec

    where = url(place)
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(where, use_listings_cache=False)
    except ImportError as error:
        return _by_arrow(where, error)
    except ValueError as error:
        raise UsageError(
            f"{where}: {error}.", "Stores are written s3://, gs://, hdfs:// or as fsspec knows them."
        ) from error
    return found


def _by_arrow(where: str, error: ImportError) -> tuple[Any, str]:
    """Return what pyarrow opens, which has S3, Google's store and Hadoop built in."""
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow import fs

    scheme = where.partition(":")[0]
    package = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}.get(scheme, scheme)
    try:
        system, path = fs.FileSystem.from_uri(where)
    except (ValueError, OSError, NotImplementedError):
        message = f"{where} needs a package that is not installed: {error}."
        raise MissingPackageError(package, message, f"Type: {install_line(package)}, on every machine.") from error
    return ArrowFSWrapper(system), path


def read_bytes(place: Path | str) -> bytes:
    """Return a file's bytes, from a disk or a store.

    Raises:
        OSError: it is not there, may not be read, or the store does not answer after `TRIES` times.
    """
    if not is_store(place):
        return Path(place).read_bytes()
    system, path = opened(place)
    data: bytes = patiently(lambda: system.cat_file(path))
    return data


def patiently(ask: Callable[[], T], tries: int = TRIES, pause: float = PAUSE) -> T:
    """Return what a store answers; where it throttles or fails for the moment, it is asked again, later each time.

    Raises:
        OSError: it said something else, or the same each time.
    """
    for left in range(tries - 1, -1, -1):
        try:
            return ask()
        except (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError):
            raise
        except Exception as error:  # clients of stores have classes of their own
            if left == 0:
                if isinstance(error, OSError):
                    raise
                raise OSError(str(error)) from error
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause *= 2
    raise AssertionError("a store is asked at least once")


def write_bytes(place: Path | str, data: bytes, *, replace: bool) -> None:
    """Write a whole file into a store: nobody ever sees half of it.

    Where a store puts objects as a whole, this is one; elsewhere it is written beside its place, then moved there.

    Args:
        place: of the file.
        data: all of it.
        replace: whether a file that is there is replaced; one that holds the same bytes counts as written.

    Raises:
        FileExistsError: another file is there, and is not to be replaced.
        OSError: it cannot be written.
    """
    system, path = opened(place)
    protocols = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
    whole = bool(protocols & WHOLE)
    try:
        if whole:
            mode = "overwrite" if replace else "create"
            patiently(lambda: _create(system, path, data, mode))
        else:
            _write_beside(system, path, data, replace=replace)
    except FileExistsError:
        if patiently(lambda: system.cat_file(path)) != data:  # our own, whose answer was lost, or another worker's
            raise


def _create(system: Any, path: str, data: bytes, mode: str) -> None:
    """Put an object; by `mode` "create" only where none is."""
    try:
        system.pipe_file(path, data, mode=mode)
    except OSError as error:
        if mode == "create" and "PreconditionFailed" in f"{error!r}{error.__cause__!r}":
            raise FileExistsError(path) from error
        raise


def _write_beside(system: Any, path: str, data: bytes, *, replace: bool) -> None:
    parent = path.rpartition("/")[0]
    beside = f"{parent}/.restorer-{uuid.uuid4().hex}.part"
    patiently(lambda: system.makedirs(parent, exist_ok=True))
    if not replace and patiently(lambda: system.exists(path)):
        raise FileExistsError(path)
    try:
        patiently(lambda: system.pipe_file(beside, data))
        patiently(lambda: system.mv(beside, path))
    except BaseException:
        with suppress(FileNotFoundError):
            system.rm_file(beside)
        raise
