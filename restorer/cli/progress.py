"""What is seen while a run works: a bar with an honest estimate on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from restorer.cli import moving
from restorer.cli.console import messages, plain
from restorer.cli.moving import Moving, bar, can_move, spinner, words
from restorer.formatting import duration
from restorer.pipeline.events import Counted, Stepped

if TYPE_CHECKING:
    from restorer.batch.discovery import Job
    from restorer.batch.estimate import Estimate
    from restorer.pipeline.events import OnStage
    from restorer.record import Record

WRITING = 0.05
"""What is left of a photo's bar for writing it, beside the weights of the stages."""
EVERY = 60.0
"""Seconds between two lines where there is no terminal to draw a bar on."""
LEAST = 1.0
"""Seconds below which nothing is said of the time left."""


class Screen:
    """The line at the end of the terminal, from the first second of a command on: `with Screen() as screen:`.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._left = _TimeLeft()
        columns = (spinner(), words(), bar(), _Photos(), self._left)
        self._moving = Moving(*columns, after=moving.SOON, expand=True, disable=quiet or not can_move(messages))
        self._task = self._moving.add_task("Starting", total=None)

    def __enter__(self) -> Screen:
        self._moving.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Take the line away."""
        self._moving.stop()

    def doing(self, what: str) -> None:
        """Say what is done that takes as long as it takes."""
        self._moving.update(self._task, description=what, total=None)

    def photos(self, count: int, estimate: Estimate) -> ProgressView:
        """Begin with the photos; return what hears how each goes."""
        lines = not self._quiet and not can_move(messages)
        self._moving.update(self._task, visible=False)  # before the other one is there: never two at once
        view = ProgressView(self._moving, count, estimate, lines=lines)
        self._left.view = view
        return view

    def photo(self, name: str) -> OnStage:
        """Begin with the only photo, of whose time nothing is known; return what is told how far it is."""
        from restorer.batch.estimate import Estimate, Load, Rates

        return self.photos(1, Estimate([Load(0.0)], Rates(complete=False), time.monotonic())).named(name)


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
        self._last = next(reversed(self._stages))
        self._task = progress.add_task("Starting", total=count)
        self._begun = -1
        self._done = 0
        self._said = time.monotonic()
        self._pace = _Pace()

    def begin(self, job: Job) -> OnStage:
        """Begin with a photo; return what is told how far it is."""
        return self.named(job.source.name)

    def named(self, name: str) -> OnStage:
        """Begin with a photo of this name; see `begin`."""
        self._begun += 1
        begun, name = self._begun, plain(name)
        self._estimate.begin(begun, time.monotonic())

        def on_stage(stage: str, fraction: float) -> None:
            what, begin, end = self._stages.get(stage, (stage, None, 0.0))
            # A stage that is not known here is named, and moves nothing.
            done = None if begin is None else begun + begin + (end - begin) * fraction
            if isinstance(fraction, Stepped):
                what = f"{what}, {fraction.words}"
            elif isinstance(fraction, Counted) and fraction.total > 1:
                what = f"{what}, {fraction.done} of {fraction.total}"
            self._pace.note(fraction, last=stage == self._last, now=time.monotonic())
            self._progress.update(self._task, completed=done, description=f"{_capital(what)}: {name}")
            self._say()

        self._pace = _Pace()
        self._progress.update(self._task, completed=begun, description=f"Reading: {name}")
        self._say()
        return on_stage

    def end(self, record: Record) -> None:
        """Take in how a photo went."""
        faces = sum(face.restored for face in record.faces)
        self._done += 1
        self._estimate.note(record.status, record.seconds, faces, time.monotonic(), record.number)
        if record.number is not None:  # it was restored elsewhere, and nobody said that it began
            self._progress.update(self._task, completed=self._done, description="Restoring")
            self._say()

    def left(self) -> float | None:
        """Return the seconds that the run has left; None where that cannot be told."""
        now = time.monotonic()
        if self._count == 1:
            measured = self._pace.left(now)
            if measured is not None:
                return measured
        return self._estimate.known(now)

    def _say(self) -> None:
        now = time.monotonic()
        if self._lines and now - self._said >= EVERY:
            self._said = now
            left = self._estimate.known(now)
            about = "" if left is None else f", about {duration(left)} left"
            messages.print(f"{self._done} of {self._count} photos{about}.")


class _Pace:
    """How quickly the things of a photo's last stage go by: the faces of a crowd.

    The first one also loads the networks, so time counts from its end.
    """

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._now: tuple[Counted, float] | None = None

    def note(self, fraction: float, *, last: bool, now: float) -> None:
        """Take in how far a stage is, and whether it is the last one."""
        if not last or not isinstance(fraction, Counted) or not fraction.done:
            self._now = None
            return
        if self._first is None:
            self._first = fraction.done, now
        self._now = fraction, now

    def left(self, now: float) -> float | None:
        """Return the seconds that the stage has left; None before two things are done, and when they take longer."""
        if self._first is None or self._now is None:
            return None
        (begun, begin), (fraction, last) = self._first, self._now
        if fraction.done <= begun:
            return None
        each = (last - begin) / (fraction.done - begun)
        left = each * (fraction.total - fraction.done) - (now - last)
        return left if left > 0 else None


def _stages() -> dict[str, tuple[str, float | None, float]]:
    """Return each stage's words, and which part of a photo's bar it moves: from where, to where."""
    from restorer.pipeline.stages import stages

    found: dict[str, tuple[str, float | None, float]] = {}
    whole, begin = sum(stage.weight for stage in stages()) + WRITING, 0.0
    for stage in stages():
        found[stage.name] = (stage.words, begin / whole, (begin + stage.weight) / whole)
        begin += stage.weight
    return found


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Photos(ProgressColumn):
    """How many photos are done, where there are several."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        total = int(task.total or 0)
        return Text(f"{int(task.completed)}/{total}" if total > 1 else "", style="progress.download")


class _TimeLeft(ProgressColumn):
    """The time that the run has left, where it can be told."""

    max_refresh = 0.5

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self.view: ProgressView | None = None

    def render(self, task: Task) -> Text:
        left = None if self.view is None else self.view.left()
        known = left is not None and left >= LEAST
        return Text(f"about {duration(left or 0.0)} left" if known else "", style="progress.remaining")
