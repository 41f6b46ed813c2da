"""Networks that are loaded once and shared by all who ask for the same: two restorers, a folder's run, a page."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from weakref import WeakValueDictionary

from restorer import engine as package
from restorer.engine.device import Device, apply_threads
from restorer.engine.network import Engine, Network
from restorer.errors import UsageError
from restorer.weights import OnProgress, Table, fetch

Key = tuple[str, ...]


@cache
def engines() -> dict[str, Engine]:
    """Return the engines of this package by name: what its modules name as `ENGINE`."""
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.endswith("_engine"):
            engine: Engine = importlib.import_module(f"{package.__name__}.{module.name}").ENGINE
            found[engine.name] = engine
    return found


def engine_named(text: str) -> Engine:
    """Return an engine by its name, with or without the unit that it shall compute on.

    Raises:
        UsageError: there is no such engine, or it has no units.
    """
    name, _, unit = text.partition(":")
    found = engines().get(name)
    if found is None:
        raise UsageError(f"There is no engine {name!r}.", f"Use one of: {', '.join(engines())}.")
    if not unit:
        return found
    on: Callable[[str], Engine] | None = getattr(found, "on", None)
    if on is None:
        raise UsageError(f"The engine {name} has no units.", f"Use --engine {name}, and --device.")
    return on(unit)


def preparing(engine: str, table: Table, path: Path) -> str | None:
    """Return what is to be said before an engine loads a network, where that takes long; None where it does not."""
    long: Callable[[Table, Path], str | None] | None = getattr(engine_named(engine), "preparing", None)
    return None if long is None else long(table, path)


class Pool:
    """Networks by the hash of their weights, device, precision, engine, and whether they spare memory.

    It holds them weakly: a network goes when the last one who uses it has gone.
    """

    def __init__(self) -> None:
        self._networks: WeakValueDictionary[Key, Network] = WeakValueDictionary()
        self._locks: dict[Key, threading.Lock] = {}
        self._files: dict[Key, Path] = {}
        self._guard = threading.Lock()

    def get(
        self,
        table: Table,
        device: Device,
        *,
        engine: str = "torch",
        offline: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Network:
        """Return the network of a table, fetched and verified; loaded by the first who asks, while others wait.

        Args:
            table: the weights.toml table.
            device: where it runs, and in which precision.
            engine: one of `engines`, where it has several with the unit that it shall compute on: "openvino:gpu".
            offline: do not reach for the network.
            on_progress: hears each step of a download.

        Raises:
            WeightsError: the weights cannot be had, or do not fit their table.
            UsageError: there is no such engine.
        """
        taken = engine_named(engine)
        path = fetch(table, offline=offline, on_progress=on_progress)
        key = _key(table, path, device, engine)
        apply_threads()  # also for a network that is here already: who loaded it may have asked for other threads
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            found = self._networks.get(key)
            # One whose file has gone since, while the same bytes lie elsewhere, could not read its weights once more.
            if found is None or not self._files[key].exists():
                found = taken.load(table, path, device)
                self._networks[key], self._files[key] = found, path
            return found

    def __len__(self) -> int:
        return len(self._networks)

    def forget_locks(self) -> None:
        """Take new locks, in a forked process: threads that did not come along may hold the old ones for ever."""
        self._locks, self._guard = {}, threading.Lock()


def _key(table: Table, path: Path, device: Device, engine: str) -> Key:
    """Return what tells two networks apart; the table's name is part of it, since records give it."""
    arguments = json.dumps(dict(table.arguments), sort_keys=True, default=str)
    pinned = table.wanted_hash or str(path)
    how = (device.name, device.precision, "low memory" if device.low_memory else "")
    return (table.name, table.architecture, arguments, pinned, *how, engine)


POOL = Pool()
"""The networks of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget_locks)
