"""What the tests of the engine share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _only_new_garbage() -> Iterator[None]:
    """Let collections look only at what a test makes.

    A network that ran out of memory collects garbage at each rung of the ladder. In a process that has imported
    everything and run a thousand tests each collection takes a second.
    """
    gc.freeze()
    yield
    gc.unfreeze()
