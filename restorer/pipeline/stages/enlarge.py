"""Enlarging the picture as a whole."""

from __future__ import annotations

from restorer.pipeline.canvas import Canvas, Work
from restorer.pipeline.events import Counted, Step
from restorer.pipeline.stages import Stage


class EnlargeStage(Stage):
    """Brings the canvas to the size of the result; faces are cut from what it was before."""

    name = "background"
    words = "enlarging the picture"
    order = 300
    weight = 0.3
    steps = (Step("background", "megapixel", "enlarging the picture"),)

    def is_wanted(self, work: Work) -> bool:
        """Always: also where the size stays, the canvas becomes one that may be written to."""
        return True

    def run(self, canvas: Canvas, work: Work) -> Canvas:
        """Return the canvas at the size of the result."""
        import numpy as np

        from restorer.imaging.alpha import spread_colours
        from restorer.imaging.layers import Layer
        from restorer.imaging.resize import resize
        from restorer.upscaling.lanczos import Learned

        work.source = canvas.pixels
        with work.record.timed("background"):
            background, why = work.components.background(canvas.size)
            work.components.notify_once(why)
            work.record.background = background.name
            if work.colours is not None and isinstance(background, Learned):
                background = background.among(work.colours)
            pixels = canvas.pixels
            if work.size != canvas.size:
                pixels = spread_colours(pixels, canvas.alpha)
            image = background.upscale(pixels, work.size, lambda done, total: work.tell(Counted(done, total)))
            if not image.flags.writeable:  # Pillow's arrays are not, and an object of the caller's may do as it likes
                image = image.copy()
            alpha = resize(canvas.alpha, work.size) if canvas.alpha is not None else None
            changed = canvas.changed
            if changed is not None and changed.shape != image.shape[:2]:
                rows = np.arange(image.shape[0]) * changed.shape[0] // image.shape[0]
                columns = np.arange(image.shape[1]) * changed.shape[1] // image.shape[1]
                changed = changed[rows[:, None], columns]
        layers = [Layer("Enlarged", 0, 0, image.copy())] if work.options.layers else None
        return Canvas(image, alpha, changed, layers)


STAGE = EnlargeStage()
