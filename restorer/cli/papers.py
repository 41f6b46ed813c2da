"""What a run writes for people beside the results: the report, and the sheet for a client."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from restorer.cli.console import linked, messages
from restorer.cli.request import PhotosRequest
from restorer.formatting import share_of

if TYPE_CHECKING:
    from restorer.batch.discovery import Job
    from restorer.pipeline.restorer import Restorer
    from restorer.record import Record
    from restorer.report.sample import SampledReport
    from restorer.report.sheet import Sheet
    from restorer.report.writer import Report


class Papers:
    """The report and the sheet of a run, as far as they were asked for.

    Args:
        request: what was asked for.
        jobs: the photos of the run.
        restorer: what restores them.

    Raises:
        OutputExistsError: something else is in the place of one of them; that is found out before the work.
    """

    def __init__(self, request: PhotosRequest, jobs: Collection[Job], restorer: Restorer) -> None:
        share = None if request.report_sample is None else share_of(request.report_sample)
        wanted = not request.dry_run and bool(jobs)
        self._reads_again = share is not None
        self._report: Report | SampledReport | None = None
        if wanted and (request.report or share is not None):
            self._report = _report(request, jobs, restorer, share)
        self._sheet = _sheet(request.sheet, overwrite=request.overwrite) if wanted and request.sheet else None

    def add(self, record: Record) -> None:
        """Take in what became of a photo."""
        for each in (self._report, self._sheet):
            if each is not None:
                each.add(record)

    def write(self, *, quiet: bool, hurry: bool = False) -> Path | None:
        """Write them, and say where they are; return the report.

        Args:
            quiet: say nothing.
            hurry: leave out what photos must be read again for.

        Raises:
            UnwritableOutputError: one of them cannot be written.
        """
        page = None if self._report is None or (hurry and self._reads_again) else self._report.write()
        if page is not None and not quiet:
            messages.print(linked(page, messages, before="Report: "))
        sheet = None if self._sheet is None else self._sheet.write()
        if sheet is not None and not quiet:
            messages.print(Text("Sheet: ").append_text(linked(sheet, messages)))
        return page


def _report(
    request: PhotosRequest, jobs: Collection[Job], restorer: Restorer, share: float | None
) -> Report | SampledReport:
    """Return the report that was asked for: of all photos, or of a share of them."""
    from restorer.report.sample import SampledReport
    from restorer.report.writer import Report, place

    results = (job.target or job.folder / job.source.name for job in jobs)
    path, told = place(request.out, results, request.shard), restorer.components.told
    if share is None:
        return Report(path, len(jobs), overwrite=request.overwrite, told=told)
    seed = restorer.options.seed or 0
    return SampledReport(path, share, len(jobs), seed=seed, overwrite=request.overwrite, told=told)


def _sheet(path: Path, *, overwrite: bool) -> Sheet:
    from restorer.report.sheet import Sheet

    return Sheet(path, overwrite=overwrite)
