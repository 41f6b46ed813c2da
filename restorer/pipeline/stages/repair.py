"""Mending the print before anything else looks at it: its screen, and its damage."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from restorer.imaging.libraries import np
from restorer.pipeline import printed
from restorer.pipeline.canvas import Canvas, Work
from restorer.pipeline.choice import NONE
from restorer.pipeline.events import Step
from restorer.pipeline.holes import read_hole
from restorer.pipeline.stages import Stage


class RepairStage(Stage):
    """Takes out half-tone dots and weave, finds damage or is told of it, and fills it from its surroundings."""

    name = "repair"
    words = "mending the print"
    order = 50
    weight = 0.05
    steps = (Step("repair", "megapixel", "mending the print"),)

    def is_wanted(self, work: Work) -> bool:
        """Whether a repair was asked for, or a mask given or wanted."""
        options = work.options
        return options.repair != NONE or options.damage is not None or options.save_mask

    def run(self, canvas: Canvas, work: Work) -> Canvas:
        """Return the canvas mended; as it is where nothing was found, outside of damage where only that was.

        Raises:
            UsageError: the mask is not of the photo's size.
        """
        from restorer.repairing.filling import fill

        with work.record.timed("repair"):
            pixels, mask, told = self.look(canvas.pixels, work)
            if self._fills(pixels, mask, told, work) and mask.any():
                painter = work.components.painter(work.colours)
                pixels = fill(pixels, mask, painter)
                told["filler"] = "splines" if painter is None else painter.name
                canvas.marks()[mask > 0] = 255
            told["done"] = pixels is not canvas.pixels
            work.damage, work.record.repair = mask, told
        return Canvas(pixels, canvas.alpha, canvas.changed, canvas.layers)

    def _fills(self, pixels: np.ndarray, mask: np.ndarray, told: dict[str, Any], work: Work) -> bool:
        """Whether what was found is filled; below what limits `auto` does not, the record says.

        A finder that was named, and a mask, are believed.
        """
        if work.options.damage is not None:
            return True
        if work.options.repair == NONE:
            return False
        finder = work.components.finder()
        if finder is None or printed.FINDER in printed.repairers(work.options):
            return True
        told |= {"floor": finder.floor, "smallest": finder.smallest}
        if told["damaged"] < finder.floor or min(work.photo.size) < finder.smallest:
            return False
        from restorer.repairing.finding import confirmed

        told["confirmed"] = round(confirmed(finder, pixels, mask, work.colours), 6)
        return bool(told["confirmed"] >= finder.floor)

    def look(self, pixels: np.ndarray, work: Work) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """Return the picture without its screen, where it is damaged, and what the record says of both."""
        from restorer.imaging import screens

        waves = screens.find(pixels) if work.options.repair != NONE else []
        if waves:
            pixels = screens.remove(pixels, waves)
        mask, finder = damage(pixels, work)
        told: dict[str, Any] = {"done": False, "screen": [_wave(wave) for wave in waves], "finder": finder}
        return pixels, mask, told | {"damaged": round(float((mask > 0).mean()), 6)}


def damage(pixels: np.ndarray, work: Work) -> tuple[np.ndarray, str | None]:
    """Return where a photo is damaged, (h, w) uint8, 255 = damaged, and what said so: "mask", a finder, or None.

    A mask that was given is taken as it is; otherwise a finder looks, where there is one and a repair, or the mask of
    one, was asked for.
    """
    options = work.options
    if options.damage is not None:
        return read_hole(Path(options.damage), work.photo.size, "mask")[..., 0], "mask"
    finder = work.components.finder() if options.repair != NONE or options.save_mask else None
    if finder is None:
        return np.zeros(pixels.shape[:2], np.uint8), None
    from restorer.repairing.finding import find

    return find(finder, pixels, work.colours, work.tell), finder.name


def _wave(wave: Any) -> dict[str, float]:
    """Return what the record says of one wave of a screen: pixels, degrees, levels of 255."""
    angle = math.degrees(math.atan2(wave.down, wave.across))
    return {"period": round(wave.period, 3), "angle": round(angle, 2), "strength": round(wave.strength, 2)}


STAGE = RepairStage()
