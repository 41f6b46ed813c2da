"""Folders and what lies below them, each folder once: links are followed without loops, what systems keep is left."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Folders that systems and programs keep for themselves: thumbnails, bins, snapshots, previews. Without capitals.
_SYSTEM = frozenset(
    {"@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "@sharebin", "$recycle.bin"}
    | {"recycler", "system volume information", "__macosx", "lost+found"}
)
_SYSTEM_SUFFIXES = (".lrdata", ".lrcat-data")


class FolderPath(type(Path())):  # type: ignore[misc]  # before Python 3.12 `Path` itself has no class to derive from
    """A path that was written with a slash at its end: a folder, whatever its name looks like."""


def is_kept_back(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, or one that a system or program keeps for itself."""
    folded = name.casefold()
    return name.startswith(".") or folded in _SYSTEM or folded.endswith(_SYSTEM_SUFFIXES)


def real(path: Path) -> Path:
    """Return a path without links; as it stands where no system could have such a name."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:
        return path.absolute()


@dataclass(frozen=True)
class Folder:
    """A folder on a walk.

    Attributes:
        path: as it is reached.
        real: without links.
        top: where the walk began.
        files: the names of what is no folder, in order.
    """

    path: Path
    real: Path
    top: Path
    files: list[str]


@dataclass
class Walk:
    """A walk below several folders.

    Attributes:
        without: a folder that is passed over with all below it, without links; None = none.
        problems: why folders could not be listed, each with where the walk began.
        loops: links to folders that hold the one where the walk began; they are not followed.
    """

    without: Path | None = None
    problems: list[tuple[Path, OSError]] = field(default_factory=list)
    loops: list[Path] = field(default_factory=list)
    _seen: set[Path] = field(default_factory=set)
    _links: deque[tuple[Path, Path]] = field(default_factory=deque)

    def below(self, top: Path) -> Iterator[Folder]:
        """Yield a folder and all below it, by name; links among them wait for `linked`."""
        return self._walk(top, top, again=True)

    def linked(self) -> Iterator[Folder]:
        """Yield the folders that links lead to, and all below them, unless the walk has been there."""
        while self._links:
            link, top = self._links.popleft()
            target = real(link)
            if target in self._seen or self._is_left_out(target):
                continue
            if real(top).is_relative_to(target):
                self.loops.append(link)
                continue
            yield from self._walk(link, top, again=False)

    def _walk(self, start: Path, top: Path, *, again: bool) -> Iterator[Folder]:
        for name, folders, files in os.walk(start, onerror=lambda error: self.problems.append((top, error))):
            here = Path(name)
            place = real(here)
            if place in self._seen and not again:
                folders.clear()
                continue
            self._seen.add(place)
            folders[:] = sorted(each for each in folders if not is_kept_back(each))
            links = [each for each in folders if real(here / each) != place / each]
            self._links.extend((here / each, top) for each in links)
            folders[:] = [each for each in folders if each not in links and not self._is_left_out(place / each)]
            yield Folder(here, place, top, sorted(files))

    def _is_left_out(self, place: Path) -> bool:
        return self.without is not None and place.is_relative_to(self.without)
