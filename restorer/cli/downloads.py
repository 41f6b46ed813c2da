"""Downloads: what a plain run takes, whether anybody can be asked for it, and the bar that shows it coming."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from restorer import weights
from restorer.errors import WeightsUnavailableError
from restorer.weights.progress import OnProgress, Progress, announcement, megabytes

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from restorer.cli.console import Lines
    from restorer.weights import Table


class ProgressBar:
    """Shows downloads on a terminal: `with ProgressBar(console) as show: fetch(table, on_progress=show)`.

    Says size and rough time before the first byte; where the console is no terminal, only that line is printed.
    """

    def __init__(self, console: Lines) -> None:
        self._console = console
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> OnProgress:
        return self._show

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _show(self, step: Progress) -> None:
        if step.stage == "wait":
            self._console.print(f"Another process is downloading {step.table}; waiting for it.")
        elif step.stage == "start":
            self._end()
            self._console.print(announcement(step))
            self._begin(step)
        elif step.stage == "done":
            self._end()
        elif self._bar is not None and self._task is not None:
            text = f"Verifying {step.table}" if step.stage == "verify" else step.table
            self._bar.update(self._task, completed=step.received, total=step.total, description=text)

    def _begin(self, step: Progress) -> None:
        if not self._console.is_terminal:
            return
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        from restorer.cli.moving import Moving

        self._bar = Moving(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task(step.table, total=step.total, completed=step.received)
        self._bar.start()

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None


def plain_names() -> list[str]:
    """Return what `restore PHOTO` takes on this machine where everything can be had."""
    from restorer.engine import device
    from restorer.pipeline.choice import plain_run

    return plain_run(weights.tables(), device.choose("auto", "auto").kind)


def check_network(tables: Sequence[Table], offline: bool) -> None:
    """Raise one error for all where several are wanted and no host that has any of them answers."""
    if len(tables) < 2:
        return
    away = weights.missing(tables, offline=offline)
    silent = [table for table in tables if table.name in away and away[table.name].kind in ("network", "offline")]
    if len(silent) > 1 and len(silent) == sum(weights.cached(table) is None for table in tables):
        names = ", ".join(f"{table.name} ({megabytes(table.size)})" for table in silent)
        reasons = "; ".join(dict.fromkeys(away[table.name].reason for table in silent))
        raise WeightsUnavailableError(
            silent[0].name,
            f"Not on this machine, and no host that has them can be asked: {names}: {reasons}.",
            "Type the same again when there is a network; HF_ENDPOINT names a mirror of the Hub, HTTPS_PROXY a proxy.",
        )
