"""A word about prints that could be mended, where nobody asked for it."""

from __future__ import annotations

from restorer.pipeline.canvas import Canvas, Work
from restorer.pipeline.choice import NONE
from restorer.pipeline.events import Step
from restorer.pipeline.stages import Stage

FADED = "The print has faded; --tone auto brings it back (`--preset old-photo` does all that old prints need)."
SCREENED = "The print has a screen of dots or threads; --repair auto takes it out (`--preset old-photo` does that too)."

SCRATCHED = "The print is scratched or creased; --repair auto mends it (`--preset old-photo` does that too)."


class AdviceStage(Stage):
    """Looks quickly at a photo that is taken as it is; says what would help a faded, screened or scratched print."""

    name = "advice"
    words = "looking at the print"
    order = 10
    weight = 0.01
    steps = (Step("advice", "photo", "looking at the print"),)

    def is_wanted(self, work: Work) -> bool:
        """Whether nothing was said about the print: whoever knows of these options needs no advice."""
        options = work.options
        asked = options.repair != "none" or options.tone != "none" or options.damage is not None or options.save_mask
        return not (asked or options.aligned or options.task is not None or work.components.is_search)

    def run(self, canvas: Canvas, work: Work) -> Canvas:
        """Return the canvas as it is."""
        from restorer.imaging import fading, screens

        with work.record.timed("advice"):
            if fading.measure(canvas.pixels, canvas.alpha).is_faded:
                work.components.say(work.record, FADED)
            if screens.find(canvas.pixels, quick=True):
                work.components.say(work.record, SCREENED)
            if self._is_damaged(canvas, work):
                work.components.say(work.record, SCRATCHED)
        return canvas

    def _is_damaged(self, canvas: Canvas, work: Work) -> bool:
        """Whether `--repair auto` would most likely fill something: by a few squares, since a scan is large.

        Only where faces are restored, too: a run without networks does not wait for torch to hear of scratches.
        """
        if work.options.model == NONE:
            return False
        table = work.components.finder_table()
        if table is None:
            return False
        from restorer.engine.device import Device
        from restorer.models import REGISTRY
        from restorer.repairing.finding import NetworkFinder, sampled

        if min(work.photo.size) < getattr(REGISTRY.architecture_of(table), "smallest", 0):  # nothing is loaded for it
            return False
        # On the CPU: four squares are soon looked at, and a GPU that is full fails nobody who did not ask for this.
        finder = NetworkFinder(work.components.network(table, Device("cpu", "fp32")))
        return sampled(finder, canvas.pixels, work.colours) >= finder.floor


STAGE = AdviceStage()
