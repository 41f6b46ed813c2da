"""Loading torch in less time, for a program whose process is its own; most of a first photo's time is spent on it."""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib.util
import sys
import threading
from contextlib import suppress
from pathlib import Path


def load_ahead() -> None:
    """Begin to load torch's largest library in a thread, while this one goes on; nothing where that is not known.

    What torch's threads read from the environment must be there by now.
    """
    libraries = [] if "torch" in sys.modules else _libraries()
    if libraries:
        threading.Thread(target=_load, args=(libraries,), name="load").start()


def _libraries() -> list[Path]:
    """Return the libraries that torch itself loads first, in their order; none where they are not as on Linux."""
    found = importlib.util.find_spec("torch")
    if sys.platform != "linux" or found is None or found.origin is None:
        return []
    paths = [Path(found.origin).parent / "lib" / name for name in ("libtorch_global_deps.so", "libtorch_cpu.so")]
    return paths if all(path.is_file() for path in paths) else []


def _load(libraries: list[Path]) -> None:
    """Load libraries as torch does: the first for all that come later. Python's lock is not held meanwhile."""
    with suppress(OSError):  # torch says it better, when it is imported
        for number, path in enumerate(libraries):
            ctypes.CDLL(str(path), mode=ctypes.DEFAULT_MODE if number else ctypes.RTLD_GLOBAL)


def load_torch(*, own: bool) -> None:
    """Import torch, unless it is there.

    Its many objects live as long as the process does: nobody looks for garbage among them while they are made, later,
    or at the end.

    Args:
        own: whether the process is the program's own, whose objects may be taken out of the collector's sight.
    """
    if "torch" in sys.modules:
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        importlib.import_module("torch")
    finally:
        if collects:
            gc.enable()
    if own:
        gc.freeze()
        atexit.register(gc.freeze)
