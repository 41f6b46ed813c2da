"""Many photos: named, skipped where they are done, read ahead and written behind the work; none harms another."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from restorer.batch.discovery import Discovery, Job, find_photos, shard
from restorer.batch.estimate import load_of
from restorer.batch.existing import Survey
from restorer.batch.interrupts import heard
from restorer.batch.jobs import AUTO, Jobs, need_of, share
from restorer.batch.naming import NameTemplate, assign
from restorer.batch.one import LARGE_PHOTO_PIXELS, OnePhoto
from restorer.batch.outlook import Outlook
from restorer.batch.parts import Part
from restorer.batch.plan import Line, PlannedJobs
from restorer.batch.reading import Reader
from restorer.batch.results import Results, Rules, Work
from restorer.batch.summary import Summary
from restorer.batch.writing import Writer
from restorer.engine.device import allowed_cores, threads_of
from restorer.engine.memory import free_memory
from restorer.options import sizes
from restorer.photo import read_note
from restorer.photo.header import glance, measured
from restorer.pipeline.events import OnStage
from restorer.pipeline.lanes import FACES, LANES, Lanes, wait_until_done
from restorer.pipeline.restorer import Restorer
from restorer.pipeline.result import Result, file_format
from restorer.record import Record
from restorer.storage import temporary
from restorer.storage.identity import identity, key

__all__ = ["LARGE_PHOTO_PIXELS", "Batch", "Summary"]

OnStart = Callable[[Job], "OnStage | None"]
OnRecord = Callable[[Record], None]


class Batch:
    """A run over many photos with one `Restorer`.

    While one photo is restored, the next is read and the one before is written, each in a thread of its own; at most
    these three are in memory. Networks work on one photo at a time, so its bytes do not depend on its neighbours.

    On a GPU `LANES` photos are restored at the same time, or as many as have `LARGE_PHOTO_PIXELS` together, and their
    faces share the batches of the face restorer (see `restorer.pipeline.lanes`). That begins when the first photo with
    a face has loaded the networks; parts that the caller gave must then bear being called by several threads.

    On a processor of many cores several photos are restored at once as well, where `share` says so: each by itself,
    so that its bytes are the same. They share the networks, and what each lane makes it encodes, too.

    Args:
        restorer: what restores them.
        overwrite: replace results that exist.
        dry_run: read each photo and say what would be done, but do not do it.
        resume: skip what an earlier run has done, or has failed to do.
        retry_failed: try again what failed in an earlier run.
        redo: "built-in" makes anew what built-in models did and better ones would do now.
        part: the part of the photos that is this machine's; None = all.
        lanes: photos that are restored at the same time and share batches; None = by the device.

    Attributes:
        summary: how the run goes.
        passed_over: how many photos of the last `plan` are results of others in it, and were left out.
    """

    def __init__(
        self,
        restorer: Restorer,
        *,
        overwrite: bool = False,
        dry_run: bool = False,
        resume: bool = True,
        retry_failed: bool = False,
        redo: str | None = None,
        part: Part | None = None,
        lanes: int | None = None,
    ) -> None:
        self._lanes = lanes
        self._jobs = Jobs()
        self._restorer = restorer
        self._part = part
        self._results = Results(restorer, Rules(overwrite, dry_run, resume, retry_failed, redo), part)
        self.summary = Summary()
        self.passed_over = 0

    def find(self, arguments: Sequence[str], out: Path | None, listed: Sequence[Path]) -> Discovery:
        """Find the photos of a run; see `restorer.batch.discovery.find_photos`."""
        return find_photos(arguments, out, listed=listed)

    def join(self) -> int:
        """Make ready for the run, before it is said how long it takes; return how many share its photos."""
        return 1

    def share(self, asked: int | str = AUTO, photos: int | None = None, threads: int | None = None) -> Jobs:
        """Decide how many photos are restored at once; return what came of it for a CPU.

        Args:
            asked: so many; "auto" = as many as there are cores and memory for, on a GPU `LANES`.
            photos: that are to be restored; None = they come one by one, and "auto" is one.
            threads: that compute each photo, where somebody said so, and "auto" then is one; None = as many as
                `restorer.engine.device` gives it.
        """
        cores, components = allowed_cores(), self._restorer.components
        each = threads or threads_of(cores)
        alone = photos is None or threads is not None or cores < 2 * each if asked == AUTO else asked == 1
        if self._results.rules.dry_run or photos in (0, 1) or (alone and asked == AUTO):
            return self._jobs  # before torch is loaded, which tells the device
        if components.device.kind != "cpu":
            self._lanes = asked if isinstance(asked, int) else self._lanes
        elif not (alone or components.is_search):
            need, memory = need_of(components), free_memory()
            self._jobs = share(asked, cores=cores, threads=each, memory=memory, need=need, photos=photos)
        return self._jobs

    def plan(self, jobs: Sequence[Job], name: str = "{stem}_restored") -> list[Job]:
        """Return the jobs with the files that they will write; of a run that is shared, those of its part.

        Args:
            jobs: all photos of the run, also those that other machines take.
            name: template of a result's name without suffix: {stem}, {model}, {scale}.

        Raises:
            UsageError: the template has an unknown field, or would put a result into another folder.
        """
        template = NameTemplate(name, self._restorer.components.model, sizes.known_scale(self._restorer.options))
        seen = [job if job.header.identity else replace(job, header=glance(job.source)) for job in jobs]
        planned = assign(seen, template, requested=file_format(self._restorer.options), owned=self._results.owns)
        # `restore *.jpg` names the results of its first run as well, the second time.
        targets = {key(job.target) for job in planned if job.target}
        self.passed_over = len(planned)
        planned = [job for job in planned if key(job.source) not in targets or read_note(job.source) is None]
        self.passed_over -= len(planned)
        found = (job.header.identity or identity(job.source) for job in planned)
        self._results.photos = frozenset(each for each in found if each is not None)
        if self._part is not None:
            planned = shard(planned, self._part)
        return [job if self.is_there(job) else replace(job, header=measured(job.header, job.source)) for job in planned]

    def follow(self, jobs: PlannedJobs) -> PlannedJobs:
        """Return the jobs of a plan, which have their names; nothing is replaced that is no result of this tool."""
        self._results.follow_plan()
        return jobs

    def look(self, jobs: Iterable[Job]) -> tuple[Survey, Outlook]:
        """Return what stands where the results of planned photos are to be, and what is ahead; no photo is read."""
        survey, outlook = Survey(), Outlook()
        photos: Iterable[Job | Line] = jobs.lines() if isinstance(jobs, PlannedJobs) else jobs
        for photo in photos:
            there = self._results.look_at(photo, survey)
            outlook.add(photo, load_of(photo, self._restorer.options, skipped=there))
        return survey, outlook

    def is_there(self, job: Job) -> bool:
        """Return whether a photo will only be compared with its result, as far as can be told without reading it."""
        return self._results.is_there(job)

    def run(
        self,
        jobs: Iterable[Job],
        *,
        on_start: OnStart | None = None,
        on_record: OnRecord | None = None,
        until: float | None = None,
        keep: bool = True,
    ) -> Summary:
        """Restore each photo; a bad one is recorded and the next one taken.

        Args:
            jobs: the photos, from `plan`, or a part of them; taken one by one.
            on_start: told before each photo; returns what is told how far that photo is.
            on_record: told how each photo ended, in the order of the jobs.
            until: the second of `time.monotonic` from which on no other photo is begun; None = all are.
            keep: whether the summary keeps the records, which take memory by the photo.

        Raises:
            WeightsError: weights are missing or not verified.
            KeyboardInterrupt: the user interrupts. The photo in hand is given up, and leaves nothing behind; results
                that are being written are finished, unless the user interrupts again. `summary` tells how far it came.
        """
        self.summary = summary = Summary(keep=keep)
        begin = time.perf_counter()
        course = self._course(Listeners(on_start, on_record))
        try:
            with heard():
                course.take(jobs, until)
        except KeyboardInterrupt:
            summary.interrupted = True
            raise
        finally:
            try:
                self._end(course, summary)
            finally:
                summary.seconds = time.perf_counter() - begin
        return summary

    def _course(self, listeners: Listeners) -> Course:
        """Return the way that the photos of a run take."""
        return _Course(self._results, self.summary, listeners, self._lanes, self._jobs)

    def _end(self, course: Course, summary: Summary) -> None:
        """Wait for what is being written; an interrupt that is the first one is heard afterwards."""
        try:
            with heard():
                course.end()
            self._results.close()
        except KeyboardInterrupt:
            if not summary.interrupted:
                summary.interrupted = True
                self._end(course, summary)
                raise
            summary.abandoned = True
            temporary.remove_mine()
            raise


@dataclass(frozen=True)
class Listeners:
    """Who is told of the photos of a run; see `Batch.run`."""

    on_start: OnStart | None = None
    on_record: OnRecord | None = None


class Course(Protocol):
    """The way that the photos of a run take; who shares them out among machines has another than `_Course`."""

    def take(self, jobs: Iterable[Job], until: float | None) -> None:
        """Take the photos, until all are written or the time of `time.monotonic` is up."""

    def end(self) -> None:
        """Give up what is in hand, and wait until all that is being written is."""


class _Course:
    """The way of the photos of a run: a thread that reads, one that writes, and lanes between them.

    Args:
        results: what is known of the run's results.
        summary: takes in the records.
        listeners: are told of each photo, in their order.
        lanes: photos that are restored at the same time and share batches; None = by the device.
        jobs: photos that are restored at the same time on a CPU, each by itself.
    """

    def __init__(self, results: Results, summary: Summary, listeners: Listeners, lanes: int | None, jobs: Jobs) -> None:
        self._results = results
        self._restorer = results.restorer
        self._summary = summary
        self._listeners = listeners
        self._count = lanes
        self._reader = Reader(results, LARGE_PHOTO_PIXELS)
        self._writer = Writer(results)
        self._one = OnePhoto(results, self._reader, self._writer)
        self._reading, self._writing = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "write")
        self._ahead: Future[list[Work]] | None = None
        self._begun = False
        self._under_way: deque[Future[Record]] = deque()
        faces = self._restorer.options.batch_size or FACES
        self._apart = lanes is None and jobs.count > 1
        self._room = jobs.pixels if self._apart else LARGE_PHOTO_PIXELS
        count = jobs.count if self._apart else lanes or LANES
        self._lanes: Lanes[Work, Result | None] = Lanes(self._hand_on, count, self._room, faces)

    def take(self, jobs: Iterable[Job], until: float | None) -> None:
        """Take the photos in their order, until all are written or the time is up."""
        left = iter(jobs)
        self._ahead = self._reading.submit(self._reader.read_on, left)
        while works := wait_until_done(self._ahead).result():
            self._ahead = self._reading.submit(self._reader.read_on, left)
            for work in works:
                if until is not None and not work.is_settled and time.monotonic() >= until:
                    self._summary.out_of_time = True
                    self._lanes.drain()
                    self._report(wait=True)
                    return
                self._take(work)
        self._lanes.drain()
        self._report(wait=True)

    def _take(self, work: Work) -> None:
        """Take a photo that was read."""
        start = partial(self._listeners.on_start, work.job) if self._listeners.on_start else _unheard
        if work.is_settled and not self._lanes.busy and not self._under_way and self._writer.has_told(work):
            start()  # nothing is ahead of it, and nothing is to be written: thousands of them are taken at once
            self._writer.conclude(work.record)
            self._hear(work.record)
            return
        pixels = self._pixels(work)
        if pixels <= LARGE_PHOTO_PIXELS and self._shares():
            self._lanes.make_room(pixels)
            together = partial(self._one.restore, wrap=self._lanes.batcher.around)
            self._lanes.add(work, pixels, self._one.restore_and_encode if self._apart else together, start)
            return
        self._lanes.drain()
        on_stage = start()
        if work.postponed:
            self._report(wait=True)
            work = self._reader.read(work.job, ahead=False)
        self._hand_on(work, self._one.restore(work, on_stage))
        self._begun |= work.photo is not None
        if work.record.interrupted:  # the best until then is being written
            raise KeyboardInterrupt

    def end(self) -> None:
        """Give up what is in hand, and wait until all that is being written is."""
        self._lanes.stop()
        self._reader.stop()
        self._reading.shutdown(wait=False, cancel_futures=True)
        self._report(wait=True)
        self._lanes.wait()
        if self._ahead is not None:
            wait_until_done(self._ahead)  # the executor would wait for it too, but deaf to a second interrupt
        self._reading.shutdown()
        self._writing.shutdown()
        self._results.sweep()

    def _report(self, *, wait: bool) -> None:
        """Take in the records of the photos that are finished, or of all."""
        while self._under_way and (wait or self._under_way[0].done()):
            wait_until_done(self._under_way[0])  # if this is interrupted, the photo stays in the queue
            self._hear(self._under_way.popleft().result())

    def _hear(self, record: Record) -> None:
        self._summary.add(record)
        if self._listeners.on_record:
            self._listeners.on_record(record)

    def _hand_on(self, work: Work, result: Result | None) -> None:
        """Give a photo to the thread that writes."""
        self._report(wait=result is not None)  # one result at a time waits to be written
        self._under_way.append(self._writing.submit(self._writer.finish, work, result))
        if result is not None and result.image.size // 3 > LARGE_PHOTO_PIXELS:
            self._report(wait=True)

    def _shares(self) -> bool:
        """Return whether photos are restored side by side: from when the networks are there."""
        components = self._restorer.components
        if self._results.rules.dry_run or components.is_search:
            return False
        if self._apart and not components.faces_wanted:
            return self._begun
        if not components.loaded:
            return False
        return self._apart or (self._count or (1 if components.device.kind == "cpu" else LANES)) > 1

    def _pixels(self, work: Work) -> int:
        """Return how much memory a photo takes, in pixels of the larger of itself and its result; 0 without work."""
        if work.postponed:
            return LARGE_PHOTO_PIXELS + 1
        if work.photo is None:
            return 0
        size, result = work.photo.size, self._restorer.output_size(work.photo.size)
        return max(size[0] * size[1], result[0] * result[1])


def _unheard() -> None:
    """Stand for an `on_start` where there is none."""
