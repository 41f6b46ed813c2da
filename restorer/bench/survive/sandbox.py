"""Processes that try cases: with a limit of memory, watched for how long a case takes, replaced when they die.

They are forked from a process that has loaded what they need, so that libraries are loaded once. What a case does to a
process dies with it.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 30.0
"""Of a core, beyond which a case hangs; other programs may have the core meanwhile."""
MOST_WAITED = 10.0
"""Times the limit that are waited at most, where a case waits for something that never comes."""
_LOOK = 0.2


@contextmanager
def forkable() -> Iterator[None]:
    """Fork within this: OpenCV has no pool of threads then, which a fork does not take along and would wait for."""
    cv2 = sys.modules.get("cv2")
    threads = cv2.getNumThreads() if cv2 else 1
    if cv2:
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        if cv2:
            cv2.setNumThreads(threads)


class Marker:
    """Where a worker says which case it is at, so that one that dies or hangs tells of it.

    It is memory that both processes see: the number of the case, and when it began, by the clock and by the core.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 24)

    def begin(self, number: int) -> None:
        """Say that a case begins."""
        self._memory[:24] = struct.pack("<qdd", number, time.monotonic(), time.process_time())

    def pause(self) -> None:
        """Say that no case is under way."""
        self.begin(-1)

    @property
    def number(self) -> int:
        """The case that is under way; -1 for none."""
        return int(struct.unpack("<qdd", self._memory[:24])[0])

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - float(struct.unpack("<qdd", self._memory[:24])[1])

    @property
    def begun(self) -> float:
        """Seconds of a core that its process had had when it began."""
        return float(struct.unpack("<qdd", self._memory[:24])[2])

    @property
    def spent(self) -> float:
        """Seconds of a core since it began; for its own process."""
        return time.process_time() - self.begun


@dataclass(frozen=True)
class Job:
    """Cases of one kind that a worker tries in a row: those of the numbers `first` to `last`, the last left out."""

    kind: str
    seed: int
    first: int
    last: int


@dataclass(frozen=True)
class Died:
    """What is told of a job in which a worker died, was killed, or raised: at which case, and of what."""

    job: Job
    number: int
    words: str


Try = Callable[[Job, Marker], Any]
"""Tries the cases of a job, marks each as it begins, and returns what can be sent to another process."""


def run(
    jobs: Iterable[Job], attempt: Try, *, memory: int, seconds: float = LIMIT_SECONDS
) -> Iterator[tuple[Job, Any | Died]]:
    """Try jobs one after the other in a worker of their own; yield what came of each.

    Of a job in which a worker ends, what comes before that case is tried again without it, so that all of it counts.

    Args:
        jobs: what to try.
        attempt: tries one.
        memory: bytes that a worker may take beyond what it begins with.
        seconds: that a case may take.
    """
    worker: _Worker | None = None
    try:
        for job in jobs:
            left = [job]
            while left:
                part = left.pop()
                if part.first >= part.last:
                    continue
                worker = worker or _Worker(attempt, memory, seconds)
                answer = worker.ask(part)
                if isinstance(answer, Died):
                    worker.end()
                    worker = None
                    at = answer.number
                    if part.first <= at < part.last:
                        left += [
                            Job(part.kind, part.seed, at + 1, part.last),
                            Job(part.kind, part.seed, part.first, at),
                        ]
                yield part, answer
    finally:
        if worker is not None:
            worker.end()


class _Worker:
    """A forked process that tries jobs."""

    def __init__(self, attempt: Try, memory: int, seconds: float) -> None:
        self._seconds = seconds
        self._marker = Marker()
        context = get_context("fork")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, attempt, self._marker, memory), daemon=True)
        with forkable():
            self._process.start()
        other.close()

    def ask(self, job: Job) -> Any | Died:
        """Return what comes of a job."""
        self._marker.pause()
        self._connection.send(job)
        while not self._connection.poll(_LOOK):
            if not self._process.is_alive():
                break
            spent = seconds_of(self._process.pid or 0) - self._marker.begun
            if self._marker.number >= 0 and max(spent, self._marker.age / MOST_WAITED) > self._seconds:
                self._process.kill()
                return Died(job, self._marker.number, f"it took more than {self._seconds:.0f} s")
        try:
            answer = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            return Died(job, self._marker.number, _death(self._process.exitcode))
        return answer if not isinstance(answer, str) else Died(job, self._marker.number, answer)

    def end(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.join()


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the process was ended by {signal.Signals(-code).name}"
    return f"the process ended with the code {code}"


def _work(connection: Connection, attempt: Try, marker: Marker, memory: int) -> None:
    limit_memory(memory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            answer = attempt(job, marker)
        except Exception:  # noqa: BLE001 - whatever gets out of a case is what the campaign looks for
            answer = traceback.format_exc()
        connection.send(answer)


def seconds_of(process: int) -> float:
    """Return the seconds of a core that a process has had; 0 where that cannot be told."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def limit_memory(more: int) -> None:
    """Let this process take no more memory than it has, and so many bytes."""
    if sys.platform == "linux":
        import resource

        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + more, size + more))


class Peak:
    """The most memory that cases take beyond what the process had before; costs a call of the system for each."""

    def __init__(self) -> None:
        self._base = self._reset()

    def grown(self) -> float:
        """Return by how many MiB the process has grown at its largest since it was asked last; about 0 as a rule."""
        if sys.platform != "linux":
            return 0.0
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if most <= self._base + 1024:
            return 0.0
        grown = (most - self._base) / 1024
        self._base = self._reset()
        return grown

    def _reset(self) -> int:
        """Forget the peak; return what the process has now, KiB."""
        if sys.platform != "linux":
            return 0
        import resource

        with open("/proc/self/clear_refs", "w") as stream:  # noqa: PTH123 - no ordinary file
            stream.write("5")
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Silence:
    """Keeps what libraries print on stderr, below Python, and tells whether there was any."""

    def __init__(self) -> None:
        self._file = os.memfd_create("stderr") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
        sys.stderr.flush()
        os.dup2(self._file, 2)

    def said(self) -> str:
        """Return what was printed since it was asked last."""
        size = os.lseek(self._file, 0, os.SEEK_CUR)
        if size == 0:
            return ""
        os.lseek(self._file, 0, os.SEEK_SET)
        text = os.read(self._file, size)
        os.lseek(self._file, 0, os.SEEK_SET)
        os.ftruncate(self._file, 0)
        return text.decode("utf-8", "replace")
