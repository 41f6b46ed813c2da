"""What is seen while a run works: a bar with an honest estimate on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from restorer.cli.console import messages, plain
from restorer.formatting import duration

if TYPE_CHECKING:
    from restorer.batch.discovery import Job
    from restorer.batch.estimate import Estimate
    from restorer.pipeline.events import OnStage
    from restorer.record import Record

WRITING = 0.05
"""What is left of a photo's bar for writing it, beside the weights of the stages."""
EVERY = 60.0
"""Seconds between two lines where there is no terminal to draw a bar on."""


@contextmanager
def shown_progress(jobs: Sequence[Job], estimate: Estimate, *, quiet: bool) -> Iterator[ProgressView]:
    """Show photo, stage, how far it is and the time left."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn() if len(jobs) > 1 else TextColumn(""),
        _TimeLeft(estimate),
    )
    progress = Progress(*columns, console=messages, transient=True, disable=quiet or not messages.is_terminal)
    with progress:
        yield ProgressView(progress, len(jobs), estimate, lines=not quiet and not messages.is_terminal)


class ProgressView:
    """Hears how a run goes; the whole run is one bar.

    Args:
        progress: where the bar is drawn.
        count: photos of the run.
        estimate: of the time left.
        lines: print a line now and then.
    """

    def __init__(self, progress: Progress, count: int, estimate: Estimate, *, lines: bool) -> None:
        self._progress = progress
        self._count = count
        self._estimate = estimate
        self._lines = lines
        self._stages = _stages()
        self._task = progress.add_task("Starting", total=count)
        self._begun = -1
        self._done = 0
        self._said = time.monotonic()

    def begin(self, job: Job) -> OnStage:
        """Begin with a photo; return what is told how far it is."""
        self._begun += 1
        begun, name = self._begun, plain(job.source.name)
        self._estimate.begin(begun, time.monotonic())

        def on_stage(stage: str, fraction: float) -> None:
            words, begin, end = self._stages.get(stage, (stage, None, 0.0))
            # A stage that is not known here is named, and moves nothing.
            done = None if begin is None else begun + begin + (end - begin) * fraction
            self._progress.update(self._task, completed=done, description=f"{name}: {words}")
            self._say()

        self._progress.update(self._task, completed=begun, description=f"{name}: reading")
        self._say()
        return on_stage

    def end(self, record: Record) -> None:
        """Take in how a photo went."""
        faces = sum(face.restored for face in record.faces)
        self._done += 1
        self._estimate.note(record.status, record.seconds, faces, time.monotonic())

    def _say(self) -> None:
        now = time.monotonic()
        if self._lines and now - self._said >= EVERY:
            self._said = now
            left = duration(self._estimate.left(now))
            messages.print(f"{self._done} of {self._count} photos, about {left} left.")


def _stages() -> dict[str, tuple[str, float | None, float]]:
    """Return each stage's words, and which part of a photo's bar it moves: from where, to where."""
    from restorer.pipeline.stages import stages

    found: dict[str, tuple[str, float | None, float]] = {}
    whole, begin = sum(stage.weight for stage in stages()) + WRITING, 0.0
    for stage in stages():
        found[stage.name] = (stage.words, begin / whole, (begin + stage.weight) / whole)
        begin += stage.weight
    return found


class _TimeLeft(ProgressColumn):
    """The time that the run has left."""

    max_refresh = 0.5

    def __init__(self, estimate: Estimate) -> None:
        super().__init__()
        self._estimate = estimate

    def render(self, task: Task) -> Text:
        return Text(f"about {duration(self._estimate.left(time.monotonic()))} left", style="progress.remaining")
