"""What is kept of a run for those who were not there: its log and its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import typer

from restorer.batch.metrics import Metrics
from restorer.cli.console import note
from restorer.cli.request import PhotosRequest
from restorer.cli.runlog import RunLog
from restorer.errors import RestorerError


@dataclass
class Watch:
    """The log and the figures of a run, and its exit code once that is known."""

    log: RunLog
    metrics: Metrics
    code: int = 1

    @classmethod
    def nothing(cls) -> Watch:
        """Return what keeps nothing."""
        return cls(RunLog(), Metrics(None, warn=note))

    def end(self) -> None:
        """Write down how the run ended."""
        self.metrics.end(self.code)
        self.log.end(self.code)


@contextmanager
def watched(request: PhotosRequest, typed: Sequence[str]) -> Iterator[Watch]:
    """Keep a run's log and figures as far as they were asked for; however it ends, they say so.

    Args:
        request: what was asked for.
        typed: the arguments of the command.

    Raises:
        UsageError: one of the files is something else, or cannot be written.
    """
    log = RunLog(request.log)

    def warn(line: str) -> None:
        note(line)
        log.warn(line)

    watch = Watch(log, Metrics(request.metrics, shard=request.shard, warn=warn))
    log.begin(typed)
    try:
        yield watch
    except typer.Exit:
        raise
    except BaseException as error:
        if isinstance(error, RestorerError):
            watch.code = error.exit_code
        elif isinstance(error, KeyboardInterrupt):
            watch.code = 130
        log.fail(error)
        raise
    finally:
        watch.end()
