"""From a table to a verified file: what is here already, then every source in order; nothing that does not match."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from restorer.errors import HashMismatchError, RestorerError, WeightsUnavailableError
from restorer.storage import digest as digests
from restorer.storage.folders import cache_folder, hub_endpoint, is_offline
from restorer.weights import archive, hub, ledger, mirror, native_file, objects
from restorer.weights.progress import OnProgress, Progress, announcement, megabytes
from restorer.weights.reach import SourceError, unreachable
from restorer.weights.sources import FileSource, HubSource, PackageSource, RemoteSource, Source, StoreSource, UrlSource
from restorer.weights.table import Table
from restorer.weights.terms import acknowledged

_log = logging.getLogger(__name__)
Peeked = tuple[native_file.FileHeader | None, dict[str, tuple[int, ...]]]
"""What a file says about itself, if anything, and the shapes of its tensors."""


@dataclass(frozen=True)
class Failure:
    """Why a source did not give the file; `actual` is the sha256 of what it gave instead."""

    source: str
    reason: str
    actual: str | None = None


@dataclass(frozen=True)
class Absence:
    """Why a table's weights cannot be had: neither here, nor from anybody who answers.

    Attributes:
        kind: "offline" as somebody asked for, "network" where no host answers, "source" where nobody has the file, or
            "terms" where its licence is not accepted yet.
        reason: in words, with hosts.
    """

    kind: Literal["offline", "network", "source", "terms"]
    reason: str


def located(table: Table) -> list[tuple[Source, Path]]:
    """Return the files that are on this machine for a table, in the order of its sources; not verified."""
    found = []
    for source in table.parsed_sources():
        if isinstance(source, HubSource):
            path = hub.find(source)
        elif isinstance(source, UrlSource | StoreSource):
            path = mirror.place(table, source)
        else:
            path = source.path
        if path is not None and _is_there(path):
            found.append((source, path))
    return found


def _is_there(path: Path) -> bool:
    """Tell whether there is a file; one in a folder that is closed to us is none, with a warning."""
    try:
        return path.is_file()
    except OSError as error:
        _log.warning("%s cannot be looked at: %s", path, error)
        return False


def peek(table: Table) -> Peeked | None:
    """Return what the header of a table's file says, where it is here: about itself, and the shapes of its tensors.

    Nothing is verified and no tensor is read; `fetch` and the loader see to both before a network is made of it. None
    where there is no such file, or one whose shapes only a full reading would tell.
    """
    for _source, path in located(table):
        try:
            status = path.stat()
            return _header(path, status.st_mtime_ns, status.st_size)
        except OSError as error:
            _log.info("%s cannot be read: %s", path, error)
    return None


@lru_cache(maxsize=64)
def _header(path: Path, changed: int, size: int) -> Peeked | None:
    """Read a header once as long as its file stays what it is."""
    found = native_file.header(path)
    if found is None:
        return None
    shapes = {
        key: tuple(entry["shape"])
        for key, entry in found[1].items()
        if isinstance(entry, dict) and isinstance(entry.get("shape"), list)
    }
    return native_file.read(path), shapes


def actual_hash(table: Table, path: Path, *, fresh: bool = False) -> str:
    """Return the sha256 that the table's is compared with: of the file, or of the tensors in a file of our own."""
    start = native_file.payload_start(path) if table.payload_sha256 else 0
    return digests.digest(path, start, fresh=fresh)


def matches(table: Table, actual: str) -> bool:
    """Tell whether a sha256 is the one that a table asks for; never for a table that asks for none."""
    return bool(table.wanted_hash) and actual.startswith(table.wanted_hash)


def cached(table: Table) -> Path | None:
    """Return the verified file of a table that is on this machine; None when there is none. Asks no network.

    A file is hashed when it is first seen, and again when it changed (`restorer.storage.digest`).
    """
    for _source, path in located(table):
        try:
            if matches(table, actual_hash(table, path)):
                return path
        except OSError as error:
            _log.warning("%s cannot be read: %s", path, error)
    return None


def fingerprint(table: Table, path: Path) -> str:
    """Return what identifies the weights in a record: the sha256 of a verified file, as it was verified."""
    return actual_hash(table, path)


def fetch(table: Table, *, offline: bool = False, on_progress: OnProgress | None = None) -> Path:
    """Return the verified file of a table, downloaded if need be. Processes that want the same file share one download.

    Args:
        table: from `tables` or `resolve`.
        offline: never reach for the network; `HF_HUB_OFFLINE=1` says the same.
        on_progress: hears each step, the size before the first byte; without it the size is logged as a warning.

    Raises:
        HashMismatchError: a source gave another file than the table asks for, and no other source the right one. A
            download is deleted; a `file:` source stays.
        WeightsUnavailableError: it is not here, and cannot be had.
        NotEnoughDiskError: the download would not fit on the disk.
    """
    if path := cached(table):
        return path
    failures = _local_failures(table)
    remote = [source for source in table.parsed_sources() if isinstance(source, RemoteSource)]
    if not remote:
        raise _error(table, failures)
    if is_offline(offline):
        barred = [Failure(source.text, "not asked") for source in remote]
        raise _error(table, [*failures, *barred], barred=_asked_for(offline))
    if not acknowledged(table):
        raise WeightsUnavailableError(
            table.name,
            f"{table.name} is not downloaded before you accept this: {table.acknowledge}",
            f"Type `restore models pull {table.name} --accept-license` if you do.",
        )
    silent = _silent(remote)
    if len(silent) == len({_address(source) for source in remote}):
        raise _error(table, [*failures, *(Failure(_host(source), silent[_address(source)]) for source in remote)])
    tell = on_progress or _log_start
    with _lock(table, remote[0], tell):
        if path := cached(table):  # another process was quicker
            return path
        for source in remote:
            if reason := silent.get(_address(source)):
                failures.append(Failure(_host(source), reason))
                continue
            try:
                return _download(table, source, tell)
            except SourceError as error:
                _log.info("%s: %s", source.text, error.reason, exc_info=error)
                failures.append(Failure(source.text, error.reason, error.actual))
    raise _error(table, failures)


def missing(wanted: Iterable[Table], *, offline: bool = False) -> dict[str, Absence]:
    """Return by name why tables cannot be had: neither on this machine nor from any host that answers.

    The hosts of all tables are asked at the same time, so that "no" comes within seconds; nothing is downloaded.

    Args:
        wanted: tables.
        offline: as for `fetch`.
    """
    away = [table for table in wanted if cached(table) is None]
    remote = {
        table.name: [source for source in table.parsed_sources() if isinstance(source, RemoteSource)] for table in away
    }
    if is_offline(offline):
        return dict.fromkeys(remote, Absence("offline", f"{_asked_for(offline)} forbids fetching it"))
    silent = _silent([source for sources in remote.values() for source in sources])
    reasons = {}
    for table in away:
        sources = remote[table.name]
        if not sources:
            reasons[table.name] = Absence("source", "no source that could be verified")
        elif not acknowledged(table):
            reasons[table.name] = Absence("terms", "its licence is not accepted yet")
        elif all(_address(source) in silent for source in sources):
            told = dict.fromkeys(f"{_host(source)}: {silent[_address(source)]}" for source in sources)
            reasons[table.name] = Absence("network", "; ".join(told))
    return reasons


def _asked_for(offline: bool) -> str:
    """Return what says that no network is to be asked."""
    return "--offline" if offline else "HF_HUB_OFFLINE"


def _local_failures(table: Table) -> list[Failure]:
    """Return why no file on this machine will do, where the table or an earlier run promised one."""
    here = dict(located(table))
    failures = []
    for source in table.parsed_sources():
        path = here.get(source)
        if path is not None and path.is_file():
            try:
                actual = actual_hash(table, path)
            except OSError as error:
                failures.append(Failure(str(path), f"it cannot be read: {error.strerror}"))
            else:
                failures.append(Failure(str(path), "another file, left where it is", actual))
        elif isinstance(source, FileSource | PackageSource):
            failures.append(Failure(str(source.path), "there is no such file"))
    return failures


def _silent(sources: Iterable[RemoteSource]) -> dict[str, str]:
    """Return the addresses whose host does not answer, and why; stores are asked when something is fetched."""
    return unreachable({_address(source) for source in sources if not isinstance(source, StoreSource)})


def _address(source: RemoteSource) -> str:
    return hub_endpoint() if isinstance(source, HubSource) else source.text


def _host(source: RemoteSource) -> str:
    return hub.host() if isinstance(source, HubSource) else source.host


def _give_up(path: Path, actual: str) -> None:
    """Delete a file in the Hub's cache that is not the right one; raises `SourceError` where that is forbidden."""
    digests.forget(path)
    try:
        hub.discard(path)
    except OSError as error:
        reason = f"it gave another file, which cannot be deleted: {error}; nothing of it is used"
        raise SourceError(reason, actual=actual) from error


def _download(table: Table, source: RemoteSource, tell: OnProgress, *, again: bool = False) -> Path:
    """Return the verified file from one source; what does not match is deleted before `SourceError` says so."""
    if isinstance(source, UrlSource | StoreSource):
        return _from_mirror(table, source, tell)
    came: list[Progress] = []

    def hear(step: Progress) -> None:
        came.extend([step] if step.stage == "receive" and not came else [])
        tell(step)

    path = hub.download(table, source, hear, replace=hub.find(source) is not None)
    tell(Progress(table.name, hub.host(), "verify", path.stat().st_size, path.stat().st_size))
    actual = actual_hash(table, path)
    if not matches(table, actual):
        _give_up(path, actual)
        if not again and not came:  # the Hub's client took what lay in its cache, damaged, for the file
            return _download(table, source, tell, again=True)
        raise SourceError("it gave another file, which was deleted", actual=actual)
    ledger.mark(path)
    tell(Progress(table.name, hub.host(), "done", path.stat().st_size, path.stat().st_size))
    return path


def _from_mirror(table: Table, source: UrlSource | StoreSource, tell: OnProgress) -> Path:
    """Download beside the target, verify, then rename: a file under its final name was verified at least once."""
    target = mirror.place(table, source)
    resumed = mirror.part_of(target).exists()
    if isinstance(source, StoreSource):
        part, resumed = objects.download(table, source, target, tell), False
    else:
        bring = archive.download if source.member else mirror.download
        part = bring(table, source, target, tell)
    size = part.stat().st_size
    tell(Progress(table.name, source.host, "verify", size, size))
    actual = digests.sha256_of(part)
    if not matches(table, actual):
        mirror.discard(part)
        if resumed:  # the earlier part may have been of another version; once more from the beginning
            return _from_mirror(table, source, tell)
        raise SourceError("it gave another file, which was deleted", actual=actual)
    try:
        part.replace(target)
    except OSError as error:  # another user's file, or folder, lies there
        raise mirror.unwritable(table, target, error, 0) from error
    mirror.discard(part)
    digests.remember(target, actual)
    tell(Progress(table.name, source.host, "done", size, size))
    return target


def _log_start(step: Progress) -> None:
    """Say size and time of a download that nobody watches."""
    if step.stage == "start":
        _log.warning("%s", announcement(step))


@contextlib.contextmanager
def _lock(table: Table, source: RemoteSource, tell: OnProgress) -> Iterator[None]:
    """Hold the lock of a table's download; the system releases it when a process dies."""
    from filelock import FileLock, Timeout

    path = cache_folder() / "locks" / f"{table.wanted_hash[:16]}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0.1)
        except Timeout:
            tell(Progress(table.name, _host(source), "wait"))
            lock.acquire()
    except OSError as error:
        raise WeightsUnavailableError(
            table.name,
            f"{table.name} cannot be downloaded: {path} cannot be written: {error}.",
            "Let RESTORER_CACHE name a folder that can be written.",
        ) from error
    try:
        yield
    finally:
        lock.release()


# ------------------------------------------------------------------------------------------------------- failing


def _error(table: Table, failures: list[Failure], *, barred: str | None = None) -> RestorerError:
    """Return the one error for all sources that failed: what happened at each, and what to type next.

    Args:
        table: whose file it is.
        failures: of each source.
        barred: what forbade to ask the network; None where it was asked.
    """
    attempts = [(failure.source, failure.reason) for failure in failures]
    wrong = next((failure for failure in failures if failure.actual), None)
    size = f" ({megabytes(table.size)})" if table.size else ""
    pull = f"`restore models pull {table.name}`"
    if wrong is not None:
        others = "".join(f" {failure.source}: {failure.reason}." for failure in failures if failure is not wrong)
        return HashMismatchError(
            table.name,
            f"{wrong.source} is not {table.name}: {wrong.reason}. "
            f"Its sha256 is {wrong.actual}, expected is {table.wanted_hash}. Nothing of it was loaded.{others}",
            f"Type {pull} to download it again. If that fails too, the source has changed: name another one in a "
            "weights.toml of your own.",
            expected=table.wanted_hash,
            actual=wrong.actual or "",
        )
    if not table.sources:
        return WeightsUnavailableError(
            table.name,
            f"{table.name} comes from no source that could be verified, so you must bring the file yourself.",
            f"Get the file from its authors, then type `restore models import FILE --name {table.name}`.",
        )
    if barred is not None:
        return WeightsUnavailableError(
            table.name,
            f"{table.name}{size} is not on this machine, and {barred} forbids fetching it.",
            f"Type {pull} when there is a network. Without any weights: --model none --background lanczos.",
            attempts=attempts,
        )
    reasons = "; ".join(dict.fromkeys(f"{source}: {reason}" for source, reason in attempts))
    return WeightsUnavailableError(
        table.name,
        f"The weights of {table.name}{size} are not on this machine, and no source could give them: {reasons}.",
        f"Type {pull} when there is a network; HF_ENDPOINT names a mirror of the Hub, HTTPS_PROXY a proxy. "
        "Without any weights: --model none --background lanczos.",
        attempts=attempts,
    )
