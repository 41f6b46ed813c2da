"""A photo of a run as a row of a table, and back: its path, its size, the result's place, and what else is known."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.batch.discovery import Job
from restorer.batch.plan import Line
from restorer.photo.header import Header

if TYPE_CHECKING:
    import pyarrow as pa

_RARE = ("named", "problem", "page", "part", "number", "parts", "remark")
"""Fields of a job that few photos have; they travel as one."""


def table(
    block: int, photos: Sequence[tuple[int, Job | Line]], lines: Callable[[Job | Line], bytes] = lambda _photo: b""
) -> pa.Table:
    """Return a block of photos, each with its number in the run, as a table.

    Paths are bytes: a name need not be text. They are as the user named them, so that records are the same everywhere.
    `lines` tells what the journal says of a photo, for workers that cannot read it themselves.
    """
    import pyarrow as pa

    each = [photo for _, photo in photos]
    headers = [photo.header for photo in each]
    sizes = [header.size or (None, None) for header in headers]
    columns: dict[str, list[Any]] = {
        "block": [block] * len(each),
        "number": [number for number, _ in photos],
        "path": [os.fsencode(photo.source) for photo in each],
        "bytes": [header.bytes for header in headers],
        "width": [width for width, _ in sizes],
        "height": [height for _, height in sizes],
        "kind": [header.format for header in headers],
        "place": [os.fsencode(photo.place) for photo in each],
        "result": [None if photo.target is None else os.fsencode(photo.target) for photo in each],
        "format": [photo.format for photo in each],
        "journal": [None if photo.journal is None else os.fsencode(photo.journal) for photo in each],
        "more": [_rare(photo) for photo in each],
        "lines": [lines(photo) or None for photo in each],
    }
    return pa.table(columns, schema=_schema())


def jobs(rows: pa.Table) -> Iterator[tuple[int, Job, bytes | None]]:
    """Yield the photos of a block, each with its number in the run and what journals say of it."""
    for row in rows.to_pylist():
        size = None if row["width"] is None else (row["width"], row["height"])
        source, target = _path(row["path"]), _path(row["result"])
        more = pickle.loads(row["more"]) if row["more"] else {}  # noqa: S301 - our own driver wrote it
        yield (
            row["number"],
            Job(
                source,
                source.parent if target is None else target.parent,
                os.fsdecode(row["place"]),
                target,
                format=row["format"],
                header=Header(row["kind"], size, row["bytes"]),
                journal=None if row["journal"] is None else _path(row["journal"]),
                **more,
            ),
            row["lines"],
        )


def _path(text: bytes) -> Any:
    return None if text is None else Path(os.fsdecode(text))


def _rare(photo: Job | Line) -> bytes | None:
    if isinstance(photo, Line):
        told = {} if photo.trouble is None else {"problem": photo.problem}
    else:
        told = {name: getattr(photo, name) for name in _RARE if getattr(photo, name) != getattr(Job, name)}
    return pickle.dumps(told) if told else None


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {
        "block": pa.int64(),
        "number": pa.int64(),
        "path": pa.binary(),
        "bytes": pa.int64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "kind": pa.string(),
        "place": pa.binary(),
        "result": pa.binary(),
        "format": pa.string(),
        "journal": pa.binary(),
        "more": pa.binary(),
        "lines": pa.binary(),
    }
    return pa.schema(list(kinds.items()))
