"""Folders that are being filled: each photo is restored once it has settled, by the code that restores any folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from restorer.batch.discovery import Discovery, Job, find_photos
from restorer.batch.gathering import is_folder
from restorer.batch.run import Batch, OnRecord, OnStart
from restorer.errors import UsageError
from restorer.storage.identity import key

Arrange = Callable[[list[Job]], list[Job]]
"""Makes several photos of one file: its pages, or the prints on it."""


class Inbox:
    """The photos that come into folders.

    Args:
        folders: as they were typed.
        out: the folder of the results; None = beside each photo.
        batch: makes what restores some photos.
        name: template of a result's name.
        arrange: see `Arrange`.

    Raises:
        UsageError: an argument is no folder.
    """

    def __init__(
        self,
        folders: Sequence[str],
        out: Path | None,
        batch: Callable[[], Batch],
        name: str = "{stem}_restored",
        arrange: Arrange = list,
    ) -> None:
        for each in folders:
            if not is_folder(Path(each)):
                raise UsageError(f"--watch {each}: that is no folder.", "Name the folders that photos come into.")
        self._folders, self._out, self._name = folders, out, name
        self._batch, self._arrange = batch, arrange
        self._planned: dict[str, Job] = {}

    def take(
        self,
        settled: Collection[Path],
        *,
        on_found: Callable[[Discovery, int], None] = lambda _found, _count: None,
        on_start: OnStart | None = None,
        on_record: OnRecord | None = None,
    ) -> Batch | None:
        """Restore the photos among files that have settled; one that has gone in the meantime is left out.

        Args:
            settled: the files; those that are no photos, and results of this tool, are passed over.
            on_found: told what was found and how many photos that is.
            on_start: see `Batch.run`.
            on_record: see `Batch.run`.

        Returns:
            What restored them; None where there was none.

        Raises:
            WeightsError: weights are missing or not verified.
            KeyboardInterrupt: the user interrupts.
        """
        there = [each for each in self._folders if is_folder(Path(each))]
        found = find_photos(there, self._out, only=frozenset(settled))
        jobs = self._arrange(found.jobs)
        sources = {key(job.source) for job in jobs}
        # Names that were given before are taken; where a file came again, its result keeps the name.
        known = [job for job in self._planned.values() if key(job.source) not in sources and _is_there(job)]
        self._planned = {str(job.target): job for job in known}
        batch = self._batch()
        if not jobs:
            on_found(found, 0)
            return None
        planned = [job for job in batch.plan([*known, *jobs], self._name) if key(job.source) in sources]
        self._planned |= {str(job.target): job for job in planned}
        found.own += batch.passed_over
        on_found(found, len(planned))
        batch.run(_still_there(planned), on_start=on_start, on_record=on_record, keep=False)
        return batch


def _is_there(job: Job) -> bool:
    return job.target is not None and os.path.lexists(job.target)


def _still_there(jobs: list[Job]) -> Iterator[Job]:
    """Yield jobs in their turn, without those whose photo was taken away until then."""
    for job in jobs:
        if os.path.lexists(job.source):
            yield job
