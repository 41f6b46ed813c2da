"""Bad luck at every step of a run that changes the disk.

The n-th write, flush, renaming or making of a file fails, or a kill, a full disk or a power cut comes there, for every
n. The next run must make of it what an undisturbed one does, and leave nothing behind.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from restorer.batch.journal import NAME
from restorer.bench.survive import powercut, records, running
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.running import PLAIN, Ran, restore
from restorer.bench.survive.shim import FAULTS, Fault, Shim, read_log
from restorer.bench.tools.albums import picture

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

WAYS = {
    "results with a note": PLAIN, "results that only the journal knows": (*PLAIN, "--strip-metadata"),
    "with a report": (*PLAIN, "--report"),
}  # fmt: skip
PHOTOS = ("a.png", "deep/b.jpg", "deep/er/c.png", "d.bmp")


@dataclass(frozen=True)
class Calm:
    """What an undisturbed run made.

    Attributes:
        folder: an album in `in`, beside it the results in `out`.
        options: of the run.
        results: each result's bytes, by its path in `out`; the journal is none.
        originals: hashes of the album.
        steps: how many steps changed the disk.
        log: these steps.
    """

    folder: Path
    options: tuple[str, ...]
    results: dict[str, bytes]
    originals: dict[str, str]
    steps: int
    log: list[powercut.Step]


def results_in(out: Path) -> dict[str, bytes]:
    """Return what is below an output folder but the journal and reports: results, and whatever was left behind."""
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name != NAME and not name.startswith("report")}


def calm_run(folder: Path, options: tuple[str, ...]) -> Calm:
    """Make an album, and run over it undisturbed.

    Raises:
        AssertionError: that went wrong by itself.
    """
    for number, name in enumerate(PHOTOS):
        picture(folder / "in" / name, (24, 16), seed=number)
    (folder / "in/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    log = folder.parent / f"{folder.name}.log"
    ran = restore(folder, "in", "-o", "out", *options, before=Shim(folder, Fault(), log).install)
    problems = records.check(ran, folder, photos())
    assert not problems, problems
    steps = read_log(log)
    made = results_in(folder / "out")
    assert len(made) == len(PHOTOS), made.keys()
    return Calm(folder, options, made, records.digests(folder / "in"), len(steps), steps)


def photos() -> list[str]:
    return [f"in/{name}" for name in (*PHOTOS, "broken.jpg")]


def fresh(calm: Calm, place: Path) -> Path:
    """Return a folder with the same album, and nothing else."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copytree(calm.folder / "in", place / "in")
    return place


def after_it(calm: Calm, place: Path, *, whole: bool = True) -> list[str]:
    """Return what is wrong in a folder after a run that was disturbed, and after the next one, which was not.

    Args:
        calm: what is right.
        place: the folder.
        whole: whether what is there right after the disturbance must be whole; a kill may leave files for the next run.
    """
    problems = []
    out = place / "out"
    for name, content in results_in(out).items() if out.exists() else ():
        if name in calm.results and content != calm.results[name]:
            problems.append(f"{name} is not what an undisturbed run makes")
        elif name not in calm.results and whole:
            problems.append(f"{name} was left behind")
    again = restore(place, "in", "-o", "out", *calm.options)
    problems += [f"the next run: {problem}" for problem in records.check(again, place, photos())]
    made = results_in(out)
    for name in sorted({*made, *calm.results}):
        if made.get(name) != calm.results.get(name):
            kind = "is missing" if name not in made else "is left over" if name not in calm.results else "differs"
            problems.append(f"after the next run {name} {kind}")
    problems += records.journal(out)
    if records.digests(place / "in") != calm.originals:
        problems.append("the originals are not what they were")
    return problems


def during(ran: Ran, place: Path) -> list[str]:
    """Return what is wrong with what a run said in which steps failed: each record must be true, and the code fit."""
    problems = records.said(ran)
    for record in ran.records:
        problems += records.of_one(record, place)
    failed = any(record["status"] == "failed" for record in ran.records)
    if ran.code == 0 and failed:
        problems.append("exit code 0 with failed photos")
    if ran.code == 1 and not failed and len(ran.records) == len(PHOTOS) + 1:
        problems.append("exit code 1 without failed photos")
    return problems


def _cases(calms: dict[str, Calm], rng: random.Random) -> Iterator[tuple[str, str, Callable[[Path], list[str]]]]:
    """Yield (kind, case, what tries it) without end: every step of every way, in an order of the seed's."""
    while True:
        cases: list[tuple[str, str, Callable[[Path], list[str]]]] = []
        for way, calm in calms.items():
            for step in range(1, calm.steps + 1):
                for fault in FAULTS:
                    cases.append(
                        (f"one step fails ({fault})", f"{way}, step {step}", partial(fail, calm, Fault(step, fault)))
                    )
                cases += [
                    (
                        "all steps fail from one on",
                        f"{way}, step {step}",
                        partial(fail, calm, Fault(step, "full", True)),
                    ),
                    ("killed before a step", f"{way}, step {step}", partial(kill, calm, step)),
                    ("power cut behind a step", f"{way}, step {step}", partial(cut, calm, step, rng.randrange(2**32))),
                ]
        rng.shuffle(cases)
        yield from cases


def fail(calm: Calm, fault: Fault, place: Path) -> list[str]:
    """Let a step fail, then run again."""
    fresh(calm, place)
    ran = restore(place, "in", "-o", "out", *calm.options, before=Shim(place, fault).install)
    return during(ran, place) + after_it(calm, place)


def kill(calm: Calm, step: int, place: Path) -> list[str]:
    """Kill a run before a step, then run again."""
    fresh(calm, place)
    ran = restore(place, "in", "-o", "out", *calm.options, before=Shim(place, Fault(step, "kill")).install)
    problems = [problem for record in ran.records for problem in records.of_one(record, place)]
    return problems + after_it(calm, place, whole=False)


def cut(calm: Calm, step: int, seed: int, place: Path) -> list[str]:
    """Play a power cut behind a step, in every state that it may leave, then run again."""
    problems = []
    for name, state in powercut.states(calm.log, step, random.Random(seed)):
        fresh(calm, place)
        powercut.lay_out(state, place)
        problems += [f"{name}: {problem}" for problem in after_it(calm, place, whole=False)]
    return problems


def attempt(plan: Plan) -> Tally:
    """Take steps in an order of the seed's, until the time is up."""
    running.prepare()
    tally, begin, rng = Tally("luck"), time.monotonic(), random.Random(plan.seed)
    calms = {}
    for number, (way, options) in enumerate(WAYS.items()):
        (folder := plan.folder / f"calm{number}").mkdir()
        calms[way] = calm_run(folder, options)
        tally.notes[f"steps of a run, {way}"] = calms[way].steps
    for kind, case, attempted in _cases(calms, rng):
        if time.monotonic() - begin > plan.seconds:
            return tally
        start = time.monotonic()
        problems = attempted(plan.folder / "place")
        if problems:
            tally.lose(kind, case, json.dumps(problems[:6], ensure_ascii=False))
        else:
            tally.add(kind, "nothing lost", case, time.monotonic() - start)
    return tally
