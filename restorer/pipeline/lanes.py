"""Several photos at a time on a GPU: each in a thread of its own, their faces in common batches of the face restorer.

A GPU is hardly busy with the one or two faces of a family photo. So a few photos are worked on at the same time
(`Lanes`), and the crops that they ask the face restorer for are gathered into one call of its network (`FaceBatcher`).
On a CPU none of this is used: there a batch is no quicker, and a photo's bytes never depend on its neighbours.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from restorer.pipeline.events import BATCH_ON_GPU

if TYPE_CHECKING:
    import torch

    from restorer.models.base import CropSpec, FaceRestorer
    from restorer.pipeline.events import OnStage

LANES = 4
"""Photos that are worked on at the same time on a GPU."""
FACES = BATCH_ON_GPU
"""Faces of a batch on a GPU, where --batch-size does not say otherwise."""

_log = logging.getLogger(__name__)
W = TypeVar("W")
R = TypeVar("R")


class Cancelled(BaseException):
    """Raised in a lane whose photo is not wanted any more; no error of the photo, so that no handler records it."""


def wait_until_done(future: Future[R]) -> Future[R]:
    """Wait for a future and return it; an interrupt is heard within half a second in any case.

    One that comes just before a wait without end would be heard only after it: Python looks for signals between two
    instructions, and is woken only by those that come while it waits.
    """
    while not future.done():
        wait_for([future], timeout=0.5)
    return future


@dataclass(eq=False)
class _Request:
    """Crops that a thread waits for, and what becomes of them."""

    crops: torch.Tensor
    answer: Future[torch.Tensor] = field(default_factory=Future)

    def goes_with(self, other: _Request) -> bool:
        """Return whether the crops fit into one batch with those of another request."""
        ours, theirs = self.crops, other.crops
        return ours.shape[1:] == theirs.shape[1:] and ours.dtype == theirs.dtype and ours.device == theirs.device


class FaceBatcher:
    """A face restorer that several threads share; what they ask for at the same time it restores as one batch.

    A thread that asks waits until the batch is full, or until all others that are at work (see `lane`) wait as well:
    then nobody is left who could add to it. Whichever thread sees this first runs the batch for all of them. The
    restorer is never called twice at the same time.

    A batch that fails is taken apart: each thread's crops are tried by themselves, so that an error reaches the thread
    whose crops caused it and no other.

    Args:
        most: crops of a batch, at most.

    Attributes:
        crop: what the restorer takes and gives; there once `around` was called.
    """

    crop: CropSpec
    _restorer: FaceRestorer

    def __init__(self, most: int = FACES) -> None:
        if most < 1:
            raise ValueError(f"a batch has at least one crop, not {most}")
        self._most = most
        self._changed = threading.Condition()
        self._lanes = 0
        self._waiting: deque[_Request] = deque()
        self._busy = False
        self._closed = False

    def around(self, restorer: FaceRestorer) -> FaceBatcher:
        """Take what does the work, once it is loaded; return the face restorer to use in its place: this object."""
        self._restorer, self.crop = restorer, restorer.crop
        return self

    @contextmanager
    def lane(self) -> Iterator[None]:
        """Count the thread among those at work, whose crops a batch waits for; until the end, whatever ends it.

        Raises:
            Cancelled: the run has ended.
        """
        with self._changed:
            if self._closed:
                raise Cancelled
            self._lanes += 1
        try:
            yield
        finally:
            with self._changed:
                self._lanes -= 1
                self._changed.notify_all()  # the others may have waited for this one alone

    def close(self) -> None:
        """Give up: whoever waits, or comes later, gets `Cancelled`; a thread that runs a batch ends it first."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until no thread is at work."""
        with self._changed:
            while self._lanes:
                self._changed.wait(0.5)  # see `wait_until_done`

    @property
    def closed(self) -> bool:
        """Whether it was given up."""
        return self._closed

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        """Return restored crops as the restorer gives them, perhaps restored together with those of other threads.

        Raises:
            Cancelled: `close` was called meanwhile.
            Exception: whatever the restorer raised for these crops.
        """
        if len(crops) > self._most:
            import torch

            return torch.cat([self.restore(part) for part in torch.split(crops, self._most)])
        request = _Request(crops)
        with self._changed:
            self._waiting.append(request)
        try:
            while batch := self._wait(request):
                self._lead(batch)
        except BaseException:
            with self._changed:
                if request in self._waiting:
                    self._waiting.remove(request)
                self._changed.notify_all()
            raise
        return request.answer.result()

    def _wait(self, request: _Request) -> list[_Request]:
        """Wait for an answer; return the batch that this thread is to run meanwhile, nothing once the answer is there.

        A batch need not hold the thread's own request: it may stand behind others that make the batch full.
        """
        with self._changed:
            self._changed.wait_for(lambda: request.answer.done() or self._closed or self._is_ready())
            if request.answer.done():
                return []
            if self._closed:
                raise Cancelled
            batch: list[_Request] = []
            room = self._most
            for other in self._waiting:
                if other.goes_with(self._waiting[0]) and len(other.crops) <= room:
                    batch.append(other)
                    room -= len(other.crops)
            for taken in batch:
                self._waiting.remove(taken)
            self._busy = True
            return batch

    def _is_ready(self) -> bool:
        """Return whether a batch is to be run now."""
        if self._busy or not self._waiting:
            return False
        return len(self._waiting) >= self._lanes or sum(len(other.crops) for other in self._waiting) >= self._most

    def _lead(self, batch: list[_Request]) -> None:
        """Run a batch; what is not answered because this thread ends, or was given up, others find in the queue."""
        try:
            self._answer(batch)
        finally:
            with self._changed:
                self._busy = False
                self._waiting.extendleft(other for other in reversed(batch) if not other.answer.done())
                self._changed.notify_all()

    def _answer(self, batch: list[_Request]) -> None:
        import torch

        restorer = self._restorer
        if len(batch) > 1:
            try:
                outputs = restorer.restore(torch.cat([request.crops for request in batch]))
                parts = torch.split(outputs, [len(request.crops) for request in batch])
            except Exception:  # noqa: BLE001 - it is raised again below, in the thread that it concerns
                _log.debug("a batch of %d photos failed; each is tried by itself", len(batch), exc_info=True)
            else:
                for request, part in zip(batch, parts, strict=True):
                    request.answer.set_result(part)
                return
        for request in batch:
            if self._closed:
                return
            try:
                output = restorer.restore(request.crops)
            except Exception as error:  # noqa: BLE001 - handed to the thread that asked
                request.answer.set_exception(error)
            else:
                request.answer.set_result(output)


@dataclass(eq=False)
class _Turn(Generic[W, R]):
    """A photo in a lane."""

    work: W
    pixels: int
    on_start: Callable[[], OnStage | None]
    result: Future[R] = field(default_factory=Future)
    on_stage: OnStage | None = None


class Lanes(Generic[W, R]):
    """Photos that are worked on at the same time, each in a thread of its own, and handed on in the order they came.

    All methods are for the one thread that puts the photos in. What it hears of how far they are is about the first of
    them, so that a progress bar moves forward only.

    Args:
        hand_on: takes each photo with its result, out of that thread.
        count: photos, at most.
        room: pixels of all of them together, at most; a single one may have more.
        faces: crops of a batch, at most.
    """

    def __init__(self, hand_on: Callable[[W, R], object], count: int, room: int, faces: int = FACES) -> None:
        self.batcher = FaceBatcher(faces)
        self._hand_on = hand_on
        self._count = count
        self._room = room
        self._threads = ThreadPoolExecutor(count, "lane")
        self._turns: deque[_Turn[W, R]] = deque()

    @property
    def busy(self) -> bool:
        """Whether there is a photo in the lanes."""
        return bool(self._turns)

    def make_room(self, pixels: int) -> None:
        """Hand on the first photos: those that are ready, and those without which there is no room.

        Args:
            pixels: of the next photo; 0 for one that only waits for its turn to be handed on.

        Raises:
            BaseException: what ended a photo whose turn it was.
        """
        while self._turns and (self._turns[0].result.done() or (pixels and not self._has_room(pixels))):
            self._take()

    def drain(self) -> None:
        """Hand on all photos, each once it is ready; see `make_room`."""
        while self._turns:
            self._take()

    def add(
        self, work: W, pixels: int, restore: Callable[[W, OnStage], R], on_start: Callable[[], OnStage | None]
    ) -> None:
        """Begin with a photo, for which `make_room` has made room.

        Args:
            work: the photo.
            pixels: how much of the room it takes.
            restore: does the work, in a thread; is told the photo and what to tell how far it is.
            on_start: called once the photo is the first in the lanes; returns what is told how far it is from then on.
        """
        turn: _Turn[W, R] = _Turn(work, pixels, on_start)

        def on_stage(stage: str, share: float) -> None:
            if self.batcher.closed:
                raise Cancelled
            if turn.on_stage is not None:
                turn.on_stage(stage, share)

        def in_lane() -> R:
            with self.batcher.lane():
                return restore(work, on_stage)

        self._turns.append(turn)
        if len(self._turns) == 1:
            turn.on_stage = on_start()
        turn.result = self._threads.submit(in_lane)

    def stop(self) -> None:
        """Give up all photos in the lanes: each ends at the next thing that it says or asks for."""
        self.batcher.close()
        self._turns.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def wait(self) -> None:
        """Wait until all threads have ended, after `stop`.

        The batcher comes first: it knows a thread whose start was interrupted, of which the executor does not know, and
        hears an interrupt at any moment, where the executor waits without end.
        """
        self.batcher.wait()
        self._threads.shutdown()

    def _has_room(self, pixels: int) -> bool:
        taken = [turn.pixels for turn in self._turns if turn.pixels]
        return len(taken) < self._count and sum(taken) + pixels <= self._room

    def _take(self) -> None:
        """Hand on the first photo, once it is ready; the next one is the first then."""
        result = wait_until_done(self._turns[0].result).result()
        turn = self._turns.popleft()
        if self._turns:
            self._turns[0].on_stage = self._turns[0].on_start()
        self._hand_on(turn.work, result)
