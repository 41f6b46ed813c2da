"""Gathers the files that are photos: arguments, globs, lists and what lies in folders, each file once."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from restorer.batch.journal import Journal
from restorer.batch.lines import NAME, is_journal
from restorer.batch.patterns import ANY_DEPTH, matches
from restorer.batch.slips import meant
from restorer.batch.walking import Folder, Walk, is_kept_back, real
from restorer.errors import UnreadablePhotoError, UsageError
from restorer.photo import PICTURE_SUFFIXES, UNSUPPORTED_SUFFIXES
from restorer.photo.formats import sniff
from restorer.photo.header import Header, look
from restorer.photo.strangers import is_other_picture

UNSEEN = Header()
NO_SUFFIX = "(no suffix)"


@dataclass
class PassedOver:
    """What is no photo of a run although it might seem so.

    Attributes:
        own: how many results of this tool were passed over.
        unsupported: how many pictures of kinds that are not read were passed over in folders, by suffix.
        misnamed: how many pictures that are read were passed over, since their suffix is that of something else.
        unfollowed: links that lead nowhere, or to a folder that holds the one where the walk began.
        warnings: what else the user should know.
    """

    own: int = 0
    unsupported: Counter[str] = field(default_factory=Counter)
    misnamed: Counter[str] = field(default_factory=Counter)
    unfollowed: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """A photo's file.

    Attributes:
        source: its path.
        folder: the argument that was walked; None for a file that was named itself.
        below: the source's folder, seen from there.
        problem: why there is nothing to read.
        header: the file at a glance, where it was opened.
    """

    source: Path
    folder: Path | None
    below: Path
    problem: UnreadablePhotoError | None = None
    header: Header = UNSEEN


class Finder:
    """Gathers entries, each file once, whatever path leads to it.

    Args:
        out: the output folder, which is passed over; None = none.
        only: the files inside of folders that are looked at; None = all.

    Attributes:
        passed: what is left out.
        entries: what was found, by its real path.
        folders: the folders that were named.
        from_glob: whether a glob named some of them.
    """

    def __init__(self, out: Path | None, only: Collection[Path] | None = None) -> None:
        self.passed = PassedOver()
        self._only = only
        self.entries: dict[str, Entry] = {}
        self.folders: list[Path] = []
        self.from_glob = False
        self._walk = Walk(real(out) if out else None, loops=self.passed.unfollowed)
        self._places: dict[Path, Path] = {}  # what a list says of the folders in it
        self._own: set[Path] = set()
        self._parents: dict[str, str] = {}

    def add(self, argument: str) -> None:
        """Take one argument of the command line."""
        path = Path(argument)
        if is_folder(path):
            self._add_folder(path)
        elif _exists(path):
            self._put(Entry(path, None, Path()))
        else:
            self._add_glob(argument)

    def _add_glob(self, pattern: str) -> None:
        found = matches(pattern)
        if not found:
            near = meant(Path(pattern))
            raise UsageError(
                f"{pattern}: there is no such file or folder.",
                f"Did you mean {near}?"
                if near is not None
                else "Check the name; quote names with spaces. `restore --help` lists the commands.",
            )
        parts = Path(pattern).parts
        base = parts.index(ANY_DEPTH) if ANY_DEPTH in parts else None
        folders = [match for match in found if is_folder(match)]
        files = [match for match in found if match not in set(folders)]
        for folder in {real(match.parent) for match in files}:
            self._read_journal(folder)
        for match in files:
            if len(files) == 1 or self._wanted(match, real(match.parent)) is not None:
                below = Path(*match.parts[base:]).parent if base is not None else Path()
                self._put(Entry(match, None, below))
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
            if not is_folder(path):
                self._put(Entry(path, None, place.parent))
            elif _holds_all(path):
                problem = f"The list names {path}, which holds the working folder; all of that is hardly meant."
                remedy = "Take it out of the list, or name it outside of a list."
                self._put(Entry(path, None, Path(), UnreadablePhotoError(path, problem, remedy)))
            else:
                self._places[path] = place
                self._take(self._walk.below(path))

    def take(self, entries: Sequence[Entry]) -> None:
        """Take photos that were found elsewhere."""
        self.folders += dict.fromkeys(entry.folder for entry in entries if entry.folder is not None)
        for entry in entries:
            self._put(entry)

    def add_links(self) -> None:
        """Take what links to folders lead to, once all arguments are known: what is there without one comes first."""
        self._take(self._walk.linked())
        for entry in self._unlisted():
            self._put(entry)

    def stream(self, folders: Sequence[Path]) -> Iterator[Entry]:
        """Yield what lies in some folders and below them, without keeping it; each folder is walked once."""
        seen: set[Path] = set()
        for top in folders:
            for folder in self._walk.below(top):
                if folder.real not in seen:
                    seen.add(folder.real)
                    yield from self._pictures(folder)
        for folder in self._walk.linked():
            yield from self._pictures(folder)
        yield from self._unlisted()

    def _unlisted(self) -> Iterator[Entry]:
        """Yield the folders that could not be listed, each with the reason."""
        for top, problem in self._walk.problems:
            where = Path(problem.filename or top)
            reason = f"The folder {where} cannot be listed: {problem.strerror or problem}."
            error = UnreadablePhotoError(where, reason, "Change its permissions.")
            root, below = self._seen_from(top, where.parent if where != top else top)
            yield Entry(where, root, below, error)

    def _add_folder(self, folder: Path) -> None:
        self.folders.append(folder)
        self._take(self._walk.below(folder))

    def _take(self, folders: Iterable[Folder]) -> None:
        """Take the pictures in some folders."""
        for folder in folders:
            for entry in self._pictures(folder):
                self._put(entry)

    def _pictures(self, folder: Folder) -> Iterator[Entry]:
        """Yield the pictures in a folder."""
        if any(map(is_journal, folder.files)) or os.path.lexists(folder.path / NAME):
            self._read_journal(folder.real)
        root, below = self._seen_from(folder.top, folder.path)
        for name in folder.files:
            path = folder.path / name
            if self._only is not None and path not in self._only:
                continue
            header = self._wanted(path, folder.real)
            if header is not None:
                yield Entry(path, root, below, None, header)

    def _seen_from(self, top: Path, folder: Path) -> tuple[Path | None, Path]:
        """Return the argument that a folder lies in, and its place below that; of a list, its place in that."""
        below = folder.relative_to(top)
        return (None, self._places[top] / below) if top in self._places else (top, below)

    def _put(self, entry: Entry) -> None:
        parent, name = os.path.split(entry.source)
        if parent not in self._parents:
            self._parents[parent] = str(real(entry.source.parent))
        self.entries.setdefault(f"{self._parents[parent]}/{name}", entry)

    def _read_journal(self, folder: Path) -> None:
        """Learn which files in a folder are results; a journal among photos is a help, and no condition."""
        try:
            self._own |= Journal(folder).results()
        except UsageError as error:
            self.passed.warnings.append(f"{error.message} Results beside it are known by their own notes only.")

    def _wanted(self, path: Path, real_folder: Path) -> Header | None:
        """Return a file that was not named itself at a glance; None for what is no photo, or a result of this tool."""
        if is_kept_back(path.name):
            return None
        suffix = path.suffix.lower()
        try:
            status = os.stat(path)  # noqa: PTH116 - quicker for a hundred thousand
        except OSError:  # what cannot be looked at is left to the reading
            if suffix in PICTURE_SUFFIXES:
                return UNSEEN
            if path.is_symlink():
                self.passed.unfollowed.append(path)
            return None
        # A pipe, a socket, a device are none.
        if not stat.S_ISREG(status.st_mode) or not (suffix in PICTURE_SUFFIXES or self._is_picture(path, suffix)):
            return None
        header, note = look(path, note=True, status=status)
        own = note is not None or (bool(self._own) and real_folder / path.name in self._own)
        self.passed.own += own
        return None if own else header

    def _is_picture(self, path: Path, suffix: str) -> bool:
        """Return whether a file whose suffix does not say so is a picture, by its content; count what is left out."""
        if suffix in UNSUPPORTED_SUFFIXES:
            self.passed.unsupported[suffix] += 1
            return False
        head = _head(path)
        if is_other_picture(head):
            self.passed.unsupported[suffix or NO_SUFFIX] += 1
            return False
        if sniff(head) is None:
            return False
        foreign = any(char.isalpha() for char in suffix) and " " not in suffix  # not "holiday.1987", "Mr. Smith"
        if foreign:
            self.passed.misnamed[suffix] += 1
        return not foreign


def _head(path: Path) -> bytes:
    """Return the first bytes of a file; none of one that cannot be opened."""
    try:
        with path.open("rb") as stream:
            return stream.read(64)
    except OSError:
        return b""


def _holds_all(folder: Path) -> bool:
    """Return whether a folder is the working folder, holds it, or is a whole disk: what a list split wrongly names."""
    place = real(folder)
    return place.parent == place or real(Path()).is_relative_to(place)


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; False where no system could have such a name."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
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
