"""Which photos a command line names: files, folders, globs and lists, and where below the output each one belongs."""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from restorer.batch.journal import Journal
from restorer.errors import UsageError
from restorer.photo import PICTURE_SUFFIXES, UNSUPPORTED_SUFFIXES, read_note
from restorer.photo.header import Header

UNSEEN = Header()
ANY_DEPTH = "**"
"""The part of a glob that stands for any number of folders."""


@dataclass(frozen=True)
class Job:
    """One photo to restore.

    Attributes:
        source: the photo's file.
        folder: where the result goes.
        place: the source's own place below the output folder, "deep/er/a.jpg": what a list is sorted and split by.
        target: the result's file; None until it has a name (`restorer.batch.naming`).
        format: what the result is written in, a key of `restorer.photo.FORMATS`; None until it has a name.
        header: the file at a glance; empty until the result has a name.
        journal: the folder whose journal remembers how the photo went; None for single photos.
        problem: why there is nothing to read, in words, where that is known already.
    """

    source: Path
    folder: Path
    place: str = ""
    target: Path | None = None
    format: str | None = None
    header: Header = UNSEEN
    journal: Path | None = None
    problem: str | None = None


@dataclass
class Found:
    """The photos of a run.

    Attributes:
        jobs: one for each, in the order of the arguments, and of their names inside folders.
        own: how many results of this tool were passed over.
        unsupported: how many pictures of kinds that are not read were passed over in folders, by suffix.
    """

    jobs: list[Job] = field(default_factory=list)
    own: int = 0
    unsupported: Counter[str] = field(default_factory=Counter)


def find_photos(arguments: Sequence[str], out: Path | None, *, listed: Sequence[Path] = ()) -> Found:
    """Return a job for each photo that the arguments and a list name.

    The tree of a folder is mirrored in the output folder, that of several folders below their names. A list's relative
    paths are mirrored as they stand, absolute ones below the folder that they have in common. Files named one by one
    go straight into the output folder. Inside folders, hidden files and folders, files without a picture's suffix,
    what lies in the output folder, and results of this tool are passed over.

    Args:
        arguments: files, folders and globs.
        out: the output folder, or the picture to write; None = beside each photo.
        listed: the entries of a list (`read_list`); what is missing among them is a failure of that photo alone.

    Raises:
        UsageError: an argument names nothing, or `out` names a file for several photos.
    """
    finder = _Finder(out)
    for argument in arguments:
        finder.add(argument)
    finder.add_list(listed)
    entries = list(finder.entries.values())
    folders = bool(finder.folders) or bool(listed)
    named = out is not None and out.suffix.lower() in PICTURE_SUFFIXES and not out.is_dir()
    if out is not None and named:
        if len(entries) == 1 and not folders:
            finder.found.jobs.append(Job(entries[0].source, out.parent, entries[0].source.name, target=out))
            return finder.found
        raise UsageError(
            f"-o {out} names one picture, but {len(entries)} photos were given.", "Name a folder: -o restored/"
        )
    prefixes = _distinct(finder.folders, plain=not finder.from_glob)
    for entry in entries:
        below = prefixes[entry.folder] / entry.below if entry.folder else entry.below
        journal = entry.folder if out is None else out if folders or len(entries) > 1 else None
        folder = entry.source.parent if out is None else out / below
        place = (below / entry.source.name).as_posix()
        finder.found.jobs.append(Job(entry.source, folder, place, journal=journal, problem=entry.problem))
    return finder.found


def read_list(data: bytes) -> list[Path]:
    """Return the paths of a list, one a line, or separated by NUL bytes (as `find -print0` does); names are literal."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        names = data.split(b"\0")
    else:
        names = data.split(b"\n")
        if all(name.endswith(b"\r") for name in names if name):  # written on Windows
            names = [name.removesuffix(b"\r") for name in names]
    return [Path(os.fsdecode(name)) for name in names if name]


def shard(jobs: Sequence[Job], which: str) -> list[Job]:
    """Return the part of a run that is one machine's: every N-th photo of the list sorted by place, from the I-th on.

    Each photo is in exactly one of the N parts as long as all machines see the same photos.

    Args:
        jobs: of the whole run.
        which: "I/N", I from 1 to N.

    Raises:
        UsageError: `which` is not such a text.
    """
    first, slash, count = which.partition("/")
    if not (slash and first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise UsageError(f"--shard {which} is not understood.", "Use I/N with I from 1 to N, for example --shard 1/4.")
    ordered = sorted(jobs, key=lambda job: (job.place, str(job.source)))
    return ordered[int(first) - 1 :: int(count)]


@dataclass(frozen=True)
class _Entry:
    source: Path
    folder: Path | None  # the argument that was walked
    below: Path  # the source's folder, seen from there
    problem: str | None = None


class _Finder:
    """Gathers entries, each file once, whatever path leads to it."""

    def __init__(self, out: Path | None) -> None:
        self.found = Found()
        self.entries: dict[Path, _Entry] = {}
        self.folders: list[Path] = []
        self.from_glob = False
        self._out = _real(out) if out else None
        self._own: set[Path] = set()
        self._parents: dict[Path, Path] = {}

    def add(self, argument: str) -> None:
        """Take one argument of the command line."""
        path = Path(argument)
        if _is_folder(path):
            self._add_folder(path)
        elif _exists(path):
            self._put(_Entry(path, None, Path()))
        else:
            self._add_glob(argument)

    def _add_glob(self, pattern: str) -> None:
        matches = _matches(pattern)
        if not matches:
            raise UsageError(
                f"{pattern}: there is no such file or folder.",
                "Check the name; quote names with spaces. `restore --help` lists the commands.",
            )
        parts = Path(pattern).parts
        base = parts.index(ANY_DEPTH) if ANY_DEPTH in parts else None
        folders = [match for match in matches if _is_folder(match)]
        files = [match for match in matches if match not in set(folders)]
        for folder in {_real(match.parent) for match in files}:
            self._own |= Journal(folder).results()
        for match in files:
            if len(files) == 1 or self._is_wanted(match, _real(match.parent)):
                below = Path(*match.parts[base:]).parent if base is not None else Path()
                self._put(_Entry(match, None, below))
        if base is None or not files:  # otherwise the pattern itself goes into them
            self.from_glob |= bool(folders)
            for match in folders:
                self._add_folder(match)

    def add_list(self, paths: Sequence[Path]) -> None:
        """Take a list's entries, mirrored."""
        inside = [not path.is_absolute() and ".." not in path.parts for path in paths]
        absolute = [path.absolute() for path, kept in zip(paths, inside, strict=True) if not kept]
        common = _common(absolute)
        for path, kept in zip(paths, inside, strict=True):
            place = path if kept else _beneath(path.absolute(), common)
            if _is_folder(path):
                for entry in self._walk(path):
                    self._put(_Entry(entry.source, None, place / entry.below, entry.problem))
            else:
                self._put(_Entry(path, None, place.parent))

    def _add_folder(self, folder: Path) -> None:
        self.folders.append(folder)
        for entry in self._walk(folder):
            self._put(entry)

    def _put(self, entry: _Entry) -> None:
        parent = entry.source.parent
        if parent not in self._parents:
            self._parents[parent] = _real(parent)
        self.entries.setdefault(self._parents[parent] / entry.source.name, entry)

    def _walk(self, folder: Path) -> Iterator[_Entry]:
        """Yield the pictures below a folder in the order of their names, and the folders that cannot be listed."""
        problems: list[OSError] = []
        for root, folders, files in os.walk(folder, onerror=problems.append):
            here = Path(root)
            real = _real(here)
            self._own |= Journal(real).results()
            for name in sorted(files):
                if self._is_wanted(here / name, real):
                    yield _Entry(here / name, folder, here.relative_to(folder))
            folders[:] = sorted(name for name in folders if not name.startswith(".") and real / name != self._out)
        for problem in problems:
            where = Path(problem.filename or folder)
            reason = f"The folder {where} cannot be listed: {problem.strerror or problem}."
            yield _Entry(where, folder, where.parent.relative_to(folder) if where != folder else Path(), reason)

    def _is_wanted(self, path: Path, real_folder: Path) -> bool:
        """Return whether a file that was not named itself is a photo, by its name, and no result of this tool."""
        suffix = path.suffix.lower()
        if path.name.startswith(".") or _is_special(path):
            return False
        if suffix in UNSUPPORTED_SUFFIXES:
            self.found.unsupported[suffix] += 1
        if suffix not in PICTURE_SUFFIXES:
            return False
        own = real_folder / path.name in self._own or read_note(path) is not None
        self.found.own += own
        return not own


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _is_special(path: Path) -> bool:
    """Return whether this is a pipe, a socket or a device; what cannot be looked at is left to the reading."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _exists(path: Path) -> bool:
    """Return whether there is something of that name; a link that leads nowhere counts, reading it says so."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG
    return True


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _matches(pattern: str) -> list[Path]:
    """Return what a glob names, in order; nothing when it is no glob."""
    if not glob.has_magic(pattern):
        return []
    # pathlib cannot take a pattern that begins with a root or a drive.
    return [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207


def _common(paths: Sequence[Path]) -> Path | None:
    """Return the folder that all of these absolute paths lie in; None where they have none (Windows drives)."""
    try:
        return Path(os.path.commonpath([path.parent for path in paths])) if paths else None
    except ValueError:
        return None


def _beneath(path: Path, folder: Path | None) -> Path:
    """Return an absolute path as seen from a folder above it, or from its root, without any step upwards."""
    seen = path.relative_to(folder) if folder is not None else path.relative_to(path.anchor)
    return Path(*(part for part in seen.parts if part != ".."))


def _distinct(folders: Sequence[Path], *, plain: bool) -> dict[Path, Path]:
    """Return what each folder's tree is put below: nothing for one alone, else its name, longer where names agree."""
    if plain and len(set(folders)) == 1:
        return {folders[0]: Path()}
    parts = {folder: _real(folder).parts[1:] for folder in dict.fromkeys(folders)}
    prefixes = {}
    for folder, own in parts.items():
        others = [other for each, other in parts.items() if each != folder and other != own]
        length = 1
        while length < len(own) and any(other[-length:] == own[-length:] for other in others):
            length += 1
        prefixes[folder] = Path(*own[-length:])
    return prefixes
