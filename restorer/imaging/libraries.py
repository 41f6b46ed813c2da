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
        return getattr(importlib.import_module(object.__getattribute__(self, "_name")), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(importlib.import_module(object.__getattribute__(self, "_name")), name, value)


if TYPE_CHECKING:
    import cv2
    import numpy as np
    from PIL import Image, ImageCms
else:
    np, cv2 = _Library("numpy"), _Library("cv2")
    Image, ImageCms = _Library("PIL.Image"), _Library("PIL.ImageCms")
