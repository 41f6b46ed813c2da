"""Many photos: named, skipped where they are done, read ahead and written behind the work; none harms another."""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from restorer.batch.discovery import Job
from restorer.batch.journal import Journal
from restorer.batch.lanes import FACES, LANES, Lanes
from restorer.batch.naming import Template, assign, key
from restorer.batch.outputs import check_place, existing_folder, identity, in_the_way, is_original, make_folder
from restorer.errors import OutputExistsError, PhotoError, RestorerError, UnreadablePhotoError, UnwritableOutputError
from restorer.photo import FORMATS, Photo, output_format, read_note, read_photo
from restorer.photo.header import read_header
from restorer.pipeline.restorer import OnStage, Restorer, Result
from restorer.record import Record
from restorer.storage import temporary
from restorer.storage.atomic import write_whole
from restorer.storage.digest import sha256_of

HEAVY = 100_000_000
"""Pixels; photos beyond are not read ahead, and results beyond not written behind, to spare memory."""

FAILED_BEFORE = "it failed in an earlier run; --retry-failed tries it again"
PASSING = frozenset({"UnwritableOutput", "OutputExists", "MissingSupport"})
"""Failures that do not lie in the photo: a rerun tries these photos again without being asked."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_log = logging.getLogger(__name__)


@dataclass
class Summary:
    """How a run ended, photo by photo.

    Attributes:
        records: one for each photo that was looked at, in order.
        seconds: from beginning to end.
        interrupted: whether the user ended it early.
        abandoned: whether the user did so twice: threads may still be at work, and what they were writing was removed.
    """

    records: list[Record] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    abandoned: bool = False

    def count(self, status: str) -> int:
        """Return how many photos ended with a status."""
        return sum(record.status == status for record in self.records)

    @property
    def failed(self) -> list[Record]:
        """The records of the photos that failed."""
        return [record for record in self.records if record.status == "failed"]


@dataclass
class _Work:
    """A photo on its way through a run."""

    job: Job
    record: Record
    photo: Photo | None = None
    fingerprint: str | None = None
    postponed: bool = False  # too large to be read before its turn
    failed_before: bool = False


class Batch:
    """A run over many photos with one `Restorer`.

    While one photo is restored, the next is read and the one before is written, each in a thread of its own; at most
    these three are in memory. Networks work on one photo at a time, so its bytes do not depend on its neighbours.

    On a GPU a few photos are restored at the same time, as many as have `HEAVY` pixels together, and their faces share
    the batches of the face restorer (see `restorer.batch.lanes`). That begins when the first photo with a face has
    loaded the networks; parts that the caller gave must then bear being called by several threads.

    Args:
        restorer: what restores them.
        overwrite: replace results that exist.
        dry_run: read each photo and say what would be done, but do not do it.
        resume: skip what an earlier run has done, or has failed to do.
        retry_failed: try again what failed in an earlier run.
    """

    def __init__(
        self,
        restorer: Restorer,
        *,
        overwrite: bool = False,
        dry_run: bool = False,
        resume: bool = True,
        retry_failed: bool = False,
        _lanes: int | None = None,
    ) -> None:
        self._lanes = _lanes  # photos at a time, for tests; None = by the device
        self._restorer = restorer
        self._overwrite = overwrite
        self._dry_run = dry_run
        self._resume = resume
        self._retry_failed = retry_failed
        self._journals: dict[Path, Journal] = {}
        self._photos: set[tuple[int, int]] = set()
        self._did_not_fit: dict[str, float] = {}  # bytes a pixel of results for which the disk was too full, by format
        self.summary = Summary()

    # -------------------------------------------------------------------------------------------------------- naming

    def plan(self, jobs: Sequence[Job], name: str = "{stem}_restored") -> list[Job]:
        """Return the jobs with the files that they will write.

        Args:
            jobs: all photos of the run, also those that other machines take.
            name: template of a result's name without suffix: {stem}, {model}, {scale}.

        Raises:
            UsageError: the template has an unknown field, or would put a result into another folder.
        """
        template = Template(name, self._restorer.parts.model, self._restorer.options.scale)
        seen = [replace(job, header=read_header(job.source)) for job in jobs]
        planned = assign(seen, template, requested=self._restorer.options.format, owned=self._owns)
        # `restore *.jpg` names the results of its first run as well, the second time.
        targets = {key(job.target) for job in planned if job.target}
        planned = [job for job in planned if key(job.source) not in targets or read_note(job.source) is None]
        self._photos = {found for job in planned if (found := identity(job.source)) is not None}
        return planned

    def _owns(self, job: Job, target: Path) -> bool:
        journal = self._journal(job)
        return self._resume and journal is not None and journal.belongs(job.source, target)

    def _journal(self, job: Job) -> Journal | None:
        if job.journal is None:
            return None
        return self._journals.setdefault(job.journal, Journal(job.journal))

    def is_there(self, job: Job) -> bool:
        """Return whether a photo will only be compared with its result, as far as can be told without reading it."""
        target, journal = _target(job), self._journal(job)
        if not self._resume:
            return False
        if journal is not None and not self._retry_failed and journal.failure(target) is not None:
            return True
        return not self._overwrite and os.path.lexists(target)

    # --------------------------------------------------------------------------------------------------- the whole run

    def run(
        self,
        jobs: Sequence[Job],
        *,
        on_start: Callable[[Job], OnStage | None] | None = None,
        on_record: Callable[[Record], None] | None = None,
    ) -> Summary:
        """Restore each photo; a bad one is recorded and the next one taken.

        Args:
            jobs: the photos, from `plan`, or a part of them.
            on_start: told before each photo; returns what is told how far that photo is.
            on_record: told how each photo ended, in the order of the jobs.

        Raises:
            WeightsError: weights are missing or not verified.
            KeyboardInterrupt: the user interrupts. The photo in hand is given up, and leaves nothing behind; results
                that are being written are finished, unless the user interrupts again. `summary` tells how far it came.
        """
        self.summary = summary = Summary()
        begin = time.perf_counter()
        reader, writer = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "write")
        under_way: deque[Future[Record]] = deque()

        def report(*, wait: bool) -> None:
            while under_way and (wait or under_way[0].done()):
                wait_for([under_way[0]])  # if this is interrupted, the photo stays in the queue
                record = under_way.popleft().result()
                summary.records.append(record)
                if on_record:
                    on_record(record)

        def write(work: _Work, result: Result | None) -> None:
            report(wait=result is not None)  # one result at a time waits to be written
            under_way.append(writer.submit(self._finish, work, result))
            if result is not None and result.image.size // 3 > HEAVY:
                report(wait=True)

        lanes = Lanes(write, self._lanes or LANES, HEAVY, self._restorer.options.batch_size or FACES)
        self._sweep(jobs)
        try:
            ahead = [reader.submit(self._read, job) for job in jobs[:1]]
            for number, job in enumerate(jobs, 1):
                work = ahead.pop().result()
                ahead = [reader.submit(self._read, following) for following in jobs[number : number + 1]]
                start = partial(on_start, job) if on_start else _unheard
                pixels = self._pixels(work)
                if pixels <= HEAVY and self._shares():
                    self._restorer.parts.gathering = lanes.gathering
                    lanes.make_room(pixels)
                    lanes.add(work, pixels, self._restore, start)
                    continue
                lanes.drain()
                on_stage = start()
                if work.postponed:
                    report(wait=True)
                    work = self._read(job, ahead=False)
                write(work, self._restore(work, on_stage))
            lanes.drain()
            report(wait=True)
        except KeyboardInterrupt:
            summary.interrupted = True
            raise
        finally:
            try:
                lanes.stop()
                reader.shutdown(wait=False, cancel_futures=True)
                report(wait=True)
                lanes.wait()
                reader.shutdown()
                writer.shutdown()
                self._sweep(jobs)
                for journal in self._journals.values():
                    journal.close()
            except KeyboardInterrupt:
                summary.interrupted = summary.abandoned = True
                temporary.remove_mine()
                raise
            finally:
                self._restorer.parts.gathering = None
                summary.seconds = time.perf_counter() - begin
        return summary

    def _shares(self) -> bool:
        """Return whether photos are restored side by side: on a GPU, from when the networks are there."""
        parts = self._restorer.parts
        if self._dry_run or parts.restorer is None:
            return False
        return (self._lanes or (1 if parts.device.kind == "cpu" else LANES)) > 1

    def _pixels(self, work: _Work) -> int:
        """Return how much memory a photo takes, in pixels of the larger of itself and its result; 0 without work."""
        if work.postponed:
            return HEAVY + 1
        if work.photo is None:
            return 0
        size, result = work.photo.size, self._restorer.output_size(work.photo.size)
        return max(size[0] * size[1], result[0] * result[1])

    def _sweep(self, jobs: Sequence[Job]) -> None:
        """Remove what killed runs left in the folders that this one writes to."""
        if not self._dry_run:
            for folder in {_target(job).parent for job in jobs}:
                temporary.remove_abandoned(folder)

    @contextmanager
    def _failing(self, work: _Work) -> Iterator[None]:
        """Turn an error that concerns this photo alone into its record."""
        record, source = work.record, work.job.source
        try:
            yield
        except RestorerError as error:
            if error.exit_code != 1:
                raise
            record.fail(error)
        except Exception as error:  # noqa: BLE001 - whatever a library raises; the reason goes into the record
            _log.debug("%s", source, exc_info=True)
            if work.photo is None and isinstance(error, OSError):  # it vanished, or cannot be opened
                reason = f"{source} cannot be read: {error.strerror or error}."
                record.fail(UnreadablePhotoError(source, reason, "Check the file and its folder."))
            else:
                reason = f"{source} could not be restored: {type(error).__name__}: {error}."
                record.fail(PhotoError(source, reason, "Run it alone with -v, which shows where this happened."))

    # ------------------------------------------------------------------------------------------------ reading, ahead

    def _read(self, job: Job, ahead: bool = True) -> _Work:
        """Read a photo, or find that there is nothing to do for it."""
        work = _Work(job, self._restorer.new_record(str(job.source)))
        with self._failing(work), work.record.timed("read"):
            if job.problem is not None:
                raise job.problem
            if not self._is_settled(work):
                size = job.header.size or (0, 0)
                if ahead and size[0] * size[1] > HEAVY:
                    work.postponed = True
                else:
                    work.photo = read_photo(job.source)
        return work

    def _is_settled(self, work: _Work) -> bool:
        """Return whether the photo is done, or failed before, as its record then says; refuse to replace other files.

        Bytes are compared, not sizes and times: those can be the same for another picture, and reading a photo takes a
        small part of the time that restoring it does.
        """
        job, record, target, journal = work.job, work.record, _target(work.job), self._journal(work.job)
        there = os.path.lexists(target)
        if there and identity(target) in self._photos:
            raise is_original(target)
        if there and not self._overwrite:
            sha256 = sha256_of(job.source)
            fingerprint = self._fingerprint(sha256)
            if not (self._resume and self._is_made(job, fingerprint)):
                raise self._in_the_way(job, sha256)
            work.fingerprint = fingerprint
            record.status, record.output, record.reason = "skipped", str(target), "done already"
            return True
        failure = journal.failure(target) if journal is not None and self._resume and not self._retry_failed else None
        if failure is not None and failure.fingerprint == self._fingerprint(sha256_of(job.source)):
            record.status, record.error, record.reason = "failed", failure.record["error"], FAILED_BEFORE
            work.failed_before = True
            return True
        return False

    def _fingerprint(self, sha256: str) -> str:
        return self._restorer.note(sha256).fingerprint

    def _is_made(self, job: Job, fingerprint: str) -> bool:
        """Return whether the file at a job's target was made with this fingerprint: by its own note, or the journal."""
        target, journal = _target(job), self._journal(job)
        note = read_note(target)
        if note is not None:
            return note.fingerprint == fingerprint
        return journal is not None and journal.made(target, fingerprint)

    def _in_the_way(self, job: Job, sha256: str) -> OutputExistsError:
        target, wanted = _target(job), self._restorer.note(sha256) if self._resume else None
        return in_the_way(target, read_note(target) if wanted else None, wanted)

    # ----------------------------------------------------------------------------------------------- the work itself

    def _restore(self, work: _Work, on_stage: OnStage | None) -> Result | None:
        """Restore a photo that was read; None when there is nothing to write."""
        photo, record, job = work.photo, work.record, work.job
        if photo is None:
            return None
        record.input_size, record.output_size = photo.size, self._restorer.output_size(photo.size)
        work.fingerprint = self._fingerprint(photo.sha256)
        with self._failing(work):
            if job.format is None:
                format = output_format(photo.format, self._restorer.options.format, _target(job).suffix)
                work.job = job = replace(job, format=format)
            self._check_place(job, record.output_size)
            if not self._dry_run:
                return self._restorer.restore(photo, record=record, format=job.format, on_stage=on_stage)
            record.status, record.reason, record.output = "skipped", "dry run", str(job.target)
            record.warn(*photo.warnings)
        return None

    def _check_place(self, job: Job, size: tuple[int, int]) -> None:
        """Refuse a photo before the work when its result could not be written; no folder is made yet."""
        target = _target(job)
        check_place(target)
        # Half of what is expected, so that no photo is refused that might fit.
        wanted = size[0] * size[1] * self._did_not_fit.get(job.format or "", 0.0) / 2
        if wanted and shutil.disk_usage(existing_folder(target)).free < wanted:
            raise UnwritableOutputError(
                target,
                f"{target} cannot be written: the disk is full.",
                "Free some space on that disk, or choose another place with -o.",
            )

    # ---------------------------------------------------------------------------------------------- writing, behind

    def _finish(self, work: _Work, result: Result | None) -> Record:
        """Write a result, and the line in the journal; return the finished record."""
        record = work.record
        sha256 = None
        if result is not None:
            with self._failing(work), record.timed("write"):
                sha256 = self._write(work, result)
        seconds = record.seconds
        seconds["total"] = seconds.get("total", 0.0) + seconds.get("read", 0.0) + seconds.get("write", 0.0)
        try:
            self._remember(work, sha256)
        except OSError as error:
            record.warn(f"The journal cannot be written: {error.strerror or error}.")
        return record

    def _write(self, work: _Work, result: Result) -> str | None:
        """Write a result, unless another run was quicker; return the hash of its bytes."""
        job, record, target, options = work.job, work.record, _target(work.job), self._restorer.options
        assert job.format is not None
        assert work.fingerprint is not None
        content = io.BytesIO()
        lost = result.save(content, format=job.format, quality=options.quality, strip_metadata=options.strip_metadata)
        sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
        noted, journal = self._is_noted(job), self._journal(job)
        with ExitStack() as alone:
            if journal is not None and not (noted and _is_beside(job)):
                try:
                    alone.enter_context(journal.alone())
                    if not noted:
                        line = {**record.as_dict(), "status": "writing"}
                        journal.add(
                            line, source=job.source, target=target, fingerprint=work.fingerprint,
                            result_sha256=sha256, lasting=True,
                        )  # fmt: skip
                except OSError as error:
                    if not noted:
                        message = f"{target} cannot be written, since the journal cannot: {error.strerror or error}."
                        raise UnwritableOutputError(target, message, "Choose another place with -o.") from error
            if os.path.lexists(target) and not self._overwrite:  # it was not there when the work began
                if not self._is_made(job, work.fingerprint):
                    raise self._in_the_way(job, result.photo.sha256)
                record.status, record.reason = "skipped", "another run has just done it"
            else:
                make_folder(target.parent)
                try:
                    write_whole(target, content.getbuffer())
                except UnwritableOutputError as error:
                    if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
                        self._did_not_fit[job.format] = len(content.getbuffer()) / (result.image.size / 3)
                    raise
        record.warn(*lost)
        record.output = str(target)
        return sha256

    def _is_noted(self, job: Job) -> bool:
        """Return whether the result tells itself what it was made from."""
        return not self._restorer.options.strip_metadata and "xmp" in FORMATS[job.format or "BMP"].holds

    def _remember(self, work: _Work, sha256: str | None) -> None:
        """Write down how a photo went, as far as later runs cannot see it from the result itself."""
        job, record, journal, target = work.job, work.record, self._journal(work.job), _target(work.job)
        if journal is None or self._dry_run or work.failed_before:
            return
        kind = record.error["kind"] if record.error else None
        if record.status == "failed":
            if kind in PASSING:
                return
            if work.fingerprint is None:
                with suppress(OSError):  # it cannot be read at all: any run tries it again
                    work.fingerprint = self._fingerprint(sha256_of(job.source))
        else:
            assert work.fingerprint is not None
            if record.status == "skipped" and journal.knows(target, work.fingerprint):
                return
            if _is_beside(job) and self._is_noted(job) and journal.failure(target) is None:
                return  # among the photos themselves a journal is only kept for what would be forgotten without it
        journal.add(
            record.as_dict(), source=job.source, target=target, fingerprint=work.fingerprint, result_sha256=sha256
        )


def _unheard() -> None:
    """Stand for an `on_start` where there is none."""


def _target(job: Job) -> Path:
    assert job.target is not None, "Batch.plan names the results"
    return job.target


def _is_beside(job: Job) -> bool:
    """Return whether the result stands beside its photo."""
    return job.folder == job.source.parent
