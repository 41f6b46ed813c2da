"""What is known of a run's results: the rules they are made by, the journals, what is done already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from restorer.batch.discovery import Job
from restorer.batch.journal import Journal
from restorer.batch.outputs import in_the_way
from restorer.errors import OutputExistsError
from restorer.photo import FORMATS, Photo, page_digest, read_note
from restorer.pipeline.restorer import Restorer
from restorer.record import Record
from restorer.storage import temporary
from restorer.storage.digest import sha256_of
from restorer.storage.identity import Identity


@dataclass(frozen=True)
class Rules:
    """How a run treats what is there.

    Attributes:
        overwrite: replace results that exist.
        dry_run: read each photo and say what would be done, but do not do it.
        resume: skip what an earlier run has done, or has failed to do.
        retry_failed: try again what failed in an earlier run.
    """

    overwrite: bool = False
    dry_run: bool = False
    resume: bool = True
    retry_failed: bool = False


@dataclass
class Work:
    """A photo on its way through a run.

    Attributes:
        job: the photo and its result.
        record: what is said about it so far.
        photo: its pixels, once they are read; None also where there is nothing to do.
        fingerprint: of what is done, once the photo's bytes are known.
        postponed: whether it is too large to be read before its turn.
        failed_before: whether it failed in an earlier run and is not tried again.
    """

    job: Job
    record: Record
    photo: Photo | None = None
    fingerprint: str | None = None
    postponed: bool = False
    failed_before: bool = False


class Results:
    """The results of a run, and those of earlier runs in their places.

    Its methods may be called from several threads.

    Args:
        restorer: what makes them.
        rules: how what is there is treated.
    """

    def __init__(self, restorer: Restorer, rules: Rules) -> None:
        self.restorer = restorer
        self.rules = rules
        self.photos: frozenset[Identity] = frozenset()
        """What the photos of the run are on their disks: none of them is ever replaced."""
        self._journals: dict[Path, Journal] = {}

    def journal(self, job: Job) -> Journal | None:
        """Return the journal that remembers how a photo went; None for single photos."""
        if job.journal is None:
            return None
        return self._journals.setdefault(job.journal, Journal(job.journal))

    def close(self) -> None:
        """Close the journals."""
        for journal in self._journals.values():
            journal.close()

    def owns(self, job: Job, target: Path) -> bool:
        """Return whether an earlier run made a file from a photo, as the journal tells."""
        journal = self.journal(job)
        return self.rules.resume and journal is not None and journal.belongs(job.source, target)

    def is_there(self, job: Job) -> bool:
        """Return whether a photo will only be compared with its result, as far as can be told without reading it."""
        target, journal = target_of(job), self.journal(job)
        if not self.rules.resume:
            return False
        if journal is not None and not self.rules.retry_failed and journal.failure(target) is not None:
            return True
        return not self.rules.overwrite and os.path.lexists(target)

    def fingerprint(self, sha256: str) -> str:
        """Return the fingerprint of what is done to the photo with this hash."""
        return self.restorer.note(sha256).fingerprint

    def is_made(self, job: Job, fingerprint: str) -> bool:
        """Return whether the file at a job's target was made with this fingerprint: by its own note, or the journal."""
        target, journal = target_of(job), self.journal(job)
        note = read_note(target)
        if note is not None:
            return note.fingerprint == fingerprint
        return journal is not None and journal.made(target, fingerprint)

    def in_the_way(self, job: Job, sha256: str) -> OutputExistsError:
        """Return the error for a file that is no result of the photo with this hash."""
        target = target_of(job)
        wanted = self.restorer.note(sha256) if self.rules.resume else None
        return in_the_way(target, read_note(target) if wanted else None, wanted)

    def is_noted(self, job: Job) -> bool:
        """Return whether the result tells itself what it was made from."""
        return not self.restorer.options.strip_metadata and "xmp" in FORMATS[job.format or "BMP"].holds

    def sweep(self, jobs: Sequence[Job]) -> None:
        """Remove what killed runs left in the folders that this one writes to."""
        if not self.rules.dry_run:
            for folder in {target_of(job).parent for job in jobs}:
                temporary.remove_abandoned(folder)


def digest(job: Job) -> str:
    """Return what `Photo.sha256` will be once the photo is read; raises OSError when it cannot be."""
    return page_digest(sha256_of(job.source), job.page)


def target_of(job: Job) -> Path:
    """Return the file that a planned job writes."""
    assert job.target is not None, "Batch.plan names the results"
    return job.target


def is_beside(job: Job) -> bool:
    """Return whether the result stands beside its photo."""
    return job.folder == job.source.parent
