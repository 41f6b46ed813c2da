"""The threads of a service: one restores, another looks at new photos. Whatever a job comes to, they go on."""

from __future__ import annotations

import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from restorer.engine.memory import trim_heap
from restorer.errors import RestorerError
from restorer.record import Record
from restorer.server.album import Album
from restorer.server.jobs import CancelledWork, FairQueue, Job, State, Upload, as_json
from restorer.server.refusals import NotReadyError, ServerError
from restorer.server.working import Worker

_log = logging.getLogger(__name__)


class Client(Protocol):
    """Whose work is done, and who is told how it stands."""

    album: Album

    def tell_photo(self, upload: Upload) -> None:
        """Hear of what is known of a photo."""

    def tell_job(self, job: Job) -> None:
        """Hear of how a job stands."""

    def tell_order(self) -> None:
        """Hear that a job has left the queue."""

    def end(self, job: Job, state: State) -> None:
        """Hear how a job has ended."""


class Hands:
    """Does what waits, as long as it is not ended.

    Args:
        service: whose work it is.
        worker: how it is done.
        waiting: what is to be done.
    """

    def __init__(self, service: Client, worker: Worker, waiting: FairQueue) -> None:
        self._service, self._worker, self._queue = service, worker, waiting
        self._new: queue.SimpleQueue[Upload | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._restore_all, name="restore", daemon=True),
            threading.Thread(target=self._look_at_all, name="look", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def look_at(self, upload: Upload) -> None:
        """Let a photo be looked at, behind those that came before it."""
        self._new.put(upload)

    def end(self, grace: float, give_up: Callable[[], None]) -> None:
        """End: what is in hand gets `grace` seconds, and as many again once it is given up."""
        self._new.put(None)
        self._threads[0].join(grace)
        give_up()
        for thread in self._threads:
            thread.join(grace)

    # ----------------------------------------------------------------------------------------------------- restoring

    def _restore_all(self) -> None:
        while (job := self._queue.take()) is not None:
            try:
                with self._service.album.at_work(job.upload):
                    self._service.tell_order()
                    self._service.end(job, self._restored(job))
            except Exception:  # noqa: BLE001 - the next job is not to suffer from it
                _log.exception("A job ended otherwise than it should: %s", job.upload.name)
            if not job.is_over:
                self._service.end(job, "failed")
            trim_heap()  # a server waits for hours, and its next photo is another size

    def _restored(self, job: Job) -> State:
        """Restore the photo of a job; return how that ended."""
        job.state, job.began = "working", time.monotonic()
        folder = job.upload.path.parent / job.identity
        try:
            self._worker.restore(job, folder, partial(self._service.tell_job, job))
            if job.output is not None:
                self._service.album.store.reserve(job.bytes, job.upload.identity)
            return "failed" if job.output is None else "done"
        except CancelledWork:
            return _given_up(job, folder, "cancelled")
        except RestorerError as error:
            return _failed(job, folder, error)
        except Exception as error:  # noqa: BLE001 - whatever it was, the job is over, and says so
            _log.exception("%s could not be restored", job.upload.name)
            reason = f"{job.upload.name} could not be restored: {type(error).__name__}: {error}."
            return _failed(job, folder, ServerError(reason, "Send it again; the server's output shows where it was."))

    # ------------------------------------------------------------------------------------------------------- looking

    def _look_at_all(self) -> None:
        while (upload := self._new.get()) is not None:
            try:
                with self._service.album.at_work(upload) as there:
                    if there:
                        self._look(upload)
            except Exception:  # noqa: BLE001 - the next photo is not to suffer from it
                _log.exception("%s could not be looked at", upload.name)

    def _look(self, upload: Upload) -> None:
        try:
            self._worker.look(upload)
            if upload.error is None:
                self._service.album.store.reserve(upload.thumbnail.stat().st_size, upload.identity)
        except RestorerError as error:
            upload.error = as_json(error)
        except Exception as error:  # noqa: BLE001 - such as a full disk; whoever sent it reads it
            _log.warning("%s could not be looked at", upload.name, exc_info=True)
            upload.error = as_json(NotReadyError(f"The photo cannot be looked at: {error}."))
        finally:
            upload.looked = True
            self._service.tell_photo(upload)


def _failed(job: Job, folder: Path, error: RestorerError) -> State:
    job.record = job.record or Record(job.upload.name)
    job.record.fail(error)
    return _given_up(job, folder, "failed")


def _given_up(job: Job, folder: Path, state: State) -> State:
    """Remove what there is of a result, and return the state."""
    shutil.rmtree(folder, ignore_errors=True)
    job.output = None
    return state
