"""Faces where and as many as no photo has them: sixteen thousand, one that fills the photo, half outside, upside down.

Sixteen thousand are found by a stand-in of the detector, in places and with landmarks of a seed's; the others by the
built-in one. Each photo has a record with all of its faces, in bounded time and memory.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from restorer.bench.survive import records, running
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.running import restore

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

OPTIONS = (
    "--offline", "--json", "--model", "tiny", "--detector", "tiny-detector", "--background", "lanczos", "--always",
)  # fmt: skip
MANY, SIDE = 16_000, 2000
SECONDS, MIB = 3000.0, 4096
"""What sixteen thousand faces may take: of a core, and memory beyond what the process begins with."""
_LEAST, _SMALL, _SIZES = 30, (2, 8, 12, 20), (40, 48, 64, 200)
"""Pixels of a face from which on it is restored, and of those that are smaller, which are most, and larger."""
_TEMPLATE = np.array([(0.34, 0.46), (0.66, 0.46), (0.5, 0.64), (0.37, 0.82), (0.63, 0.82)])


def face(side: int) -> Image.Image:
    """Return the built-in photo of a face."""
    with Image.open(Path(running.__file__).parents[2] / "data" / "astronaut.webp") as opened:
        return opened.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def photos() -> Iterator[tuple[str, Image.Image]]:
    """Yield photos with faces in odd places."""
    whole = face(192)
    box = (72, 30, 132, 96)  # of the face itself, about
    yield "fills the photo", whole.crop(box).resize((384, 420))
    yield "larger than the photo", whole.crop((84, 44, 120, 80)).resize((400, 400))
    middle = ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2)
    for name, cut in {
        "cut at the left": (middle[0], 0, 192, 192), "cut at the right": (0, 0, middle[0], 192),
        "cut at the top": (0, middle[1], 192, 192), "cut at the bottom": (0, 0, 192, middle[1]),
        "cut at a corner": (middle[0], middle[1], 192, 192), "at the border": (box[0], box[1], 192, 192),
    }.items():  # fmt: skip
        yield name, whole.crop(cut)
    for angle in (30, 90, 135, 180, 270):
        yield f"turned by {angle}", whole.rotate(angle, expand=True, fillcolor="grey")
    yield "mirrored", whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    yield "a panorama, 40:1", _tiled(whole.resize((64, 64)), 40, 1)
    yield "a tower, 1:40", _tiled(whole.resize((64, 64)), 1, 40)
    yield "400 of 32 px", _tiled(whole.resize((32, 32)), 20, 20)
    yield "one pixel high", whole.resize((2000, 1))
    yield "one pixel", whole.resize((1, 1))
    yield "as one grey", Image.new("RGB", (200, 200), "grey")


def _tiled(tile: Image.Image, across: int, down: int) -> Image.Image:
    side = tile.size[0]
    found = Image.new("RGB", (side * across, side * down))
    for number in range(across * down):
        found.paste(tile, (side * (number % across), side * (number // across)))
    return found


def crowd(seed: int, count: int, side: int) -> list[Any]:
    """Return faces in a photo of a size, as a detector may find them: of all sizes, cut, flat, on top of each other."""
    from restorer.models.base import Face

    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        size = float(rng.choice(_SIZES if rng.integers(16) == 0 else _SMALL)) * float(rng.uniform(0.8, 1.2))
        x, y = rng.uniform(-size / 2, side - size / 2, 2)
        kind = int(rng.integers(20))
        points = _TEMPLATE * size + (x, y)
        if kind == 0:
            points = np.full((5, 2), (x, y))  # all at one place: no face can be placed by them
        elif kind == 1:
            points = points[::-1]
        box = tuple(float(value) for value in np.clip((x, y, x + size, y + size), 0, side))
        found.append(Face(box, points.astype(np.float32), float(rng.uniform(0.9, 1))))  # type: ignore[arg-type]
    return found


def stand_in(faces: list[Any]) -> Callable[[], object]:
    """Return what lets the detector of a process find these faces in every photo."""

    def install() -> None:
        from restorer.faces.detect import FaceDetector

        FaceDetector.detect = lambda *_: list(faces)  # type: ignore[method-assign]

    return install


def attempt(plan: Plan, count: int = MANY) -> Tally:
    """Try every photo in one run, and a crowd in one of its own."""
    running.prepare()
    tally = Tally("crowds")
    odd(plan.folder / "odd", tally)
    many(plan.folder / "many", plan.seed, count, tally)
    return tally


def odd(work: Path, tally: Tally) -> None:
    """Restore the photos with faces in odd places."""
    (work / "in").mkdir(parents=True)
    names = []
    for number, (name, picture) in enumerate(photos()):
        names.append(name)
        picture.save(work / "in" / f"{number:02}.png")
    ran = restore(work, "in", "-o", "out", *OPTIONS, seconds=600.0)
    problems = records.check(ran, work, [f"in/{number:02}.png" for number in range(len(names))])
    for record in ran.records:
        name = names[int(Path(record["input"]).stem)]
        found = len(record["faces"])
        if record["status"] != "ok":
            problems.append(f"{name}: {record['status']} {record['error']}")
        else:
            ended = "faces found" if found else "no face found"
            tally.add("a face in an odd place", ended, name, record["seconds"].get("total", 0.0))
    for problem in problems:
        tally.lose("a face in an odd place", "odd", problem)
    shutil.rmtree(work)


def many(work: Path, seed: int, count: int, tally: Tally) -> None:
    """Restore a photo in which a stand-in of the detector finds very many faces."""
    (work / "in").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)).resize((SIDE, SIDE))
    noise.save(work / "in" / "crowd.jpg", quality=90)
    start = time.monotonic()
    options = (*OPTIONS, "--min-face", str(_LEAST))
    install = stand_in(crowd(seed, count, SIDE))
    ran = restore(work, "in", "-o", "out", *options, before=install, seconds=SECONDS, memory=MIB * 2**20)
    problems = records.check(ran, work, ["in/crowd.jpg"])
    told = [len(record["faces"]) for record in ran.records]
    if told != [count]:
        problems.append(f"of {count} faces the record tells {told}")
    name = f"{count:,} faces"
    for problem in problems:
        tally.lose(name, f"crowd-{seed}", problem)
    if not problems:
        restored = sum(entry["restored"] for entry in ran.records[0]["faces"])
        tally.add(name, f"all in the record, {restored} restored", name, time.monotonic() - start, ran.mib)
    shutil.rmtree(work)
