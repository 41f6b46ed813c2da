"""Writing a result behind the work, and the line about it in the journal; never two runs into one file."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from contextlib import ExitStack, suppress

from restorer.batch.discovery import Job
from restorer.batch.outputs import check_place, existing_folder, in_the_way, make_folder
from restorer.batch.results import Results, Work, digest, is_beside, target_of
from restorer.errors import OutputExistsError, UnwritableOutputError
from restorer.photo import Note
from restorer.pipeline.result import Result, mask_path, variant_paths, write_mask
from restorer.record import Record
from restorer.storage.atomic import write_whole

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Writer:
    """Writes results and journals.

    Args:
        results: what is known of the run's results.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        self._did_not_fit: dict[str, float] = {}  # bytes a pixel of results for which the disk was too full, by format

    def check_place(self, job: Job, size: tuple[int, int]) -> None:
        """Refuse a photo before the work when its result, of (width, height), could not be written.

        Raises:
            UnwritableOutputError: no folder can be there, it is read-only, or its disk was too full for less.
        """
        target = target_of(job)
        check_place(target)
        if not self._results.rules.overwrite:
            options = self._results.restorer.options
            others = variant_paths(target, options.variants)[1:]
            for other in others + ([mask_path(target)] if options.save_mask else []):
                if os.path.lexists(other):
                    raise in_the_way(other, None, None)
        # Half of what is expected, so that no photo is refused that might fit.
        wanted = size[0] * size[1] * self._did_not_fit.get(job.format or "", 0.0) / 2
        if wanted and shutil.disk_usage(existing_folder(target)).free < wanted:
            raise UnwritableOutputError(
                target,
                f"{target} cannot be written: the disk is full.",
                "Free some space on that disk, or choose another place with -o.",
            )

    def encode(self, work: Work, result: Result) -> None:
        """Encode a result before its turn to be written; what goes wrong stands in its record."""
        with work.record.capturing(work.job.source), work.record.timed("write"):
            work.encoded = self._encoded(work, result)

    @staticmethod
    def _encoded(work: Work, result: Result) -> tuple[io.BytesIO, list[str]]:
        """Return the file of a result, and what the format cannot hold of it."""
        content = io.BytesIO()
        return content, result.save(content, format=work.job.format)

    def finish(self, work: Work, result: Result | None) -> Record:
        """Write a result, and the line in the journal; return the finished record."""
        record = work.record
        sha256 = None
        if result is not None:
            with record.capturing(work.job.source), record.timed("write"):
                sha256 = self._write(work, result)
        self.conclude(record)
        try:
            self._remember(work, sha256, result)
        except OSError as error:
            record.warn(f"The journal cannot be written: {error.strerror or error}.")
        return record

    def conclude(self, record: Record) -> None:
        """Count reading and writing among the seconds of a photo that is finished."""
        seconds = record.seconds
        seconds["total"] = seconds.get("total", 0.0) + seconds.get("read", 0.0) + seconds.get("write", 0.0)

    def _write(self, work: Work, result: Result) -> str:
        """Write a result, unless another run was quicker; return the hash of its bytes."""
        job, record, target, results = work.job, work.record, target_of(work.job), self._results
        assert job.format is not None
        assert work.fingerprint is not None
        content, lost = work.encoded or self._encoded(work, result)
        sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
        replaced = self._may_replace(work)  # before the journal speaks of the new one
        with ExitStack() as alone:
            self._announce(work, sha256, result.note, alone)
            make_folder(target.parent)
            try:
                write_whole(target, content.getbuffer(), replace=replaced)
            except OutputExistsError:  # it was not there when the work began: another run was quicker
                if not results.is_made(job, work.fingerprint):
                    raise results.in_the_way(job, result.photo.sha256) from None
                record.status, record.reason = "skipped", "another run has just done it"
            except UnwritableOutputError as error:
                if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
                    self._did_not_fit[job.format] = len(content.getbuffer()) / (result.image.size / 3)
                raise
            else:
                for number, other in enumerate(variant_paths(target, 1 + len(result.variants))[1:], 1):
                    content = io.BytesIO()
                    result.save(content, format=job.format, variant=number)
                    write_whole(other, content.getbuffer())
                    record.variants.append(str(other))
                if result.damage is not None and record.repair is not None:
                    record.repair["mask"] = write_mask(target, result.damage, result.note, overwrite=True)
        record.warn(*lost)
        record.output = str(target)
        return sha256

    def _may_replace(self, work: Work) -> bool:
        """Return whether the file that is there may be replaced: any, or the one that was to be made anew."""
        if self._results.rules.overwrite:
            return not self._results.is_original(target_of(work.job))
        results = self._results
        return work.replaces is not None and results.note_at(work.job) == work.replaces and results.is_ours(work.job)

    def _announce(self, work: Work, sha256: str, note: Note, alone: ExitStack) -> None:
        """Keep other runs out of the folder while a result is written, and say ahead of it whose it will be.

        A result with a note beside its photo needs neither: its note tells it all.
        """
        job, target = work.job, target_of(work.job)
        noted, journal = self._results.is_noted(job), self._results.journal(job)
        if journal is None or (noted and is_beside(job)):
            return
        try:
            alone.enter_context(journal.alone())
            if not noted:
                journal.add(
                    {**work.record.as_dict(), "status": "writing"},
                    source=job.source,
                    target=target,
                    fingerprint=work.fingerprint,
                    result_sha256=sha256,
                    note=note,
                    place=job.place,
                    lasting=True,
                )
        except OSError as error:
            if not noted:
                message = f"{target} cannot be written, since the journal cannot: {error.strerror or error}."
                raise UnwritableOutputError(target, message, "Choose another place with -o.") from error

    def has_told(self, work: Work) -> bool:
        """Return whether later runs see how a photo went without a line of this one."""
        job, record, results = work.job, work.record, self._results
        journal, target = results.journal(job), target_of(job)
        if journal is None or results.rules.dry_run or work.record.failed_before:
            return True
        if record.status == "failed":
            return record.retryable
        if work.fingerprint is None:  # what was made otherwise is kept, and is not this run's to tell
            return True
        if record.status == "skipped" and journal.knows(target, work.fingerprint):
            return True
        # Among the photos themselves a journal is only kept for what would be forgotten without it.
        return is_beside(job) and results.is_noted(job) and journal.failure(target) is None

    def _remember(self, work: Work, sha256: str | None, result: Result | None) -> None:
        """Write down how a photo went, as far as later runs cannot see it from the result itself."""
        if self.has_told(work):
            return
        job, record, results = work.job, work.record, self._results
        note, journal = None, results.journal(job)
        assert journal is not None
        if record.status == "failed":
            if work.fingerprint is None:
                with suppress(OSError):  # it cannot be read at all: any run tries it again
                    work.fingerprint = results.fingerprint(digest(job))
        elif not results.is_noted(job):
            note = results.note_at(job) if result is None else result.note
        journal.add(
            record.as_dict(),
            source=job.source,
            target=target_of(job),
            fingerprint=work.fingerprint,
            result_sha256=sha256,
            note=note,
            place=job.place,
        )
