"""A photo that lies in a store, and its result: brought to this machine's disk, worked on as any other, put back.

So whatever a run knows of files, of notes in results and of journals holds for stores too. What is brought is the photo
and, where there is one, the result of an earlier run, whose note says whether there is anything to do.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from restorer.batch.discovery import Job
from restorer.batch.journal import NAME
from restorer.batch.lines import BEGIN, END
from restorer.batch.one import OnePhoto
from restorer.batch.outputs import in_the_way
from restorer.batch.results import Results
from restorer.cluster.stores import is_store, opened, patiently, read_bytes, url, write_bytes
from restorer.errors import PhotoError, RestorerError, StoreUnavailableError, UnreadablePhotoError
from restorer.photo.header import Header
from restorer.record import Record
from restorer.storage.atomic import write_atomic


class Staging:
    """The place on this machine's disk where photos from stores are worked on.

    Args:
        results: what is known of the run's results.
        worker: what the journals of this process are called by.
    """

    def __init__(self, results: Results, worker: str) -> None:
        self._results = results
        self._worker = worker
        self._folder = Path(tempfile.mkdtemp(prefix="restorer-stage-"))
        # with this object, or with the process: journals name photos, which is nobody's business afterwards
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._told: dict[Path, int] = {}
        self._roots: dict[Path, Path] = {}

    def take(self, one: OnePhoto, job: Job, block: int, lines: bytes | None) -> Record:
        """Restore a photo that lies in a store, or whose result is to lie there.

        Args:
            one: what restores it.
            job: the photo.
            block: what its line in the journal goes with.
            lines: what earlier runs have written about it.
        """
        staged, there = self._staged(job), False
        try:
            if job.problem is None:
                try:
                    there = self._fetch(job, staged)
                except PhotoError as error:
                    staged = replace(staged, problem=error)
            self._tell(staged, lines)
            record = one.take(staged)
            if record.status == "ok":
                with record.capturing(url(job.source) if is_store(job.source) else job.source):
                    self._put(job, staged, block, record, there=there)
            return self._renamed(record, job, staged)
        finally:
            self._clean(job, staged)

    def refuse(self, one: OnePhoto, job: Job, error: RestorerError) -> Record:
        """Let a photo fail that is not to be tried; see `OnePhoto.refuse`."""
        staged = self._staged(job)
        return self._renamed(one.refuse(staged, error), job, staged)

    def flush(self, block: int) -> None:
        """Put what the journals have of a block into the stores: an object for each worker and block."""
        for folder, root in self._roots.items():
            journal = root / f"{BEGIN}-{self._worker}{END}"
            with suppress(FileNotFoundError):
                begin = self._told.get(folder, 0)
                with journal.open("rb") as stream:
                    stream.seek(begin)
                    data = stream.read()
                if data:
                    write_bytes(folder / f"{BEGIN}-{self._worker}-{block}{END}", data, replace=True)

    def through(self, block: int) -> None:
        """Put what the journals have of a block into the stores, and begin anew with the next one."""
        self.flush(block)
        for folder, root in self._roots.items():
            with suppress(FileNotFoundError):
                self._told[folder] = (root / f"{BEGIN}-{self._worker}{END}").stat().st_size

    # ------------------------------------------------------------------------------------------------- there and back

    def _staged(self, job: Job) -> Job:
        """Return the job as it is on this machine's disk."""
        assert job.target is not None
        source, target, journal = job.source, job.target, job.journal
        if is_store(source):
            source = self._folder / "in" / hashlib.sha256(url(source).encode()).hexdigest()[:16] / source.name
        if is_store(target):
            above = journal if journal is not None else target.parent
            root = self._folder / "out" / hashlib.sha256(str(above).encode()).hexdigest()[:16]
            target = root / target.relative_to(above)
            if journal is not None:
                self._roots[journal] = root
                journal = root
        return replace(
            job,
            source=source,
            folder=target.parent,
            target=target,
            journal=journal,
            header=Header(),
            problem=job.problem,
        )

    def _fetch(self, job: Job, staged: Job) -> bool:
        """Bring the photo, and the result of an earlier run; return whether there is one.

        Raises:
            PhotoError: the photo is not there, or the store does not answer.
        """
        if is_store(job.source):
            data = _asked(job.source, lambda: read_bytes(job.source))
            write_atomic(staged.source, data, durable=False)
        assert job.target is not None
        assert staged.target is not None
        if not is_store(job.target):
            return False
        where = job.target
        system, path = opened(where)
        there = bool(_asked(where, lambda: patiently(lambda: system.exists(path))))
        if there:
            write_atomic(staged.target, _asked(where, lambda: read_bytes(where)), durable=False)
        return there

    def _tell(self, staged: Job, lines: bytes | None) -> None:
        """Put what earlier runs wrote about a photo into the journal that this process reads."""
        if lines and staged.journal is not None:
            staged.journal.mkdir(parents=True, exist_ok=True)
            with (staged.journal / NAME).open("ab") as stream:
                stream.write(lines)

    def _put(self, job: Job, staged: Job, block: int, record: Record, *, there: bool) -> None:
        """Put a result into its store; raises `PhotoError` where that cannot be."""
        target = job.target
        assert target is not None
        assert staged.target is not None
        if not is_store(target):
            return
        if not self._results.is_noted(staged):
            _asked(target, lambda: self.flush(block))  # whose file it is must be known before it is there
        replaced = self._results.rules.overwrite or there
        made = [staged.target, *map(Path, record.variants)]
        if record.repair is not None and record.repair.get("mask"):
            made.append(Path(record.repair["mask"]))
        for path in made:
            place = target.parent / path.name
            data = path.read_bytes()
            try:
                _asked(place, partial(write_bytes, place, data, replace=replaced))
            except FileExistsError:
                raise in_the_way(Path(url(place)), None, None) from None

    def _renamed(self, record: Record, job: Job, staged: Job) -> Record:
        """Return a record that names photo and result where they lie in their stores."""
        assert job.target is not None
        assert staged.target is not None
        names = {str(staged.source): _named(job.source), str(staged.target.parent): _named(job.target.parent)}

        def renamed(value: Any) -> Any:
            if isinstance(value, str):
                for own, given in names.items():
                    value = value.replace(own, given)
                return value
            if isinstance(value, list):
                return [renamed(each) for each in value]
            if isinstance(value, dict):
                return {key: renamed(each) for key, each in value.items()}
            return value

        for name in ("input", "output", "warnings", "error", "reason", "variants", "repair"):
            setattr(record, name, renamed(getattr(record, name)))
        return record

    def _clean(self, job: Job, staged: Job) -> None:
        if is_store(job.source):
            shutil.rmtree(staged.source.parent, ignore_errors=True)
        if job.target is not None and is_store(job.target) and staged.target is not None:
            for path in staged.target.parent.glob("*"):
                if path.is_file() and not path.name.startswith(BEGIN):
                    path.unlink(missing_ok=True)


def _named(place: Path) -> str:
    return url(place) if is_store(place) else str(place)


def _asked(place: Path, ask: Callable[[], Any]) -> Any:
    """Return what a store answers; in words where it does not."""
    where = _named(place)
    try:
        return ask()
    except FileNotFoundError as error:
        raise UnreadablePhotoError(where, f"There is no file {where}.", "Check the name and the store.") from error
    except FileExistsError:
        raise
    except OSError as error:
        message = f"{where} cannot be reached: {error}."
        raise StoreUnavailableError(where, message, "The same command tries it again.") from error
