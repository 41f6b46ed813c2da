"""Interrupts that come while Python itself waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heard() -> Iterator[None]:
    """Let an interrupt be one that came while a thread waited for another, and has let go of their lock for that.

    Leaving the lock, which is not held then, raises `RuntimeError` in the interrupt's place.

    Raises:
        KeyboardInterrupt: an error came of one.
    """
    try:
        yield
    except RuntimeError as error:
        before = error.__context__
        while before is not None:
            if isinstance(before, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            before = before.__context__
        raise
