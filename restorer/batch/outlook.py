"""What is ahead of a run: its photos counted and weighed one by one, in memory that hardly grows with them."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

from restorer.batch.estimate import Estimate, Load, Rates
from restorer.batch.operations import background_operations, face_operations, has_networks, operations_per_second
from restorer.photo import FORMATS

if TYPE_CHECKING:
    from restorer.batch.discovery import Job
    from restorer.batch.plan import Line
    from restorer.pipeline.restorer import Restorer

# Seconds for a megapixel of the result, measured on one core of a server; a guess is all it serves.
LANCZOS = 0.04
SIZES = (("up to 1 megapixel", 1.0), ("up to 4", 4.0), ("up to 16", 16.0), ("up to 64", 64.0))
LARGER = "larger"
"""Sizes by which photos are counted."""
GUESSED, MEASURED = 2.0, 1.3
"""How many times more, or less, a run may take than what was guessed of it, or reckoned from photos that were done."""
MOST_SIZES = 1000
"""Photos whose sizes are remembered, by lot where there are more."""


class Loads(Sequence[Load]):
    """What each photo of a run is expected to cost, in thirteen bytes."""

    def __init__(self, loads: Iterable[Load] = ()) -> None:
        self._megapixels, self._megabytes, self._output = array("f"), array("f"), array("f")
        self._skipped = bytearray()
        for load in loads:
            self.append(load)

    def append(self, load: Load) -> None:
        """Add the next photo."""
        self._megapixels.append(load.megapixels)
        self._megabytes.append(load.megabytes)
        self._output.append(load.output_megabytes)
        self._skipped.append(load.skipped)

    def __len__(self) -> int:
        return len(self._skipped)

    @overload
    def __getitem__(self, at: int) -> Load: ...

    @overload
    def __getitem__(self, at: slice) -> list[Load]: ...

    def __getitem__(self, at: int | slice) -> Load | list[Load]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        return Load(self._megapixels[at], self._megabytes[at], bool(self._skipped[at]), self._output[at])


@dataclass
class Outlook:
    """The photos of a run, counted and weighed.

    Attributes:
        loads: what each is expected to cost.
        kinds: how many there are of each format, by content.
        sizes: how many there are of each class of `SIZES`.
        there: how many results seem to be there already.
        work: how many photos are to be restored.
        megapixels: of their results.
        megabytes: of their results, as files.
        plain: seconds that enlarging and encoding them takes without a network.
    """

    loads: Loads = field(default_factory=Loads)
    kinds: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    there: int = 0
    work: int = 0
    megapixels: float = 0.0
    megabytes: float = 0.0
    plain: float = 0.0
    _sample: list[tuple[tuple[int, int], float]] = field(default_factory=list)
    _lots: random.Random = field(default_factory=lambda: random.Random(0))

    @classmethod
    def of(cls, jobs: Iterable[Job], loads: Iterable[Load]) -> Outlook:
        """Return what is ahead of a run over these photos."""
        found = cls()
        for job, load in zip(jobs, loads, strict=True):
            found.add(job, load)
        return found

    def add(self, job: Job | Line, load: Load) -> None:
        """Take in a photo."""
        header = job.header
        self.loads.append(load)
        self.kinds[header.format or "no picture"] += 1
        self.there += load.skipped
        if header.size is None:
            return
        pixels = header.size[0] * header.size[1] / 1e6
        self.sizes[next((name for name, most in SIZES if pixels <= most), LARGER)] += 1
        if not load.work:
            return
        self.work += 1
        self.megapixels += load.megapixels
        self.megabytes += load.output_megabytes
        encoding = FORMATS[job.format].encoding_seconds if job.format is not None else 0.1
        self.plain += load.megapixels * (LANCZOS + encoding)
        self._remember((header.size[0], header.size[1]), load.megapixels)

    def _remember(self, size: tuple[int, int], megapixels: float) -> None:
        if len(self._sample) < MOST_SIZES:
            self._sample.append((size, megapixels))
            return
        place = self._lots.randrange(self.work)  # each photo is in the sample with the same chance
        if place < MOST_SIZES:
            self._sample[place] = size, megapixels

    def sample(self) -> list[tuple[int, int]]:
        """Return the sizes of the photos that are to be restored, of some by lot where they are many."""
        return [size for size, _ in self._sample]

    def background(self, restorer: Restorer) -> float:
        """Return the operations that enlarge a megapixel of the results."""
        weighed = sum(megapixels for _, megapixels in self._sample)
        return sum(background_operations(restorer, size) for size, _ in self._sample) / weighed if weighed else 0.0


@dataclass(frozen=True)
class RunEstimate:
    """What is expected of a run.

    Attributes:
        photos: of the run.
        there: how many results seem to be there already.
        megabytes: to be written.
        rates: to go by until photos are done.
        loads: what each photo is expected to cost.
        spread: how many times more, or less, it may take: what was measured in earlier runs is nearer than a guess.
        workers: that share the photos.
    """

    photos: int
    there: int
    megabytes: float
    rates: Rates
    loads: Sequence[Load] = field(repr=False, default=())
    spread: float = GUESSED
    workers: int = 1

    @property
    def seconds(self) -> float:
        """The guess for the whole run."""
        return Estimate(self.loads, self.rates, 0.0, self.workers).left(0.0)


def estimate_run(
    restorer: Restorer, outlook: Outlook, *, trial: bool = True, known: Rates | None = None
) -> RunEstimate:
    """Return what is expected of a run.

    Args:
        restorer: what will do it.
        outlook: its photos.
        trial: try the machine, which loads torch, where networks take part.
        known: what earlier runs took; then nothing needs to be tried.
    """
    if known is not None:
        told = len(outlook.loads), outlook.there, outlook.megabytes, known, outlook.loads
        return RunEstimate(*told, spread=MEASURED)
    plain = outlook.plain / outlook.megapixels if outlook.megapixels else 0.1
    rates = Rates(megapixel=plain, complete=not has_networks(restorer))
    if trial and outlook.work:
        background = outlook.background(restorer)
        photo, face = face_operations(restorer)
        if background or photo or face:
            speed = operations_per_second(restorer.components.device)
            rates = Rates(rates.photo + photo / speed, rates.megapixel + background / speed, face / speed)
    return RunEstimate(len(outlook.loads), outlook.there, outlook.megabytes, rates, outlook.loads)
