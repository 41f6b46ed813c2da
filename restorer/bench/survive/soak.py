"""Thousands of small photos in one process, a tenth with a face: memory, open files and threads stay what they are.

The photos go through the built-in models (`--model tiny`). What the process has after the first 200 is compared with
what it has at the end; when the time is up, the run is interrupted, and the photos that it came to are the figure.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from restorer.bench.survive import records, running
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.running import Run

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

PHOTOS, SETTLED = 10_000, 200
SIDE = 96
GROWTH = 1.05
"""How much more memory there may be at the end than after the first photos."""
_OPTIONS = (
    "--offline",
    "--json",
    "--model",
    "tiny",
    "--detector",
    "tiny-detector",
    "--background",
    "lanczos",
    "--always",
)


def album(folder: Path, count: int, seed: int) -> None:
    """Write photos of noise and, every tenth, of a face, each another one."""
    rng = np.random.default_rng(seed)
    with Image.open(Path(running.__file__).parents[2] / "data" / "astronaut.webp") as opened:
        face = opened.convert("RGB").resize((SIDE, SIDE))
    for number in range(count):
        place = folder / f"{number // 500:03}"
        place.mkdir(exist_ok=True, parents=True)
        if number % 10 == 3:
            pixels = np.asarray(face).astype(np.int16) + rng.integers(-6, 7)
            pixels = np.clip(pixels, 0, 255).astype(np.uint8)
        else:
            pixels = rng.integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{number:05}.jpg", quality=90)


def look(process: int) -> tuple[float, int, int]:
    """Return what a process has: MiB of memory of its own, open files, threads."""
    fields = Path(f"/proc/{process}/statm").read_text().split()
    mib = (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE") / 2**20
    files, threads = (len(list(Path(f"/proc/{process}/{name}").iterdir())) for name in ("fd", "task"))
    return mib, files, threads


def attempt(plan: Plan) -> Tally:
    """Restore photos until the time is up, and look at the process all the while."""
    running.prepare()
    tally, work = Tally("soak"), plan.folder / "work"
    count = int(min(PHOTOS, max(60.0, 25 * plan.seconds)))
    album(work / "in", count, plan.seed)
    before = records.digests(work / "in")
    begin, out = time.monotonic(), work / "out"
    run = Run(work, ("in", "-o", "out", *_OPTIONS))
    seen: list[tuple[int, float, int, int]] = []
    while not run.is_over():
        done = sum(1 for _ in out.rglob("*.jpg")) if out.exists() else 0
        try:
            seen.append((done, *look(run.process)))
        except (FileNotFoundError, ProcessLookupError):
            break
        if time.monotonic() - begin > plan.seconds:
            run.kill(signal.SIGINT)
            break
        time.sleep(0.5)
    ran = run.wait(600.0)
    problems = records.said(ran) + growth(seen)
    if records.digests(work / "in") != before:
        problems.append("the originals are not what they were")
    for record in ran.records:
        problems += records.of_one(record, work)
        tally.add("with a face" if record["faces"] else "without a face", record["status"])
    if seen:
        tally.mib = seen[-1][1], "at the end"
    for problem in problems:
        tally.lose("one long run", f"soak-{plan.seed}", problem)
    return tally


def growth(seen: list[tuple[int, float, int, int]]) -> list[str]:
    """Return what a process has more of at the end than when it had settled.

    Args:
        seen: (photos done, MiB, open files, threads), in their order.
    """
    settled = [row for row in seen if SETTLED <= row[0] < 2 * SETTLED]
    last = [row for row in seen if row[0] >= 2 * SETTLED][-max(len(settled), 3) :]
    if not settled or not last:
        return []
    problems = []
    for column, what, most in ((1, "MiB of memory", GROWTH), (2, "open files", 1.0), (3, "threads", 1.0)):
        first, end = (statistics.median(row[column] for row in rows) for rows in (settled, last))
        spare = 4 if column == 1 else 1  # a file that is being written is open just now or not
        if end > first * most + spare:
            problems.append(f"{first:.0f} {what} after {SETTLED} photos, {end:.0f} after {last[-1][0]}")
    return problems
