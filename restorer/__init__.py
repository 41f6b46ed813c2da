"""Restore old, small or damaged photographs of people with generative face priors.

    from restorer import Restorer

    result = Restorer("gfpgan", scale=2).restore("photo.jpg")
    result.save("restored.png")

Importing this package is light: torch is loaded when a restorer is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from restorer.version import __version__

if TYPE_CHECKING:
    from restorer import errors
    from restorer.models import load_network
    from restorer.options import Options
    from restorer.photo import Photo, read_photo
    from restorer.pipeline.restorer import Restorer
    from restorer.pipeline.result import Result

_HOMES = {
    "Options": "restorer.options",
    "Photo": "restorer.photo",
    "Restorer": "restorer.pipeline.restorer",
    "Result": "restorer.pipeline.result",
    "errors": "restorer",
    "load_network": "restorer.models",
    "read_photo": "restorer.photo",
}

__all__ = ["Options", "Photo", "Restorer", "Result", "__version__", "errors", "load_network", "read_photo"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "errors":
        return importlib.import_module("restorer.errors")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
