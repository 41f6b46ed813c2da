"""The picture of `--preview`: what a search has found so far, written again and again while it goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from restorer.pipeline.events import Stepped

if TYPE_CHECKING:
    from restorer.pipeline.events import OnStage

EVERY = 2.0
"""Seconds between two writings."""


class Preview:
    """Writes a picture of the searches of a run: all answers of the face in hand, side by side.

    Args:
        path: the file; it is replaced as a whole, so that a viewer never sees half of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: float | None = None

    def around(self, on_stage: OnStage | None) -> OnStage:
        """Return what tells `on_stage` how far a photo is, and writes the picture now and then."""

        def told(stage: str, fraction: float) -> None:
            if on_stage is not None:
                on_stage(stage, fraction)
            if isinstance(fraction, Stepped):
                self._see(fraction)

        return told

    def _see(self, step: Stepped) -> None:
        now = time.monotonic()
        if self._written is not None and now - self._written < EVERY and step.done < step.total:
            return
        self._written = now
        from restorer.imaging.sheets import grid
        from restorer.imaging.tensors import to_pictures
        from restorer.storage.pictures import save_picture

        save_picture(grid(to_pictures(step.picture())), self._path)
