"""The work behind the page and the interface, without HTTP: photos come in, jobs are done, results wait to be fetched.

One restorer does it all, so that no model is loaded twice. One thread works, since a network takes all cores, or the
GPU; another looks at new photos meanwhile, so that each is seen, with its faces, while others are being restored.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from restorer.options import Options, sizes
from restorer.server import choices
from restorer.server.album import Album, check_size
from restorer.server.hands import Hands
from restorer.server.jobs import Exchange, FairQueue, Job, State, Upload
from restorer.server.limits import Limits
from restorer.server.memory import Memory
from restorer.server.refusals import BusyError, NotReadyError, UnknownThingError
from restorer.server.working import Worker

if TYPE_CHECKING:
    from restorer.faces.blending import Box

Given = Mapping[str, Any] | None
"""Options of a request, as they came."""
KEPT_JOBS = 8
"""Finished jobs of a photo whose results are kept; older ones go."""


class Service:
    """Takes photos and jobs, and does them.

    Args:
        options: what holds where a request says nothing.
        out: the folder that results are saved into when a page asks for it; None = there is none.
        presets: named sets of options that a page offers.
        limits: how much is taken on.
        parent: where uploads lie; None = the system's place for temporary files.
        say: tells the user of the machine one line.

    Raises:
        UsageError: the options make no sense.
    """

    def __init__(
        self,
        options: Options,
        *,
        out: Path | None = None,
        presets: Mapping[str, Mapping[str, Any]] | None = None,
        limits: Limits | None = None,
        parent: Path | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.options, self.out, self.presets = options, out, presets or {}
        self.limits = limits or Limits()
        self.exchange = Exchange()
        self._say = say
        memory = Memory(self.limits.memory)
        self.album = Album(self.limits, memory, parent)
        self._jobs: dict[str, Job] = {}
        self._lock = threading.RLock()
        self._queue = FairQueue()
        self._closing = False
        self._pages: Counter[str] = Counter()
        self._worker = Worker(options, memory, self._notice, self.album.opened)
        self._hands = Hands(self, self._worker, self._queue)

    # ------------------------------------------------------------------------------------------------------ photos

    def receive(self, stream: BinaryIO, name: str | None, client: str, *, look: bool = True) -> Upload:
        """Take a photo in.

        Args:
            stream: its file.
            name: what its file is called, as a stranger says.
            client: whose it is.
            look: whether it is looked at before it is restored; for somebody who sees it.

        Raises:
            BusyError: there are too many photos already, or no room.
            TooLargeError: the file or the picture is too large.
            UnreadablePhotoError: it is no picture.
        """
        self._check_open()
        for each in self.album.old({job.upload for job in self._active()}):
            self.forget(each)
        upload = self.album.receive(stream, name, client)
        self.tell_photo(upload)
        if look:
            self._hands.look_at(upload)
        return upload

    def forget(self, upload: Upload) -> None:
        """Remove a photo with all that was made of it."""
        with self._lock:
            mine = [job for job in self._jobs.values() if job.upload is upload]
            for job in mine:
                self.cancel(job)
                del self._jobs[job.identity]
        self.album.remove(upload)
        self.exchange.tell(upload.client, "gone", {"photo": upload.identity})

    def draw(self, upload: Upload, drawing: bytes | None) -> None:
        """Take in what is damaged in a photo; see `restorer.server.album.Album.draw`."""
        self._check_open()
        with self.album.at_work(upload):
            self.album.draw(upload, drawing)
        self.tell_photo(upload)

    # -------------------------------------------------------------------------------------------------------- jobs

    def submit(self, upload: Upload, given: Given = None, *, instead: bool = False, aside: bool = False) -> Job:
        """Let a photo be restored.

        Args:
            upload: the photo.
            given: options, as `restorer.server.choices.read` takes them.
            instead: give up what else is to be done to this photo.
            aside: it is a try; what the photo is shown as stays.

        Raises:
            UsageError: the options make no sense.
            WeightsError: they name what is not known.
            TooLargeError: the result would be too large.
            BusyError: too much is waiting already.
        """
        self._check_open()
        options = choices.read(self.options, given or {})
        if upload.mask is not None:
            options = replace(options, damage=str(upload.mask))
        self._worker.check(options)
        if upload.size is not None:
            check_size(sizes.result_size(options, upload.size), self.limits.pixels, result=True)
        job = Job(upload, options, choices.command(upload.name, options, self.options), aside=aside)
        with self._lock:
            mine = [each for each in self._jobs.values() if each.upload is upload]
            for each in mine if instead else []:
                self.cancel(each)
            active = self._active()
            theirs = sum(each.client == upload.client for each in active)
            if len(active) >= self.limits.waiting or theirs >= self.limits.waiting_each:
                raise BusyError("Too many photos are waiting already.", "Ask again later.", self._patience(len(active)))
            job.attended = self._pages[job.client] > 0
            self._jobs[job.identity] = job
            self._drop_old(sorted((each for each in mine if each.is_over), key=lambda each: not each.aside))
            self._queue.put(job)
        self.tell_order()
        return job

    def _active(self) -> list[Job]:
        with self._lock:
            return [each for each in self._jobs.values() if not each.is_over]

    def _patience(self, waiting: int) -> int:
        """Return after how many seconds there may be room again."""
        with self._lock:
            took = [job.record.seconds.get("total", 0.0) for job in self._jobs.values() if job.record and job.is_over]
        one = sum(took) / len(took) if took else 5.0
        return max(1, min(600, round(one * max(1, waiting // 10))))

    def _drop_old(self, over: list[Job]) -> None:
        for job in over[: max(0, len(over) - KEPT_JOBS + 1)]:
            self._jobs.pop(job.identity, None)
            if job.output is not None:
                job.output.unlink(missing_ok=True)
                self.album.store.release(job.bytes, job.upload.identity)

    def job(self, identity: str) -> Job:
        """Return a job by its number; raises `UnknownThingError`."""
        with self._lock:
            found = self._jobs.get(identity)
        if found is None:
            raise UnknownThingError("There is no such job here, or no longer.", "Send the photo again.")
        found.upload.asked = time.monotonic()
        return found

    def jobs(self, client: str) -> list[Job]:
        """Return a client's jobs, the oldest first."""
        with self._lock:
            return [each for each in self._jobs.values() if each.client == client]

    def end(self, job: Job, state: State) -> None:
        """Let a job be over."""
        job.state, job.left, job.stage, job.words = state, None, "", ""
        job.share = 1.0 if state == "done" else job.share
        job.over.set()
        self.tell_job(job)

    def cancel(self, job: Job) -> None:
        """Give a job up, whether it waits or is being worked on; nothing happens to one that is over."""
        job.wanted = False
        if self._queue.remove(job):
            self.end(job, "cancelled")
            self.tell_order()

    def blended(self, job: Job, face: int, strength: float, also: Collection[int] = ()) -> tuple[Box, bytes]:
        """Return a face's part of a result with another strength; see `restorer.server.working.Worker.blended`."""
        return self._worker.blended(job, face, strength, also)

    @contextmanager
    def attended(self, client: str) -> Iterator[None]:
        """Count a client's page as open; when the last one is closed and stays so, what it waits for is given up."""
        with self._lock:
            self._pages[client] += 1
        try:
            yield
        finally:
            with self._lock:
                self._pages[client] -= 1
            timer = threading.Timer(self.limits.away, self._free, [client])
            timer.daemon = True
            timer.start()

    def _free(self, client: str) -> None:
        with self._lock:
            if self._pages[client]:
                return  # it was loaded anew, or there is another
            del self._pages[client]
            waiting = [each for each in self._jobs.values() if each.client == client and each.attended]
        for job in waiting:
            if not job.is_over:
                self.cancel(job)

    def save(self, job: Job) -> Path:
        """Write a result into the folder of -o under a name that is free there, and return its path.

        Raises:
            NotReadyError: there is no result, or no such folder.
            UnwritableOutputError: the file cannot be written.
        """
        if self.out is None:
            raise NotReadyError("The server was started without a folder.", "Start it with -o FOLDER.")
        return self._worker.save(result_of(job), self.out / job.name)

    # ------------------------------------------------------------------------------------------------------ telling

    def tell_photo(self, upload: Upload) -> None:
        """Tell what is known of a photo."""
        self.exchange.tell(upload.client, "photo", upload.as_dict())

    def tell_job(self, job: Job) -> None:
        """Tell how a job stands."""
        self.exchange.tell(job.client, "job", job.as_dict())

    def tell_order(self) -> None:
        """Tell every job that waits how many are before it."""
        for ahead, job in enumerate(self._queue.order()):
            job.ahead = ahead
            self.tell_job(job)

    def _notice(self, line: str) -> None:
        if self._say is not None:
            self._say(line)
        self.exchange.tell(None, "notice", {"text": line})

    # ------------------------------------------------------------------------------------------------------- ending

    def _check_open(self) -> None:
        if self._closing:
            raise BusyError("The server is being stopped.", "Ask again when it runs.", 30)

    def warm(self) -> None:
        """Load what every photo needs, in a thread of its own, so that the first one does not wait for it."""
        threading.Thread(target=self._worker.warm, name="warm", daemon=True).start()

    def close(self) -> None:
        """End: what waits is cancelled, what is in hand gets a little time, and every file goes; once."""
        if self._closing:
            return
        self._closing = True
        for job in self._queue.close():
            self.end(job, "cancelled")
        self._hands.end(self.limits.grace, self._give_up)
        self.album.store.close()

    def _give_up(self) -> None:
        for job in self._active():
            job.wanted = False


def result_of(job: Job) -> Path:
    """Return the file of a job's result.

    Raises:
        NotReadyError: there is none yet, or there will be none, and why.
    """
    if job.state == "done" and job.output is not None:
        return job.output
    if job.state == "failed" and job.record is not None and job.record.error is not None:
        error = job.record.error
        raise NotReadyError(str(error["message"]), error["remedy"])
    if job.state == "cancelled":
        raise NotReadyError("The job was cancelled.", "Send it again.")
    raise NotReadyError("The photo is not restored yet.", f"Follow /jobs/{job.identity}/events, or ask again.")
