"""The libraries that pictures are computed with, loaded at their first use.

Together they take longer to load than a folder of finished photos takes to be compared; a run that restores nothing
needs none of them. Modules that such a run imports take the names from here:

    from restorer.imaging.libraries import Image, cv2, np
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["Image", "ImageCms", "cv2", "np"]


class _Library:
    """Stands for a module until something of it is asked for, and passes everything on to it."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loaded(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._loaded(), name, value)

    def _loaded(self) -> Any:
        """Return the module; it is asked for so often that looking it up each time would take a tenth of a repair."""
        held = object.__getattribute__(self, "__dict__")
        if "_module" not in held:
            held["_module"] = importlib.import_module(held["_name"])
        return held["_module"]


if TYPE_CHECKING:
    import cv2
    import numpy as np
    from PIL import Image, ImageCms
else:
    np, cv2 = _Library("numpy"), _Library("cv2")
    Image, ImageCms = _Library("PIL.Image"), _Library("PIL.ImageCms")
