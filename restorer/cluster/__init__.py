"""How does the same run go on many machines? Photos shared out by Ray Data, each restored as `batch` does it.

Nothing of Ray is imported here, nor by whatever stands in this package, before a cluster is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restorer.cluster.dataset import restore_dataset

__all__ = ["restore_dataset"]


def __getattr__(name: str) -> Any:
    """Import what somebody's own pipeline uses when it is first asked for."""
    if name != "restore_dataset":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("restorer.cluster.dataset").restore_dataset
