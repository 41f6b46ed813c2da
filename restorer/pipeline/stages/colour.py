"""Colours for black-and-white photos: guesses of a network, laid on last, over everything that was restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from restorer.imaging.colour import looks_grey
from restorer.pipeline.canvas import Canvas, Work
from restorer.pipeline.choice import AUTO, NONE
from restorer.pipeline.events import Step
from restorer.pipeline.stages import Stage

if TYPE_CHECKING:
    from restorer.imaging.profiles import Colours
    from restorer.upscaling.colouring import Colourer

COLOURED = (
    "The photo has colours of its own, so --colorize auto guessed none; the name of a model does it all the same."
)
ABSENT = (
    "No colours were guessed: {names} can do that, and no weights of theirs are here. "
    "`restore models pull {smallest}` gets some."
)
GUESSED = "The colours are guesses by {name}: nothing in a black-and-white photo tells what they were."


class ColourStage(Stage):
    """Gives a black-and-white or toned photo colours, and keeps its lightness."""

    name = "colour"
    words = "guessing colours"
    order = 500
    weight = 0.15
    steps = (Step("colour", "megapixel", "guessing colours"),)

    def is_wanted(self, work: Work) -> bool:
        """Whether colours were asked for."""
        return work.options.colorize != NONE

    def run(self, canvas: Canvas, work: Work) -> Canvas:
        """Return the canvas in colour; as it is where the photo has colours and no model was named.

        Raises:
            WeightsError: the weights of a model that was named cannot be had.
        """
        with work.record.timed("colour"):
            colourer, told = self._colourer(work)
            work.record.colorize = told
            if colourer is None:
                return canvas
            colours = _colours(work)
            guessed = colourer.guess(canvas.pixels, colours)
            pixels = colourer.colour(canvas.pixels, guessed, colours, work.tell)
            for other in work.variants:
                other.pixels = colourer.colour(other.pixels, colourer.guess(other.pixels, colours), colours)
            if work.options.color_strength > 0:
                canvas.marks()[...] = 255  # no pixel's colour was in the photo
            work.components.say(work.record, GUESSED.format(name=colourer.name))
        return Canvas(pixels, canvas.alpha, canvas.changed, canvas.layers)

    def _colourer(self, work: Work) -> tuple[Colourer | None, dict[str, Any]]:
        """Return what guesses the colours, None where nothing does, and what the record says of it."""
        by_choice = work.options.colorize == AUTO
        if by_choice and not _is_monochrome(work):
            work.components.say(work.record, COLOURED)
            return None, {"done": False, "by": None, "reason": COLOURED}
        colourer = work.components.colourer()
        if colourer is None:
            names = work.components.colourer_names()
            reason = ABSENT.format(names=" and ".join(names), smallest=names[-1])
            work.components.say(work.record, reason)
            return None, {"done": False, "by": None, "reason": reason}
        return colourer, {"done": True, "by": colourer.name, "strength": work.options.color_strength, "guesses": True}


def _is_monochrome(work: Work) -> bool:
    """Whether the photo is black and white, or of one tone."""
    from restorer.imaging import fading

    seen = None if work.colours is None else work.colours.seen
    return looks_grey(work.photo.pixels, seen) or fading.measure(work.photo.pixels, work.photo.alpha).toned


def _colours(work: Work) -> Colours | None:
    """Return what the photo's values mean once it has colours: a black-and-white photo's profile may be for more."""
    from restorer.imaging.profiles import colours_of
    from restorer.photo.color import profile_meant, profile_space

    known, profile = work.colours, profile_meant(work.photo)
    if known is None or profile is None or profile_space(profile) == "GRAY":
        return known
    return colours_of(profile)


STAGE = ColourStage()
