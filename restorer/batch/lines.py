"""The lines of journals: which files hold them, what stands in one, and what is left out of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restorer.photo import Note

NAME = ".restorer-journal.jsonl"
"""The journal that all runs over a folder share."""
BEGIN, END = ".restorer-journal", ".jsonl"
"""What the names of all journals begin and end with."""

TOLD = ("tool", "version", "model", "fingerprint", "options", "components", "input", "settings")
"""Fields of a note that stand in the line of a result which cannot hold one."""


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        status: "ok", "skipped" (found to be done), "failed" or "writing".
        fingerprint: None when the photo could not even be read.
        source: the photo's path as seen from the folder that was restored; absolute in journals of earlier versions.
        result_sha256: of the result's bytes, where there is one.
        record: the whole line.
    """

    status: str
    fingerprint: str | None
    source: str
    result_sha256: str | None
    record: dict[str, Any] = field(repr=False)

    @property
    def note(self) -> Note | None:
        """What the result's own note would say; None in journals of earlier versions, which do not tell."""
        made = self.record.get("made")
        if self.fingerprint is None or not isinstance(made, dict):
            return None
        return Note(**{name: made[name] for name in TOLD if name in made})


def journals_in(folder: Path) -> list[Path]:
    """Return the journals of a folder, by name; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if is_journal(entry.name)]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def is_journal(name: str) -> bool:
    """Return whether a file of this name is a journal."""
    return name.startswith(BEGIN) and name.endswith(END)


def parsed(line: bytes) -> dict[str, Any]:
    """Return a line's fields; raises `ValueError`, `KeyError` or `TypeError` for what is no line of a journal."""
    record: dict[str, Any] = json.loads(line)
    for name in ("result", "status", "source"):
        record[name] = str(record[name])
    if "fingerprint" not in record:  # null in a line of a photo that could not be read
        raise KeyError("fingerprint")
    if record["status"] == "failed":
        record["error"] = {name: record["error"][name] for name in ("kind", "message", "remedy")}
    return record


def without_folders(record: Mapping[str, Any], source: Path, place: str, target: Path, result: str) -> dict[str, Any]:
    """Return a record without the folders of this machine, where they were named from the root."""
    told = dict(record)
    if source.is_absolute():
        told["input"] = place
        if told.get("error"):
            error = {name: text and text.replace(str(source), place) for name, text in told["error"].items()}
            told["error"] = error
    if target.is_absolute() and told.get("output"):
        told["output"] = result
    return told
