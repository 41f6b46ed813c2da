"""A power cut, played: what a disk may hold afterwards of the steps that a run has done until then.

A disk keeps what it was told to keep (fsync of a file: its bytes; of a folder: the names in it), and of everything else
as much as it happened to have written: names and bytes are written at their own times. Of all that may be, these are
tried: nothing beyond what was asked for; all names, but no bytes beyond what was asked for; everything; and mixtures.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

Step = tuple[str, Any]


@dataclass
class _File:
    """A file's bytes: as programs see them, and as they are on the disk for sure."""

    content: bytearray = field(default_factory=bytearray)
    kept: bytes = b""


@dataclass
class _Disk:
    """Names of files and folders (None), as programs see them, and as they are on the disk for sure."""

    names: dict[str, _File | None] = field(default_factory=dict)
    kept: dict[str, _File | None] = field(default_factory=dict)

    def take(self, step: Step) -> None:
        """Do a step."""
        kind, what = step
        if kind == "create":
            self.names[what] = _File()
        elif kind == "mkdir":
            self.names[what] = self.kept[what] = None  # a folder that is lost takes all in it along, and hides the rest
        elif kind == "write":
            self._file(what[0]).content += what[1]
        elif kind == "truncate":
            del self._file(what[0]).content[what[1] :]
        elif kind == "fsync":
            self._sync(what)
        elif kind in ("unlink", "rmdir"):
            self.names.pop(what, None)
        elif kind == "link":
            self.names[what[1]] = self.names[what[0]]
        elif kind == "rename":
            self.names[what[1]] = self.names.pop(what[0])

    def _file(self, name: str) -> _File:
        found = self.names.get(name)
        assert found is not None
        return found

    def _sync(self, name: str) -> None:
        found = self.names.get(name)
        if found is not None:
            found.kept = bytes(found.content)
            return
        own = {path: file for path, file in self.names.items() if _folder(path) == name}
        self.kept = {path: file for path, file in self.kept.items() if _folder(path) != name} | own


def _folder(path: str) -> str:
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent


def states(steps: Sequence[Step], last: int, rng: random.Random) -> Iterator[tuple[str, dict[str, bytes | None]]]:
    """Yield (name, what is on the disk) of the states in which a cut behind step number `last` may leave it.

    What is on the disk is the content of files by their path; None for a folder.
    """
    disk = _Disk()
    for step in steps[:last]:
        disk.take(step)
    yield "nothing but what was asked for", _reachable({p: None if f is None else f.kept for p, f in disk.kept.items()})
    yield "all names, only bytes asked for", _reachable({p: f if f is None else f.kept for p, f in disk.names.items()})
    yield "everything", _reachable({p: f if f is None else bytes(f.content) for p, f in disk.names.items()})
    mixed: dict[str, bytes | None] = {}
    for path in sorted({*disk.names, *disk.kept}):
        both = [names[path] for names in (disk.names, disk.kept) if path in names]
        surely = path in disk.names and path in disk.kept and disk.names[path] is disk.kept[path]
        if not surely and rng.random() < 0.5:
            continue
        file = rng.choice(both)
        if file is None:
            mixed[path] = None
        else:
            size = rng.randint(len(file.kept), max(len(file.content), len(file.kept)))
            mixed[path] = bytes(file.content[:size]) if len(file.content) >= len(file.kept) else file.kept
    yield "a mixture", _reachable(mixed)


def _reachable(found: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """Leave out what lies in folders that are not there."""
    kept: dict[str, bytes | None] = {}
    for path in sorted(found, key=lambda name: name.count("/")):
        folder = _folder(path)
        if folder == "" or (folder in kept and kept[folder] is None):
            kept[path] = found[path]
    return kept


def lay_out(state: dict[str, bytes | None], root: Path) -> None:
    """Make a state's files and folders below a folder."""
    for path, content in state.items():
        if content is None:
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
