"""Figures as people say them, wherever they are shown: on the terminal and in the report."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a duration as people say it: "4 ms", "0.8 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds >= 0.05 else f"{1000 * seconds:.0f} ms"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
