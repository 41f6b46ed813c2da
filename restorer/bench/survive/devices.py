"""Devices that have too little memory, or disappear, at any call of a network: a stand-in of one, on the processor.

Where memory does not suffice the run goes down its ladder (halves, smaller tiles, the CPU), says so, and makes the same
picture within a level. Where the device is gone, the CPU takes its place, and the records say that. What not even the
CPU has room for fails by name, and the next run makes it.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from restorer.bench.survive import records, running
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.running import Ran, restore
from restorer.photo import read_photo

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

OPTIONS = (
    "--offline", "--json", "--model", "tiny", "--detector", "tiny-detector", "--background", "tiny-upscaler",
    "--always", "--precision", "fp32",
)  # fmt: skip
FULL = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB",
    "MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB, max allowed: 9.07 GB)",
    "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: can't allocate memory: you tried to allocate",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
)
GONE = (
    "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: an illegal memory access was encountered",
    "CUDA driver error: device not ready",
    "CUDA error: GPU has fallen off the bus",
    "MPS device lost",
)
_LEVEL = 1


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a device.

    Attributes:
        words: of the error.
        first: the number of the first call that fails, from 1.
        last: of the last one; None = all from the first on.
        room: items that it has room for; a call with no more does not fail.
        of_cpu: whether the device is the processor itself, which nothing takes the place of.
    """

    words: str
    first: int = 1
    last: int | None = None
    room: int = 0
    of_cpu: bool = False


def install(trouble: Trouble) -> None:
    """Let the networks of this process, which is a forked one, be on such a device."""
    from restorer.engine import torch_engine
    from restorer.engine.device import Device
    from restorer.models import REGISTRY

    class Pretended(Device):
        """The CPU, taken for a device that has a memory of its own."""

        @property
        def kind(self) -> str:
            return "cpu" if trouble.of_cpu else "pretended"

    counter, lock, real = itertools.count(1), threading.Lock(), torch_engine.TorchNetwork._infer

    def infer(self: Any, tensors: tuple[Any, ...], precision: Any, controls: Mapping[str, Any]) -> Any:
        if isinstance(self.device, Pretended):
            with lock:
                number = next(counter)
            failing = trouble.first <= number and (trouble.last is None or number <= trouble.last)
            if failing and len(tensors[0]) > trouble.room:
                raise RuntimeError(trouble.words)
        return real(self, tensors, precision, controls)

    def load(_: Any, table: Any, path: Path, device: Device) -> Any:
        own = Pretended(device.name, device.precision)
        return torch_engine.TorchNetwork(REGISTRY.load(table, path, device.name), own)

    torch_engine.TorchNetwork._infer = infer  # type: ignore[method-assign]
    torch_engine.TorchEngine.load = load  # type: ignore[method-assign, assignment]


def album(folder: Path) -> list[str]:
    """Write photos of one face, of four, and of none; return their paths."""
    folder.mkdir(parents=True)
    with Image.open(Path(running.__file__).parents[2] / "data" / "astronaut.webp") as opened:
        face = opened.convert("RGB").resize((96, 96))
    face.save(folder / "one.png")
    four = Image.new("RGB", (200, 200), "grey")
    for x, y in itertools.product((0, 100), repeat=2):
        four.paste(face, (x, y))
    four.save(folder / "four.png")
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)).save(folder / "none.png")
    return ["in/one.png", "in/four.png", "in/none.png"]


def troubles(rng: random.Random) -> Iterator[tuple[str, Trouble]]:
    """Yield (kind, what is wrong) without end: each kind once, then calls and words of the seed's."""
    for room in (1, 2, 3):
        yield "room for few at once", Trouble(FULL[0], room=room)
    for words in FULL:
        yield "no room for anything", Trouble(words)
        yield "no room on the CPU itself", Trouble(words, of_cpu=True)
    for words in GONE:
        yield "gone from the first call on", Trouble(words, room=-1)
    while True:
        number = rng.randint(1, 24)
        yield "no room for one call", Trouble(rng.choice(FULL), number, number)
        yield "no room from some call on", Trouble(rng.choice(FULL), number)
        yield "no room on the CPU for one call", Trouble(rng.choice(FULL), number, number, of_cpu=True)
        yield "gone at some call", Trouble(rng.choice(GONE), number, room=-1)
        yield "gone for one call", Trouble(rng.choice(GONE), number, number, room=-1)


def what_is_wrong(ran: Ran, place: Path, photos: list[str], right: Mapping[str, Any], trouble: Trouble) -> list[str]:
    """Return what is wrong after a run on such a device."""
    problems = records.check(ran, place, photos)
    text = f"{ran.out} {ran.err}"
    for record in ran.records:
        name = record["input"]
        if record["status"] != "ok":
            continue
        restored = all(face["restored"] for face in record["faces"])
        if not restored or trouble.of_cpu:
            continue  # it says so in the face's record, which has been looked at, or left a network out
        picture = read_photo(place / record["output"]).pixels
        off = int(np.abs(picture.astype(np.int32) - right[name]).max()) if picture.shape == right[name].shape else 999
        if off > _LEVEL:
            problems.append(f"{name} is off by {off} levels: {record['warnings']}")
    sign = "memory" if trouble.words in FULL else "is gone"
    if sign not in text and trouble.first == 1 and trouble.room < 1:
        problems.append("it does not say what was wrong with the device")
    if ran.code != 0 and not trouble.of_cpu:
        problems.append("photos failed, though the CPU is there")
    return problems


def attempt(plan: Plan) -> Tally:
    """Try what can be wrong with a device, each kind at least once."""
    running.prepare()
    tally, begin = Tally("devices"), time.monotonic()
    (calm := plan.folder / "calm").mkdir()
    photos = album(calm / "in")
    ran = restore(calm, "in", "-o", "out", *OPTIONS)
    right = {record["input"]: read_photo(calm / record["output"]).pixels.astype(np.int32) for record in ran.records}
    if problems := records.check(ran, calm, photos):
        raise AssertionError(problems)
    for number, (kind, trouble) in enumerate(troubles(random.Random(plan.seed))):
        if number > 20 and time.monotonic() - begin > plan.seconds:
            return tally
        try_trouble(plan.folder / "place", calm, photos, right, (kind, trouble), tally)
    return tally


def try_trouble(
    place: Path, calm: Path, photos: list[str], right: Mapping[str, Any], case: tuple[str, Trouble], tally: Tally
) -> None:
    """Run on such a device, then on a sound one, and count how it went."""
    kind, trouble = case
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(calm / "in", place / "in")
    start, before = time.monotonic(), records.digests(place / "in")
    hook: Callable[[], object] = lambda: install(trouble)  # noqa: E731 - it is called in another process
    ran = restore(place, "in", "-o", "out", *OPTIONS, before=hook)
    problems = what_is_wrong(ran, place, photos, right, trouble)
    again = restore(place, "in", "-o", "out", *OPTIONS)
    problems += [f"the next run: {problem}" for problem in records.check(again, place, photos)]
    if any(record["status"] == "failed" for record in again.records):
        problems.append("the next run fails too")
    if records.digests(place / "in") != before:
        problems.append("the originals are not what they were")
    if problems:
        tally.lose(kind, f"{trouble}", json.dumps(problems[:6], ensure_ascii=False))
    else:
        ends = sorted({record["status"] for record in ran.records})
        tally.add(kind, " and ".join(ends), str(trouble), time.monotonic() - start)
