"""What is known of a run's results: the rules they are made by, the journals, what is done already."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from restorer.batch.discovery import Job
from restorer.batch.existing import Survey, difference, is_outdone
from restorer.batch.journal import Entry, Journal
from restorer.batch.outputs import check_place, in_the_way, try_folder
from restorer.batch.parts import Part
from restorer.batch.plan import Line
from restorer.batch.prints import part_digest
from restorer.batch.splits import Claims
from restorer.errors import OutputExistsError, UnwritableOutputError
from restorer.photo import FORMATS, Note, Photo, page_digest, read_note
from restorer.photo.header import measured
from restorer.pipeline.restorer import Restorer
from restorer.record import Record
from restorer.storage import temporary
from restorer.storage.digest import sha256_of
from restorer.storage.identity import Identity, identity

MOST_NOTES = 20_000
"""Notes of results that are kept in memory between the survey and the run; those beyond are read twice."""


@dataclass(frozen=True)
class Rules:
    """How a run treats what is there.

    Attributes:
        overwrite: replace results that exist.
        dry_run: read each photo and say what would be done, but do not do it.
        resume: skip what an earlier run has done, or has failed to do.
        retry_failed: try again what failed in an earlier run.
        redo: what is made anew although it is done: "built-in", what built-in models did and better ones would do now.
    """

    overwrite: bool = False
    dry_run: bool = False
    resume: bool = True
    retry_failed: bool = False
    redo: str | None = None


@dataclass
class Work:
    """A photo on its way through a run.

    Attributes:
        job: the photo and its result.
        record: what is said about it so far.
        photo: its pixels, once they are read; None also where there is nothing to do.
        fingerprint: of what is done, once the photo's bytes are known.
        postponed: whether it is too large to be read before its turn.
        replaces: the note of a result that may be replaced although results that exist are kept.
        encoded: the result's file and what it cannot hold, where it was encoded before its turn to be written.
    """

    job: Job
    record: Record
    photo: Photo | None = None
    fingerprint: str | None = None
    postponed: bool = False
    replaces: Note | None = None
    encoded: tuple[io.BytesIO, list[str]] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to restore: it is done, or failed already."""
        return self.photo is None and not self.postponed


class Results:
    """The results of a run, and those of earlier runs in their places.

    Its methods may be called from several threads.

    Args:
        restorer: what makes them.
        rules: how what is there is treated.
        part: the part of the run that is this machine's, whose journals are then its own; None = all of it.
        worker: a name for one of many who share a run photo by photo, as a cluster's processes do: its journals are its
            own, and become lines of the common ones when the run ends, not when it does; None = it is alone.
    """

    def __init__(
        self, restorer: Restorer, rules: Rules, part: Part | None = None, *, worker: str | None = None
    ) -> None:
        self.restorer = restorer
        self.rules = rules
        self.photos: frozenset[Identity] | None = frozenset()
        """What the photos of the run are on their disks: none of them is ever replaced. None where they are too many to
        be known; then nothing is replaced that is no result of this tool."""
        self.mirrors: dict[Path, Path] = {}
        """Folders that are on no disk, each with one that holds a copy of its journals."""
        self._part = part
        self._worker = worker
        self._claims = Claims(part)
        self._split = False
        self._journals: dict[Path, Journal] = {}
        self._sample: Note | None = None
        self._places: dict[Path, UnwritableOutputError | None] = {}
        self._swept: set[Path] = set()
        self._notes: dict[Path, tuple[tuple[int, ...], Note | None]] = {}

    def journal(self, job: Job | Line) -> Journal | None:
        """Return the journal that remembers how a photo went; None for single photos."""
        if job.journal is None:
            return None
        if job.journal not in self._journals:
            worker = self._worker if self._part is None else self._part.worker
            own = self._part if self._split else None
            place = self.mirrors.get(job.journal, job.journal)
            self._journals.setdefault(job.journal, Journal(place, worker, own, targets=job.journal))
        return self._journals[job.journal]

    def follow_plan(self) -> None:
        """Go by a plan: the photos are too many to be known, and parts were made by the names of the results."""
        self.photos, self._split = None, True

    def claim(self, job: Job) -> None:
        """Say that this part of a run is at work where a photo's journal is; raises `UsageError`, see `splits`."""
        if job.journal is not None and not self.rules.dry_run:
            self._claims.claim(job.journal)

    def close(self) -> None:
        """Close the journals, and give the folders back."""
        for journal in self._journals.values():
            journal.close() if self._worker else journal.end()
        self._claims.release()

    def owns(self, job: Job, target: Path) -> bool:
        """Return whether an earlier run made a file from a photo, as the journal tells."""
        journal = self.journal(job)
        return self.rules.resume and journal is not None and journal.belongs(job.source, target, job.place)

    def is_there(self, job: Job) -> bool:
        """Return whether a photo will only be compared with its result, as far as can be told without reading it."""
        target, journal = target_of(job), self.journal(job)
        if not self.rules.resume:
            return False
        there = os.path.lexists(target) or (
            job.journal in self.mirrors and journal is not None and journal.entry(target) is not None
        )
        if not self.rules.overwrite and there:
            return not (self.rules.redo and self.is_outdone(job))
        return self._has_failed(job)

    def _has_failed(self, photo: Job | Line) -> bool:
        """Return whether a photo will be passed over, since it failed in an earlier run."""
        journal, target = self.journal(photo), photo.target
        return (
            not (journal is None or target is None or self.rules.retry_failed) and journal.failure(target) is not None
        )

    def note(self, sha256: str) -> Note:
        """Return the note of what is done to the photo with this hash."""
        return self.restorer.note(sha256)

    def fingerprint(self, sha256: str) -> str:
        """Return the fingerprint of what is done to the photo with this hash."""
        return self.note(sha256).fingerprint

    def note_at(self, job: Job) -> Note | None:
        """Return how the file at a job's target was made: by its own note, else the journal's; None for another file.

        A note is read once, and again where the file has changed meanwhile.
        """
        target, journal = target_of(job), self.journal(job)
        try:
            status = target.stat()
        except OSError:
            return None
        state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._notes.get(target)
        if known is None or known[0] != state:
            note = read_note(target)
            known = state, note
            if len(self._notes) < MOST_NOTES:
                self._notes[target] = known
        if known[1] is not None or journal is None:
            return known[1]
        entry = journal.entry(target)
        if entry is None and self._worker is not None:  # another worker may have made it, and died since
            journal.look_again()
            entry = journal.entry(target)
        return None if entry is None else _note_of(entry)

    def is_original(self, target: Path) -> bool:
        """Return whether a file that is there is a photo of the run, or may be one."""
        if self.photos is not None:
            return identity(target) in self.photos
        return read_note(target) is None and not self._is_known(target)

    def _is_known(self, target: Path) -> bool:
        return any(journal.entry(target) is not None for journal in self._journals.values())

    def is_outdone(self, job: Job, found: Note | None = None) -> bool:
        """Return whether a result is built-in models' work for which this run would take better ones.

        Args:
            job: the photo.
            found: how its result was made; None = as `note_at` tells.
        """
        found = found or self.note_at(job)
        return found is not None and is_outdone(
            found, self._wanted(), self.restorer.components, lambda: measured(job.header, job.source).size
        )

    def _wanted(self) -> Note:
        """Return the note of what is done to any photo, as it is now: "auto" may come to something else meanwhile."""
        if self._sample is None or self._sample.model != self.restorer.components.model:
            self._sample = self.note("")
        return self._sample

    def is_ours(self, job: Job) -> bool:
        """Return whether the file at a job's target is for sure what this tool wrote: by its note, or its hash."""
        target, journal = target_of(job), self.journal(job)
        if read_note(target) is not None:
            return True
        entry = journal.entry(target) if journal is not None else None
        return entry is not None and sha256_of(target) == entry.result_sha256

    def is_made(self, job: Job, fingerprint: str) -> bool:
        """Return whether the file at a job's target was made with this fingerprint."""
        found = self.note_at(job)
        return found is not None and found.fingerprint == fingerprint

    def in_the_way(self, job: Job, sha256: str) -> OutputExistsError:
        """Return the error for a file that is no result of the photo with this hash."""
        wanted = self.note(sha256) if self.rules.resume else None
        return in_the_way(target_of(job), self.note_at(job) if wanted else None, wanted)

    def earlier(self, job: Job) -> Mapping[str, Any] | None:
        """Return what is known of how a result was made, as fields of a record: the journal's line, or its note.

        The journal's line is read when somebody asks for one of them.
        """
        found = self.note_at(job)
        return None if found is None else _Earlier(partial(self._told_of, job, found))

    def _told_of(self, job: Job, found: Note) -> Mapping[str, Any]:
        """Return what is known of how a result with this note was made."""
        journal = self.journal(job)
        entry = journal.entry(target_of(job)) if journal is not None else None
        if entry is not None and entry.fingerprint == found.fingerprint and "seconds" in entry.record:
            return entry.record
        parts = {name: part.get("name") for name, part in found.components.items()}
        told: dict[str, Any] = {name: parts.get(name) for name in ("detector", "clean", "background")}
        faces = [{"landmarks": [], **face} for face in found.faces if "box" in face]
        more = {"mask_name": parts.get("mask"), "scale": found.options.get("scale"), "faces": faces}
        return {"model": found.model, "components": dict(found.components), **told, **more}

    def look_at(self, photo: Job | Line, found: Survey) -> bool:
        """Take into a survey what stands in the place of a result; return what `is_there` says of it.

        Of what is not there the disk is asked once: millions of photos are looked at.
        """
        target = photo.target
        assert target is not None, "Batch.plan names the results"
        if not self.rules.resume:
            return False
        if not os.path.lexists(target) and photo.journal not in self.mirrors:
            return self._has_failed(photo)
        job = photo.job if isinstance(photo, Line) else photo
        if not self.rules.overwrite:
            self._survey(job, found)
        return self.is_there(job)

    def _survey(self, job: Job, found: Survey) -> None:
        """Take into a survey how the file in the place of a result was made, as its note tells it."""
        note = self.note_at(job)
        if note is None:
            return
        if self.is_outdone(job, note):
            found.builtin += 1
        elif (different := difference(note, self._wanted())) is not None:
            found.others[different] = found.others.get(different, 0) + 1
        else:
            found.done += 1

    def is_noted(self, job: Job) -> bool:
        """Return whether the result tells itself what it was made from."""
        return not self.restorer.options.strip_metadata and "xmp" in FORMATS[job.format or "BMP"].holds

    def check_place(self, job: Job) -> None:
        """Try when its first photo comes whether the folder of a run can be made, and refuse all photos where not.

        Raises:
            UnwritableOutputError: no result can be written there; its `cause` is the same for all of them.
        """
        target = target_of(job)
        root = job.journal if job.journal is not None and not is_beside(job) else target.parent
        if root not in self._places:
            self._places[root] = None
            try:
                check_place(target)
                if not self.rules.dry_run:
                    try_folder(root)
            except UnwritableOutputError as error:
                self._places[root] = error
        found = self._places[root]
        if found is not None:
            again = UnwritableOutputError(target, f"{target} cannot be written: {found.cause}", found.remedy)
            again.cause = found.cause
            raise again

    def sweep_once(self, folder: Path) -> None:
        """Remove what killed runs left in a folder that this one writes to, when its first photo comes."""
        if folder not in self._swept and not self.rules.dry_run:
            self._swept.add(folder)
            temporary.remove_abandoned(folder)

    def sweep(self) -> None:
        """Remove what runs that were killed meanwhile left, in the end."""
        for folder in self._swept:
            temporary.remove_abandoned(folder)


class _Earlier(Mapping[str, Any]):
    """Fields of a record that are looked up when the first of them is asked for.

    Args:
        look_up: returns them.
    """

    def __init__(self, look_up: Callable[[], Mapping[str, Any]]) -> None:
        self._look_up = look_up

    @cached_property
    def _fields(self) -> Mapping[str, Any]:
        return self._look_up()

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def _note_of(entry: Entry) -> Note | None:
    """Return what a line tells of how its result was made; of one that an earlier version wrote, its fingerprint."""
    if entry.note is not None or entry.fingerprint is None:
        return entry.note
    return Note("restorer", "", str(entry.record.get("model", "")), entry.fingerprint)


def digest(job: Job) -> str:
    """Return what `Photo.sha256` will be once the photo is read; raises OSError when it cannot be."""
    return part_digest(page_digest(sha256_of(job.source), job.page), job.part)


def target_of(job: Job) -> Path:
    """Return the file that a planned job writes."""
    assert job.target is not None, "Batch.plan names the results"
    return job.target


def is_beside(job: Job) -> bool:
    """Return whether the result stands beside its photo."""
    return job.folder == job.source.parent
