"""Can the folders be written to, and is there disk left?"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from restorer.cli.diagnosis.base import Check, Examination

LITTLE_SPACE = 2_000_000_000
"""Bytes of free disk below which a folder gets a note."""


class Folders(Examination):
    """Writes into each folder that this tool keeps things in."""

    group = "Folders"

    def look(self) -> Iterator[Check]:
        """Yield the cache, the Hub's cache and the settings folder."""
        from restorer.storage.folders import cache_folder, config_folder, hub_cache

        yield self.folder("cache", cache_folder(), "RESTORER_CACHE")
        yield self.folder("hub cache", hub_cache(), "HF_HOME")
        yield self.folder("settings", config_folder(), "RESTORER_CONFIG", needed=False)

    def folder(self, name: str, folder: Path, variable: str, *, needed: bool = True) -> Check:
        """Write into a folder, or into the nearest one above it that is there, and look at the free disk."""
        there = folder
        while not there.exists() and there != there.parent:
            there = there.parent
        facts: dict[str, Any] = {"path": str(folder), "exists": folder.exists()}
        remedy = f"Let {variable} name a folder that can be written, or change its permissions."
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
            free = shutil.disk_usage(there).free
        except OSError as error:
            detail = f"{folder} cannot be written: {error.strerror or error}"
            return self.found(name, "broken" if needed else "note", detail, remedy, facts)
        facts["free"] = free
        detail = f"{folder}, {free / 1e9:.1f} GB free" + ("" if folder.exists() else " (made when it is needed)")
        if needed and free < LITTLE_SPACE:
            return self.found(
                name,
                "note",
                f"{detail}: little",
                f"Free some space, or let {variable} name another disk.",
                facts,
            )
        return self.found(name, "ok", detail, facts=facts)
