"""Bringing back what a print's blacks, whites and colours have lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from restorer.pipeline.canvas import Canvas, Work
from restorer.pipeline.events import Step
from restorer.pipeline.stages import Stage

if TYPE_CHECKING:
    from restorer.imaging.fading import Fading

AUTO = "auto"


class ToneStage(Stage):
    """Measures how faded a photo is; where it is faded and that was asked for, gives it levels of its own."""

    name = "tone"
    words = "looking at the tones"
    order = 100
    weight = 0.02
    steps = (Step("tone", "megapixel", "looking at the tones"),)

    def is_wanted(self, work: Work) -> bool:
        """Whether tones were asked for."""
        return work.options.tone == AUTO

    def run(self, canvas: Canvas, work: Work) -> Canvas:
        """Return the canvas with its tones brought back; as it is where it is not faded."""
        from restorer.imaging import fading

        with work.record.timed("tone"):
            found = fading.measure(canvas.pixels, canvas.alpha)
            work.record.tone = described(found)
            if not found.is_faded:
                return canvas
            pixels = fading.apply(canvas.pixels, found.levels)
        return Canvas(pixels, canvas.alpha, canvas.changed, canvas.layers)


def described(found: Fading) -> dict[str, Any]:
    """Return what the record says: what was measured, whether anything was done, and with which numbers."""
    told: dict[str, Any] = {
        "done": found.is_faded,
        "dark": list(found.dark),
        "bright": list(found.bright),
        "contrast": round(found.contrast, 4),
        "toned": found.toned,
        "inside": [round(share, 4) for share in found.box],
    }
    if found.is_faded:
        levels = found.levels
        told["levels"] = {"black": list(levels.black), "white": list(levels.white), "gamma": list(levels.gamma)}
    return told


STAGE = ToneStage()
