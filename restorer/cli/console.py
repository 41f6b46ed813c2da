"""What people read: messages and progress go to stderr, results and records to stdout."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from restorer.errors import RestorerError

messages = Console(stderr=True, highlight=False, soft_wrap=True)
results = Console(highlight=False, soft_wrap=True)


def show_error(error: RestorerError, *, prefix: str = "Error") -> None:
    """Print what happened and what to do next, without a traceback."""
    messages.print(f"[bold red]{prefix}:[/] {escape(error.message)}")
    if error.remedy:
        messages.print(f"  {escape(error.remedy)}")


def say(line: str) -> None:
    """Print one line for the user."""
    messages.print(escape(line))


def duration(seconds: float) -> str:
    """Return a duration as people say it: "0.8 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
