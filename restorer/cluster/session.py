"""The process that speaks to Ray: it joins a cluster, hands out the blocks of a run, and tells how photos ended.

It is a process of its own, since Ray ends the one that it is used from when the cluster's head dies, says much on its
own account, and leaves handlers of signals behind. The run goes on with whatever this process told until then.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.cluster.blocks import rank
from restorer.cluster.ledger import Ledger, News, Outcome
from restorer.cluster.order import AUTO, LOCAL, Order
from restorer.cluster.worker import RestorePhotos, Wish
from restorer.errors import ClusterError, RestorerError

if TYPE_CHECKING:
    import pyarrow as pa

EVERY = 0.2
"""Seconds between two questions to the ledger."""
KNOCKING = 10.0
"""Seconds that a cluster may take to answer at all."""
STARTING, STARTS = "60", 3
"""Seconds that a machine may take to start its part of a cluster, and how often that is tried: Ray's own 30, once, are
too few for a busy one, where Ray's processes give each other up."""
STORE = 512 * 2**20
"""Bytes of the object store of a cluster that a run starts for itself: it holds paths, not pictures."""


@dataclass(frozen=True)
class Ready:
    """The cluster is joined: how many workers there will be, and on how many machines."""

    workers: int
    machines: int


@dataclass(frozen=True)
class Told:
    """Photos that ended, and the machines, by their names, whose processes are gone for good."""

    outcomes: list[Outcome]


@dataclass(frozen=True)
class Over:
    """The run is over: with an error, or None; and the machines that died on the way, by name."""

    error: RestorerError | None
    lost: frozenset[str] = frozenset()


Message = Ready | Told | Over
"""What this process says; what it hears is the wish, then tables, then None, then perhaps "stop"."""
STOP = "stop"


def drive(pipe: Connection, order: Order, log: Path) -> None:
    """Be that process.

    Args:
        pipe: to the process that runs the photos.
        order: the cluster.
        log: takes what Ray says.
    """
    _alone(log)
    try:
        with _joined(order) as ray:
            cpus, gpus = _needs(ray, order)
            workers, machines = _room(ray, order, cpus, gpus)
            pipe.send(Ready(workers, machines))
            wish = pipe.recv()
            tables = received(pipe)
            if tables:
                _Run(ray, pipe, wish).go(tables, order, workers, cpus, gpus)
        last = Over(None)
    except EOFError:  # nobody is there any more
        os._exit(1)
    except RestorerError as error:
        last = Over(error)
    except Exception as error:
        logging.getLogger("ray").exception("the run ended")
        last = Over(ClusterError(f"The cluster could not go on: {_reason(error)}", f"What Ray said is in {log}."))
    with suppress(OSError):
        pipe.send(last)


def received(pipe: Connection) -> list[pa.Table]:
    """Return the blocks of the run in the order in which they are handed out; none where it is stopped before."""
    found: list[tuple[tuple[bool, float], pa.Table]] = []
    while (message := pipe.recv()) is not None:
        if message == STOP:
            return []
        table, weight = message
        found.append((rank(table.num_rows, weight), table))
    return [table for _, table in sorted(found, key=lambda each: each[0])]


def _alone(log: Path) -> None:
    """Leave the terminal to the process that speaks to the user: its signals, and what is written to it."""
    if hasattr(os, "setsid"):
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(said, stream.fileno())
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of a run without being asked
    os.environ.setdefault("RAY_raylet_start_wait_time_s", STARTING)


@contextmanager
def _joined(order: Order) -> Iterator[Any]:
    """Join a cluster, or start one of this machine's; yield Ray."""
    import ray

    quiet: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
    try:
        _knock(order.address)
        if order.address == LOCAL:
            _started(ray, object_store_memory=STORE, num_cpus=_cores(order), **quiet)
        else:
            ray.init(address=order.address, **quiet)
    except Exception as error:
        where = "on this machine" if order.address in (LOCAL, AUTO) else f"at {order.address}"
        what = "started" if order.address == LOCAL else "joined"
        raise ClusterError(
            f"A cluster {where} cannot be {what}: {_reason(error)}",
            "Check the address, and that the same version of Ray runs here and there."
            if order.address != LOCAL
            else None,
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _started(ray: Any, **given: Any) -> None:
    """Start a cluster on this machine; one that does not come up is tried again."""
    for left in range(STARTS - 1, -1, -1):
        try:
            ray.init(**given)
        except Exception:  # Ray has no class for it
            logging.getLogger("ray").exception("the cluster has not come up")
            ray.shutdown()
            if left == 0:
                raise
        else:
            return


def _knock(address: str) -> None:
    """Raise `OSError` where nobody listens at an address: Ray itself would wait there for minutes."""
    if address not in (LOCAL, AUTO):
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), KNOCKING).close()


def _cores(order: Order) -> int:
    """Return the cores that a cluster of this machine's counts: those that this process may use, or what is asked."""
    from restorer.engine.device import allowed_cores

    return max(allowed_cores(), int((order.most or 1) * (order.cpus or 1)))


def _needs(ray: Any, order: Order) -> tuple[float, float]:
    """Return the CPUs and GPUs of a worker."""
    there = ray.cluster_resources().get("GPU", 0)
    gpus = (1.0 if there else 0.0) if order.gpus is None else order.gpus
    return 1.0 if order.cpus is None else order.cpus, gpus


def _room(ray: Any, order: Order, cpus: float, gpus: float) -> tuple[int, int]:
    """Return for how many workers there is room, and on how many machines.

    Raises:
        ClusterError: for none, and nobody said that machines will come.
    """
    alive = [each["Resources"] for each in ray.nodes() if each["Alive"]]
    each = [int(min(has.get(kind, 0) / need for kind, need in (("CPU", cpus), ("GPU", gpus)) if need)) for has in alive]
    room = sum(each)
    if room == 0 and order.least is None:
        wanted = f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        raise ClusterError(
            f"No machine of the cluster has {wanted}, which a worker needs.",
            "Ask for less with --worker-cpus and --worker-gpus, or say with --workers how many will come.",
        )
    most = room if order.most is None else order.most if room == 0 else min(room, order.most)
    return max(most, 1), sum(count > 0 for count in each) or 1


class _Run:
    """The photos of a run on their way through the cluster.

    Args:
        ray: the module.
        pipe: to who runs the photos.
        wish: what is asked of each.
    """

    def __init__(self, ray: Any, pipe: Connection, wish: Wish) -> None:
        self._ray = ray
        self._pipe = pipe
        self._wish = wish
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        where = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        kept = ray.remote(num_cpus=0, scheduling_strategy=where)(Ledger)
        self._ledger = kept.remote(_is_alive)

    def go(self, tables: list[pa.Table], order: Order, workers: int, cpus: float, gpus: float) -> None:
        """Hand out the blocks; return when all are done, or nothing is to be begun and nothing in hand."""
        outcomes = self._planned(tables, order, workers, cpus, gpus)
        flow = threading.Thread(target=self._flow, args=(outcomes,), daemon=True)
        threading.Thread(target=self._listen, daemon=True).start()
        flow.start()
        while True:
            over = not flow.is_alive()
            news: News = self._ray.get(self._ledger.news.remote())
            if news.outcomes:
                self._pipe.send(Told(news.outcomes))
            if news.failure is not None and not news.in_hand:
                raise pickle.loads(news.failure)  # noqa: S301 - our own worker wrote it
            if over or (self._stopped.is_set() and not news.in_hand and not news.outcomes):
                break
            time.sleep(EVERY)
        if over and self._error is not None:
            raise self._error

    def _planned(self, tables: list[pa.Table], order: Order, workers: int, cpus: float, gpus: float) -> Any:
        """Return the dataset of what becomes of the photos; nothing is done before it is read."""
        from ray.data import ActorPoolStrategy, DataContext, from_blocks

        context = DataContext.get_current()
        context.enable_progress_bars = False
        # A worker has one block at a time, so that none waits behind a large photo; then the pool is full at 1.
        context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
        context.autoscaling_config.actor_pool_util_downscaling_threshold = 0.0  # who has loaded networks, stays
        photos = from_blocks(tables)
        tables.clear()
        least = min(order.least or 1, workers)
        pool = ActorPoolStrategy(
            min_size=least, max_size=order.most, initial_size=workers, max_tasks_in_flight_per_actor=1
        )
        return photos.map_batches(
            RestorePhotos,
            fn_constructor_args=(self._wish, RemoteBook(self._ledger)),
            batch_size=None,
            batch_format="pyarrow",
            compute=pool,
            num_cpus=cpus,
            num_gpus=gpus or None,
        )

    def _flow(self, outcomes: Any) -> None:
        """Draw the photos through the cluster."""
        try:
            for _ in outcomes.iter_batches(batch_size=None, prefetch_batches=0):
                pass
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits for this one
            self._error = error

    def _listen(self) -> None:
        """Hear that the run is to stop; go at once where nobody is left to tell."""
        try:
            while self._pipe.recv() != STOP:
                pass
        except (EOFError, OSError):
            os._exit(1)
        self._ray.get(self._ledger.stop.remote())
        self._stopped.set()


class RemoteBook:
    """The ledger as a worker has it: every question waits for its answer, so that nothing told is lost with a process.

    Args:
        actor: the ledger.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def start(self, *told: Any) -> Any:
        """See `Ledger.start`."""
        return self._ask(self._actor.start, told)

    def begin(self, *told: Any) -> Any:
        """See `Ledger.begin`."""
        return self._ask(self._actor.begin, told)

    def end(self, *told: Any) -> Any:
        """See `Ledger.end`."""
        return self._ask(self._actor.end, told)

    def fail(self, *told: Any) -> Any:
        """See `Ledger.fail`."""
        return self._ask(self._actor.fail, told)

    @staticmethod
    def _ask(method: Any, told: tuple[Any, ...]) -> Any:
        import ray

        return ray.get(method.remote(*told))


def _is_alive(node: str) -> bool:
    """Return whether the cluster counts a machine as there."""
    import ray

    return any(each["NodeID"] == node and each["Alive"] for each in ray.nodes())


def _reason(error: BaseException) -> str:
    """Return the last line of what Ray says, as the end of a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return text if text.endswith((".", "!")) else f"{text}."
