"""What a run writes for people beside the results: the report, and the sheet for a client."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from restorer.cli.console import linked, messages
from restorer.cli.request import PhotosRequest

if TYPE_CHECKING:
    from restorer.batch.discovery import Job
    from restorer.pipeline.restorer import Restorer
    from restorer.record import Record
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

    def __init__(self, request: PhotosRequest, jobs: Sequence[Job], restorer: Restorer) -> None:
        wanted = not request.dry_run and bool(jobs)
        self._report = _report(request, jobs, restorer) if wanted and request.report else None
        self._sheet = _sheet(request.sheet, overwrite=request.overwrite) if wanted and request.sheet else None

    def add(self, record: Record) -> None:
        """Take in what became of a photo."""
        for each in (self._report, self._sheet):
            if each is not None:
                each.add(record)

    def write(self, *, quiet: bool) -> Path | None:
        """Write them, and say where they are; return the report.

        Raises:
            UnwritableOutputError: one of them cannot be written.
        """
        page = None if self._report is None else self._report.write()
        if page is not None and not quiet:
            messages.print(linked(page, messages, before="Report: "))
        sheet = None if self._sheet is None else self._sheet.write()
        if sheet is not None and not quiet:
            messages.print(Text("Sheet: ").append_text(linked(sheet, messages)))
        return page


def _report(request: PhotosRequest, jobs: Sequence[Job], restorer: Restorer) -> Report:
    from restorer.report.writer import Report, place

    results = [job.target or job.folder / job.source.name for job in jobs]
    told = restorer.components.told
    return Report(place(request.out, results, request.shard), len(jobs), overwrite=request.overwrite, told=told)


def _sheet(path: Path, *, overwrite: bool) -> Sheet:
    from restorer.report.sheet import Sheet

    return Sheet(path, overwrite=overwrite)
