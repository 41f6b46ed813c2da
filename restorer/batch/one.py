"""One photo of a run from its file to its result: what every run does, whoever brings the photos through."""

from __future__ import annotations

from dataclasses import replace

from restorer.batch.discovery import Job
from restorer.batch.reading import Reader
from restorer.batch.results import Results, Work, target_of
from restorer.batch.writing import Writer
from restorer.errors import RestorerError
from restorer.options import outlines, sizes
from restorer.photo import output_format, substitution
from restorer.pipeline.canvas import Wrap
from restorer.pipeline.events import OnStage
from restorer.pipeline.looking import look
from restorer.pipeline.result import Result, file_format
from restorer.record import Record

LARGE_PHOTO_PIXELS = 100_000_000
"""Photos beyond are not read ahead, and results beyond not written behind, to spare memory."""


class OnePhoto:
    """Restores a photo that was read; `take` also reads it before and writes it after.

    Args:
        results: what is known of the run's results.
        reader, writer: of the run; None = of its own.
    """

    def __init__(self, results: Results, reader: Reader | None = None, writer: Writer | None = None) -> None:
        self._results = results
        self._restorer = results.restorer
        self._reader = reader or Reader(results, LARGE_PHOTO_PIXELS)
        self._writer = writer or Writer(results)

    def take(self, job: Job, on_stage: OnStage | None = None) -> Record:
        """Read a photo, restore it and write its result: nothing is read ahead of it, and nothing is left behind.

        Raises:
            RestorerError: one that ends a run (`RestorerError.ends_run`): no other photo would fare better.
        """
        work = self._reader.read(job, ahead=False)
        if work.is_settled and self._writer.has_told(work):
            self._writer.conclude(work.record)
            return work.record
        return self._writer.finish(work, self.restore(work, on_stage))

    def refuse(self, job: Job, error: RestorerError) -> Record:
        """Let a photo fail that is not to be tried, so that later runs know of it as of any other failure."""
        work = Work(job, self._restorer.new_record(str(job.source)))
        work.record.fail(error)
        return self._writer.finish(work, None)

    def restore_and_encode(self, work: Work, on_stage: OnStage | None) -> Result | None:
        """Restore a photo that was read, and encode its result, so that others need not wait for that either."""
        result = self.restore(work, on_stage)
        if result is not None:
            self._writer.encode(work, result)
        return result if work.record.error is None else None

    def restore(self, work: Work, on_stage: OnStage | None, wrap: Wrap | None = None) -> Result | None:
        """Restore a photo that was read; None when there is nothing to write."""
        photo, record, job = work.photo, work.record, work.job
        if photo is None:
            return None
        record.input_size, record.output_size = photo.size, self._restorer.output_size(photo.size)
        work.fingerprint = self._results.fingerprint(photo.sha256)
        with record.capturing(job.source):
            if job.format is None:
                format = output_format(photo.format, file_format(self._restorer.options), target_of(job).suffix)
                work.job = job = replace(job, format=format)
            self._writer.check_place(job, record.output_size)
            named = target_of(job).suffix if job.named else None
            self._restorer.components.say(
                record, substitution(photo.format, file_format(self._restorer.options), named)
            )
            outlines.boxes(self._restorer.options.face, photo.size)  # one beyond the photo is wrong usage
            if not self._results.rules.dry_run:
                return self._restorer.restore(photo, record=record, format=job.format, on_stage=on_stage, wrap=wrap)
            if self._restorer.options.save_mask:
                look(self._restorer, photo, target_of(job), record, overwrite=self._results.rules.overwrite)
            record.status, record.reason, record.output = "skipped", "dry run", str(job.target)
            record.scale = sizes.scale_of(self._restorer.options, photo.size)
            record.warn(*photo.warnings, *sizes.remarks(self._restorer.options, photo.size))
        return None
