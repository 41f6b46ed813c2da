"""What moves at the end of the terminal while a command works, and is gone when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from rich.console import RenderableType
from rich.constrain import Constrain
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
from rich.table import Column

from restorer.cli.console import Lines, messages, on_one_terminal

SOON = 1.0
"""Seconds after which a command that is still at work says what it does."""
ECHO = 3
"""Columns left free at the end of the line, where terminals write "^C": it must not begin another line."""
LEAST_BAR = 10
"""Columns of a bar; the words beside it are cut where both do not fit."""


class Moving(Progress):
    """Bars at the end of a terminal, above which everything else is printed; nothing of them is left at the end.

    Args:
        columns: of each bar.
        console: the terminal.
        after: seconds from now on before anything is seen.
        more: see `rich.progress.Progress`.
    """

    def __init__(self, *columns: ProgressColumn, console: Lines = messages, after: float = 0.0, **more: Any) -> None:
        self._console = console
        self._from = time.monotonic() + after
        # A stream that leads elsewhere is never caught: what is written into a file must reach it.
        more = {"transient": True, "redirect_stdout": on_one_terminal(), **more}
        super().__init__(*columns, console=console, **more)

    def start(self) -> None:
        """Begin to show the bars."""
        if not self.disable:
            self._console.moving = True
        super().start()

    def stop(self) -> None:
        """Take the bars away."""
        nested = len(self._console._live_stack) > 1
        super().stop()
        self._console.moving = self._console.moving and nested

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is seen now."""
        if time.monotonic() >= self._from:
            width = max(self._console.width - ECHO, 1)
            yield from (Constrain(each, width) for each in super().get_renderables())


def can_move(console: Lines) -> bool:
    """Tell whether something can move on a console: a terminal that knows how to go back."""
    return console.is_terminal and not console.is_dumb_terminal


def spinner() -> ProgressColumn:
    """Return a column that turns, of letters that every encoding has."""
    return SpinnerColumn("line", style="progress.spinner")


def words() -> ProgressColumn:
    """Return the column of what is done, as wide as the others leave it room for."""
    column = Column(ratio=3, no_wrap=True, overflow="ellipsis")
    return TextColumn("{task.description}", markup=False, table_column=column)


def bar() -> ProgressColumn:
    """Return the bar, which shares the line with the words."""
    return BarColumn(bar_width=None, table_column=Column(ratio=2, min_width=LEAST_BAR, max_width=40))
