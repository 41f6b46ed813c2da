"""How long a run takes and how much it writes: guessed before it begins, measured while it works.

What a photo costs depends on its megapixels and its faces, so that is what is counted, not photos. Before the first
photo is done, rates are guessed from the networks' numbers of operations and a short trial of how many of them this
machine does in a second; faces are not known yet, so each photo is taken to have one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from restorer.errors import PhotoTooLargeError
from restorer.options import sizes
from restorer.photo import FORMATS, MAX_PIXELS, check_output_size
from restorer.pipeline.stages import steps

if TYPE_CHECKING:
    from restorer.batch.discovery import Job
    from restorer.batch.plan import Line
    from restorer.options import Options

FACE_STEPS = tuple(step.name for step in steps() if step.cost == "face")
"""Keys of a record's `seconds` that grow with the faces; all others grow with the megapixels."""

# The bytes of a pixel at scale 1, which each format declares, fall with the scale to the power of SMOOTHER, since an
# enlarged picture is smoother than its original.
SMOOTHER = 0.45
STEADY = 4
"""Imaginary photos without pixels, which took no time, that the line of seconds over megapixels also goes by."""
HASHING = 0.003  # seconds for a megabyte, with its way from the disk


@dataclass(frozen=True)
class Load:
    """What is known of a photo before it is read.

    Attributes:
        megapixels: of the result; 0 for a file that is no picture.
        megabytes: of the file.
        skipped: whether its result seems to be there, so that it will only be compared.
        output_megabytes: guess of the result's size.
    """

    megapixels: float
    megabytes: float = 0.0
    skipped: bool = False
    output_megabytes: float = 0.0

    @property
    def work(self) -> bool:
        """Whether the photo will be restored, as far as can be told."""
        return not self.skipped and self.megapixels > 0


def load_of(job: Job | Line, options: Options, *, skipped: bool) -> Load:
    """Return what a photo is expected to cost, from its header and what is asked of its result."""
    header = job.header
    megabytes = header.bytes / 1e6
    if header.size is None or job.format is None:
        return Load(0.0, megabytes, skipped)
    size = header.size[0], header.size[1]
    result, scale = sizes.result_size(options, size), sizes.scale_of(options, size)
    if size[0] * size[1] > MAX_PIXELS or not _fits(job.format, result):
        return Load(0.0, megabytes, skipped)  # it will be refused before any work
    pixels = size[0] * size[1] * scale * scale
    if job.format == header.format and FORMATS[job.format].lossless:  # the file itself tells its depth and its texture
        output = megabytes * scale * scale * _smoothness(scale)
    else:
        output = expected_bytes(job.format, pixels, scale) / 1e6
    return Load(pixels / 1e6, megabytes, skipped, output)


def _fits(format: str, size: tuple[int, int]) -> bool:
    """Return whether a format can hold a result of this size."""
    try:
        check_output_size(format, *size, None)
    except PhotoTooLargeError:
        return False
    return True


def expected_bytes(format: str, pixels: float, scale: float) -> float:
    """Return about how many bytes a result of so many pixels takes."""
    chosen = FORMATS[format]
    return pixels * chosen.bytes_per_pixel * (_smoothness(scale) if chosen.compressed else 1)


def _smoothness(scale: float) -> float:
    return float(max(scale, 1.0) ** -SMOOTHER)


@dataclass
class Rates:
    """Seconds: for each photo, for each megapixel of its result, for each face; and the faces of a photo.

    `complete` tells whether the networks are in them, which nobody knows before they were tried.
    """

    photo: float = 0.01
    megapixel: float = 0.1
    face: float = 0.0
    faces: float = 1.0
    complete: bool = True

    def seconds(self, megapixels: float) -> float:
        """Return what a photo whose faces are not known yet is expected to take."""
        return self.photo + self.megapixel * megapixels + self.face * self.faces


class Estimate:
    """The time that a run has left.

    Args:
        loads: what each photo is expected to cost, in the order of the work.
        prior: rates to go by until photos are done.
        now: seconds on any clock; later calls use the same one.
        workers: that share the photos, which then end in any order.
    """

    def __init__(self, loads: Sequence[Load], prior: Rates, now: float, workers: int = 1) -> None:
        self._loads = loads
        self._prior = prior
        self._workers = workers
        self._shared = workers > 1
        self._noted = 0
        self._last = now
        self._first: Sums | None = None  # apart from the others: it also loads the networks
        self._first_at = 0.0
        self._others = Sums()
        self._worked = 0.0
        self._in_hand = 0
        self._since = now
        self._left = _Left()
        for load in loads:
            self._left.add(load, 1)

    def begin(self, number: int, now: float) -> None:
        """Take in that a photo's turn has come: those before it are worked on no more, though perhaps being written.

        Args:
            number: of the photo, from 0.
            now: the time.
        """
        for load in self._loads[self._in_hand : number]:
            self._left.add(load, -1)
        if number > self._in_hand:
            self._in_hand, self._since = number, now

    def note(
        self, status: str, seconds: Mapping[str, float], faces: int, now: float, number: int | None = None
    ) -> None:
        """Take in how a photo went.

        Args:
            status: of its record.
            seconds: of its record, by stage.
            faces: how many were restored.
            now: the time.
            number: of the photo, from 0, where they end in any order; None = the next one.
        """
        load = self._loads[self._noted if number is None else number]
        self._noted += 1
        if number is None:
            self.begin(self._noted, now)
        else:
            self._shared = True
            self._left.add(load, -1)
        self._last = now
        if self._first is not None:
            self._worked += seconds.get("total", 0.0)
        if status != "ok":
            return
        by_face = sum(seconds.get(stage, 0.0) for stage in FACE_STEPS)
        sums = Sums()
        sums.add(load.megapixels, seconds.get("total", 0.0) - by_face, by_face, faces)
        if self._first is None:
            self._first, self._first_at = sums, now
        else:
            self._others += sums

    def left(self, now: float) -> float:
        """Return the seconds that are left."""
        rates = self.rates()
        pace = self._pace()
        left = self._left.seconds(rates) * pace
        if self._in_hand < len(self._loads) and not self._shared:  # the photo in hand is on its way
            in_hand = _Left()
            in_hand.add(self._loads[self._in_hand], 1)
            left -= min(now - self._since, 0.95 * in_hand.seconds(rates) * pace)
        return max(left, 0.0)

    def known(self, now: float) -> float | None:
        """Return the seconds that are left; None where nothing is known that they could be told from.

        That is before anything was tried or measured, and when the last photo takes longer than was expected of it.
        """
        if not self.rates().complete:
            return None
        if not self._shared and self._in_hand >= len(self._loads) - 1 and self._noted < len(self._loads):
            last = _Left()
            last.add(self._loads[-1], 1)
            if now - self._since >= last.seconds(self.rates()) * self._pace():
                return None
        return self.left(now)

    def measured(self) -> tuple[Sums | None, Sums]:
        """Return sums over the first photo that was restored, and over the others."""
        return self._first, self._others

    def rates(self) -> Rates:
        """Return the rates that the photos so far show, or the prior ones."""
        seen = self._others if self._others.photos >= 2 else self._others + (self._first or Sums())
        if not seen.photos:
            return self._prior
        photo, megapixel = seen.line()
        everything = self._others + (self._first or Sums())
        face = seen.by_face / seen.faces if seen.faces else self._prior.face
        return Rates(photo, megapixel, face, everything.faces / everything.photos)

    def _pace(self) -> float:
        """Return how the clock went compared with the photos' own seconds: reading and writing overlap with work."""
        if self._others.photos < 2 * self._workers or self._worked <= 0:
            return 1.0 / self._workers
        return min(max((self._last - self._first_at) / self._worked, 0.2 / self._workers), 5.0)


@dataclass
class _Left:
    """Sums over the photos that are left."""

    photos: int = 0
    megapixels: float = 0.0
    compared: int = 0
    megabytes: float = 0.0

    def add(self, load: Load, sign: int) -> None:
        if load.work:
            self.photos += sign
            self.megapixels += sign * load.megapixels
        else:
            self.compared += sign
            self.megabytes += sign * load.megabytes

    def seconds(self, rates: Rates) -> float:
        worked = rates.photo * self.photos + rates.megapixel * self.megapixels + rates.face * rates.faces * self.photos
        return worked + 0.002 * self.compared + HASHING * self.megabytes


@dataclass
class Sums:
    """Sums over photos that are done, from which a line of seconds over megapixels is drawn.

    Each photo weighs by one over its megapixels: the error of a large one is larger too.
    """

    photos: int = 0
    weight: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    megapixels: float = 0.0
    plain: float = 0.0
    by_face: float = 0.0
    faces: int = 0

    def add(self, megapixels: float, plain: float, by_face: float, faces: int) -> None:
        """Take in a photo: megapixels of its result, seconds without and for its faces, and how many faces."""
        w = 1 / max(megapixels, 0.01)
        self.photos += 1
        self.weight += w
        self.x += w * megapixels
        self.y += w * plain
        self.xx += w * megapixels**2
        self.xy += w * megapixels * plain
        self.megapixels += megapixels
        self.plain += plain
        self.by_face += by_face
        self.faces += faces

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def line(self) -> tuple[float, float]:
        """Return seconds a photo and seconds a megapixel, neither below zero."""
        spread = self.weight * self.xx - self.x**2
        if spread > 0.01 * self.x**2:  # sizes differ by a tenth or more
            # A line through large photos alone says little about small ones; a few imaginary ones steady it.
            weight = self.weight + STEADY * self.photos / self.megapixels
            spread = weight * self.xx - self.x**2
            slope = (weight * self.xy - self.x * self.y) / spread
            start = (self.y - slope * self.x) / weight
            if slope >= 0 and start >= 0:
                return start, slope
            if slope < 0:
                return self.plain / self.photos, 0.0
        return (0.0, self.plain / self.megapixels) if self.megapixels else (self.plain / self.photos, 0.0)
