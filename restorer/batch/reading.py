"""Reading a photo ahead of the work, or finding that there is nothing to do for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from restorer.batch.discovery import Job
from restorer.batch.existing import settle
from restorer.batch.outputs import is_original
from restorer.batch.prints import cut
from restorer.batch.results import Results, Work, digest, target_of
from restorer.batch.room import check_room
from restorer.photo import read_photo
from restorer.photo.header import measured

MOST_SETTLED = 64
"""Photos without anything to do that are looked at before the run hears of them."""
FAILED_BEFORE = "it failed in an earlier run; --retry-failed tries it again"
DONE = "done already"
KEPT = "kept as it is, made with "
"""What begins the reason of a photo whose result is there, and was made otherwise than this run would make it."""
BUILT_IN = "built-in"
"""The value of `Rules.redo`."""


class Reader:
    """Reads photos.

    Args:
        results: what is known of the run's results.
        large: pixels; photos beyond are not read ahead, to spare memory.
    """

    def __init__(self, results: Results, large: int) -> None:
        self._results = results
        self._large = large
        self._stopped = False

    def read_on(self, jobs: Iterator[Job]) -> list[Work]:
        """Read the next photo, and find those before it for which there is nothing to do; none when all are read.

        Args:
            jobs: what is left; the photos that are returned are taken from it.
        """
        works: list[Work] = []
        while not self._stopped and len(works) < MOST_SETTLED and (job := next(jobs, None)) is not None:
            works.append(self.read(job))
            if not works[-1].is_settled:
                break
        return works

    def stop(self) -> None:
        """Read no other photo."""
        self._stopped = True

    def read(self, job: Job, ahead: bool = True) -> Work:
        """Read a photo, or find that there is nothing to do for it; what goes wrong stands in its record.

        Args:
            job: the photo.
            ahead: whether others are in memory, so that a large one is left to its turn.

        Raises:
            UsageError: a part of another split is at work on the same folder.
        """
        self._results.claim(job)
        work = Work(job, self._results.restorer.new_record(str(job.source)))
        work.record.page = job.page
        work.record.warn(job.remark)
        if job.part is not None:
            work.record.print = {"number": job.number, "of": job.parts, "corners": job.part.corners()}
        with work.record.capturing(job.source), work.record.timed("read"):
            if job.problem is not None:
                raise job.problem
            self._results.sweep_once(target_of(job).parent)
            if not self._is_settled(work):
                self._results.check_place(job)
                size = measured(job.header, job.source).size or (0, 0)
                if ahead and size[0] * size[1] > self._large:
                    work.postponed = True
                else:
                    if min(size) > 0:
                        check_room(job.source, size, self._results.restorer.output_size(size))
                    work.photo = read_photo(job.source, page=job.page)
                    if job.part is not None:
                        work.photo = cut(work.photo, job.part)
        return work

    def _is_settled(self, work: Work) -> bool:
        """Return whether the photo is done, or failed before, as its record then says; refuse to replace other files.

        Bytes are compared, not sizes and times: those can be the same for another picture, and reading a photo takes a
        small part of the time that restoring it does.
        """
        job, record, results = work.job, work.record, self._results
        target, journal, rules = target_of(job), results.journal(job), results.rules
        there = os.path.lexists(target)
        if there and results.is_original(target):
            raise is_original(target)
        if there and not rules.overwrite:
            return self._is_kept(work)
        asked = journal is not None and rules.resume and not rules.retry_failed
        failure = journal.failure(target) if journal is not None and asked else None
        if failure is not None and failure.fingerprint == results.fingerprint(digest(job)):
            record.status, record.error, record.reason = "failed", failure.record["error"], FAILED_BEFORE
            record.failed_before = True
            return True
        return False

    def _is_kept(self, work: Work) -> bool:
        """Return whether a result that is there stays as it is, as its record then says; a foreign file is refused."""
        job, record, results = work.job, work.record, self._results
        sha256 = digest(job)
        found, wanted = results.note_at(job), results.note(sha256)
        if not results.rules.resume:
            raise results.in_the_way(job, sha256)
        different = settle(target_of(job), found, wanted)
        if results.rules.redo == BUILT_IN and results.is_outdone(job) and results.is_ours(job):
            work.replaces = found
            return False
        record.status, record.output = "skipped", str(target_of(job))
        record.reason = DONE if different is None else f"{KEPT}{different.made}"
        record.earlier = results.earlier(job)
        if different is None:
            work.fingerprint = wanted.fingerprint
        return True
