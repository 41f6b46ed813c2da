"""Which photos a command line names: files, folders, globs and lists, and where below the output each one belongs."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from restorer.batch.journal import Journal
from restorer.batch.patterns import ANY_DEPTH, matches
from restorer.batch.slips import meant
from restorer.batch.walking import Folder, FolderPath, Walk, is_kept_back, real
from restorer.errors import UnreadablePhotoError, UsageError
from restorer.photo import PICTURE_SUFFIXES, UNSUPPORTED_SUFFIXES, read_note
from restorer.photo.formats import sniff
from restorer.photo.header import Header
from restorer.photo.strangers import is_other_picture

UNSEEN = Header()
NO_SUFFIX = "(no suffix)"


@dataclass(frozen=True)
class Job:
    """One photo to restore.

    Attributes:
        source: the photo's file.
        folder: where the result goes.
        place: the source's own place below the output folder, "deep/er/a.jpg": what a list is sorted and split by.
        target: the result's file; None until it has a name (`restorer.batch.naming`).
        named: whether the user named that file.
        format: what the result is written in, a key of `restorer.photo.FORMATS`; None until it has a name.
        header: the file at a glance; empty until the result has a name.
        journal: the folder whose journal remembers how the photo went; None for single photos.
        problem: why there is nothing to read, where that is known already.
        page: which page of its file it is, from 1; None = the one that the file is read as.
    """

    source: Path
    folder: Path
    place: str = ""
    target: Path | None = None
    named: bool = False
    format: str | None = None
    header: Header = UNSEEN
    journal: Path | None = None
    problem: UnreadablePhotoError | None = None
    page: int | None = None

    @property
    def stem(self) -> str:
        """What its result is named after: the file's stem, with the number of the page where there are several."""
        return self.source.stem if self.page is None else f"{self.source.stem}_p{self.page}"


@dataclass
class Discovery:
    """The photos of a run.

    Attributes:
        jobs: one for each, in the order of the arguments, and of their names inside folders.
        own: how many results of this tool were passed over.
        unsupported: how many pictures of kinds that are not read were passed over in folders, by suffix.
        misnamed: how many pictures that are read were passed over, since their suffix is that of something else.
        unfollowed: links that lead nowhere, or to a folder that holds the one where the walk began.
        warnings: what else the user should know.
    """

    jobs: list[Job] = field(default_factory=list)
    own: int = 0
    unsupported: Counter[str] = field(default_factory=Counter)
    misnamed: Counter[str] = field(default_factory=Counter)
    unfollowed: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find_photos(arguments: Sequence[str], out: Path | None, *, listed: Sequence[Path] = ()) -> Discovery:
    """Return a job for each photo that the arguments and a list name.

    The tree of a folder is mirrored in the output folder, that of several folders below their names. A list's relative
    paths are mirrored as they stand, absolute ones below the folder that they have in common. Files named one by one
    go straight into the output folder. Inside folders, what is hidden or kept by a system for itself, files that are no
    pictures, what lies in the output folder, and results of this tool are passed over; links are followed once.

    Args:
        arguments: files, folders and globs.
        out: the output folder, or the picture to write; None = beside each photo.
        listed: the entries of a list (`read_list`); what is missing among them is a failure of that photo alone.

    Raises:
        UsageError: an argument names nothing, or `out` names a file for several photos, or no place for a result.
    """
    named = out is not None and names_picture(out)
    finder = _Finder(out)
    for argument in arguments:
        finder.add(argument)
    finder.add_list(listed)
    finder.add_links()
    entries = list(finder.entries.values())
    folders = bool(finder.folders) or bool(listed)
    if out is not None and named:
        if len(entries) == 1 and not folders:
            finder.found.jobs.append(Job(entries[0].source, out.parent, entries[0].source.name, out, named=True))
            return finder.found
        raise UsageError(
            f"-o {out} names one picture, but {len(entries)} photos were given.", "Name a folder: -o restored/"
        )
    if out is not None:
        _check_folder(out)
    prefixes = _distinct(finder.folders, plain=not finder.from_glob)
    for entry in entries:
        below = prefixes[entry.folder] / entry.below if entry.folder else entry.below
        journal = entry.folder if out is None else out if folders or len(entries) > 1 else None
        folder = entry.source.parent if out is None else out / below
        place = (below / entry.source.name).as_posix()
        finder.found.jobs.append(Job(entry.source, folder, place, journal=journal, problem=entry.problem))
    return finder.found


def names_picture(out: Path) -> bool:
    """Return whether -o names the picture to write, not a folder.

    Raises:
        UsageError: it ends like a picture of a kind that is not written.
    """
    suffix = out.suffix.lower()
    if isinstance(out, FolderPath) or _is_folder(out):
        return False
    if suffix in UNSUPPORTED_SUFFIXES:
        raise UsageError(
            f"-o {out}: files that end in {suffix!r} cannot be written.",
            "Let the output end in .png, .jpg, .webp or .tif; a folder of that name ends in a slash.",
        )
    return suffix in PICTURE_SUFFIXES


def _check_folder(out: Path) -> None:
    """Raise `UsageError` when a file stands where the output folder, or one that it lies in, is to be."""
    place = next(place for place in (out, *out.absolute().parents) if os.path.lexists(place))
    if not _is_folder(place):
        what = "a file" if place.exists() else "a link that leads nowhere"
        raise UsageError(f"-o {out}: {place} is {what}, not a folder.", "Name another folder: -o restored/")


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
    problem: UnreadablePhotoError | None = None


class _Finder:
    """Gathers entries, each file once, whatever path leads to it."""

    def __init__(self, out: Path | None) -> None:
        self.found = Discovery()
        self.entries: dict[Path, _Entry] = {}
        self.folders: list[Path] = []
        self.from_glob = False
        self._walk = Walk(real(out) if out else None, loops=self.found.unfollowed)
        self._places: dict[Path, Path] = {}  # what a list says of the folders in it
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
        folders = [match for match in found if _is_folder(match)]
        files = [match for match in found if match not in set(folders)]
        for folder in {real(match.parent) for match in files}:
            self._read_journal(folder)
        for match in files:
            if len(files) == 1 or self._is_wanted(match, real(match.parent)):
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
            if not _is_folder(path):
                self._put(_Entry(path, None, place.parent))
            elif _holds_all(path):
                problem = f"The list names {path}, which holds the working folder; all of that is hardly meant."
                remedy = "Take it out of the list, or name it outside of a list."
                self._put(_Entry(path, None, Path(), UnreadablePhotoError(path, problem, remedy)))
            else:
                self._places[path] = place
                self._take(self._walk.below(path))

    def add_links(self) -> None:
        """Take what links to folders lead to, once all arguments are known: what is there without one comes first."""
        self._take(self._walk.linked())
        for top, problem in self._walk.problems:
            where = Path(problem.filename or top)
            reason = f"The folder {where} cannot be listed: {problem.strerror or problem}."
            self._put(self._below(top, where, UnreadablePhotoError(where, reason, "Change its permissions.")))

    def _add_folder(self, folder: Path) -> None:
        self.folders.append(folder)
        self._take(self._walk.below(folder))

    def _take(self, folders: Iterable[Folder]) -> None:
        """Take the pictures in some folders."""
        for folder in folders:
            self._read_journal(folder.real)
            for name in folder.files:
                if self._is_wanted(folder.path / name, folder.real):
                    self._put(self._below(folder.top, folder.path / name))

    def _below(self, top: Path, source: Path, problem: UnreadablePhotoError | None = None) -> _Entry:
        """Return the entry of what lies below a folder of the command line, or of a list."""
        below = source.parent.relative_to(top) if source != top else Path()
        if top in self._places:
            return _Entry(source, None, self._places[top] / below, problem)
        return _Entry(source, top, below, problem)

    def _put(self, entry: _Entry) -> None:
        parent = entry.source.parent
        if parent not in self._parents:
            self._parents[parent] = real(parent)
        self.entries.setdefault(self._parents[parent] / entry.source.name, entry)

    def _read_journal(self, folder: Path) -> None:
        """Learn which files in a folder are results; a journal among photos is a help, and no condition."""
        try:
            self._own |= Journal(folder).results()
        except UsageError as error:
            self.found.warnings.append(f"{error.message} Results beside it are known by their own notes only.")

    def _is_wanted(self, path: Path, real_folder: Path) -> bool:
        """Return whether a file that was not named itself is a photo, and no result of this tool; count what is not."""
        if is_kept_back(path.name) or not self._is_picture(path):
            return False
        own = real_folder / path.name in self._own or read_note(path) is not None
        self.found.own += own
        return not own

    def _is_picture(self, path: Path) -> bool:
        """Return whether a file is a picture that is read: by its suffix, or where that says nothing by its content."""
        suffix = path.suffix.lower()
        try:
            plain = stat.S_ISREG(path.stat().st_mode)
        except OSError:  # what cannot be looked at is left to the reading
            if suffix not in PICTURE_SUFFIXES and path.is_symlink():
                self.found.unfollowed.append(path)
            return suffix in PICTURE_SUFFIXES
        if not plain:  # a pipe, a socket, a device
            return False
        if suffix in UNSUPPORTED_SUFFIXES:
            self.found.unsupported[suffix] += 1
        if suffix in PICTURE_SUFFIXES or suffix in UNSUPPORTED_SUFFIXES:
            return suffix in PICTURE_SUFFIXES
        head = _head(path)
        if is_other_picture(head):
            self.found.unsupported[suffix or NO_SUFFIX] += 1
            return False
        if sniff(head) is None:
            return False
        foreign = any(char.isalpha() for char in suffix) and " " not in suffix  # not "holiday.1987", "Mr. Smith"
        if foreign:
            self.found.misnamed[suffix] += 1
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


def _is_folder(path: Path) -> bool:
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


def _distinct(folders: Sequence[Path], *, plain: bool) -> dict[Path, Path]:
    """Return what each folder's tree is put below: nothing for one alone, else its name, longer where names agree."""
    if plain and len(set(folders)) == 1:
        return {folders[0]: Path()}
    parts = {folder: real(folder).parts[1:] for folder in dict.fromkeys(folders)}
    prefixes = {}
    for folder, own in parts.items():
        others = [other for each, other in parts.items() if each != folder and other != own]
        length = 1
        while length < len(own) and any(other[-length:] == own[-length:] for other in others):
            length += 1
        prefixes[folder] = Path(*own[-length:])
    return prefixes
