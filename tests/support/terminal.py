r"""A terminal for the command: a real pseudo-terminal of the system, and what a person would see on its screen.

    with Terminal([sys.executable, "-m", "restorer", "a.jpg"], columns=80, folder=folder) as terminal:
        terminal.wait()
        print("\n".join(terminal.lines()))

The screen is kept by pyte, which understands what the command writes as a VT100 would.
"""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pytest

pyte = pytest.importorskip("pyte", reason="pyte is not installed (pip install '.[test]')")
fcntl = pytest.importorskip("fcntl", reason="this system has no pseudo-terminals")
termios = pytest.importorskip("termios", reason="this system has no pseudo-terminals")

ROWS = 200
"""Lines of the screen: enough that nothing scrolls away."""
PATIENCE = 300.0
"""Seconds after which a command that does not end is a failure; a busy machine is slow."""


class Terminal:
    """A command that runs in a terminal.

    Args:
        command: what to run.
        columns: width of the terminal.
        folder: the working folder.
        environment: variables more than those of this process.
        stdout: where stdout goes, if not to the terminal.

    Attributes:
        written: all bytes that the command wrote to the terminal.
        seen: the screens that stood at each moment when something was written, the last one of each.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        stdout: int | None = None,
    ) -> None:
        self.written = b""
        self.seen: list[list[str]] = []
        self._screen = pyte.Screen(columns, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        variables = {**os.environ, "TERM": "xterm-256color", **(environment or {})}
        for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            variables.pop(name, None)

        def on_start() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C comes from it

        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            preexec_fn=on_start,
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._ours)

    def wait(self, until: Callable[[list[str]], bool] | None = None) -> int | None:
        """Wait until the screen is as asked for, or the command has ended; return its exit code, if it has."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if until is not None and until(self.lines()):
                return self._process.poll()
            if not self._read():
                return self._process.wait()
        raise AssertionError("The command did not end:\n" + "\n".join(self.lines()))

    def type(self, keys: bytes) -> None:
        """Type on its keyboard."""
        os.write(self._ours, keys)

    def lines(self) -> list[str]:
        """Return what stands on the screen, without blanks and empty lines at the ends."""
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def cursor_is_shown(self) -> bool:
        """Whether the cursor is to be seen."""
        return not self._screen.cursor.hidden

    def _read(self) -> bool:
        """Take in what was written; return False once nobody is left who could write."""
        if not select.select([self._ours], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError as error:
            if error.errno != errno.EIO:  # what Linux says when the other end is closed
                raise
            data = b""
        self.written += data
        self._stream.feed(data)
        if data:
            self.seen.append(self.lines())
        return bool(data)


def masked(lines: Sequence[str]) -> list[str]:
    """Return lines in which every duration, which differs from run to run, is written as "0.0 s"."""
    said = (re.sub(r"\d+ h \d+ min|\d+ min \d+ s|\d+(\.\d+)? (ms|s|min|h)\b", "0.0 s", line) for line in lines)
    return [line.replace("0.0 s to 0.0 s", "about 0.0 s") for line in said]  # a range, where a machine is slow
