"""Runs of `restore` that are watched, and killed at a moment that was chosen; what they said and did, with its time."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from restorer.bench.tools.albums import command, environment


@dataclass
class Run:
    """One run of the command.

    Attributes:
        code: its exit code; negative where it was killed.
        records: what `--json` printed, without a line that a kill cut off.
        begun: the photos whose restoring began, in order.
        lines: what it said, each with the second at which it came.
        first: seconds until the first photo was begun; None when none was.
        seconds: of all.
        clock: (second, processor seconds) at the start, at each photo that began, and at the end.
    """

    code: int
    records: list[dict[str, Any]]
    begun: list[str]
    lines: list[tuple[float, str]]
    first: float | None
    seconds: float
    clock: list[tuple[float, float]] = field(default_factory=list)

    def count(self, status: str) -> int:
        """Return how many photos ended so."""
        return sum(record["status"] == status for record in self.records)

    @property
    def said(self) -> str:
        """All that it said."""
        return "\n".join(line for _, line in self.lines)

    def spent(self, second: float) -> float:
        """Return the processor seconds up to a second of the run."""
        return float(np.interp(second, [at for at, _ in self.clock], [spent for _, spent in self.clock]))


@dataclass
class Moment:
    """When to kill: at whichever comes first.

    Attributes:
        step: of what changes the disk, as `restorer.bench.tools.watched` counts; 0 = at none.
        seconds: after the start; None = at no time.
        photos: once the restoring of so many has begun; 0 = at none.
        delay: seconds after the last of these photos.
    """

    step: int = 0
    seconds: float | None = None
    photos: int = 0
    delay: float = 0.0


def run(folder: Path, arguments: Sequence[str], moment: Moment | None = None, every: float = 60.0) -> Run:
    """Run the command in a folder to its end, or to its kill."""
    moment = moment or Moment()
    log, out = folder / "log", folder / "records"
    log.unlink(missing_ok=True)
    watched = command(
        str(log), str(moment.step), str(every), *arguments, "--json", module="restorer.bench.tools.watched"
    )
    lines: list[tuple[float, str]] = []
    begin, before = time.monotonic(), _of_children()
    with out.open("wb") as stream:
        process = subprocess.Popen(
            watched, stdout=stream, stderr=subprocess.PIPE, cwd=folder, text=True, errors="replace",
            env={**environment(), "RESTORER_CONFIG": str(folder / "config")},  # no settings of the user's own
        )  # fmt: skip

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append((time.monotonic() - begin, line.rstrip("\n")))

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        first = reached = None
        while process.poll() is None:
            now = time.monotonic() - begin
            photos = log.read_bytes().count(b"\n") if log.exists() else 0
            first = now if first is None and photos else first
            reached = now if reached is None and moment.photos and photos >= moment.photos else reached
            late = moment.seconds is not None and now >= moment.seconds
            if late or (reached is not None and now >= reached + moment.delay):
                process.kill()
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
        listener.join()
    seconds, clock, begun = time.monotonic() - begin, [(0.0, 0.0)], []
    for line in log.read_bytes().split(b"\n")[:-1] if log.exists() else ():
        at, spent, name = line.split(b" ", 2)
        clock.append((float(at) - begin, float(spent)))
        begun.append(os.fsdecode(name))
    clock.append((seconds, _of_children() - before))
    records = [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]]
    return Run(process.returncode, records, begun, lines, first, seconds, clock)


def _of_children() -> float:
    """Return the processor seconds of all child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system
