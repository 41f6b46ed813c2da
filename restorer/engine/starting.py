"""Loading torch in less time, for a program whose process is its own; most of a first photo's time is spent on it."""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib.util
import os
import re
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

LATER = ("torch._meta_registrations", "cuda.bindings.driver", "cuda.bindings.runtime")
"""What torch imports and a run does not need: what is known in Python of tensors without values, by which its compiler
and its exporter plan (a fifth of torch's own import), and NVIDIA's bindings for graphs. Our networks are planned
without them (tests/engine/test_starting.py)."""
_BEFORE = ("unicodedata", "_decimal", "pyexpat", "mmap", "_contextvars", "_queue", "_csv", "numpy.random", "PIL.Image")
"""Modules in C that every photo needs. The system loads one library at a time, and who imports them while torch's are
loaded ahead waits for those, with Python's lock in hand."""
_TRIED = ("2.15.",)
"""Versions of torch with which that was tried."""


def load_ahead() -> None:
    """Begin to load torch's largest libraries in a thread, while this one goes on; nothing where that is not known.

    What torch's threads read from the environment must be there by now.
    """
    libraries = [] if "torch" in sys.modules else _libraries()
    if libraries:
        for name in _BEFORE:
            with suppress(ImportError):
                importlib.import_module(name)
        threading.Thread(target=_load, args=(libraries,), name="load").start()


def _libraries() -> list[Path]:
    """Return the libraries that torch itself loads first, in their order; none where they are not as on Linux."""
    found = importlib.util.find_spec("torch")
    if sys.platform != "linux" or found is None or found.origin is None:
        return []
    folder = Path(found.origin).parent / "lib"
    paths = [folder / name for name in ("libtorch_global_deps.so", "libtorch_cpu.so")]
    if not all(path.is_file() for path in paths):
        return []
    return paths + [path for path in [folder / "libtorch_cuda.so"] if path.is_file()]  # torch loads it, GPU or not


def _load(libraries: list[Path]) -> None:
    """Load libraries as torch does: the first for all that come later. Python's lock is not held meanwhile.

    By `ctypes.CDLL` it would be, so the system's own function is called.
    """
    load = getattr(ctypes.CDLL(None), "dlopen", None)
    if load is None:
        return
    load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for number, path in enumerate(libraries):
        if not load(os.fsencode(path), os.RTLD_NOW | (os.RTLD_LOCAL if number else os.RTLD_GLOBAL)):
            return  # torch says it better, when it is imported


class _Later(ModuleType):
    """Stands for a module that is imported when somebody asks for something in it, or for a module below it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with _guard:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


_guard = threading.Lock()


def load_torch(*, own: bool) -> None:
    """Import torch, unless it is there.

    Its many objects live as long as the process does: nobody looks for garbage among them while they are made, later,
    or at the end.

    Args:
        own: whether the process is the program's own, whose objects may be taken out of the collector's sight, and in
            which `LATER` waits until it is asked for.
    """
    if "torch" in sys.modules:
        return
    later = own and _version().startswith(_TRIED)
    if later:
        sys.modules.update({name: _Later(name) for name in LATER if name not in sys.modules})
    collects = gc.isenabled()
    gc.disable()
    try:
        importlib.import_module("torch")
        if later:
            _put_in_place()
    finally:
        if collects:
            gc.enable()
    if own:
        gc.freeze()
        atexit.register(gc.freeze)


def _put_in_place() -> None:
    """Let what waits be found in its package, as if it had been imported; what has no package here is forgotten."""
    for name in LATER:
        package, _, short = name.rpartition(".")
        stands = sys.modules.get(name)
        if not isinstance(stands, _Later):
            continue
        if package not in sys.modules:
            del sys.modules[name]
        elif short not in vars(sys.modules[package]):
            setattr(sys.modules[package], short, stands)


def _version() -> str:
    """Return torch's version by its file, without importing it; empty where it is not found."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return ""
    try:
        text = Path(found.origin).with_name("version.py").read_text("utf-8")
    except OSError:
        return ""
    said = re.search(r"^__version__ = ['\"]([^'\"]+)", text, re.MULTILINE)
    return said.group(1) if said else ""
