"""Which photos a command line names: files, folders, globs and lists, and where below the output each one belongs."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from restorer.batch.gathering import UNSEEN, Entry, Finder, PassedOver, is_folder
from restorer.batch.parts import Part
from restorer.batch.walking import FolderPath, real
from restorer.errors import PhotoError, UnwritableOutputError, UsageError
from restorer.photo import PICTURE_SUFFIXES, UNSUPPORTED_SUFFIXES
from restorer.photo.header import Header
from restorer.photo.strangers import DOCUMENT_SUFFIXES

if TYPE_CHECKING:
    from restorer.imaging.prints import Print


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
        part: where it lies on its scan, of a scan that was split into its prints.
        number: which of these prints it is, from 1.
        parts: how many these are.
        remark: a warning that its record gets.
    """

    source: Path
    folder: Path
    place: str = ""
    target: Path | None = None
    named: bool = False
    format: str | None = None
    header: Header = UNSEEN
    journal: Path | None = None
    problem: PhotoError | None = None
    page: int | None = None
    part: Print | None = None
    number: int = 0
    parts: int = 0
    remark: str | None = None

    @property
    def stem(self) -> str:
        """What its result is named after: the file's stem, with the number of its page or print."""
        return self.source.stem + self.mark

    @property
    def mark(self) -> str:
        """What tells the photos of one file from each other: "_p2" of a page, "_print3" of a print."""
        page = "" if self.page is None else f"_p{self.page}"
        return page + (f"_print{self.number}" if self.part is not None else "")


@dataclass
class Discovery(PassedOver):
    """The photos of a run, and what was passed over.

    Attributes:
        jobs: one for each photo, in the order of the arguments, and of their names inside folders.
    """

    jobs: list[Job] = field(default_factory=list)


def find_photos(
    arguments: Sequence[str],
    out: Path | None,
    *,
    listed: Sequence[Path] = (),
    only: Collection[Path] | None = None,
    elsewhere: Sequence[Entry] = (),
) -> Discovery:
    """Return a job for each photo that the arguments and a list name.

    The tree of a folder is mirrored in the output folder, that of several folders below their names. A list's relative
    paths are mirrored as they stand, absolute ones below the folder that they have in common. Files named one by one
    go straight into the output folder. Inside folders, what is hidden or kept by a system for itself, files that are no
    pictures, what lies in the output folder, and results of this tool are passed over; links are followed once.

    Args:
        arguments: files, folders and globs.
        out: the output folder, or the picture to write; None = beside each photo.
        listed: the entries of a list (`read_list`); what is missing among them is a failure of that photo alone.
        only: the files inside of folders that count; None = all.
        elsewhere: photos that were found where no disk is.

    Raises:
        UsageError: an argument names nothing, or `out` names a file for several photos, or no place for a result.
    """
    named = out is not None and names_picture(out)
    finder = Finder(out, only)
    finder.take(elsewhere)
    for argument in arguments:
        finder.add(argument)
    finder.add_list(listed)
    finder.add_links()
    entries = list(finder.entries.values())
    folders = bool(finder.folders) or bool(listed)
    found = Discovery(**vars(finder.passed))
    if out is not None and named:
        if len(entries) == 1 and not folders:
            found.jobs.append(Job(entries[0].source, out.parent, entries[0].source.name, out, named=True))
            return found
        raise UsageError(
            f"-o {out} names one picture, but {len(entries)} photos were given.", "Name a folder: -o restored/"
        )
    if out is not None:
        _check_folder(out)
    known: dict[Path, bool] = {}
    places = Places(distinct(finder.folders, plain=not finder.from_glob), out)
    for entry in entries:
        folder, place = places.of(entry)
        journal = entry.folder if out is None else out if folders or len(entries) > 1 else None
        problem = entry.problem or (_led_out(entry, finder.folders, known) if out is None else None)
        job = Job(entry.source, folder, place, header=entry.header, journal=journal, problem=problem)
        found.jobs.append(job)
    return found


def _led_out(entry: Entry, folders: Sequence[Path], known: dict[Path, bool]) -> UnwritableOutputError | None:
    """Return the error for a photo that a link inside a folder leads to, whose result would stand outside of it.

    Args:
        entry: the photo, whose result is to stand beside it.
        folders: those that were named.
        known: of each folder, whether it lies inside of these; it is added to.
    """
    if entry.folder is None:
        return None
    parent = entry.source.parent
    if parent not in known:
        known[parent] = any(real(parent).is_relative_to(real(folder)) for folder in folders)
    if known[parent]:
        return None
    message = f"{entry.source} is reached by a link that leads out of {entry.folder}; its result would stand there too."
    return UnwritableOutputError(entry.source, message, "Name a folder for the results with -o, or the photo itself.")


class Places:
    """Where photos belong below the output folder.

    Args:
        prefixes: what the tree of each folder that was named is put below.
        out: the output folder; None = results stand beside their photos.
    """

    def __init__(self, prefixes: Mapping[Path, Path], out: Path | None) -> None:
        self._prefixes = prefixes
        self._out = out
        self._known: tuple[Path | None, Path, Path, str] | None = None

    def of(self, entry: Entry) -> tuple[Path, str]:
        """Return the folder of a photo's result, and the photo's own place as `Job.place` has it."""
        if self._known is None or self._known[0] is not entry.folder or self._known[1] is not entry.below:
            below = self._prefixes[entry.folder] / entry.below if entry.folder else entry.below
            seen = below.as_posix()
            self._known = entry.folder, entry.below, below, "" if seen == "." else seen + "/"
        _, _, below, begin = self._known
        folder = entry.source.parent if self._out is None else self._out / below
        return folder, begin + entry.source.name


def names_picture(out: Path) -> bool:
    """Return whether -o names the picture to write, not a folder.

    Raises:
        UsageError: it ends like a picture of a kind that is not written.
    """
    suffix = out.suffix.lower()
    if isinstance(out, FolderPath) or is_folder(out):
        return False
    if suffix in UNSUPPORTED_SUFFIXES or suffix in DOCUMENT_SUFFIXES:
        raise UsageError(
            f"-o {out}: files that end in {suffix!r} cannot be written.",
            "Let the output end in .png, .jpg, .webp or .tif; a folder of that name ends in a slash.",
        )
    return suffix in PICTURE_SUFFIXES


def _check_folder(out: Path) -> None:
    """Raise `UsageError` when a file stands where the output folder, or one that it lies in, is to be."""
    place = next(place for place in (out, *out.absolute().parents) if os.path.lexists(place))
    if not is_folder(place):
        what = "a file" if place.exists() else "a link that leads nowhere"
        raise UsageError(f"-o {out}: {place} is {what}, not a folder.", "Name another folder: -o restored/")


def shard(jobs: Sequence[Job], which: str | Part) -> list[Job]:
    """Return the part of a run that is one machine's: every N-th photo of the list sorted by place, from the I-th on.

    Each photo is in exactly one of the N parts as long as all machines see the same photos.

    Args:
        jobs: of the whole run.
        which: the part, or "I/N", I from 1 to N.

    Raises:
        UsageError: `which` is not such a text.
    """
    part = Part.read(which) if isinstance(which, str) else which
    ordered = sorted(jobs, key=lambda job: (job.place, str(job.source)))
    return ordered[part.number - 1 :: part.count]


def distinct(folders: Sequence[Path], *, plain: bool) -> dict[Path, Path]:
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
