"""Items of a search on several cores at the same time, a share each.

Two threads that divide every layer of a network wait for each other at every layer; a share of the items has nobody to
wait for. Items never depend on each other, so their shares can be worked on apart.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

Looked = TypeVar("Looked")


def shares(items: Tensor, place: Tensor) -> list[slice]:
    """Return which items go together: on a CPU as many shares as torch has threads, where they come out even.

    Args:
        items: (n,), any numbers.
        place: a tensor of the device that they are worked on.
    """
    count = len(items)
    threads = torch.get_num_threads() if place.device.type == "cpu" else 1
    size = count // threads if threads > 1 and count % threads == 0 else count
    return [slice(start, start + size) for start in range(0, count, size)]


def at_once(look: Callable[[slice], Looked], parts: list[slice]) -> list[Looked]:
    """Return what `look` makes of each part; of several at the same time, each with a single thread of torch's."""
    if len(parts) == 1:
        return [look(parts[0])]
    threads = torch.get_num_threads()

    def alone(part: slice) -> Looked:
        torch.set_num_threads(1)  # of this thread; some libraries know one number for all, which is set back below
        return look(part)

    try:
        return list(_pool(len(parts)).map(alone, parts))
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="search")
