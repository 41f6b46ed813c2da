"""`--metrics FILE`: how far a run is, for programs: written every minute and at the end, each time as a whole.

A name that ends in .prom gets the text format of Prometheus, as the textfile collector of node_exporter reads it; any
other gets JSON. Both hold the same figures.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from restorer.batch.keeping import beginning, check_name
from restorer.errors import UsageError
from restorer.record import Record
from restorer.storage.atomic import write_atomic
from restorer.version import __version__

FLAG = "--metrics"
EVERY = 60.0
"""Seconds between two writings."""
STALE = 3 * EVERY
"""Seconds after which nobody is taken to write a file any more whose process cannot be asked."""
PATIENCE = 5.0
"""Seconds that the end of a run waits for a writing that is going on, on a disk that may not answer."""
_HEAD = re.compile(r'(?:# )?(\{"tool": "restorer".*\})$', re.MULTILINE)

STATES = {0: "finished", 1: "finished", 4: "finished", 124: "out of time", 130: "interrupted"}
"""What a run's state is at its end, by the exit code; any other is "failed"."""


class Metrics:
    """The figures of a run, and the file that has them.

    Its methods may be called from several threads. The file is written by a thread of its own, which never keeps the
    process from ending; what cannot be written is said once, and stops no run.

    Args:
        path: the file; None = none is written.
        shard: "I/N" where the run is a part.
        warn: hears when the file cannot be written.
        every: seconds between two writings.

    Raises:
        UsageError: the file is something else, or another run writes it just now.
    """

    def __init__(
        self, path: Path | None, *, shard: str | None = None, warn: Callable[[str], object], every: float = EVERY
    ) -> None:
        self._path = path
        self._warn = warn
        self._every = every
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed = False
        self._begin = time.time()
        self._clock = time.monotonic()
        self._photos_from: float | None = None
        self._total: int | None = None
        self._left: tuple[float | None, float] = None, 0.0
        self._counts: Counter[str] = Counter()
        self._last: float | None = None
        self._head = {
            "tool": "restorer", "version": __version__, "host": platform.node(), "pid": os.getpid(), "shard": shard,
        }  # fmt: skip
        self._state: tuple[str, int | None] = "running", None
        if path is not None:
            check_name(path, FLAG)
            _check_free(path)
            self._write()
            self._thread = threading.Thread(target=self._go_on, name="metrics", daemon=True)
            self._thread.start()

    def photos(self, count: int, left: float | None) -> None:
        """Take in how many photos there are, and how many seconds they are expected to take; None = nobody knows."""
        with self._guard:
            self._total, self._photos_from = count, time.monotonic()
            self._left = left, time.monotonic()

    def add(self, record: Record, left: Callable[[], float | None] | None = None) -> None:
        """Take in how a photo ended; `left` tells how many seconds the others are expected to take."""
        if self._path is None:
            return
        expected = None if left is None else left()
        with self._guard:
            outcome = record.status
            if record.status == "failed":
                outcome = "failed_before" if record.failed_before else "failed_new"
            self._counts[outcome] += 1
            self._counts["warnings"] += len(record.warnings)
            if record.status == "ok":
                self._counts["faces"] += sum(face.restored for face in record.faces)
            self._left, self._last = (expected, time.monotonic()), time.time()

    def end(self, code: int) -> None:
        """Write the figures once more, with the exit code."""
        if self._path is None:
            return
        with self._guard:
            self._state = STATES.get(code, "failed"), code
        self._stop.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)
            if self._thread.is_alive():
                self._warn(f"--metrics {self._path} was not written at the end: its disk does not answer.")
                return
        self._write()

    def _go_on(self) -> None:
        while not self._stop.wait(self._every):
            self._write()

    def _write(self) -> None:
        assert self._path is not None
        try:
            write_atomic(self._path, self.text(), durable=False)
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._warn(f"--metrics {self._path} cannot be written: {error.strerror or error}.")

    def text(self) -> str:
        """Return the content of the file."""
        figures = self.figures()
        if self._path is not None and self._path.suffix.lower() == ".prom":
            return _prometheus(figures)
        return json.dumps(figures, indent=1) + "\n"

    def figures(self) -> dict[str, Any]:
        """Return the figures as they are now."""
        with self._guard:
            now, counts = time.monotonic(), self._counts
            state, code = self._state
            failed = counts["failed_new"] + counts["failed_before"]
            seen = counts["ok"] + counts["skipped"] + failed
            left, at = self._left
            eta = max(left - (now - at), 0.0) if left is not None and code is None else None
            worked, since = counts["ok"] + counts["failed_new"], self._photos_from
            hours = (now - since) / 3600 if since is not None else 0.0
            return {
                **self._head,
                "state": state,
                "exit_code": code,
                "started": _time(self._begin),
                "updated": _time(time.time()),
                "last_photo": None if self._last is None else _time(self._last),
                "seconds": round(now - self._clock, 1),
                "photos": {
                    "total": self._total,
                    "done": counts["ok"],
                    "skipped": counts["skipped"],
                    "failed": failed,
                    "failed_new": counts["failed_new"],
                    "failed_before": counts["failed_before"],
                    "left": None if self._total is None else max(self._total - seen, 0),
                },
                "faces": counts["faces"],
                "warnings": counts["warnings"],
                "photos_an_hour": round(worked / hours, 1) if worked and hours else None,
                "eta_seconds": None if eta is None else round(eta),
                "eta": None if eta is None else _time(time.time() + eta),
                "memory_bytes": _memory(),
                "memory_peak_bytes": _peak(),
            }


def _check_free(path: Path) -> None:
    """Raise `UsageError` where a file is there that this tool did not write, or that another run writes just now."""
    if path.exists() and not path.is_file():
        raise UsageError(
            f"--metrics {path} is a pipe or a device, which cannot be written anew each time.", "Name another file."
        )
    content = beginning(path, FLAG, 10_000)
    if not content:
        return
    try:
        text = content.decode()
        found = json.loads(text) if text.startswith("{") else json.loads(_HEAD.findall(text)[0])
        if found["tool"] != "restorer":
            raise KeyError("tool")
        running, host, pid = found["state"] == "running", str(found["host"]), int(found["pid"])
        age = time.time() - datetime.datetime.fromisoformat(found["updated"]).timestamp()
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UsageError(f"--metrics {path} exists and is no file of this tool.", "Name another file.") from error
    if running and _is_alive(host, pid, age):
        told = f"--metrics {path} is being written by another run (process {pid} on {host})."
        raise UsageError(told, "Give each run, and each part of one, a file of its own.")


def _is_alive(host: str, pid: int, age: float) -> bool:
    """Return whether a process may still be at work; one of another machine is, until it has not written for long."""
    if host != platform.node() or os.name == "nt":
        return age < STALE
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return age < STALE  # the number may be another process's by now


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="seconds")


def _memory() -> int | None:
    """Return the bytes of memory that the process has now; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _peak() -> int | None:
    """Return the most bytes that the process has had; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# -------------------------------------------------------------------------------------------------------- Prometheus

_GAUGES = (
    ("run_faces", "Faces restored in this run.", "faces"),
    ("run_warnings", "Warnings in the records of this run.", "warnings"),
    ("run_seconds", "Seconds since the run began.", "seconds"),
    ("run_photos_per_hour", "Photos worked on in an hour.", "photos_an_hour"),
    ("run_eta_seconds", "Seconds that the run is expected to take from now on.", "eta_seconds"),
    ("run_memory_bytes", "Resident memory.", "memory_bytes"),
    ("run_memory_peak_bytes", "The most resident memory so far.", "memory_peak_bytes"),
    ("run_exit_code", "Exit code; absent while the run is at work.", "exit_code"),
)
_TIMES = (
    ("start", "When the run began", "started"),
    ("update", "When these figures were written", "updated"),
    ("last_photo", "When a photo was finished last", "last_photo"),
)


def _prometheus(figures: dict[str, Any]) -> str:
    """Return the figures as Prometheus reads them; what nobody knows is left out."""
    head = {name: figures[name] for name in ("tool", "version", "host", "pid", "shard", "state", "updated")}
    shard = {"shard": figures["shard"] or ""}
    lines = [f"# {json.dumps(head)}"]

    def gauge(name: str, help: str, samples: list[tuple[dict[str, Any], Any]]) -> None:
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            lines.extend((f"# HELP restorer_{name} {help}", f"# TYPE restorer_{name} gauge"))
            lines.extend(f"restorer_{name}{_labels(labels)} {value}" for labels, value in known)

    about = {"version": figures["version"], "state": figures["state"], "pid": figures["pid"]}
    gauge("run_info", "Which run this is.", [({**shard, **about}, 1)])
    photos = figures["photos"]
    outcomes = ("done", "skipped", "failed_new", "failed_before", "left")
    samples = [({**shard, "outcome": name}, photos[name]) for name in outcomes]
    gauge("run_photos", "Photos of the run by what became of them.", samples)
    for name, help, field in _GAUGES:
        gauge(name, help, [(shard, figures[field])])
    for name, help, field in _TIMES:
        moment = figures[field] and datetime.datetime.fromisoformat(figures[field]).timestamp()
        gauge(f"run_{name}_timestamp_seconds", f"{help}, in seconds of Unix time.", [(shard, moment)])
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, Any]) -> str:
    def escaped(value: Any) -> str:
        return str(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items()) + "}"
