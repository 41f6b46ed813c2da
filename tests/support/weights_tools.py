"""What the tests of downloads share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from restorer.storage.folders import cache_folder, hub_cache
from restorer.weights import Table
from tests.support.hub import Hub

SMALL = bytes(range(256)) * 400
"""Content of a small file."""


@contextmanager
def hub_of_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Start a stand-in that this process and those it starts take for the Hub."""
    with Hub() as stand_in:
        for name, value in stand_in.environment().items():
            monkeypatch.setenv(name, value)
        yield stand_in


def table(*sources: str, data: bytes = SMALL, **fields: object) -> Table:
    """Return a table for a content."""
    values: dict[str, object] = {"sha256": hashlib.sha256(data).hexdigest(), "sources": sources, **fields}
    return Table("thing", "gfpgan", **values)  # type: ignore[arg-type]


def leftovers() -> list[Path]:
    """Return the files in our cache and the Hub's that are large enough to be downloads."""
    folders = (cache_folder(), hub_cache())
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 5000]
