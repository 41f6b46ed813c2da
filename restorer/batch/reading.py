"""Reading a photo ahead of the work, or finding that there is nothing to do for it."""

from __future__ import annotations

import os

from restorer.batch.discovery import Job
from restorer.batch.outputs import is_original
from restorer.batch.results import Results, Work, digest, target_of
from restorer.photo import read_photo
from restorer.photo.header import measured
from restorer.storage.identity import identity

FAILED_BEFORE = "it failed in an earlier run; --retry-failed tries it again"


class Reader:
    """Reads photos.

    Args:
        results: what is known of the run's results.
        large: pixels; photos beyond are not read ahead, to spare memory.
    """

    def __init__(self, results: Results, large: int) -> None:
        self._results = results
        self._large = large

    def read(self, job: Job, ahead: bool = True) -> Work:
        """Read a photo, or find that there is nothing to do for it; what goes wrong stands in its record.

        Args:
            job: the photo.
            ahead: whether others are in memory, so that a large one is left to its turn.
        """
        work = Work(job, self._results.restorer.new_record(str(job.source)))
        work.record.page = job.page
        with work.record.capturing(job.source), work.record.timed("read"):
            if job.problem is not None:
                raise job.problem
            if not self._is_settled(work):
                size = measured(job.header, job.source).size or (0, 0)
                if ahead and size[0] * size[1] > self._large:
                    work.postponed = True
                else:
                    work.photo = read_photo(job.source, page=job.page)
        return work

    def _is_settled(self, work: Work) -> bool:
        """Return whether the photo is done, or failed before, as its record then says; refuse to replace other files.

        Bytes are compared, not sizes and times: those can be the same for another picture, and reading a photo takes a
        small part of the time that restoring it does.
        """
        job, record, results = work.job, work.record, self._results
        target, journal = target_of(job), results.journal(job)
        there = os.path.lexists(target)
        if there and identity(target) in results.photos:
            raise is_original(target)
        if there and not results.rules.overwrite:
            sha256 = digest(job)
            fingerprint = results.fingerprint(sha256)
            if not (results.rules.resume and results.is_made(job, fingerprint)):
                raise results.in_the_way(job, sha256)
            work.fingerprint = fingerprint
            record.status, record.output, record.reason = "skipped", str(target), "done already"
            return True
        asked = journal is not None and results.rules.resume and not results.rules.retry_failed
        failure = journal.failure(target) if journal is not None and asked else None
        if failure is not None and failure.fingerprint == results.fingerprint(digest(job)):
            record.status, record.error, record.reason = "failed", failure.record["error"], FAILED_BEFORE
            work.failed_before = True
            return True
        return False
