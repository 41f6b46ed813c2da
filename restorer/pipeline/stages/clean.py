"""Cleaning the photo as a whole, by a network that the user named, before faces are looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restorer.pipeline.canvas import Canvas, Work
from restorer.pipeline.cleaning import table_of
from restorer.pipeline.events import Counted, Step
from restorer.pipeline.stages import Stage

if TYPE_CHECKING:
    import numpy as np


class CleanStage(Stage):
    """Takes noise, blocks or blur off; all that comes later sees the cleaned photo."""

    name = "clean"
    words = "cleaning the picture"
    order = 75
    weight = 0.3
    steps = (Step("clean", "megapixel", "cleaning the picture"),)

    def is_wanted(self, work: Work) -> bool:
        """Whether a network for it was named."""
        return work.options.clean is not None

    def run(self, canvas: Canvas, work: Work) -> Canvas:
        """Return the canvas as the network gives it, of the same size and depth; transparency stays as it is.

        Raises:
            WeightsError: its weights cannot be had; it was named, so nothing takes its place.
        """
        from restorer.imaging.alpha import spread_colours
        from restorer.upscaling.tiles import NetworkUpscaler

        with work.record.timed("clean"):
            table = table_of(work.options)
            assert table is not None
            # Taken at its word: unlike what enlarges a photo it is not held to it.
            cleaner = NetworkUpscaler(work.components.network(table), work.options.tile, exact=True)
            work.record.clean = cleaner.name
            if work.colours is not None:
                cleaner = cleaner.among(work.colours)
            seen = spread_colours(canvas.pixels, canvas.alpha)
            pixels = cleaner.upscale(seen, canvas.size, lambda done, total: work.tell(Counted(done, total)))
            work.record.warn(*cleaner.notes)
            if canvas.alpha is not None:
                pixels = _where_seen(pixels, canvas)
        return Canvas(pixels, canvas.alpha, canvas.changed, canvas.layers)


def _where_seen(pixels: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Return the cleaned pixels where the photo shows any; what is wholly transparent stays to the last bit."""
    import numpy as np

    assert canvas.alpha is not None
    kept: np.ndarray = np.where(canvas.alpha[..., None] == 0, canvas.pixels, pixels)
    return kept


STAGE = CleanStage()
