"""Upscalers by the name of a table, or by any checkpoint's file, which need not be imported first."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from restorer import weights
from restorer.errors import UnknownTableError
from restorer.models import REGISTRY
from restorer.storage.digest import sha256_of
from restorer.weights import Table
from restorer.weights.checkpoint import open_checkpoint


def upscaler_named(name: str) -> Table:
    """Return the table of a name, an alias or a file: one of our own, or an upscaler's checkpoint as published.

    What a checkpoint is, its tensors tell; a file is looked at once a process, and again when it has changed.

    Raises:
        UnknownTableError: there is no such table or file.
        UnsafeCheckpointError: the file holds more than tensors and plain values; nothing of it was run.
        CheckpointLayoutError: it is no checkpoint, or of no architecture that is known.
    """
    try:
        return weights.resolve(name)
    except UnknownTableError:
        path = Path(name).expanduser()
        if not path.is_file():
            raise
    found = path.stat()
    return _of_checkpoint(path.resolve(), (found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=16)
def _of_checkpoint(path: Path, _state: tuple[int, ...]) -> Table:
    architecture, _, arguments = REGISTRY.recognise(open_checkpoint(path, path.name).state, {}, path)
    return Table(
        name=path.stem,
        architecture=architecture.name,
        arguments=arguments,
        sources=(f"file:{path}",),
        sha256=sha256_of(path),
        size=path.stat().st_size,
        origin=path,
    )
