"""Weights that lie in a mapped file, which need not be in memory while nothing computes with them.

The system reads the pages of such a file when they are looked at, and they stay. What was read once can be given back,
and comes again from the system's own copy of the file, or from the disk where that was needed for something else.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

Range = tuple[int, int]
"""Addresses: the first, and the one behind the last."""
_DROP = 4
"""Linux's MADV_DONTNEED, by its own number."""
_PLACE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S{3}p \S+ \S+ (\d+)\s")
_LEAST = 1 << 16
"""Bytes of a tensor that it is worth it for."""


class MappedPages:
    """The files that are mapped into this process and that nobody has written to since: what goes comes back.

    Elsewhere than on Linux there are none that are known.

    Args:
        told: what the system says of this process's memory.
    """

    def __init__(self, told: Path = Path("/proc/self/smaps")) -> None:
        self._places: list[Range] = []
        self._advise = _advise() if sys.platform == "linux" else None
        if self._advise is None:
            return
        place: Range | None = None
        try:
            lines = told.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            found = _PLACE.match(line)
            if found is not None:
                place = (int(found[1], 16), int(found[2], 16)) if found[3] != "0" else None
            elif place is not None and line.split() == ["Anonymous:", "0", "kB"]:  # no page is its own
                self._places.append(place)

    def of(self, tensors: Iterable[torch.Tensor]) -> list[Range]:
        """Return the pages of those tensors that lie in such a file and are large."""
        found = []
        starts = [start for start, _ in self._places]
        for tensor in tensors:
            size = tensor.numel() * tensor.element_size()
            if size < _LEAST or tensor.device.type != "cpu" or tensor.layout is not torch.strided:
                continue
            first = tensor.data_ptr()
            number = bisect_right(starts, first) - 1
            if number >= 0 and first + size <= self._places[number][1]:
                begin = first // mmap.PAGESIZE * mmap.PAGESIZE
                found.append((begin, -(-(first + size) // mmap.PAGESIZE) * mmap.PAGESIZE))
        return found

    def give_back(self, pages: Iterable[Range]) -> None:
        """Let pages go that `of` returned; whoever looks at them next waits for them to be read."""
        if self._advise is not None:
            for begin, end in pages:
                self._advise(begin, end - begin, _DROP)


def _advise() -> Callable[[int, int, int], int] | None:
    """Return the C library's `madvise`; None where it has none."""
    found: Any = getattr(ctypes.CDLL(None), "madvise", None)
    if found is not None:
        found.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return found  # type: ignore[no-any-return]


def give_back_after_use(network: nn.Module) -> int:
    """Let each part of a network give back the weights that it has in a mapped file once it has computed.

    Args:
        network: one that is only run, and whose weights nobody changes any more.

    Returns:
        How many bytes of it lie in such a file.
    """
    mapped = MappedPages()
    for part in network.modules():
        pages = mapped.of(part.parameters())
        if pages:
            part.register_forward_hook(lambda *_, pages=pages: mapped.give_back(pages))
    return sum(end - begin for begin, end in mapped.of(network.parameters()))
