"""The run's side of the process that speaks to Ray (`session`): starts it, feeds it, hears it, and outlives it."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from restorer.cluster.ledger import Outcome
from restorer.cluster.order import LOCAL, Order
from restorer.cluster.session import STOP, Message, Over, Ready, Told, drive
from restorer.cluster.worker import Wish
from restorer.errors import ClusterError

if TYPE_CHECKING:
    import pyarrow as pa

GOING = 30.0
"""Seconds that the process may take to leave the cluster before it is ended."""
LISTENING = 0.2
"""Seconds after which a silent pipe is asked again, so that an interrupt is heard."""


class Link(Protocol):
    """What a run asks of a cluster; tests put something else in its place."""

    def join(self) -> Ready: ...

    def hand_out(self, wish: Wish, tables: Iterable[tuple[pa.Table, float]]) -> None: ...

    def hear(self) -> list[Outcome] | None: ...

    def stop(self) -> None: ...

    def end(self) -> None: ...

    def kill(self) -> None: ...


class SessionLink:
    """A link to a cluster through a process of its own.

    Args:
        order: the cluster.
    """

    def __init__(self, order: Order, drive: Callable[[Connection, Order, Path], None] = drive) -> None:
        self._order = order
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._folder = Path(tempfile.mkdtemp(prefix="restorer-cluster-"))
        self._process = context.Process(target=drive, args=(other, order, self._folder / "ray.log"), daemon=False)
        self._process.start()
        other.close()
        self._over = self._failed = False

    def join(self) -> Ready:
        """Wait until the cluster is joined; raises `ClusterError` where it cannot be."""
        message = self._receive()
        assert isinstance(message, Ready)
        return message

    def hand_out(self, wish: Wish, tables: Iterable[tuple[pa.Table, float]]) -> None:
        """Give the blocks of the run, each with its weight."""
        self._send(wish)
        for table in tables:
            self._send(table)
        self._send(None)

    def hear(self) -> list[Outcome] | None:
        """Return outcomes of photos, none when nothing is new for a moment, and None when the run is over.

        Raises:
            ClusterError: the cluster is lost, or could not go on.
            RestorerError: what ended the run on a worker.
        """
        if self._over:
            return None
        if not self._pipe.poll(LISTENING):
            return []
        message = self._receive()
        if isinstance(message, Told):
            return message.outcomes
        return None

    def stop(self) -> None:
        """Let no photo be begun any more; those in hand are finished."""
        with suppress(ClusterError):
            self._send(STOP)

    def end(self) -> None:
        """Wait for the process to leave."""
        self._process.join(GOING)
        self.kill()

    def kill(self) -> None:
        """End the process, and with it the work of this run on the cluster, at once."""
        self._over = True
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._pipe.close()
        with suppress(OSError):
            if self._failed:  # what Ray said may be asked for
                return
            (self._folder / "ray.log").unlink(missing_ok=True)
            self._folder.rmdir()

    def _send(self, what: object) -> None:
        try:
            self._pipe.send(what)
        except OSError:
            self._receive()  # whatever it said before it went
            raise self._lost() from None

    def _receive(self) -> Message:
        try:
            message: Message = self._pipe.recv()
        except (EOFError, OSError):
            self._over = self._failed = True
            raise self._lost() from None
        if isinstance(message, Over):
            self._over = True
            if message.error is not None:
                self._failed = True
                raise message.error
        return message

    def _lost(self) -> ClusterError:
        where = "of this machine" if self._order.address == LOCAL else f"at {self._order.address}"
        return ClusterError(
            f"The cluster {where} was lost: its head does not answer any more.",
            "What was done until then is done; start the cluster again, and the same command goes on. "
            f"What Ray said is in {self._folder / 'ray.log'}.",
        )
