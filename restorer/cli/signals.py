"""Polite requests to stop, which end a command as Ctrl-C does."""

from __future__ import annotations

import signal


def hear_signals() -> None:
    """Treat polite requests to stop like Ctrl-C: the work in hand leaves nothing half-written."""
    for name in ("SIGTERM", "SIGHUP"):  # the latter when a terminal is closed; Windows has none
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores it
            signal.signal(number, _stop)


def _stop(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
