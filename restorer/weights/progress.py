"""What a download tells while it goes, and how it is said in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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


def megabytes(size: int | None, at_least: int | None = None) -> str:
    """Return a size as people read it: "349 MB", in millions of bytes; small ones with a decimal.

    Args:
        size: of the file; None = not known.
        at_least: what is known then.
    """
    if size is None:
        return "unknown size" if at_least is None else f"{megabytes(at_least)} or more"
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
