"""Would restoring make a face better? What its part of the photo shows, and what follows from that.

A network's picture of a face has no more true detail than the photo's own face; what it adds is what faces look like.
That helps where the photo is small, blurred, noisy or squeezed. A face that is finely resolved and clean it only
smooths. Where the limits lie was measured with `python -m restorer.bench harm`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from restorer.imaging import quality, warp

if TYPE_CHECKING:
    from restorer.faces.placement import Placement
    from restorer.imaging.quality import Quality

SEEN = (0.2, 0.2, 0.8, 0.92)
"""The part of an aligned crop that is measured (left, top, right, bottom), as shares of its side: brows to chin."""
LARGEST = 1024
"""Pixels; of a larger face the middle is measured for noise, and the reduced whole for edges."""
SHARPEST, OWN_EDGE = 0.6, 0.4
"""Edges of pictures as sharp as their pixels allow: what the measure itself adds, and what is left of them then."""

FINE = 115.0
"""Resolved pixels across the aligned crop from which on a face is finely resolved; about half of them are the face."""
TINY, COARSE = 50.0, 80.0
"""Below so many, nothing of the photo's detail is kept: the network knows better. Below the first number, neither is
what a face shows that is as sharp as its few pixels allow, unless it is clean."""
LARGEST_STEP = 3.0
"""By how many times more pixels than it resolves a finely resolved face may be shown without a network."""
OWN_STEP = 1.3
"""The same of any face: one as sharp as the result's pixels has nothing to gain."""
NOISE, COARSE_NOISE, COARSEST_NOISE, COLOUR_NOISE, BLOCKS = 1.8, 2.0, 2.3, 0.5, 1.0
"""Levels of 255 up to which a face is clean (see `Quality`): noise of 3 levels in each channel, JPEG from 85 on."""
TEXTURED = 256.0
"""Pixels across the crop below which a half and a quarter of its size show the face's own texture in every place: the
limits of coarse noise rise as the face gets smaller."""
THROUGHOUT = 0.75
"""How much less a middling place of a face may resolve than its strongest edges and still count as those do."""
PLACES, FEWEST_PLACES = 0.5, 0.25
"""Share of a face's places that have edges at least if it is as sharp as they say, and the share at which none of its
sharpness is believed: scratches and coarse blocks are sharp in a few places, and what they lie on may be blurred."""
STRIPES = 4.0
"""By how many times the finest detail across rows may exceed that across columns; interlaced rows exceed it."""
COARSER = 3.0
"""By how many times noise is stronger at a half or a quarter of the size than at the photo's own if it was enlarged."""
BARE, ROUGH = 95.0, 75.0
"""Resolved pixels across the crop from which on hair and neck are best the photo's own, and below which all of the head
is better restored with the face."""
SOFT, CRISP = 0.36, 0.46
"""Resolved pixels for a pixel of the photo: a softer face has no fine detail, a crisper one all that it can have."""
WORSE, WORST = 1.5, 3.0
"""By how many times a finely resolved face may exceed those limits and still show all of the photo's own detail, and
from which on none of it."""


@dataclass(frozen=True)
class Condition:
    """How good a face is in the photo.

    Attributes:
        side: of the aligned crop, in pixels of the photo.
        resolved: how many pixels across the crop would hold all the detail that its edges show; 0 where that cannot be
            told: too small, or nothing stands out.
        quality: of the face's part of the photo; None where it is too small to be measured.
    """

    side: float
    resolved: float
    quality: Quality | None

    @property
    def spoiled(self) -> float:
        """How strong noise or blocks are, whichever is worse, in what one may still call clean; infinite if unknown."""
        found = self.quality
        if found is None:
            return math.inf
        textured = self._textured
        return max(
            found.noise / NOISE,
            found.coarse_noise / (COARSE_NOISE * textured),
            found.coarsest_noise / (COARSEST_NOISE * textured),
            found.colour_noise / COLOUR_NOISE,
            found.blocks / BLOCKS,
            found.stripes / STRIPES,
        )

    @property
    def believed(self) -> float:
        """How far its edges speak for all of the face: 0 to 1; 1 where most places have them."""
        found = self.quality
        return 1.0 if found is None else min(max((found.places - FEWEST_PLACES) / (PLACES - FEWEST_PLACES), 0.0), 1.0)

    @property
    def enlarged(self) -> bool:
        """Whether what there is of noise was enlarged or smoothed, so that it is no finer than the face itself."""
        found = self.quality
        coarser = COARSER * self._textured
        return found is not None and max(found.coarse_noise, found.coarsest_noise) > coarser * found.noise

    @property
    def _textured(self) -> float:
        return max(TEXTURED / self.side, 1.0)

    @property
    def clean(self) -> bool:
        """Whether there is neither noise nor blocks that anyone would want to be rid of."""
        return self.spoiled <= 1


def condition_of(pixels: np.ndarray, placement: Placement) -> Condition:
    """Return how good a face is, by the photo's own pixels.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16, of the photo.
        placement: where the face is.
    """
    size = placement.align_size
    side = 1 / placement.pixel(1)
    seen = warp.bounds(warp.invert(placement.matrix), tuple(share * size for share in SEEN))  # type: ignore[arg-type]
    x0, y0 = (max(math.floor(edge), 0) for edge in seen[:2])
    x1, y1 = (min(math.ceil(edge), end) for edge, end in zip(seen[2:], placement.photo_size, strict=True))
    if min(x1 - x0, y1 - y0) < quality.LEAST_SIDE:
        return Condition(side, 0.0, None)
    return judge(pixels[y0:y1, x0:x1], side)


def judge(face: np.ndarray, side: float) -> Condition:
    """Return how good a face is whose part of the photo (h, w, 3) is this, of an aligned crop `side` pixels wide."""
    import cv2

    height, width = face.shape[:2]
    step = max(height, width) / LARGEST
    if step <= 1:
        found = quality.measure_picture(face)
        return Condition(side, _resolved_throughout(side, found), found)
    top, left = max((height - LARGEST) // 2, 0), max((width - LARGEST) // 2, 0)
    middle = quality.measure_picture(face[top : top + LARGEST, left : left + LARGEST])
    small = cv2.resize(face, (round(width / step), round(height / step)), interpolation=cv2.INTER_AREA)
    whole = quality.measure(quality.luma_of(small))
    found = replace(middle, edge=whole.edge, throughout=whole.throughout, places=whole.places)
    return Condition(side, _resolved_throughout(side / step, found), found)


def _resolved_throughout(side: float, found: Quality) -> float:
    """Return how many pixels hold the detail of a crop by its edges, and by those of its middling place."""
    strongest, middling = resolved(side, found.edge), resolved(side, found.throughout)
    return min(strongest, middling / THROUGHOUT) if middling else strongest


def resolved(side: float, edge: float) -> float:
    """Return how many pixels hold the detail of a crop `side` pixels wide whose edges have this sigma."""
    if not math.isfinite(edge):
        return 0.0
    own = math.sqrt(max(edge * edge - SHARPEST * SHARPEST, 1e-6))
    return side * min(1.0, OWN_EDGE / own)


def needs_nothing(condition: Condition, *, output_size: int, scale: float) -> bool:
    """Return whether a face is best left alone.

    It is clean, sharp in most places, and shown at most a little larger than it is resolved, or finely resolved and not
    shown so large that its softness would be seen.

    Args:
        condition: how good it is in the photo.
        output_size: side of the network's picture: more pixels than that it has not to offer.
        scale: how many times larger than the photo the result is.
    """
    if not condition.clean or condition.resolved <= 0 or condition.believed < 1:
        return False
    step = min(output_size, condition.side * scale) / condition.resolved
    return step <= OWN_STEP or (condition.resolved >= FINE and step <= LARGEST_STEP)


def kept(condition: Condition) -> float:
    """Return how much of its own detail a face may keep where that is sharper than the network's: 0 to 1.

    None of it where noise was enlarged: its blots have edges too, and would count as the face's.
    """
    if not condition.clean and condition.enlarged:
        return 0.0
    return condition.believed * min(max((condition.resolved - COARSE) / (FINE - COARSE), 0.0), 1.0)


def held(condition: Condition) -> float:
    """Return how much of the photo's finest detail a restored face has to show: 0 to 1, 1 = no less than the photo.

    All of it where the photo is sharp and clean; of one that is somewhat worse, only where it is finely resolved, and
    none where blur, noise or blocks are what it would show.
    """
    crisp = condition.resolved / condition.side
    sharp = condition.believed * min(max((crisp - SOFT) / (CRISP - SOFT), 0.0), 1.0)
    if condition.clean:
        return max(kept(condition), sharp)
    if condition.enlarged:
        return 0.0
    finely = max(kept(condition), sharp * min(max((condition.resolved - TINY) / (COARSE - TINY), 0.0), 1.0))
    return finely * min(max((WORST - condition.spoiled) / (WORST - WORSE), 0.0), 1.0)


def head(condition: Condition) -> float:
    """Return how much of the head around a face is so hardly resolved that it is better restored with it: 0 to 1."""
    return min(max((BARE - condition.resolved) / (BARE - ROUGH), 0.0), 1.0)
