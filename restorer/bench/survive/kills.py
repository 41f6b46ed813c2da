"""Runs that are killed, interrupted, starved of memory or of time, or meet each other in one folder.

What they leave is taken up by the next run, which must come to what one undisturbed run makes, byte for byte.
"""

from __future__ import annotations

import gc
import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from restorer.bench.survive import luck, records, running
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.luck import Calm, after_it, during, fresh
from restorer.bench.survive.running import Run, restore

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MEMORY = (0, 1, 4, 16, 48, 96, 160, 256, 512)
"""MiB that a run may take beyond what it begins with."""


def killed(calm: Calm, seconds: float, rng: random.Random, place: Path) -> tuple[str, int, list[str]]:
    """Kill up to eight runs after one another at random moments; return how many were, and what is wrong."""
    fresh(calm, place)
    count, problems = 0, []
    for _ in range(rng.randint(1, 8)):
        run = Run(place, ("in", "-o", "out", *calm.options))
        time.sleep(rng.uniform(0, seconds))
        run.kill()
        ran = run.wait()
        count += ran.code == -signal.SIGKILL
        problems += [problem for record in ran.records for problem in records.of_one(record, place)]
    return "killed at random moments", count, problems + after_it(calm, place, whole=False)


def interrupted(calm: Calm, seconds: float, rng: random.Random, place: Path) -> tuple[str, int, list[str]]:
    """Send a run one of the signals that ask it to end."""
    fresh(calm, place)
    number = rng.choice(_SIGNALS)
    run = Run(place, ("in", "-o", "out", *calm.options))
    time.sleep(rng.uniform(0, seconds))
    run.kill(number)
    ran = run.wait()
    # Before the command has begun to listen, a signal does what signals do.
    problems = [] if ran.code in (-number, 0, 1, 130) else [f"{number.name} ended it with {ran.code}"]
    problems += [p for p in records.said(ran) if "signal" not in p and not (ran.code == -number and "Traceback" in p)]
    return f"asked to end ({number.name})", 1, problems + after_it(calm, place, whole=ran.code != -number)


def together(calm: Calm, seconds: float, rng: random.Random, place: Path) -> tuple[str, int, list[str]]:
    """Let two or five runs work in one folder at the same time, of which some are killed."""
    fresh(calm, place)
    number = rng.choice((2, 2, 5))
    runs = [Run(place, ("in", "-o", "out", *calm.options), number=index) for index in range(number)]
    doomed = set(range(number)) if rng.random() < 0.2 else {index for index in range(number) if rng.random() < 0.2}
    for index in sorted(doomed):
        time.sleep(rng.uniform(0, seconds / len(doomed)))
        runs[index].kill()
    problems = []
    for index, run in enumerate(runs):
        ran = run.wait()
        if index in doomed:
            problems += [problem for record in ran.records for problem in records.of_one(record, place)]
        else:
            problems += [f"run {index}: {problem}" for problem in records.check(ran, place, luck.photos())]
    return f"{number} runs in one folder", number, problems + after_it(calm, place, whole=not doomed)


def clock(calm: Calm, _: float, rng: random.Random, place: Path) -> tuple[str, int, list[str]]:
    """Let the clock jump by years whenever it is read."""
    fresh(calm, place)
    seed = rng.randrange(2**32)

    def jump() -> None:
        real, own = time.time, random.Random(seed)
        time.time = lambda: max(real() + own.choice((0, 0, -3600, 3600, -8e8, 4e9, -3e9)), -1.0)

    ran = restore(place, "in", "-o", "out", *calm.options, before=jump)
    problems = records.check(ran, place, luck.photos())
    problems += [f"{record['input']} took {record['seconds']}" for record in ran.records
                 if not all(0 <= value < 3600 for value in record["seconds"].values())]  # fmt: skip
    return "the clock jumps", 1, problems + after_it(calm, place)


def starved(calm: Calm, _: float, rng: random.Random, place: Path) -> tuple[str, int, list[str]]:
    """Give a run too little memory, which it may say, and must survive or end by."""
    fresh(calm, place)
    more = rng.choice(_MEMORY) + rng.randrange(16)
    ran = restore(place, "in", "-o", "out", *calm.options, memory=more * 2**20)
    if ran.code not in (0, 1):  # so little that it could not even begin: nothing is promised but what is on the disk
        return "no memory to begin with", 1, after_it(calm, place, whole=False)
    return "little memory", 1, during(ran, place) + after_it(calm, place, whole=False)


WAYS: tuple[tuple[Callable[[Calm, float, random.Random, Path], tuple[str, int, list[str]]], int], ...] = (
    (killed, 30), (interrupted, 3), (together, 3), (clock, 1), (starved, 2),
)  # fmt: skip
"""What is tried, and how often."""


def attempt(plan: Plan) -> Tally:
    """Disturb runs until the time is up."""
    running.prepare()
    tally, begin, rng = Tally("kills"), time.monotonic(), random.Random(plan.seed)
    calms, seconds = [], []
    for number, options in enumerate(luck.WAYS.values()):
        (folder := plan.folder / f"calm{number}").mkdir()
        calms.append(luck.calm_run(folder, options))
        start = time.monotonic()
        restore(fresh(calms[-1], plan.folder / "timed"), "in", "-o", "out", *options)
        seconds.append(time.monotonic() - start)
    gc.freeze()  # what is there already is not walked through, and so not copied, in each run
    tries = [way for way, count in WAYS for _ in range(count)]
    while time.monotonic() - begin < plan.seconds:
        number = rng.randrange(len(calms))
        way, case = rng.choice(tries), rng.randrange(2**32)
        start, place = time.monotonic(), plan.folder / "place"
        kind, count, problems = partial(way, calms[number], seconds[number])(random.Random(case), place)
        if problems:
            tally.lose(kind, f"{way.__name__} {case}", json.dumps(problems[:6], ensure_ascii=False))
            _keep(plan, place, f"{way.__name__}-{case}")
        for _ in range(count - bool(problems)):
            tally.add(kind, "nothing lost", seconds=time.monotonic() - start)
    return tally


def _keep(plan: Plan, place: Path, name: str) -> None:
    if plan.keep is not None:
        shutil.copytree(place, plan.keep / name, dirs_exist_ok=True)
