"""Many photos from Python: taken one by one from anything that can be iterated, handed on in the order they came."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from restorer.errors import UnsuitablePhotoError
from restorer.options import Options
from restorer.photo import Photo, Source, open_photo
from restorer.pipeline.canvas import Wrap
from restorer.pipeline.components import Components
from restorer.pipeline.events import OnStage
from restorer.pipeline.lanes import FACES, LANES, Lanes
from restorer.pipeline.result import Result
from restorer.pipeline.stages import stages
from restorer.record import Record

ROOM = 100_000_000
"""Pixels of the photos, or of their results, that are worked on at the same time; a single one may have more."""

OnProgress = Callable[[float], object]
"""Called with how much of the work is done, 0 to 1."""


@dataclass(frozen=True)
class Outcome:
    """What became of one of many photos.

    Attributes:
        record: all that is said of it; `record.status` is "ok" or "failed", `record.error` says why.
        result: the restored photo; None where it failed.
    """

    record: Record
    result: Result | None


class Restores(Protocol):
    """What is needed of a restorer."""

    options: Options

    @property
    def components(self) -> Components:
        """What works with its options."""
        ...

    def new_record(self, source: str) -> Record:
        """Return an empty record."""
        ...

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size of a result."""
        ...

    def restore(
        self, photo: Photo, *, record: Record, on_stage: OnStage | None = None, wrap: Wrap | None = None
    ) -> Result:
        """Restore a photo that was opened."""
        ...


def outcomes(
    run: Restores,
    photos: Iterable[Source],
    *,
    total: int | None = None,
    on_progress: OnProgress | None = None,
    lanes: int | None = None,
) -> Generator[Outcome, None, None]:
    """Restore photos one after the other, and hand each on in its turn; see `Restorer.restore_many`.

    Args:
        run: what restores them.
        photos: the photos; one is taken when there is room for it, and none is kept once it is handed on.
        total: how many there are; None = as their length says, where they have one.
        on_progress: hears how much is done.
        lanes: photos at the same time; None = by the device: one on a CPU, `LANES` on a GPU.

    Raises:
        UnsuitablePhotoError: `photos` is a single photo, or nothing that can be iterated.
    """
    _check(photos)
    if total is None:
        with suppress(TypeError):
            total = len(photos)  # type: ignore[arg-type]
    return _outcomes(_Course(run, _Progress(total, on_progress), lanes), iter(photos))


def _check(photos: Any) -> None:
    single = isinstance(photos, (str, bytes, bytearray, memoryview, os.PathLike, Photo)) or hasattr(photos, "read")
    if single or getattr(photos, "ndim", 4) < 4 or not isinstance(photos, Iterable):
        message = f"Several photos are wanted, not one {type(photos).__name__}."
        raise UnsuitablePhotoError(message, "Give a list of photos, or use Restorer.restore.")


def _outcomes(course: _Course, photos: Iterator[Source]) -> Generator[Outcome, None, None]:
    ended: BaseException | None = None
    course.progress.begin()
    try:
        while ended is None:
            try:
                source = next(photos)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised again below, once the photos before it are handed on
                ended = error
                break
            course.take(source)
            del source  # nothing holds a photo longer than its work takes
            yield from course.ready()
        course.drain()
        yield from course.ready()
        if ended is not None:
            raise ended
        course.progress.end()
    finally:
        course.stop()


class _Progress:
    """Tells how much of all photos is done; only ever more.

    Args:
        total: how many photos there are; None = nobody knows, and the end alone is told.
        tell: hears it. What it raises ends the run, and is no fault of the photo that it was told of.
    """

    def __init__(self, total: int | None, tell: OnProgress | None) -> None:
        self._total = total
        self._tell = tell
        self._told = -1.0
        self._done = 0
        self._parts = _parts()
        self.broken: BaseException | None = None

    def begin(self) -> None:
        """Tell that the work begins."""
        self._say(0.0)

    def end(self) -> None:
        """Tell that all is done."""
        self._total, self._done = 1, 1
        self._say(1.0)
        self.check()

    def one_more(self) -> None:
        """Take in that a photo is done."""
        self._done += 1
        self._say_share(0.0)

    def on_stage(self, stage: str, fraction: float) -> None:
        """Hear how far the first photo that is not done yet is."""
        begin, weight = self._parts.get(stage, (0.0, 0.0))
        self._say_share(begin + weight * min(1.0, max(0.0, fraction)))

    def check(self) -> None:
        """Raise what the listener has raised."""
        if self.broken is not None:
            raise self.broken

    def _say_share(self, share: float) -> None:
        if self._total:  # the end itself is told by `end`
            self._say(min((self._done + share) / max(self._total, self._done + 1), 1.0))

    def _say(self, fraction: float) -> None:
        if self._tell is None or fraction <= self._told or self.broken is not None:
            return
        self._told = fraction
        try:
            self._tell(fraction)
        except Exception as error:  # noqa: BLE001 - raised again by `check`, out of the photo's own work
            self.broken = error


def _parts() -> dict[str, tuple[float, float]]:
    """Return which part of a photo's work each stage is: where it begins, and how long it is, as shares of 1."""
    found, begin, whole = {}, 0.0, sum(stage.weight for stage in stages())
    for stage in stages():
        found[stage.name] = (begin / whole, stage.weight / whole)
        begin += stage.weight
    return found


class _Course:
    """The photos that are at work.

    Args:
        run: what restores them.
        progress: hears how far they are.
        lanes: photos at the same time; None = by the device.
    """

    def __init__(self, run: Restores, progress: _Progress, lanes: int | None) -> None:
        self.progress = progress
        self._run = run
        self._count = lanes
        self._ready: deque[Outcome] = deque()
        faces = run.options.batch_size or FACES
        self._lanes: Lanes[list[Photo], Outcome] = Lanes(self._hand_on, lanes or LANES, ROOM, faces)

    def take(self, source: Source) -> None:
        """Begin with a photo, or restore it; what goes wrong with it stands in its record."""
        named = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
        record = self._run.new_record(named or "-")
        held: list[Photo] = []  # emptied when the work begins, so that nobody else holds the photo
        with record.capturing(named), record.timed("total"), record.timed("read"):
            held.append(open_photo(source))
            if named is None and held[0].path is not None:
                record.input = str(held[0].path)
        del source
        pixels = self._pixels(held)
        if pixels > ROOM or not self._shares():
            self.drain()
            self._hand_on(held, self._restored(held, record, self.progress.on_stage, None))
            return
        self._lanes.make_room(pixels)
        around = self._lanes.batcher.around

        def restore(held: list[Photo], on_stage: OnStage) -> Outcome:
            return self._restored(held, record, on_stage, around)

        self._lanes.add(held, pixels, restore, lambda: self.progress.on_stage)

    def ready(self) -> Generator[Outcome, None, None]:
        """Yield what is done, in order; nothing is held once it is handed on."""
        self.progress.check()
        while self._ready:
            yield self._ready.popleft()

    def drain(self) -> None:
        """Wait for all that is at work."""
        self._lanes.drain()

    def stop(self) -> None:
        """Give up what is at work."""
        self._lanes.stop()
        self._lanes.wait()

    def _hand_on(self, _held: list[Photo], outcome: Outcome) -> None:
        self._ready.append(outcome)
        self.progress.one_more()

    def _shares(self) -> bool:
        """Return whether photos are worked on at the same time: on a GPU, once the networks are loaded."""
        components = self._run.components
        return components.loaded and (self._count or (1 if components.device.kind == "cpu" else LANES)) > 1

    def _pixels(self, held: list[Photo]) -> int:
        """Return how much memory a photo takes, in pixels of the larger of itself and its result; at least 1."""
        if not held:
            return 1  # one that cannot be read takes its place too, so that no more are taken than there is room for
        size, result = held[0].size, self._run.output_size(held[0].size)
        return max(size[0] * size[1], result[0] * result[1], 1)

    def _restored(self, held: list[Photo], record: Record, on_stage: OnStage, wrap: Wrap | None) -> Outcome:
        result = None
        if held:
            photo = held.pop()
            with record.capturing(photo.path):
                result = self._run.restore(photo, record=record, on_stage=on_stage, wrap=wrap)
        return Outcome(record, result)
