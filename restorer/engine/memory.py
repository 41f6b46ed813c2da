"""When a device's memory does not suffice: how every kind says so, and how what is free is given back."""

from __future__ import annotations

import ctypes
import gc
import sys

_SIGNS = (
    "out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "failed to allocate",
    "status_alloc_failed",
)  # fmt: skip
"""What torch's errors say: CUDA's and MPS's allocators, the CPU's (a plain RuntimeError), and cuBLAS and cuDNN."""


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice, on whatever device."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, RuntimeError):  # torch.OutOfMemoryError is one
        text = str(error).lower()
        return type(error).__name__ == "OutOfMemoryError" or any(sign in text for sign in _SIGNS)
    return False


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


def trim_heap() -> None:
    """Give memory that is free, but kept by the C library for later, back to the system; where that can be asked for.

    glibc keeps the blocks of a few megabytes that a detector leaves behind, and a restorer's larger ones do not fit.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)
