"""When a device's memory does not suffice, or a device is gone: how every kind says so, and what is given back."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
from pathlib import Path

from restorer.engine import groups

_SIGNS = (
    "out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "failed to allocate",
    "status_alloc_failed",
)  # fmt: skip
"""What torch's errors say: CUDA's and MPS's allocators, the CPU's (a plain RuntimeError), and cuBLAS and cuDNN."""

_SIGNS_OF_LOSS = ("cuda error", "cuda driver error", "hip error", "device lost", "fallen off the bus")
_MMAP_THRESHOLD = -3
"""GNU's own number for the size from which on its C library asks the system for each block by itself."""
_LARGE = 1 << 20
_NO_LIMIT = 1 << 60
"""Bytes that no machine has: what groups of the older kind say where there is no limit."""


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice, on whatever device."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, RuntimeError):  # torch.OutOfMemoryError is one
        text = str(error).lower()
        return type(error).__name__ == "OutOfMemoryError" or any(sign in text for sign in _SIGNS)
    return False


def is_lost(error: BaseException) -> bool:
    """Whether an error says that a device does not answer any more, and will not before the program starts anew."""
    if not isinstance(error, RuntimeError) or is_exhausted(error):
        return False
    text = str(error).lower()
    return type(error).__name__ == "AcceleratorError" or any(sign in text for sign in _SIGNS_OF_LOSS)


def release(kind: str) -> None:
    """Give back what a device's allocator keeps for later, after a failed attempt.

    Args:
        kind: "cpu", "cuda" or "mps".
    """
    import torch

    gc.collect()  # features of the attempt may hang in the error's own frames
    if kind == "cuda":
        torch.cuda.empty_cache()
    elif kind == "mps":
        torch.mps.empty_cache()
    else:
        trim_heap()


def free_memory() -> int | None:
    """Return about how many bytes this process may still take before the system runs out; None where nobody tells.

    Systems promise more than they have, and end the process that makes use of it; so one must ask before.
    """
    free = [value for value in (_of_the_machine(), _of_the_group()) if value is not None]
    return min(free, default=None)


def _of_the_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    return found["MemAvailable"] + found.get("SwapFree", 0) if "MemAvailable" in found else None


def _of_the_group(root: Path = groups.ROOT, told: Path = groups.TOLD) -> int | None:
    """Return what is left of the limits that hold for this process's groups; None where there are none."""
    left = [value for folder in groups.folders("memory", root, told) if (value := _left(folder)) is not None]
    return min(left, default=None)


def _left(folder: Path) -> int | None:
    """Return what is left of one group's limit, files that are kept for later not counted."""
    for limit_file, used_file, kept in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit = (folder / limit_file).read_text(encoding="ascii").strip()
            used = int((folder / used_file).read_text(encoding="ascii"))
            counted = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        except (OSError, ValueError):
            continue
        # The older kind says a number that no machine has where there is no limit.
        return (
            None if limit == "max" or int(limit) >= 1 << 60 else max(int(limit) - used + int(counted.get(kept, 0)), 0)
        )
    return None


def trim_heap() -> None:
    """Give memory that is free, but kept by the C library for later, back to the system; where that can be asked for.

    glibc keeps the blocks of a few megabytes that a detector leaves behind, and a restorer's larger ones do not fit.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)


def return_large_blocks() -> None:
    """Let each large block go back to the system as soon as it is free, where GNU's C library allocates.

    By itself it puts blocks between others of up to 32 megabytes once one of that size was freed, and what is free
    between those that stay is then of no use to anybody. A user who tells it something is left alone.
    """
    told = any(name.startswith(("MALLOC_", "GLIBC_")) for name in os.environ)
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc" and not told:
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
