"""Turning an upstream checkpoint into a file of our own: recognised, translated, without what is never used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restorer.errors import OutputExistsError, UsageError
from restorer.models import REGISTRY, registry
from restorer.models.base import Architecture
from restorer.storage.digest import sha256_of
from restorer.version import __version__
from restorer.weights import FileHeader, about, tables, write
from restorer.weights.checkpoint import open_checkpoint
from restorer.weights.fetching import matches


@dataclass(frozen=True)
class ImportResult:
    """What an import did.

    Attributes:
        path: the file that was written.
        architecture: its architecture's name.
        arguments: all its arguments.
        origin_sha256: of the checkpoint it was made from.
        known_as: the table whose file the checkpoint is; None when its hash is in no table.
        dropped: branches and entries of the checkpoint that were left out, with how many values each holds.
        values: how many values the file holds.
        source_bytes: size of the checkpoint.
        written_bytes: size of the file.
    """

    path: Path
    architecture: str
    arguments: Mapping[str, Any]
    origin_sha256: str
    known_as: str | None
    dropped: Mapping[str, int]
    values: int
    source_bytes: int
    written_bytes: int


def import_checkpoint(
    path: Path,
    out: Path | None = None,
    *,
    architecture: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    agree: Callable[[str, str | None], None] | None = None,
) -> ImportResult:
    """Write a checkpoint as a safetensors file that loads by itself: only what its network uses, under its names.

    Args:
        path: safetensors, .pth, .pt or .ckpt of any architecture that is known.
        out: the file to write; beside the checkpoint by default.
        architecture: what the checkpoint is; found from keys and shapes by default.
        arguments: what the shapes do not tell.
        overwrite: whether a file that exists may be replaced.
        agree: told what it is, an architecture and the table whose file it is, before anything is written; what it
            raises ends the import.

    Raises:
        UsageError: there is no such checkpoint, or it is a file of our own, or there is no such architecture.
        OutputExistsError: there is such a file already.
        UnsafeCheckpointError: the checkpoint holds more than tensors and plain values; nothing of it was run.
        CheckpointLayoutError: it is no checkpoint, or of no architecture that is known.
        UnwritableOutputError: the file cannot be written.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "Check its name.")
    if about(path) is not None:
        raise UsageError(f"{path} was written by this tool already.", f"Use it as it is, for example --model {path}.")
    out = out or path.with_suffix(".safetensors")
    if out.exists() and out.samefile(path):
        raise OutputExistsError(out, f"{out} is the checkpoint itself.", "Choose another file with -o.")
    if out.exists() and not overwrite:
        raise OutputExistsError(out, f"{out} exists already.", "Choose another file with -o, or add --overwrite.")
    given = dict(arguments or {})
    checkpoint = open_checkpoint(path, path.name)
    if architecture:
        kind = _named(architecture)
        registry.check_arguments(path.name, kind, given)
        _, state, found = registry.fit(kind, checkpoint.state, given, path.name, path)
    else:
        kind, state, found = REGISTRY.recognise(checkpoint.state, given, path)
    origin = sha256_of(path)
    known = next((table for table in tables().values() if matches(table, origin)), None)
    if agree is not None:
        agree(kind.name, known.name if known else None)
    write(
        state,
        out,
        FileHeader(
            kind.name,
            found,
            license=known.license if known else None,
            commercial=known.commercial if known else None,
            trained_for=known.trained_for if known else None,
            origin=path.name,
            origin_sha256=origin,
            tool=f"restorer {__version__}",
        ),
    )
    return ImportResult(
        out,
        kind.name,
        found,
        origin,
        known.name if known else None,
        {**checkpoint.left, **registry.unused(kind, checkpoint.state, found)},
        sum(value.numel() for value in state.values()),
        path.stat().st_size,
        out.stat().st_size,
    )


def _named(name: str) -> Architecture:
    """Return the architecture of a name."""
    known = REGISTRY
    if name not in known:
        raise UsageError(f"There is no architecture {name!r}.", f"Use one of: {', '.join(sorted(known))}.")
    return known[name]
