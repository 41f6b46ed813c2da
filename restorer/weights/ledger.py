"""Which files are this tool's own downloads: only those may be deleted."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from restorer.storage import digest
from restorer.storage.atomic import write_atomic
from restorer.storage.folders import cache_folder
from restorer.weights import hub, mirror
from restorer.weights.sources import HubSource, Source, StoreSource, UrlSource

_log = logging.getLogger(__name__)


def _note(path: Path) -> Path:
    return cache_folder() / "downloaded" / f"{digest.key_of(path)}.txt"


def mark(path: Path) -> None:
    """Keep in mind that a file in the Hub's cache, which other tools use too, is a download of this tool.

    Where that cannot be written down the file is as good, and stays when downloads are removed.
    """
    try:
        write_atomic(_note(path), str(path))
    except OSError as error:
        _log.warning("That %s is a download of this tool cannot be written down: %s", path, error)


def is_ours(source: Source, path: Path) -> bool:
    """Tell whether a file on this machine, found for a source, is a download of this tool."""
    if isinstance(source, UrlSource | StoreSource):
        return True
    return isinstance(source, HubSource) and _note(path).is_file()


def remove(source: Source, path: Path) -> None:
    """Delete a download of this tool, and what is remembered of it; raises ValueError for any other file."""
    if not is_ours(source, path):
        raise ValueError(f"{path} is no download of this tool")
    digest.forget(path)
    if isinstance(source, HubSource):
        _note(path).unlink(missing_ok=True)
        hub.discard(path)
        return
    mirror.discard(mirror.part_of(path))
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty: another mirror's file lies there
        path.parent.rmdir()
