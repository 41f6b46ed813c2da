"""`restore FOLDER --watch`: restores what comes into folders, until it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from restorer.batch.inbox import Inbox
from restorer.batch.pages import on_pages
from restorer.batch.prints import on_prints
from restorer.batch.run import Batch
from restorer.batch.settling import Settling
from restorer.batch.summary import Summary
from restorer.cli.console import messages, note, shown
from restorer.cli.said import found_lines, plural, summary_lines
from restorer.engine.device import threads_said
from restorer.errors import UsageError

if TYPE_CHECKING:
    from restorer.batch.discovery import Discovery, Job
    from restorer.cli.progress import Screen
    from restorer.cli.request import PhotosRequest
    from restorer.cli.watching import Watch
    from restorer.pipeline.restorer import Restorer
    from restorer.record import Record

NOT_TOGETHER = ("files_from", "shard", "cluster", "dry_run", "report", "report_sample", "sheet", "open", "preview",
                "max_time", "require_photos")  # fmt: skip
"""Options of a run that ends, or of a list that is known from the beginning."""


def check(request: PhotosRequest, restorer: Restorer) -> None:
    """Raise `UsageError` where something was asked for that does not go with --watch."""
    for name in NOT_TOGETHER:
        if getattr(request, name):
            flag = name.replace("_", "-")
            raise UsageError(f"--watch goes on until it is stopped, and --{flag} does not go with it.", "Leave it out.")
    if restorer.options.face:
        raise UsageError("--face says where a face is in one photo; --watch takes all that come.", "Leave it out.")


@dataclass
class Watching:
    """A command that watches folders.

    Args:
        restorer: what restores the photos.
        request: what was asked for.
        show: prints what became of a photo.
        screen: the line at the end of the terminal.
        watch: where what happens is written down.
        quiet: print errors only.
    """

    restorer: Restorer
    request: PhotosRequest
    show: Callable[[Record], None]
    screen: Screen
    watch: Watch
    quiet: bool
    summary: Summary = field(default_factory=lambda: Summary(keep=False))
    _said: set[str] = field(default_factory=set)
    _batch: Batch | None = None

    def run(self, sleep: Callable[[float], None] = time.sleep) -> int:
        """Restore what comes, until that is interrupted; return the exit code.

        Args:
            sleep: waits between two looks.
        """
        request, begin = self.request, time.monotonic()
        check(request, self.restorer)
        inbox = Inbox(request.photos, request.out, self._new_batch, request.name, self._arranged)
        settling = Settling([Path(each) for each in request.photos], request.out)
        self._say(f"Watching {', '.join(request.photos)}; Ctrl-C ends it.")
        try:
            for settled in settling.looks(sleep):
                for problem in settling.problems:
                    self._once(f"{problem.filename} cannot be listed: {problem.strerror}. It is tried again.")
                if settled:
                    inbox.take(settled, on_found=self._found, on_start=self._begin, on_record=self._end)
                self.screen.doing("Waiting for photos")
        except KeyboardInterrupt:
            self.summary.seconds = time.monotonic() - begin
            self.summary.abandoned = self._batch is not None and self._batch.summary.abandoned
            self.watch.log.summarise(self.summary, self.summary.count())
            for line in [] if self.quiet else summary_lines(self.summary, self.summary.count()):
                messages.print(line)
        return 1 if self.summary.count("failed") else 0

    def _new_batch(self) -> Batch:
        request = self.request
        self._batch = Batch(
            self.restorer,
            overwrite=request.overwrite,
            resume=request.resume,
            retry_failed=request.retry_failed,
            redo=request.redo,
        )
        self._batch.share(request.jobs, threads=request.threads or threads_said())
        return self._batch

    def _arranged(self, jobs: list[Job]) -> list[Job]:
        return on_prints(on_pages(jobs, self.request.pages), self.request.split)

    def _found(self, found: Discovery, count: int) -> None:
        for line in found_lines(found, any_left=count > 0):
            self._once(line)
        self.watch.metrics.photos(self.summary.count() + count, None)
        if count:
            self.watch.log.say(f"{plural(count, 'photo')} came")

    def _begin(self, job: Job) -> None:
        self.screen.doing(f"Restoring {job.source.name}")

    def _end(self, record: Record) -> None:
        self.summary.add(record)
        self.show(record)

    def _say(self, line: str) -> None:
        self.watch.log.say(line)
        if not self.quiet:
            messages.print(shown(line))

    def _once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.watch.log.say(line)
            if not self.quiet:
                note(line)
