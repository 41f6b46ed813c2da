"""Files of the Hub, through huggingface_hub: its cache, its environment variables, its client."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from restorer.storage.folders import hub_cache, hub_endpoint
from restorer.weights.mirror import LOOK, Tell, check_disk
from restorer.weights.progress import Progress
from restorer.weights.reach import Slowness, SourceError
from restorer.weights.sources import HubSource
from restorer.weights.table import Table

_log = logging.getLogger(__name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SPARE = 1 << 10  # bytes by which a coded answer may be longer than what it codes


def find(source: HubSource) -> Path | None:
    """Return the file in the Hub's cache, whoever put it there; None when it is not there. Asks no network.

    A cache that another user has closed, or whose notes are damaged, has none for us; a warning says so.
    """
    try:
        if not hub_cache().is_dir():
            return None
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(source.repo, source.file, cache_dir=hub_cache(), revision=source.revision)
    except (OSError, UnicodeDecodeError) as error:
        _log.warning("The Hub's cache cannot be read: %s", error)
        return None
    return Path(found) if isinstance(found, str) else None


def host() -> str:
    """Return the Hub's host, as people read it."""
    return urlsplit(hub_endpoint()).hostname or hub_endpoint()


def download(table: Table, source: HubSource, tell: Tell, *, replace: bool) -> Path:
    """Bring a file into the Hub's cache and return where it is; not yet verified. The client resumes a cut connection.

    Args:
        table: whose file it is.
        source: where it is.
        tell: hears the size before the download, then every step.
        replace: whether a file that lies in the cache, and is not the right one, is to be replaced.

    Raises:
        SourceError: it cannot be had, comes by a byte now and then, or the Hub announces another sha256 than the
            table's.
        NotEnoughDiskError: before the download.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    endpoint, cache = hub_endpoint(), hub_cache()
    try:
        metadata = get_hf_file_metadata(
            hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=endpoint), endpoint=endpoint
        )
        _refuse_announced(table, metadata.etag)
        size = metadata.size if metadata.size is not None else table.size
        check_disk(table, cache, size)
        tell(Progress(table.name, host(), "start", 0, size))
        with _watched(table, size):
            path = hf_hub_download(
                source.repo,
                source.file,
                revision=source.revision,
                cache_dir=cache,
                endpoint=endpoint,
                force_download=replace,
                tqdm_class=_bar(table, size, tell),
            )
    except Exception as error:
        if not _is_of_the_network(error):
            raise
        raise SourceError(_reason(error)) from error
    return Path(path)


def _is_of_the_network(error: Exception) -> bool:
    """Tell whether an error is one that the Hub's client raises over the network, a proxy, or its cache.

    Its HTTP client's package is httpx or httpx2, by huggingface_hub's version, and no dependency of ours. Xet, the
    Hub's chunked storage, raises RuntimeError, and a proxy that asks for a package which is not there ImportError.
    """
    own = any(base.__module__.startswith("httpx") for base in type(error).__mro__)
    return own or isinstance(error, OSError | ValueError | RuntimeError | ImportError)


@contextlib.contextmanager
def _watched(table: Table, size: int | None) -> Iterator[None]:
    """Let answers that the client reads in this thread meanwhile fail where they bring next to nothing, or too much.

    The client waits ten seconds for a byte, and for the next one, hands on what came by ten megabytes, so that its bar
    does not tell, and takes whatever comes. Where it takes the Hub's chunked storage (hf-xet), that judges its own
    lines.

    Args:
        table: whose file it is.
        size: that was announced; None = nobody says.
    """
    from huggingface_hub import get_session

    thread, hooks = threading.get_ident(), get_session().event_hooks["response"]

    def watch(response: Any) -> None:
        if threading.get_ident() == thread:
            most = size if response.status_code in (200, 206) else None
            response.iter_raw = partial(_counted, table, most, response.iter_raw)

    hooks.append(watch)
    try:
        yield
    finally:
        hooks.remove(watch)


def _counted(
    table: Table, most: int | None, raw: Callable[..., Iterator[bytes]], *args: Any, **options: Any
) -> Iterator[bytes]:
    """Yield what comes from the network as it comes.

    Raises:
        SourceError: that is next to nothing, or more than there is.
        NotEnoughDiskError: it is too much for the disk.
    """
    slow, count = Slowness(), 0
    for piece in raw(*args, **options):
        count += len(piece)
        slow.check(len(piece))
        if most is not None and count > most + _SPARE:
            raise SourceError(f"it sends more than the {most:,} bytes that it announced: another file")
        if count % LOOK < len(piece):
            check_disk(table, hub_cache(), 0)
        yield piece


def _refuse_announced(table: Table, etag: str | None) -> None:
    """Refuse before the download what the Hub announces as another file: its mark of a large file is the sha256."""
    if etag and _SHA256.fullmatch(etag) and table.wanted_hash and not etag.startswith(table.wanted_hash):
        raise SourceError("the Hub announces another file", actual=etag)


def _reason(error: Exception) -> str:
    """Return in words for the user why the Hub did not give a file."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "the repository asks to accept its terms on its page first; then HF_TOKEN must hold your token"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository, or it is private (HF_TOKEN would hold your token)"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return "the repository has no such file"
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        return f"it answers {error.response.status_code}"
    if isinstance(error, ImportError):
        return "the proxy that the environment names needs a package that is not installed (socksio, for SOCKS)"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
        return f"the Hub's cache cannot be written: {error}"
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return first.strip()


def _bar(table: Table, total: int | None, tell: Tell) -> type[Any]:
    """Return a class that stands in for tqdm's and passes every step on; the client makes one or more bars of it."""
    where = host()

    class Bar:
        """Counts bytes; everything else that a bar can do is left out."""

        def __init__(self, *_args: object, initial: int = 0, **_options: object) -> None:
            self.n: float = initial
            self.total = total

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_details: object) -> None:
            self.close()

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            tell(Progress(table.name, where, "receive", int(self.n), total))

        def update_transfer(self, n: float) -> None:
            """Take the bytes on the wire, which the Hub's chunked storage counts apart from those of the file."""

        def set_transfer_postfix_str(self, *_args: object, **_options: object) -> None:
            pass

        def set_postfix_str(self, *_args: object, **_options: object) -> None:
            pass

        def set_description(self, *_args: object, **_options: object) -> None:
            pass

        def refresh(self, *_args: object, **_options: object) -> None:
            pass

        def close(self) -> None:
            pass

    return Bar


def discard(pointer: Path) -> None:
    """Delete a download of ours from the Hub's cache: its entry, its content, and what is empty then.

    A snapshot's file is a link to the content under `blobs`, which other revisions may point to as well; then it stays.
    """
    snapshots = next(folder for folder in pointer.parents if folder.name == "snapshots")
    repository = snapshots.parent
    blob = pointer.parent / pointer.readlink() if pointer.is_symlink() else None
    pointer.unlink(missing_ok=True)
    if blob is not None:
        others = (entry for entry in snapshots.rglob("*") if entry.is_symlink())
        if not any(entry.readlink().name == blob.name for entry in others):
            shared = blob.resolve() if blob.is_symlink() else None
            blob.unlink(missing_ok=True)
            if shared is not None:
                _sweep(shared)
    commit = pointer.relative_to(snapshots).parts[0]
    _remove_empty(*(place for place in pointer.parents if snapshots in place.parents), snapshots, repository / "blobs")
    if not (snapshots / commit).exists():
        for ref in (repository / "refs").rglob("*"):
            if ref.is_file() and ref.read_text(encoding="utf-8") == commit:
                ref.unlink()
    _remove_empty(repository / "refs", repository)


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty: something else lies there
            folder.rmdir()


def _sweep(shared: Path) -> None:
    """Let huggingface_hub delete content that lies in its shared store, unless another repository refers to it."""
    from huggingface_hub.utils._shared_blobs import sweep_shared_blob

    sweep_shared_blob(shared, cache_dir=hub_cache())
