"""What was computed once and may be asked for again, as long as a photo that it is for is there and bounds allow."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


class Memory:
    """Keeps values by their keys; what was not asked for longest goes first.

    What is made or asked for while a thread works for an owner is the owner's, and goes when the last owner is
    forgotten. What a thread makes that works for nobody stays until there is no room for it.

    Args:
        most: bytes that are kept; a value of more than half of it is not.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self._owners: dict[Hashable, set[str]] = {}
        self._owned: dict[str, set[Hashable]] = {}
        self._thread = threading.local()

    @contextmanager
    def working_for(self, owner: str) -> Iterator[None]:
        """Let what this thread makes, and what it asks for, belong to an owner."""
        before = self._owner
        self._thread.owner = owner
        try:
            yield
        finally:
            self._thread.owner = before

    @property
    def _owner(self) -> str | None:
        return getattr(self._thread, "owner", None)

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return what is kept under a key, or make it and keep it, while others who want the same wait.

        Args:
            key: tells it from all others.
            make: makes it.
            size: its bytes.
        """
        with self._lock:
            if key in self._kept:
                return cast(T, self._found(key))
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._kept:
                    return cast(T, self._found(key))
            try:
                value = make()
                self._keep(key, value, size(value))
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return value

    def _found(self, key: Hashable) -> Any:
        self._kept.move_to_end(key)
        self._belongs(key)
        return self._kept[key][0]

    def _belongs(self, key: Hashable) -> None:
        if (owner := self._owner) is not None:
            self._owners.setdefault(key, set()).add(owner)
            self._owned.setdefault(owner, set()).add(key)

    def _keep(self, key: Hashable, value: Any, count: int) -> None:
        if count > self._most // 2:
            return
        with self._lock:
            self._drop(key)
            self._kept[key] = value, count
            self._belongs(key)
            self._bytes += count
            while self._bytes > self._most:
                self._drop(next(iter(self._kept)))

    def put(self, key: Hashable, value: object, size: int) -> None:
        """Keep a value, in the place of what was kept under its key."""
        self._keep(key, value, size)

    def peek(self, key: Hashable) -> Any:
        """Return what is kept under a key; None where that is nothing."""
        with self._lock:
            return self._found(key) if key in self._kept else None

    def forget(self, owner: str) -> None:
        """Let an owner's values go, but for those that are another's, too."""
        with self._lock:
            for key in self._owned.pop(owner, ()):
                self._owners[key].discard(owner)
                if not self._owners[key]:
                    self._drop(key)

    def _drop(self, key: Hashable) -> None:
        if key not in self._kept:
            return
        self._bytes -= self._kept.pop(key)[1]
        for owner in self._owners.pop(key, ()):
            if keys := self._owned.get(owner):
                keys.discard(key)

    @property
    def bytes(self) -> int:
        """How much is kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)


def fingerprint(pixels: np.ndarray) -> tuple[object, ...]:
    """Return what tells an array from others: its shape, type, and a hash of its bytes."""
    import numpy as np

    whole = np.ascontiguousarray(pixels)
    return whole.shape, whole.dtype.str, hashlib.sha256(whole.data.cast("B") if whole.size else b"").digest()
