"""What a process of the cluster does: one restorer, kept, and block after block of photos."""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import sys
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.batch.discovery import Job
from restorer.batch.one import OnePhoto
from restorer.batch.results import Results, Rules
from restorer.cluster import rows
from restorer.cluster.ledger import LIMIT, Book, Outcome
from restorer.cluster.staging import Staging
from restorer.cluster.stores import is_store
from restorer.engine.device import configure_threads
from restorer.engine.hardware import Hardware, hardware_aside, settle
from restorer.errors import ProcessKilledError, RestorerError, UsageError, command_words
from restorer.options import Options
from restorer.pipeline.restorer import Restorer
from restorer.record import DONE_EARLIER, Record
from restorer.storage.atomic import write_atomic
from restorer.storage.folders import cache_folder
from restorer.version import __version__

if TYPE_CHECKING:
    import pyarrow as pa

ENVIRONMENT = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "RESTORER_CONFIG")
"""Variables of the driver that hold for its workers; where caches are, and who may read a store, each machine knows."""


@dataclass(frozen=True)
class Wish:
    """What the workers of a run are told, the same to all.

    Attributes:
        options: what is asked of each photo.
        rules: how what is there is treated.
        folder: where the run was started, which paths are seen from; None = no path is.
        knows_photos: whether the driver knows all photos of the run, and has kept results away from them.
        threads: that a worker computes with; None = as many as the cores that it was given.
        weights: the weights.toml more that the driver has, with its text, for machines that do not see the file.
        environment: variables that are to be set.
        hardware: that engines and arithmetic are chosen for, the driver's; None = each machine's own.
        in_command: whether errors name options as they are typed.
        version: of the driver.
    """

    options: Options
    rules: Rules = field(default_factory=Rules)
    folder: str | None = None
    knows_photos: bool = True
    threads: int | None = None
    weights: tuple[str, str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    in_command: bool = True
    hardware: Hardware | None = None
    version: str = __version__

    @classmethod
    def here(cls, options: Options, rules: Rules, **more: Any) -> Wish:
        """Return a wish with what this process's environment says."""
        told = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        named, weights = os.environ.get("RESTORER_WEIGHTS"), None
        if named:
            path = Path(named).expanduser().absolute()
            weights = str(path), path.read_text(encoding="utf-8") if path.is_file() else ""
        return cls(options, rules, environment=told, weights=weights, hardware=hardware_aside(), **more)

    def apply(self) -> None:
        """Make this process what the driver's is.

        Raises:
            UsageError: this machine has another version, or does not see the driver's folder.
        """
        if self.version != __version__:
            raise UsageError(
                f"{platform.node()} has version {__version__} of this tool, and the run came with {self.version}.",
                "Install the same version on every machine of the cluster.",
            )
        os.environ.update(self.environment)
        if self.weights is not None:
            os.environ["RESTORER_WEIGHTS"] = _weights_file(*self.weights)
        if self.folder is not None:
            try:
                os.chdir(self.folder)
            except OSError as error:
                raise UsageError(
                    f"{platform.node()} does not see the folder {self.folder}: {error.strerror or error}.",
                    "Photos and results must lie on a disk that all machines of the cluster have at the same place, "
                    "or in an object store.",
                ) from error
        settle(self.hardware)
        configure_threads(self.threads)


def _weights_file(path: str, text: str) -> str:
    """Return the driver's weights.toml as this machine sees it; where it does not, one of the same text."""
    if Path(path).is_file() or not text:
        return path
    own = cache_folder() / "cluster" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.toml"
    write_atomic(own, text)
    return str(own)


class RestorePhotos:
    """Restores blocks of photos; `ray.data` makes one in each process of the pool, and calls it with block after block.

    Networks are loaded with the first photo that needs them. What goes wrong with a photo stands in its record; what
    no other photo would survive is told to the ledger, and ends the run.

    Args:
        wish: what is asked for.
        book: the ledger.
    """

    def __init__(self, wish: Wish, book: Book) -> None:
        self._wish = wish
        self._book = book
        self._worker = uuid.uuid4().hex[:12]
        self._staging: Staging | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Restore a block; return a row for each photo that was begun with: its number, its status."""
        import pyarrow as pa

        number = block["block"][0].as_py()
        try:
            with command_words() if self._wish.in_command else nullcontext():
                told = self._restore(number, list(rows.jobs(block)))
        except RestorerError as error:
            self._book.fail(pickle.dumps(error))
            told = []
        return pa.table(
            {"number": [each for each, _ in told], "status": [status for _, status in told]},
            schema=pa.schema([("number", pa.int64()), ("status", pa.string())]),
        )

    def _restore(self, block: int, jobs: list[tuple[int, Job, bytes | None]]) -> list[tuple[int, str]]:
        begun = self._book.start(block, self._worker, _node())
        told: list[tuple[int, str]] = []
        last: Outcome | None = None
        for number, job, lines in jobs:
            if number in begun.done:
                told.append((number, "done"))
                continue
            if not self._book.begin(block, self._worker, number, last):
                last = None
                break
            record = self._take(block, job, lines, begun.deaths.get(number, 0.0))
            told.append((number, record.status))
            last = number, packed(record, number)
        if self._staging is not None:
            self._staging.through(block)
        self._book.end(block, self._worker, last)
        return told

    def _take(self, block: int, job: Job, lines: bytes | None, deaths: float) -> Record:
        """Restore a photo, wherever it is; one that has killed processes is refused."""
        remote = any(place is not None and is_store(place) for place in (job.source, job.target))
        if remote and self._staging is None:
            self._staging = Staging(self._results, self._worker)
        staging = self._staging if remote else None
        if deaths >= LIMIT:
            error = ProcessKilledError(
                job.source,
                f"{job.source} killed the process that restored it, again and again: it ran out of memory, or crashed.",
                "Restore it alone, on a machine with more memory.",
            )
            return self._one.refuse(job, error) if staging is None else staging.refuse(self._one, job, error)
        return self._one.take(job) if staging is None else staging.take(self._one, job, block, lines)

    @cached_property
    def _one(self) -> OnePhoto:
        """What restores a photo."""
        return OnePhoto(self._results)

    @cached_property
    def _results(self) -> Results:
        """What is known of the results; made with the first block, so that what is wrong is told to the ledger."""
        self._wish.apply()
        restorer = Restorer(**self._wish.options.values())
        results = Results(restorer, self._wish.rules, worker=self._worker)
        results.photos = frozenset() if self._wish.knows_photos else None
        return results


def packed(record: Record, number: int) -> bytes:
    """Return a record for its way to the driver."""
    earlier = record.earlier
    if earlier is not None:  # it is looked up in the journal when somebody asks for it, which goes no further than here
        names = (*DONE_EARLIER, "seconds", "time", "warnings")
        earlier = {name: earlier[name] for name in names if name in earlier}
    return pickle.dumps(replace(record, earlier=earlier, number=number))


def unpacked(outcome: Outcome) -> Record:
    """Return the record of an outcome."""
    record: Record = pickle.loads(outcome[1])  # noqa: S301 - our own worker wrote it
    return record


def _node() -> str:
    """Return the machine that this process is on, as the cluster names it; "" outside of one."""
    ray = sys.modules.get("ray")
    return "" if ray is None or not ray.is_initialized() else str(ray.get_runtime_context().get_node_id())
