"""Batches that are made by processes of their own, ahead of the training that asks for them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset


def batches_from(maker: Dataset[Any], step: int, last: int, workers: int) -> DataLoader[Any]:
    """Return the batches of `step` and those that follow, made in that order.

    Args:
        maker: gives the batch of a step.
        step: the first one.
        last: the last one; one before `step` counts as it.
        workers: processes that make them; 0 = this one.
    """
    return DataLoader(
        maker,
        batch_size=None,
        sampler=range(step, max(last, step) + 1),
        num_workers=workers,
        collate_fn=_same,
        worker_init_fn=single_core,
        generator=torch.Generator(),  # its own: a step's random numbers must not depend on where it began
        # A fork of a process whose libraries have threads may hang.
        multiprocessing_context="spawn" if workers else None,
    )


def _same(batch: Any) -> Any:
    return batch


def single_core(worker: int) -> None:
    """Let a process that makes batches use one core, and end with the training, even a killed one."""
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # what is left in its queue has no reader, and an ordinary exit would wait for one
