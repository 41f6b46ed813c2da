"""The mixture that a restorer is trained on: from photographs that need nothing to hopeless ones.

Some pairs are clean, so that leaving a good photograph alone is learnt; some get GFP-GAN's formula, which others are
measured by; the rest go through two rounds of what happens to photographs, each stage drawn or not on its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restorer.errors import UsageError
from restorer.training import degradations
from restorer.training.degradations import Degradation
from restorer.training.recipe import Values
from restorer.training.wear import blur, noise, scan, screens
from restorer.training.wear.blur import Float
from restorer.training.wear.damage import Mask, any_damage

STAGES: Values = {
    "tone": 0.2,
    "blur": 0.65,
    "strong_blur": 0.2,
    "print": 0.16,
    "damage": 0.16,
    "reduce": 0.75,
    "film": 0.2,
    "noise": 0.45,
    "jpeg": 0.6,
    "again": 0.33,
    "halo": 0.12,
    "interlace": 0.03,
}
"""How often each stage is drawn; `strong_blur` and `again` (a second round) among those that are blurred, or at all."""

DEFAULTS: Values = {
    "clean": 0.125,
    "formula": 0.375,
    "grey": 0.25,
    "smallest": 16,
    "stages": STAGES,
    "classic": {**degradations.DEFAULTS, "grey": 0.0},
}
"""Shares of clean pairs and of GFP-GAN's formula (`classic`); `smallest` is the side in pixels that the hardest
reduction leaves of a picture: a face has about half of it."""


@dataclass(frozen=True)
class Worn:
    """A degraded picture and what a restorer should make of it, both (h, w, 3) RGB."""

    picture: NDArray[np.uint8]
    clean: NDArray[np.uint8]

    def enlarged(self) -> NDArray[np.uint8]:
        """Return the degraded picture; it has its size already."""
        return self.picture

    def truth(self, _picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the clean picture: grey and toned where the degraded one is."""
        return self.clean


@dataclass(frozen=True)
class Mixture:
    """The degradations of the real world for pictures of one size.

    Attributes:
        clean: share of pairs that stay as they are.
        formula: share of pairs that get `classic`.
        grey: share of grey pairs among all.
        smallest: side that the hardest reduction leaves.
        stages: how often each stage is drawn.
        classic: GFP-GAN's formula.
        masks: masks of damage to lay on; without any, damage is drawn.
    """

    clean: float
    formula: float
    grey: float
    smallest: int
    stages: Mapping[str, float]
    classic: Degradation
    masks: Sequence[Mask] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any], size: int, masks: Sequence[Mask] = ()) -> Mixture:
        """Return the mixture of a recipe's table for pictures of this size.

        Raises:
            UsageError: the shares are no shares.
        """
        if not 0 <= values["clean"] <= values["clean"] + values["formula"] <= 1:
            raise UsageError(
                f"The shares clean and formula are {values['clean']} and {values['formula']}.",
                "Both are at least 0, and together at most 1.",
            )
        classic = Degradation.of(values["classic"], size)
        return cls(
            values["clean"], values["formula"], values["grey"], values["smallest"], values["stages"], classic, masks
        )

    def __call__(self, picture: NDArray[np.uint8], rng: np.random.Generator) -> Worn:
        """Return the degraded picture and its truth.

        Args:
            picture: (h, w, 3) RGB.
            rng: decides everything; the same generator state gives the same pair.
        """
        kind, grey = rng.random(), bool(rng.random() < self.grey)
        if kind < self.clean:
            kept = _bytes(scan.greyed(picture.astype(np.float32))) if grey else picture
            return Worn(kept, kept)
        if kind < self.clean + self.formula:
            return self._by_formula(picture, grey, rng)
        return self._by_stages(picture.astype(np.float32), grey, rng)

    def _by_formula(self, picture: NDArray[np.uint8], grey: bool, rng: np.random.Generator) -> Worn:
        """Apply GFP-GAN's formula; of a grey picture's noise some is grey, and some has stayed coloured."""
        before = grey and rng.random() < 0.5
        clean = _bytes(scan.greyed(picture.astype(np.float32))) if grey else picture
        worse = self.classic(clean if before else picture, rng).enlarged()
        if grey and (not before or rng.random() < 0.5):
            worse = _bytes(scan.greyed(worse.astype(np.float32)))
        return Worn(worse, clean)

    def _by_stages(self, picture: Float, grey: bool, rng: np.random.Generator) -> Worn:
        """Go through the stages: the sitting, the print, its scan, the file; tone and grey are the truth's as well."""
        height, width = picture.shape[:2]
        early = bool(rng.random() < 0.6)
        clean = scan.greyed(picture) if grey else picture
        x = clean if early else picture
        if self._drawn("tone", rng):
            curves = scan.any_tone(rng)
            clean, x = scan.toned(clean, curves), scan.toned(x, curves)
        if self._drawn("blur", rng):
            x = blur.blurred(x, blur.any_kernel(rng, self._sigma(rng, width)))
        if self._drawn("film", rng):
            x = noise.film(x, rng, rng.uniform(3, 30), rng.uniform(0.5, 1.5), grey=grey or rng.random() < 0.5)
        if self._drawn("print", rng):
            x = screens.any_print(x, rng)
        if self._drawn("damage", rng):
            x = any_damage(x, rng, self.masks)
        for turn in range(1 + self._drawn("again", rng)):
            x = self._file(x, rng, grey=grey and early, again=turn > 0)
        if x.shape[:2] != (height, width):
            x = scan.resized(x, width, height, scan.METHODS[int(rng.integers(2))])
        if grey and not early:
            x = scan.greyed(x)
        return Worn(_bytes(x), _bytes(clean))

    def _file(self, x: Float, rng: np.random.Generator, *, grey: bool, again: bool) -> Float:
        """Return the picture after one round of reduction, noise, sharpening and JPEG; a second one is milder."""
        height, width = x.shape[:2]
        if self._drawn("reduce", rng):
            most = max(min(height, width) / self.smallest, 1.0)
            factor = rng.uniform(0.7, 1.6) if again else math.exp(math.log(most) * rng.random() ** 1.5)
            side = max(round(width / factor), 8), max(round(height / factor), 8)
            # Reducing by points or bilinearly, as careless programs do, leaves jagged edges; mostly it is by area.
            method = int(rng.choice(np.array(scan.METHODS), p=[0.25, 0.15, 0.5, 0.1]))
            x = scan.resized(x, *side, method)
        if self._drawn("noise", rng):
            x = _any_noise(x, rng, grey=grey)
        if self._drawn("halo", rng):
            x = scan.haloed(x, rng.uniform(0.3, 2.0), rng.uniform(0.6, 2.0))
        if self._drawn("interlace", rng) and not again:
            x = scan.interlaced(x, int(rng.choice([-3, -2, -1, 1, 2, 3])))
        if self._drawn("jpeg", rng):
            x = scan.any_jpeg(x, rng)
        return x

    def _sigma(self, rng: np.random.Generator, width: int) -> float:
        """Return a blur's deviation in pixels: up to 2 of 256, and up to 7 where the strong stage is drawn."""
        low, high = (2.0, 7.0) if self._drawn("strong_blur", rng) else (0.3, 2.0)
        return float(math.exp(rng.uniform(math.log(low), math.log(high)))) * width / 256

    def _drawn(self, stage: str, rng: np.random.Generator) -> bool:
        return bool(rng.random() < self.stages[stage])


def _any_noise(x: Float, rng: np.random.Generator, *, grey: bool) -> Float:
    """Return the picture with one kind of noise: even, of the light, or blotches of colour, which no grey one gets."""
    kind = rng.random()
    if kind < 0.25 and not grey:
        return noise.coloured(x, rng, rng.uniform(3, 25), rng.uniform(0.0, 2.0))
    if kind < 0.45:
        worse = noise.shot(x, rng, math.exp(rng.uniform(math.log(60), math.log(2000))))
        return scan.greyed(worse) if grey else worse
    size = rng.uniform(0.5, 1.5) if rng.random() < 0.4 else 0.0
    return noise.sensor(x, rng, rng.uniform(1, 30), grey=grey or rng.random() < 0.4, size=size)


def _bytes(picture: Float) -> NDArray[np.uint8]:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
