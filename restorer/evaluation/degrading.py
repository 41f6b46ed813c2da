"""What a model is measured on: clean pictures, and what a named degradation or that of a recipe makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restorer.errors import UsageError
from restorer.imaging.sheets import Picture
from restorer.training import degradations
from restorer.training.degradations import Degradation, Degraded
from restorer.training.recipe import Values, load_recipe
from restorer.training.wear import mixture
from restorer.training.wear.mixture import Mixture, Worn

FORMULA = "gfpgan"
"""The degradation that is used where none is named: GFP-GAN's formula, which the field's figures are given for."""

MILD: Values = {
    **degradations.DEFAULTS, "sigma": [0.1, 2.5], "downsample": [0.8, 2.0], "noise": [0.0, 6.0], "jpeg": [75, 98],
}  # fmt: skip
"""A photograph that is a little soft, noisy or compressed; numbers for faces of 512 px, as GFP-GAN's."""

STRONG: Values = {
    **mixture.STAGES, "blur": 0.85, "strong_blur": 0.5, "reduce": 0.9, "noise": 0.6, "jpeg": 0.85, "again": 0.5,
    "print": 0.1, "damage": 0.1,
}  # fmt: skip
"""How often each stage of the mixture is drawn for photographs that are nearly lost."""

PRINT: Values = {
    **mixture.STAGES, "print": 1.0, "tone": 0.5, "damage": 0.5, "blur": 0.5, "strong_blur": 0.1, "reduce": 0.4,
    "film": 0.3, "noise": 0.3, "jpeg": 0.5, "again": 0.2,
}  # fmt: skip
"""The same for printed and scratched photographs: screens, weave or grain of the paper, fading, damage."""


@dataclass(frozen=True)
class Pair:
    """A degraded picture and its truth, RGB (h, w, 3) of one size; `bicubic` is the degraded one enlarged so."""

    picture: Picture
    bicubic: Picture
    truth: Picture


Degrade = Callable[[Picture, np.random.Generator], Pair]
"""Degrades a clean picture as a generator says; the same state of it gives the same pair."""


def nothing(picture: Picture, _rng: np.random.Generator) -> Pair:
    """Return the clean picture as its own input: a restorer should leave it alone."""
    return Pair(picture, picture, picture)


NAMED: Mapping[str, Callable[[int], Degrade]] = {
    FORMULA: lambda size: _by_formula(degradations.DEFAULTS, size),
    "none": lambda _size: nothing,
    "mild": lambda size: _by_formula(MILD, size),
    "strong": lambda size: _by_mixture({"clean": 0.0, "formula": 0.0, "stages": STRONG}, size),
    "print": lambda size: _by_mixture({"clean": 0.0, "formula": 0.0, "grey": 0.6, "stages": PRINT}, size),
}
"""Degradations by name, for pictures of a side in pixels."""


def degradation_of(given: str | Path | None, size: int) -> tuple[str, Degrade]:
    """Return the name of a degradation, and what it does to pictures of a size.

    Args:
        given: a name of `NAMED`; a recipe, whose `[degradation]` table counts (a file that has nothing but a head and
            that table will do); None for GFP-GAN's formula.
        size: side of the pictures, pixels.

    Raises:
        UsageError: there is no such degradation or recipe, or its table has an unknown key.
    """
    name = FORMULA if given is None else str(given)
    if name in NAMED:
        return name, NAMED[name](size)
    recipe = load_recipe(given or name)
    values = recipe.values.get("degradation", {})
    known = mixture.DEFAULTS if set(values) & set(mixture.DEFAULTS) - {"grey"} else degradations.DEFAULTS
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise UsageError(
            f"The degradation of {recipe.name!r} sets {unknown[0]}, which is unknown.", f"Known: {', '.join(known)}."
        )
    if known is mixture.DEFAULTS:
        return recipe.name, _by_mixture(values, size)
    return recipe.name, _by_formula({**degradations.DEFAULTS, **values}, size)


def _by_formula(values: Mapping[str, Any], size: int) -> Degrade:
    return _paired(Degradation.of(values, size))


def _by_mixture(values: Mapping[str, Any], size: int) -> Degrade:
    return _paired(Mixture.of({**mixture.DEFAULTS, **values}, size))


def _paired(degradation: Callable[[NDArray[np.uint8], np.random.Generator], Degraded | Worn]) -> Degrade:
    def degrade(picture: Picture, rng: np.random.Generator) -> Pair:
        worse = degradation(picture, rng)
        linear = worse.enlarged()
        # What went through several sizes has come back to its own already; there is nothing to enlarge in another way.
        bicubic = worse.enlarged(cv2.INTER_CUBIC) if isinstance(worse, Degraded) else linear
        return Pair(linear, bicubic, worse.truth(picture))

    return degrade
