"""How a run over photos looks: what to expect of it, a line or a record for each photo, a summary at the end."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.text import Text

from restorer.batch.discovery import Discovery, Job
from restorer.batch.estimate import HASHING, Estimate
from restorer.batch.existing import Difference, Survey
from restorer.batch.outlook import MEASURED, RunEstimate, estimate_run
from restorer.batch.pages import on_pages
from restorer.batch.parts import Part
from restorer.batch.plan import Naming, PlannedJobs, is_plan
from restorer.batch.prints import on_prints
from restorer.batch.reading import DONE, FAILED_BEFORE, KEPT
from restorer.batch.remembered import keep, recall, way_of
from restorer.batch.run import Batch
from restorer.batch.summary import Summary
from restorer.cli.batches import joined, made, side_by_side
from restorer.cli.console import json_text, linked, messages, note, plain, raw, results, say, shown
from restorer.cli.forecast import say_means
from restorer.cli.inbox import Watching
from restorer.cli.papers import Papers
from restorer.cli.paths import listed
from restorer.cli.preview import Preview
from restorer.cli.progress import Screen
from restorer.cli.request import PhotosRequest
from restorer.cli.said import (
    closer_lines,
    details,
    dry_run_lines,
    expected_lines,
    found_lines,
    license_line,
    plural,
    summary_lines,
    survey_lines,
)
from restorer.cli.stream import is_stream, name_of, restore_stream
from restorer.cli.watching import Watch
from restorer.errors import ClusterError, UsageError
from restorer.formatting import seconds, time_range
from restorer.options import sizes

if TYPE_CHECKING:
    from restorer.options import Options
    from restorer.pipeline.restorer import Restorer
    from restorer.record import Record

LONG_RUN = 5
"""Photos from which on a run says beforehand what to expect, and results that are done are counted, not named."""
NO_PHOTOS, OUT_OF_TIME = 4, 124
"""Exit codes: nothing was found although there must be something; the time was up, as `timeout` says it."""
SAID_AGAIN = 4
"""Photos, beside the first, after which a run says again how long it takes, now that this was measured."""
WORTH_SAYING_AGAIN = 60.0
"""Seconds that must be left for that."""
WORTH_SAYING = 10.0
"""Seconds that it takes to compare photos with their results from which on that is said beforehand."""


class PhotosCommand:
    """One call of the command.

    Args:
        restorer: what restores the photos.
        json_lines: print one record a photo on stdout.
        quiet: print errors only.
        verbose: print timings, each face, and where unexpected errors happened.
        screen: the line at the end of the terminal; None = there is none.
        watch: where what happens is written down.

    Attributes:
        made: the results of the run that are to be opened, also those that were there already.
        page: the report; None where none was written.
        typed: the arguments of the command, which are told again where something is to be added to them.
    """

    def __init__(
        self,
        restorer: Restorer,
        *,
        json_lines: bool,
        quiet: bool,
        verbose: bool,
        screen: Screen | None = None,
        watch: Watch | None = None,
        typed: Sequence[str] = (),
    ) -> None:
        self._restorer = restorer
        self._typed = typed
        self._causes: set[str] = set()
        self._many = False
        self._screen = screen or Screen(quiet=True)
        self._watch = watch or Watch.nothing()
        self._log, self._metrics = self._watch.log, self._watch.metrics
        self.made: list[Path] = []
        self._opens = False
        self.page: Path | None = None
        self._json = json_lines
        self._quiet = quiet
        self._verbose = verbose
        self._licenses: dict[str, str] = {}
        self._said_again = False
        for name in ("restorer.batch", "restorer.record", "restorer.pipeline"):
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG if verbose else logging.NOTSET)
            logger.handlers = [each for each in (_Said(), self._log.handler) if each is not None] if verbose else []

    def photos(self, request: PhotosRequest) -> int:
        """Do what was asked for; return the exit code."""
        self._opens = request.open
        if request.watch:
            watching = Watching(self._restorer, request, self._show, self._screen, self._watch, self._quiet)
            code = watching.run()
            if watching.summary.abandoned:
                leave(request, self._screen, self._watch)
        elif is_stream(request):
            on_stage = self._screen.photo(name_of(request))
            self._metrics.photos(1, None)

            def kept(different: Difference) -> None:
                self._say_survey(Survey(others={different: 1}), request)

            code = restore_stream(self._restorer, request, self._show, kept, on_stage=on_stage, json_lines=self._json)
        else:
            code = self.files(request)
        if self._licenses and not self._quiet:
            say(license_line(list(self._licenses)))
        return code or (3 if self._restorer.components.barred else 0)

    def files(self, request: PhotosRequest) -> int:
        """Restore files and folders; return the exit code."""
        until = None if request.max_time is None else time.monotonic() + seconds(request.max_time)
        self._screen.doing("Looking for photos")
        plan = _planned(request, self._restorer.options)
        with made(request, self._restorer) as batch:
            found = Discovery()
            if plan is None:
                found = batch.find(request.photos, request.out, listed(request.files_from))
            found.jobs = on_prints(on_pages(found.jobs, request.pages), request.split)
            return self._run(request, found, plan, batch, until)

    def _run(
        self, request: PhotosRequest, found: Discovery, plan: PlannedJobs | None, batch: Batch, until: float | None
    ) -> int:
        """Restore what was found, or is planned; return the exit code."""
        self._screen.doing(f"Looking at {plural(len(found.jobs if plan is None else plan), 'photo')}")
        jobs: Collection[Job] = batch.follow(plan) if plan is not None else batch.plan(found.jobs, request.name)
        found.own += batch.passed_over
        if self._restorer.options.face and len(jobs) > 1:
            raise UsageError(
                f"--face says where a face is in one photo; {len(jobs)} were given.", "Give that photo alone."
            )
        self._say_found(found, jobs)
        papers = Papers(request, jobs, self._restorer)
        survey, outlook = batch.look(jobs)
        self._say_survey(survey, request)
        self._many = len(jobs) >= LONG_RUN
        several = self._many and not self._quiet
        several &= bool(outlook.work) or sum(load.megabytes for load in outlook.loads) * HASHING > WORTH_SAYING
        at_once = 1 if request.cluster else side_by_side(request, batch, outlook.work, quiet=self._quiet)
        way = way_of(self._restorer, request.threads, at_once)
        known = recall(way).rates(outlook.work, outlook.megapixels)
        if several and known is None:
            self._screen.doing("Trying how fast this machine is")
        expected = estimate_run(self._restorer, outlook, trial=several, known=known)
        expected = replace(expected, workers=at_once)
        if jobs and request.cluster is not None:
            expected = replace(expected, workers=joined(request, batch, self._screen, quiet=self._quiet))
        if several:
            self._say_expected(expected, jobs)
        if request.dry_run and not self._quiet:
            say_means(self._restorer.components, outlook.sample())
        try:
            estimate = Estimate(outlook.loads, expected.rates, time.monotonic(), expected.workers)
            view = self._screen.photos(len(jobs), estimate)

            def on_record(record: Record) -> None:
                view.end(record)
                self._show(record, view.left)
                self._say_again(estimate, outlook.work)
                papers.add(record)

            self._metrics.photos(len(jobs), view.left())
            begin = view.begin
            if request.preview is not None:
                preview = Preview(request.preview)
                begin = lambda job: preview.around(view.begin(job))  # noqa: E731
            try:
                batch.run(jobs, on_start=begin, on_record=on_record, keep=False, until=until)
            finally:
                if request.cluster is None:  # what is remembered is how fast this machine is
                    keep(way, *estimate.measured())
        except (KeyboardInterrupt, ClusterError):
            self._summarise(batch.summary, len(jobs))
            self._write(papers, hurry=batch.summary.abandoned)
            if batch.summary.abandoned:  # threads are still at work, and Python would wait for them
                leave(request, self._screen, self._watch)
            raise
        if request.dry_run and self._many:  # also when quiet: it is what was asked for
            for line in dry_run_lines(outlook, expected):
                messages.print(line)
        self._summarise(
            batch.summary, len(jobs), seen=len(jobs) > 1 and (not self._quiet or (request.dry_run and self._many))
        )
        if batch.summary.out_of_time:
            self._log.say("the time of --max-time is up")
            messages.print("The time of --max-time is up; the same command goes on.")
        self._write(papers)
        if batch.summary.out_of_time:
            return OUT_OF_TIME
        if not jobs and request.require_photos:
            return NO_PHOTOS
        return 1 if batch.summary.count("failed") else 0

    # ---------------------------------------------------------------------------------------------------- what is seen

    def _say_found(self, found: Discovery, jobs: Collection[Job]) -> None:
        """Say what was passed over, and when nothing is left."""
        for line in found_lines(found, any_left=bool(jobs)):
            self._log.say(line)
            if not self._quiet:
                note(line)
        if not jobs:
            own = f" ({plural(found.own, 'result')} of this tool passed over)" if found.own else ""
            self._log.say(f"no photos were found{own}")
            if not self._quiet:
                messages.print(f"No photos were found{own}.")

    def _say_survey(self, survey: Survey, request: PhotosRequest) -> None:
        """Say what stands in the places of results and stays; also when quiet where it is not what was asked for."""
        if self._quiet:
            survey = Survey(others=survey.others)
        for line in survey_lines(survey, request, self._typed):
            self._log.say(line.strip())
            messages.print(shown(line), soft_wrap=True)

    def _say_expected(self, expected: RunEstimate, jobs: Collection[Job]) -> None:
        """Say how many photos there are, how long they take and how much disk."""
        for line in expected_lines(expected, jobs):
            self._log.say(Text.from_markup(line, emoji=False).plain)
            messages.print(line)

    def _say_again(self, estimate: Estimate, work: int) -> None:
        """Say once how long a long run takes by what its first photos took."""
        first, others = estimate.measured()
        if self._said_again or first is None or others.photos < SAID_AGAIN or not self._many:
            return
        left = estimate.known(time.monotonic())
        self._said_again = True
        if left is not None and left >= WORTH_SAYING_AGAIN:
            done = others.photos + 1
            line = f"By the first {plural(done, 'photo')} of {work:,}: {time_range(left, MEASURED)} left."
            self._log.say(line)
            if not self._quiet:
                say(line)

    def _is_news(self, record: Record) -> bool:
        """Return whether a failure was not said yet: one cause that many photos share is said once."""
        if record.cause is None:
            return True
        said = record.cause in self._causes
        self._causes.add(record.cause)
        return not said

    def _show(self, record: Record, left: Callable[[], float | None] | None = None) -> None:
        """Print what became of one photo, and write it down; `left` tells the seconds that the run has left."""
        self._log.add(record)
        self._metrics.add(record, left)
        self._licenses.update(record.licenses)
        if self._opens and record.output not in (None, "-") and record.reason != "dry run":
            self.made.append(Path(str(record.output)))
        if self._json:
            raw(json_text(record.as_dict()))
        if record.status == "failed" and record.error and self._is_news(record):
            message = _sentence(record.cause) if record.cause else record.error["message"]
            messages.print(f"[bold red]Failed:[/] {shown(message)}")
            remedy = FAILED_BEFORE.capitalize() + "." if record.failed_before else record.error["remedy"]
            if remedy:
                messages.print(f"  {shown(remedy)}")
        if self._quiet:
            return
        told = self._restorer.components.told  # once a run is enough
        for warning in (line for line in record.warnings if line not in told):
            note(f"{record.input}: {warning}")
        tried = record.reason == "dry run"
        if self._json or record.status == "failed" or record.output is None or (record.output == "-" and not tried):
            return
        there = record.reason == DONE or (record.reason or "").startswith(KEPT)
        if self._many and (there or tried) and not self._verbose:
            return
        if record.output == "-":
            messages.print(shown(f"-  {details(record)}"))
        else:
            results.print(linked(record.output).append(f"  {plain(details(record))}"))
        if self._verbose:
            for line in closer_lines(record):
                messages.print(shown(line))

    def _summarise(self, summary: Summary, count: int, *, seen: bool = True) -> None:
        """Say how the run ended; in the log it stands in any case."""
        self._log.summarise(summary, count)
        for line in summary_lines(summary, count) if seen else ():
            messages.print(line)

    def _write(self, papers: Papers, *, hurry: bool = False) -> None:
        """Write what is shown to people, where that was asked for; in a `hurry` nothing that takes long."""
        self.page = papers.write(quiet=self._quiet, hurry=hurry)


def leave(request: PhotosRequest, screen: Screen, watch: Watch) -> NoReturn:
    """End at once, without waiting for threads that are still at work."""
    messages.print(interrupted(request))
    screen.end()
    watch.code = 130
    watch.end()
    sys.stdout.flush()
    os._exit(130)


def interrupted(request: PhotosRequest) -> str:
    """Return what is said after Ctrl-C: that typing the same again goes on, where it does."""
    goes_on = request.resume and not (request.overwrite or request.dry_run or is_stream(request))
    return "Interrupted. The same command goes on where this one stopped." if goes_on else "Interrupted."


class _Said(logging.Handler):
    """Prints what is logged as lines for the user, above whatever moves on the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one entry."""
        say(self.format(record))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _planned(request: PhotosRequest, options: Options) -> PlannedJobs | None:
    """Return the photos of a plan, where --files-from names one; raises `UsageError` where it does not fit."""
    path = request.files_from
    if path is None or not is_plan(path):
        return None
    if request.photos or request.pages or request.split != "none":
        raise UsageError("A plan is the whole list; photos, --pages and --split do not go with it.", "Leave them out.")
    part = Part.read(request.shard) if request.shard else None
    return PlannedJobs(path, request.out, Naming(request.name, options.format, sizes.known_scale(options)), part)
