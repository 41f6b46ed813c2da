"""What a download tells while it goes, and a bar on the terminal that shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_ASSUMED_SPEED = 50e6 / 8  # bytes a second; said together with the estimate


@dataclass(frozen=True)
class Progress:
    """One step of a download.

    Attributes:
        table: what is downloaded.
        source: from where, as people read it (a host).
        stage: "wait" for another process that downloads the same; "start", once a source answered, before anything is
            downloaded; "receive"; "verify"; "done".
        received: bytes so far; above 0 at the start where an earlier download goes on.
        total: bytes in all; None where neither table nor server says.
    """

    table: str
    source: str
    stage: Literal["wait", "start", "receive", "verify", "done"]
    received: int = 0
    total: int | None = None


OnProgress = Callable[[Progress], None]


def megabytes(size: int | None) -> str:
    """Return a size as people read it: "349 MB", in millions of bytes; small ones with a decimal."""
    if size is None:
        return "unknown size"
    return f"{size / 1e6:.0f} MB" if size >= 10e6 else f"{size / 1e6:.1f} MB"


def rough_time(size: int) -> str:
    """Return how long a download of this size takes on an ordinary line: "about 1 min at 50 Mbit/s"."""
    seconds = size / _ASSUMED_SPEED
    if seconds < 1:
        text = "about a second"
    elif seconds < 50:
        text = f"about {max(5, round(seconds / 5) * 5)} s"
    else:
        text = f"about {max(1, round(seconds / 60))} min"
    return f"{text} at 50 Mbit/s"


def announcement(step: Progress) -> str:
    """Return the line that is said before a download: what, how large, from where, how long."""
    if step.total is None:
        return f"Downloading {step.table} from {step.source}; its size is not known"
    left = step.total - step.received
    size = megabytes(step.total)
    if step.received:
        return (
            f"Downloading the rest of {step.table} from {step.source}: {megabytes(left)} of {size}, {rough_time(left)}"
        )
    return f"Downloading {step.table} from {step.source}: {size}, {rough_time(left)}"


class ProgressBar:
    """Shows downloads on a terminal: `with ProgressBar(console) as show: fetch(table, on_progress=show)`.

    Says size and rough time before the first byte; where the console is no terminal, only that line is printed.
    """

    def __init__(self, console: Console) -> None:
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
            self._console.print(f"Another process is downloading {step.table}; waiting for it.", highlight=False)
        elif step.stage == "start":
            self._end()
            self._console.print(announcement(step), highlight=False)
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
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(step.table, total=step.total, completed=step.received)
        self._bar.start()

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None
