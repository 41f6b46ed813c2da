"""Changed files through the whole command, a folder at a time: each has its record, and the good ones their results."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from restorer.bench.survive import records, running
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.mutating import mutated
from restorer.bench.survive.pictures import keep
from restorer.bench.survive.samples import SUFFIXES, kinds, samples
from restorer.bench.survive.sandbox import LIMIT_SECONDS

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

PHOTOS = 100
"""Files of a folder, beside the sound ones."""
MEMORY = 4 * 2**30
_NETWORKS = ("--offline", "--json", "--model", "tiny", "--detector", "tiny-detector", "--background", "tiny-upscaler")
WAYS: tuple[tuple[str, ...], ...] = (
    running.PLAIN, (*running.PLAIN, "--strip-metadata"), (*running.PLAIN, "--format", "png"), _NETWORKS,
    (*running.PLAIN, "--format", "tiff", "--layers"), (*running.PLAIN, "--format", "jpg", "--report"),
    (*running.PLAIN, "--pages", "all"), (*running.PLAIN, "--repair", "auto", "--tone", "auto"),
    (*running.PLAIN, "--print", "10x15cm@100"), (*running.PLAIN, "--dry-run"), (*running.PLAIN, "--format", "webp"),
)  # fmt: skip
"""Options of runs, in turn."""


def album(folder: Path, seed: int, number: int) -> list[str]:
    """Write the files of a run, and one sound one of each kind; return their names. Files that claim much stay away."""
    from restorer.photo.header import read_header

    folder.mkdir()
    names, made = kinds(), []
    rng = np.random.default_rng((seed, number))
    for index in range(PHOTOS):
        kind = names[int(rng.integers(len(names)))]
        case = 1_000_000_000 + number * PHOTOS + index
        path = folder / f"{kind}-{seed}-{case}{SUFFIXES[kind]}"
        path.write_bytes(mutated(kind, seed, case))
        size = read_header(path).size or (0, 0)
        if size[0] * size[1] > 250_000:  # what is claimed is restored, which takes time and shows nothing new
            path.unlink()
            continue
        made.append(path.name)
    for kind in names:
        path = folder / f"sound-{kind}{SUFFIXES[kind]}"
        path.write_bytes(samples(kind)[0])
        made.append(path.name)
    face = Image.open(Path(running.__file__).parents[2] / "data" / "astronaut.webp").convert("RGB").resize((96, 96))
    face.save(folder / "face.png")
    return [*made, "face.png"]


def try_folder(plan: Plan, number: int, tally: Tally) -> None:
    """Run the command over a folder, and check all that it says and leaves."""
    work = plan.folder / f"run{number}"
    work.mkdir()
    names = album(work / "in", plan.seed, number)
    before = records.digests(work / "in")
    way = WAYS[number % len(WAYS)]
    kind = " ".join(word for word in way if word not in running.PLAIN) or "plain"
    ran = running.restore(work, "in", "-o", "out", *way, memory=MEMORY, seconds=LIMIT_SECONDS + 2 * len(names))
    problems = records.check(ran, work, [f"in/{name}" for name in names])
    status = {Path(record["input"]).name: record["status"] for record in ran.records}
    problems += [f"{name} came out {status.get(name)}" for name in names
                 if name.startswith("sound") and status.get(name) not in ("ok", "skipped")]  # fmt: skip
    if records.digests(work / "in") != before:
        problems.append("the originals are not what they were")
    left = [path.name for path in work.rglob("*.part")]
    problems += [f"{name} was left behind" for name in left] + records.journal(work / "out")
    for name in names:
        tally.add(kind, status.get(name, "no record"))
    slowest = max(ran.records, key=lambda record: record["seconds"].get("total", 0.0), default=None)
    if slowest is not None:
        tally.seconds = max(tally.seconds, (slowest["seconds"].get("total", 0.0), slowest["input"]))
    tally.mib = max(tally.mib, (ran.mib, f"run {number}"))
    for problem in problems:
        tally.lose(kind, f"command-{plan.seed}-{number}", problem)
        for name in names:
            if name in problem and not name.startswith(("sound", "face")):
                keep(plan.keep, Path(name).stem, (work / "in" / name).read_bytes())
    shutil.rmtree(work)


def attempt(plan: Plan) -> Tally:
    """Take folder after folder until the time is up."""
    running.prepare()
    tally, begin, number = Tally("command"), time.monotonic(), 0
    while time.monotonic() - begin < plan.seconds:
        try_folder(plan, number, tally)
        number += 1
    return tally
