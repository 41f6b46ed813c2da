"""A layer between the tool and the system, which sees what changes the disk.

It counts these steps, lets one of them fail, or writes all of them down, so that a power cut behind any can be played.

It stands over Python's own calls, in the process of a run that is tried (`install`), and is told below which folder.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAULTS = {"full": errno.ENOSPC, "broken": errno.EIO, "quota": errno.EDQUOT, "read-only": errno.EROFS}


@dataclass(frozen=True)
class Fault:
    """What happens at a step.

    Attributes:
        step: the number of the first that is hit, from 1; 0 = none.
        name: a key of `FAULTS`, or "kill".
        lasting: whether all steps from that one on fail.
    """

    step: int = 0
    name: str = "full"
    lasting: bool = False


class Shim:
    """Counts, fails, and writes down.

    Args:
        root: the folder below which steps count.
        fault: what is to happen.
        log: a file that gets the steps, pickled; None = they are not kept.
    """

    def __init__(self, root: Path, fault: Fault, log: Path | None = None) -> None:
        self._root, self._fault = str(root) + os.sep, fault
        self._paths: dict[int, str] = {}
        self._lock = threading.RLock()
        self._count = 0
        self._log = None if log is None else log.open("wb")

    def install(self) -> None:
        """Put it between this process and the system."""
        real = {name: getattr(os, name) for name in ("open", "write", "fsync", "ftruncate", "close", "fdopen")}

        def opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            name = self._inside(path)
            if name is not None and flags & os.O_CREAT and not os.path.lexists(path):
                self._step("create", name, lambda: None)
            descriptor: int = real["open"](path, flags, *rest, **more)
            if name is not None:
                self._paths[descriptor] = name
            return descriptor

        def written(descriptor: int, data: Any) -> int:
            name = self._paths.get(descriptor)
            if name is None:
                return int(real["write"](descriptor, data))
            return int(self._step("write", (name, bytes(data)), lambda: real["write"](descriptor, data)))

        def synced(descriptor: Any) -> None:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            name = self._paths.get(number)
            self._step("fsync", name, lambda: real["fsync"](descriptor)) if name is not None else real["fsync"](
                descriptor
            )

        def truncated(descriptor: int, size: int) -> None:
            name = self._paths.get(descriptor)
            if name is not None:
                self._step("truncate", (name, size), lambda: real["ftruncate"](descriptor, size))
            else:
                real["ftruncate"](descriptor, size)

        def closed(descriptor: int) -> None:
            self._paths.pop(descriptor, None)
            real["close"](descriptor)

        def stream(descriptor: int, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if "w" in mode and descriptor in self._paths:
                return io.BufferedWriter(_Raw(descriptor))
            return real["fdopen"](descriptor, mode, *rest, **more)

        mine = {"open": opened, "write": written, "fsync": synced, "ftruncate": truncated, "close": closed}
        for name, act in {**mine, "fdopen": stream}.items():
            setattr(os, name, act)
        for name in ("unlink", "remove", "mkdir", "rmdir"):
            setattr(os, name, self._of_one(name, getattr(os, name)))
        for name in ("replace", "rename", "link"):
            setattr(os, name, self._of_two(name, getattr(os, name)))

    def _of_one(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def done(path: Any, *rest: Any, **more: Any) -> Any:
            inside = self._inside(path)
            if inside is None or (name in ("unlink", "remove") and not os.path.lexists(path)):
                return real(path, *rest, **more)
            return self._step("unlink" if name == "remove" else name, inside, lambda: real(path, *rest, **more))

        return done

    def _of_two(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def done(source: Any, target: Any, *rest: Any, **more: Any) -> Any:
            one, other = self._inside(source), self._inside(target)
            if one is None or other is None:
                return real(source, target, *rest, **more)
            kind = "link" if name == "link" else "rename"
            return self._step(kind, (one, other), lambda: real(source, target, *rest, **more))

        return done

    def _inside(self, path: Any) -> str | None:
        if isinstance(path, int):
            return self._paths.get(path)
        name = os.path.abspath(os.fspath(path))  # noqa: PTH100 - the file may be none yet
        text = os.fsdecode(name)
        return text[len(self._root) :] if text.startswith(self._root) else None

    def _step(self, kind: str, what: Any, act: Callable[[], Any]) -> Any:
        """Do a step, or let it fail; one after the other, whatever thread it comes from."""
        with self._lock:
            self._count += 1
            fault = self._fault
            if fault.step and (self._count == fault.step or (fault.lasting and self._count > fault.step)):
                if fault.name == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if kind not in ("unlink", "rmdir"):  # removing works on a full disk, and must not be what hides a fault
                    code = FAULTS[fault.name]
                    raise OSError(code, os.strerror(code))
            result = act()
            if self._log is not None:
                pickle.dump((kind, what), self._log)
                self._log.flush()
            return result


class _Raw(io.RawIOBase):
    """A stream whose writes go through `os.write`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def tell(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def seek(self, offset: int, whence: int = 0) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def write(self, data: Any) -> int:
        return os.write(self._descriptor, data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._descriptor)


def read_log(path: Path) -> list[tuple[str, Any]]:
    """Return the steps that were written down."""
    found = []
    with path.open("rb") as stream:
        while True:
            try:
                found.append(pickle.load(stream))  # noqa: S301 - this program's own
            except EOFError:
                return found
