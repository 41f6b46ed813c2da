"""What is to be done: jobs with their states, and the queue in which each client gets its turn."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from restorer.errors import RestorerError
from restorer.options import Options
from restorer.record import Record

_log = logging.getLogger(__name__)

State: TypeAlias = Literal["waiting", "working", "done", "failed", "cancelled"]
OVER: frozenset[State] = frozenset({"done", "failed", "cancelled"})


class CancelledWork(BaseException):
    """Raised inside the work on a photo once nobody wants it; no error, so that nothing takes it for one."""


def new_id() -> str:
    """Return a name that nobody can guess: whoever knows it may see the photo."""
    return secrets.token_urlsafe(12)


def as_json(error: RestorerError) -> dict[str, str | None]:
    """Return an error as records have it."""
    return {"kind": error.kind, "message": error.message, "remedy": error.remedy}


@dataclass(eq=False)
class Upload:
    """A photo that was sent.

    Attributes:
        client: whose it is.
        name: of its file, made harmless.
        path: where it lies, in a folder of its own.
        bytes: of the file.
        format: by its content, a key of `restorer.photo.FORMATS`; None = it is no picture.
        size: (width, height) upright where it was looked at, else as its header says.
        identity: its number.
        looked: whether it has been looked at.
        faces: those that were found, as records have them; None = not looked for.
        grey: whether it is black and white.
        warnings: what reading it has to say.
        error: why it cannot be read.
        mask: where somebody has drawn what is damaged, the file of that drawing; None = nobody has.
        faded: whether the print has faded, and `screened` whether it has a screen of dots or threads.
        asked: when somebody last asked for it, by `time.monotonic`.
    """

    client: str
    name: str
    path: Path
    bytes: int
    format: str | None = None
    size: tuple[int, int] | None = None
    identity: str = field(default_factory=new_id)
    looked: bool = False
    faces: list[dict[str, Any]] | None = None
    grey: bool | None = None
    warnings: list[str] = field(default_factory=list)
    error: dict[str, str | None] | None = None
    mask: Path | None = None
    faded: bool | None = None
    screened: bool | None = None
    asked: float = field(default_factory=time.monotonic)

    @property
    def thumbnail(self) -> Path:
        """The file of its small picture, once it has been looked at."""
        return self.path.parent / "thumbnail.webp"

    def as_dict(self) -> dict[str, Any]:
        """Return it as the interface tells it."""
        return {
            "photo": self.identity,
            "name": self.name,
            "bytes": self.bytes,
            "format": self.format,
            "size": None if self.size is None else list(self.size),
            "looked": self.looked,
            "faces": self.faces,
            "grey": self.grey,
            "faded": self.faded,
            "screened": self.screened,
            "mask": None if self.mask is None else self.mask.name,
            "warnings": self.warnings,
            "error": self.error,
        }


@dataclass(eq=False)
class Job:
    """One restoration of a photo.

    Attributes:
        upload: the photo.
        options: what is done to it.
        command: the command line that does the same.
        identity: its number.
        state: how it stands.
        ahead: jobs before it, as long as it waits.
        stage: what is being done, and `words` the same for people.
        share: how much of it is done, 0 to 1.
        left: seconds that it will go on, roughly; None = nobody knows.
        record: what was done; complete when it is over.
        output: the result's file; None where there is none.
        name: of the result.
        wanted: False once it is to be given up.
        attended: whether a page was open that waits for it.
        aside: whether it is one of several tries, and nothing that the photo is shown as.
    """

    upload: Upload
    options: Options
    command: str
    identity: str = field(default_factory=new_id)
    state: State = "waiting"
    ahead: int = 0
    stage: str = ""
    words: str = ""
    share: float = 0.0
    left: float | None = None
    record: Record | None = None
    output: Path | None = None
    name: str = ""
    bytes: int = 0
    wanted: bool = True
    attended: bool = False
    aside: bool = False
    began: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def client(self) -> str:
        """Whose it is."""
        return self.upload.client

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in OVER

    def as_dict(self) -> dict[str, Any]:
        """Return it as the interface tells it; the whole record is asked for on its own."""
        record = self.record
        told = {} if record is None else record.as_dict()
        return {
            "job": self.identity,
            "photo": self.upload.identity,
            "name": self.name or self.upload.name,
            "state": self.state,
            "ahead": self.ahead,
            "stage": self.stage,
            "words": self.words,
            "done": round(self.share, 3),
            "seconds_left": None if self.left is None else round(self.left, 1),
            "options": self._told_options(),
            "command": self.command,
            "aside": self.aside,
            "bytes": self.bytes,
            **{name: told.get(name) for name in ("output_size", "model", "faces", "warnings", "error", "reason")},
            "seconds": told.get("seconds", {}).get("total"),
        }

    def _told_options(self) -> dict[str, Any]:
        """Return the options that are no defaults, without any place on this machine."""
        told = {name: value for name, value in self.options.values().items() if value != _DEFAULTS[name]}
        if self.options.damage is not None:
            told["damage"] = Path(self.options.damage).name
        return told


_DEFAULTS = Options().values()


class FairQueue:
    """Jobs that wait. Clients take turns, so that who sends one photo does not wait for who sends a thousand."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, job: Job) -> None:
        """Add a job behind those of the same client."""
        with self._changed:
            self._waiting.setdefault(job.client, deque()).append(job)
            self._changed.notify()

    def take(self) -> Job | None:
        """Return the next job, when there is one; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            client, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[client] = jobs  # behind all others
            return job

    def remove(self, job: Job) -> bool:
        """Take a job out; False where it does not wait."""
        with self._changed:
            jobs = self._waiting.get(job.client)
            if not jobs or job not in jobs:
                return False
            jobs.remove(job)
            if not jobs:
                del self._waiting[job.client]
            return True

    def order(self) -> list[Job]:
        """Return the jobs in the order of their turns."""
        with self._changed:
            lines = [deque(jobs) for jobs in self._waiting.values()]
        found: list[Job] = []
        while lines:
            found += [line.popleft() for line in lines]
            lines = [line for line in lines if line]
        return found

    def count(self, client: str | None = None) -> int:
        """Return how many wait, of all clients or of one."""
        with self._changed:
            lines = self._waiting.values() if client is None else [self._waiting.get(client, deque())]
            return sum(map(len, lines))

    def close(self) -> list[Job]:
        """Let nobody wait any longer, and return the jobs that are left."""
        left = self.order()
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        return left


Listener = Callable[[str, dict[str, Any]], None]
"""Hears an event: what it is about ("photo", "job", "notice"), and its facts."""


class Exchange:
    """Tells whoever listens what happens; each hears of its own client's photos alone."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}
        self._lock = threading.Lock()

    def listen(self, client: str, listener: Listener) -> Callable[[], None]:
        """Let somebody hear what happens to a client's photos; return what ends it."""
        with self._lock:
            self._listeners.setdefault(client, []).append(listener)

        return partial(self._forget, listener)

    def tell(self, client: str | None, kind: str, facts: dict[str, Any]) -> None:
        """Tell one client's listeners something, or all of them."""
        with self._lock:
            told = [each for name, mine in self._listeners.items() if client in (None, name) for each in mine]
        for each in told:
            try:
                each(kind, facts)
            except Exception:  # noqa: BLE001 - whoever listens must not end the work that it hears of
                _log.warning("A listener could not be told of an event, and is told no more.", exc_info=True)
                self._forget(each)

    def _forget(self, listener: Listener) -> None:
        with self._lock:
            for client, mine in list(self._listeners.items()):
                if listener in mine:
                    mine.remove(listener)
                if not mine:
                    del self._listeners[client]
