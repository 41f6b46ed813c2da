"""A run over many photos on a cluster: planned, named and remembered as `batch` does it, worked on elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.batch.discovery import Discovery, Job, find_photos
from restorer.batch.estimate import Load, load_of
from restorer.batch.existing import Survey
from restorer.batch.outlook import Outlook
from restorer.batch.outputs import is_original
from restorer.batch.plan import Line, PlannedJobs
from restorer.batch.results import Results, target_of
from restorer.batch.run import Batch, Course, Listeners
from restorer.batch.summary import Summary
from restorer.cluster import rows
from restorer.cluster.blocks import blocks, weight
from restorer.cluster.ledger import Outcome
from restorer.cluster.link import Link, SessionLink
from restorer.cluster.order import Order, check_installed
from restorer.cluster.remote import Remote, header_of
from restorer.cluster.stores import is_store
from restorer.cluster.worker import Wish, unpacked
from restorer.errors import RestorerError
from restorer.pipeline.restorer import Restorer
from restorer.storage import temporary
from restorer.storage.identity import identity

if TYPE_CHECKING:
    import pyarrow as pa

Connect = Callable[[Order], Link]


class ClusterBatch(Batch):
    """A run whose photos the processes of a cluster restore.

    Photos are found, named and looked at here; the workers read, restore and write them, each with a journal of its
    own beside the results, and those become lines of the common one in the end: a rerun goes on from them, here or on a
    cluster. Records come as photos end, with their number in `Record.number`.

    Args:
        restorer: what says what is asked of a photo; it restores none.
        order: the cluster.
        threads: that a worker computes with; None = as many as the CPUs that it is given.
        connect: makes the link to the cluster; None = through a process of its own.
        more: see `Batch`.

    Raises:
        MissingPackageError: Ray is not installed.
    """

    def __init__(
        self,
        restorer: Restorer,
        order: Order,
        *,
        threads: int | None = None,
        connect: Connect | None = None,
        **more: Any,
    ) -> None:
        check_installed()
        super().__init__(restorer, **more)
        self._order = order
        self._threads = threads
        self._connect = connect
        self._link: Link | None = None
        self._remote: Remote | None = None
        self._loads: Sequence[Load] | None = None
        self.workers = 0
        self.machines = 0

    def find(self, arguments: Sequence[str], out: Path | None, listed: Sequence[Path]) -> Discovery:
        """Find the photos of a run, on disks and in stores; see `restorer.batch.discovery.find_photos`."""
        if any(map(is_store, (*arguments, *listed, *(() if out is None else (out,))))):
            self._remote = Remote(out)
        away = [] if self._remote is None else self._remote.found(arguments, listed)
        here = [argument for argument in arguments if not is_store(argument)]
        return find_photos(here, out, listed=[path for path in listed if not is_store(path)], elsewhere=away)

    def plan(self, jobs: Sequence[Job], name: str = "{stem}_restored") -> list[Job]:
        """See `Batch.plan`; what the journals in stores say is brought here."""
        for folder in {job.journal for job in jobs if job.journal is not None and is_store(job.journal)}:
            assert self._remote is not None
            self._results.mirrors[folder] = self._remote.mirror(folder)
        return super().plan(jobs, name)

    def follow(self, jobs: PlannedJobs) -> PlannedJobs:
        """See `Batch.follow`; what the journals in a store say is brought here."""
        if jobs.out is not None and is_store(jobs.out):
            self._remote = Remote(jobs.out)
            self._results.mirrors[jobs.out] = self._remote.mirror(jobs.out)
        return super().follow(jobs)

    def join(self) -> int:
        """Join the cluster, and return how many workers there will be.

        Raises:
            ClusterError: it cannot be joined, or has no room for a worker.
        """
        if self._link is None:
            self._link = (self._connect or SessionLink)(self._order)
            ready = self._link.join()
            self.workers, self.machines = ready.workers, ready.machines
        return self.workers

    def look(self, jobs: Iterable[Job]) -> tuple[Survey, Outlook]:
        """See `Batch.look`; what it finds also says which photos go to a worker together."""
        survey, outlook = super().look(jobs)
        self._loads = outlook.loads
        return survey, outlook

    def leave(self) -> None:
        """Leave the cluster; nothing where none was joined, or the run has done so."""
        if self._link is not None:
            self._link.kill()
            self._link = None
        if self._remote is not None:
            self._remote.close()
            self._remote = None

    def _course(self, listeners: Listeners) -> Course:
        self.join()
        assert self._link is not None
        knows = self._results.photos is not None
        wish = Wish.here(
            self._restorer.options,
            self._results.rules,
            folder=os.fspath(Path.cwd()),
            knows_photos=knows,
            threads=self._threads,
        )
        return _ClusterCourse(
            self._link, self.workers, wish, self._results, self._loads, self.summary, listeners, self._remote
        )


class _ClusterCourse:
    """The way of a run's photos through a cluster.

    Args:
        link: to the cluster.
        workers: how many there are, about.
        wish: what they are told.
        results: what is known of the run's results.
        loads: what each photo is expected to cost; None = nobody has looked yet.
        summary: takes in the records.
        listeners: are told of each photo, as it ends.
        remote: the stores of the run; None = it has none.
    """

    def __init__(
        self,
        link: Link,
        workers: int,
        wish: Wish,
        results: Results,
        loads: Sequence[Load] | None,
        summary: Summary,
        listeners: Listeners,
        remote: Remote | None = None,
    ) -> None:
        self._remote = remote
        self._link = link
        self._workers = workers
        self._wish = wish
        self._results = results
        self._loads = loads
        self._summary = summary
        self._listeners = listeners
        self._folders: set[str] = set()
        self._heard = bytearray()
        self._over = False

    def take(self, jobs: Iterable[Job], until: float | None) -> None:
        """Share out the photos, and hear how they end; from `until` on none is begun."""
        self._link.hand_out(self._wish, self._tables(jobs))
        stopped = False
        try:
            while (outcomes := self._link.hear()) is not None:
                self._report(outcomes)
                if until is not None and not stopped and time.monotonic() >= until:
                    stopped = self._summary.out_of_time = True
                    self._link.stop()
        except RestorerError:
            self._over = True
            raise
        self._over = True

    def end(self) -> None:
        """Let no photo be begun, wait for those in hand, and remove what processes that died have left."""
        try:
            if not self._over:
                self._drain()
            self._link.end()
        except KeyboardInterrupt:
            self._link.kill()
            raise
        finally:
            for folder in self._folders:
                temporary.remove_abandoned(Path(folder))
            if self._remote is not None:
                self._remote.merge()

    def _drain(self) -> None:
        """Stop, and take in what is finished until the workers are through with what they have in hand."""
        self._over = True
        self._link.stop()
        while (outcomes := self._link.hear()) is not None:
            self._report(outcomes)

    def _report(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if not self._heard[outcome[0]]:  # a photo counts once, whatever happened to its block
                self._heard[outcome[0]] = 1
                record = unpacked(outcome)
                self._summary.add(record)
                if self._listeners.on_record:
                    self._listeners.on_record(record)

    def _tables(self, jobs: Iterable[Job]) -> Iterator[tuple[pa.Table, float]]:
        """Yield blocks with their weights as they fill up: what is kept of a photo is a byte."""
        loads = self._loads
        if loads is None:
            loads = [load_of(job, self._wish.options, skipped=self._results.is_there(job)) for job in jobs]
        self._heard = bytearray(len(loads))
        photos: Iterable[Job | Line] = jobs.lines() if isinstance(jobs, PlannedJobs) else jobs
        weighed = ((each, weight(load)) for each, load in zip(enumerate(photos), loads, strict=True))
        found = blocks(weighed, sum(map(weight, loads)), self._workers)
        for number, block in enumerate(found):
            self._folders.update(os.path.dirname(photo.target or "") for _, photo in block.items)  # noqa: PTH120 - quick
            photos_of = [(place, self._guarded(photo)) for place, photo in block.items]
            yield rows.table(number, photos_of, self._lines), block.weight

    def _lines(self, photo: Job | Line) -> bytes:
        """Return what the journal of a store says of a photo; a worker reads those of disks itself."""
        journal = self._results.journal(photo) if photo.journal in self._results.mirrors else None
        return b"" if journal is None or photo.target is None else journal.lines(photo.target)

    def _guarded(self, photo: Job | Line) -> Job | Line:
        """Return a photo that says so where its result would take the place of one of the photos."""
        photos = self._results.photos
        if not photos or photo.problem is not None or isinstance(photo, Line):  # of a plan they are not known
            return photo
        target = target_of(photo)
        there = header_of(target, 0).identity if is_store(target) else identity(target)
        return replace(photo, problem=is_original(target)) if there is not None and there in photos else photo
