"""`--log FILE`: what happened in a run, line by line, for whoever reads it the next morning.

Each line has the time of day with its offset, a level, the machine and the process. Lines are only ever added, each in
one write at the end of the file, so that parts of a shared run may have one file between them; where the file is moved
away meanwhile (as logrotate does), the next line begins another one.
"""

from __future__ import annotations

import datetime
import logging
import os
import platform
import re
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from restorer.batch.keeping import beginning, check_name
from restorer.cli.console import note, plain
from restorer.cli.said import details, summary_lines
from restorer.errors import RestorerError, UsageError
from restorer.formatting import duration
from restorer.storage import locks
from restorer.version import __version__

if TYPE_CHECKING:
    from restorer.batch.summary import Summary
    from restorer.record import Record

FLAG = "--log"
MOST_WAITED = 0.5
"""Seconds that a line waits for another run's; then it is written all the same, at the end as ever."""
_LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S* (DEBUG|INFO|WARNING|ERROR) +\S+\[\d+\] ")
_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows


class RunLog:
    """The log of a run.

    Args:
        path: the file; None = nothing is kept.

    Raises:
        UsageError: the file is something else than a log, or cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._with: tuple[str, ...] = ()
        self.handler: logging.Handler | None = None
        """What adds lines; None where nothing is kept."""
        self._log = logging.Logger("restorer.run")
        self._log.addHandler(logging.NullHandler())  # else Python prints what nobody keeps
        if path is not None:
            self.handler = _Lines(path)
        self._log.addHandler(self.handler or logging.NullHandler())  # without one, logging itself prints warnings

    def begin(self, typed: Sequence[str]) -> None:
        """Write down what was asked for.

        Args:
            typed: the arguments of the command.
        """
        self.say(f"start: restore {shlex.join(typed)}")
        self.say(f"restorer {__version__}, Python {platform.python_version()}, in {Path.cwd()}")

    def say(self, line: str, level: int = logging.INFO) -> None:
        """Write down a line that the user is told, or would be."""
        self._log.log(level, "%s", line)

    def heard(self, say: Callable[[str], object] | None, level: int = logging.INFO) -> Callable[[str], None]:
        """Return what writes down each line that it is told, and hands it on to `say`."""

        def told(line: str) -> None:
            self.say(line, level)
            if say is not None:
                say(line)

        return told

    def warn(self, line: str) -> None:
        """Write down a line that even a quiet run says."""
        self.say(line, logging.WARNING)

    def add(self, record: Record) -> None:
        """Write down what became of a photo."""
        if self.handler is None:
            return
        self._say_with(record)
        name = record.input if record.page is None else f"{record.input}, page {record.page}"
        if record.status == "failed":
            error = record.error or {}
            told = f"{error.get('message')} {error.get('remedy') or ''}".strip()
            if record.failed_before:
                self.warn(f"failed in an earlier run: {name}: {told}")
            else:
                after = duration(record.seconds.get("total", 0.0))
                self.say(f"failed ({error.get('kind')}) after {after}: {name}: {told}", logging.ERROR)
        else:
            ends = {"dry run": "would be done"}.get(record.reason or "", "done" if record.status == "ok" else "skipped")
            self.say(f"{ends}: {name} -> {record.output} {details(record)}")
        for line in record.warnings:
            self.warn(f"{name}: {line}")

    def _say_with(self, record: Record) -> None:
        """Write down what does the work, when the first photo was worked on with it."""
        if record.status != "ok":
            return
        parts = [
            f"{part} {each.get('name')}" + (f" (sha256 {each['sha256']}...)" if each.get("sha256") else "")
            for part, each in record.components.items()
        ]
        used = (*parts, f"device {record.device}", f"engine {record.engine}", f"precision {record.precision}")
        if used != self._with:
            self._with = used
            self.say(f"with: {', '.join(used)}")

    def summarise(self, summary: Summary, count: int) -> None:
        """Write down how the run ended."""
        for line in summary_lines(summary, count)[:1]:
            self.say(f"end: {Text.from_markup(line, emoji=False).plain}")

    def fail(self, error: BaseException) -> None:
        """Write down what ended the run early."""
        if isinstance(error, RestorerError):
            self.say(f"the run ends: {error.message} {error.remedy or ''}".strip(), logging.ERROR)
        elif isinstance(error, KeyboardInterrupt):
            self.warn("interrupted")
        elif not isinstance(error, SystemExit):
            self._log.error("the run ends: %s: %s", type(error).__name__, error, exc_info=error)

    def end(self, code: int) -> None:
        """Write down the exit code, and close the file."""
        self.say(f"exit code {code}")
        if self.handler is not None:
            self.handler.close()


class _Lines(logging.Handler):
    """Adds lines to a file. What cannot be written stops no run: it is said once on the terminal."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        check_name(path, FLAG)
        first = beginning(path, FLAG)
        if first and not _LINE.match(first):
            raise UsageError(f"--log {path} exists and is no log of this tool.", "Name another file.")
        self._path = path
        self._who = f"{platform.node() or 'localhost'}[{os.getpid()}]"
        self._descriptor: int | None = None
        self._failed = False
        try:
            self._open()
        except OSError as error:
            reason = f"--log {path} cannot be written: {error.strerror or error}."
            raise UsageError(reason, "Name another file.") from error

    def _open(self) -> int:
        """Return the file, opened again where the one of that name is another one by now."""
        if self._descriptor is not None and self._is_there(self._descriptor):
            return self._descriptor
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _BINARY | getattr(os, "O_NONBLOCK", 0)
        self._descriptor = os.open(self._path, flags, 0o666)  # a pipe that nobody reads is an error, not a wait
        if os.name != "nt":
            os.set_blocking(self._descriptor, True)
        return self._descriptor

    def _is_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def emit(self, record: logging.LogRecord) -> None:
        """Add one entry."""
        now = datetime.datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")
        text = self.format(record)
        begin = f"{now} {record.levelname:7} {self._who} "
        lines = "".join(f"{begin}{plain(line)}\n" for line in text.split("\n")) if record.exc_info else ""
        content = (lines or f"{begin}{plain(text)}\n").encode("utf-8", "backslashreplace")
        try:
            self._add(content)
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._failed = True
                note(f"--log {self._path} cannot be written: {error.strerror or error}.")

    def _add(self, content: bytes) -> None:
        descriptor = self._open()
        until = time.monotonic() + MOST_WAITED
        while locks.try_lock(descriptor) is False and time.monotonic() < until:  # locks matter on network disks alone
            time.sleep(0.01)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        finally:
            locks.unlock(descriptor)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        super().close()
