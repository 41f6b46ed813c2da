"""Damaged prints: a clean photograph with marks of known kinds on it, and where they are.

A mark counts as damage where it changes the picture so much that it is to be filled. Where it changes it less (the foot
of a fold's shadow, a scratch on something as bright as itself, a stain that the picture shows through) nothing is
asked of a finder: such pixels are `unsure`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from restorer.imaging.sheets import Picture
from restorer.training.wear import marks
from restorer.training.wear.blur import Float
from restorer.training.wear.damage import Mask

Where = NDArray[np.bool_]
SEEN, FAINT = 14.0, 4.0
"""Levels of 255 by which a mark changes a pixel that is damaged, and from which on it is not clean."""
STRONG = 34.0
"""The same for what is wide and lets the picture through: filling it would cost more than it mends."""


@dataclass(frozen=True)
class Damaged:
    """A photograph with damage.

    Attributes:
        picture: (h, w, 3) uint8.
        mask: (h, w), where it is damaged.
        unsure: (h, w), where nothing is asked of a finder; never where `mask` is.
    """

    picture: Picture
    mask: Where
    unsure: Where


@dataclass(frozen=True)
class _Laid:
    """What a mark made of a picture: (h, w, 3) float, 0 to 255, and from how many levels on it is damage.

    `shaded` is the picture with the mark's shade alone: what is laid on that is damage from `SEEN` on, whatever its
    shade.
    """

    picture: Float
    from_levels: float = SEEN
    shaded: Float | None = None


def _scratches(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    return _Laid(_covered(picture, marks.scratches(rng, _shape(picture), unit), _thin_colour(rng), rng))


def _streaks(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    return _Laid(_covered(picture, marks.streaks(rng, _shape(picture), unit), _thin_colour(rng), rng))


def _gouges(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    return _Laid(_paper(picture, marks.gouges(rng, _shape(picture), unit), rng, unit))


def _cracks(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    cover = marks.cracks(rng, _shape(picture), unit)
    if rng.random() < 0.25:
        return _Laid(_covered(picture, cover, _thin_colour(rng), rng))
    return _Laid(_paper(picture, cover, rng, unit))


def _reticulation(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    return _Laid(_covered(picture, marks.reticulation(rng, _shape(picture), unit), _thin_colour(rng), rng))


def _dust(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    return _Laid(_covered(picture, marks.dust(rng, _shape(picture), unit), _thin_colour(rng), rng))


def _hairs(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    return _Laid(_covered(picture, marks.hairs(rng, _shape(picture), unit), _thin_colour(rng), rng))


def _mould(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    kind = rng.random()
    brown = np.array([95, 70, 40]) * rng.uniform(0.5, 1.5)
    colour = brown if kind < 0.5 else np.full(3, rng.uniform(170, 250) if kind < 0.8 else rng.uniform(5, 60))
    return _Laid(_covered(picture, marks.mould(rng, _shape(picture), unit), colour, rng), STRONG * 0.7)


def _stains(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    cover = marks.stains(rng, _shape(picture), unit)
    if rng.random() < 0.35:
        return _Laid(_paper(picture, cover, rng, unit))
    colour = rng.uniform(5, 90, 3) if rng.random() < 0.6 else rng.uniform(120, 240, 3)
    return _Laid(_covered(picture, cover, colour, rng, (0.7, 1)))


def _missing(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    """Missing pieces show what lies under the print, and the bare paper along the tear."""
    cover = marks.missing(rng, _shape(picture), unit)
    rim = cv2.dilate(cover, _disc(round(unit * rng.uniform(1, 5))))
    bare = _paper(picture, np.asarray(rim, np.float32), rng, unit) if rng.random() < 0.75 else picture
    below = np.full(3, rng.choice([rng.uniform(0, 40), rng.uniform(235, 255), rng.uniform(80, 200)]), np.float32)
    return _Laid(bare * (1 - cover[..., None]) + below * cover[..., None])


def _tears(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    """A tear runs in from the border: bare paper that grows wider outwards, a shadow along one side."""
    height, width = picture.shape[:2]
    sheet = marks.Sheet(height, width)
    count, length = 70, rng.uniform(0.08, 0.5) * max(height, width)
    side = int(rng.integers(4))
    start = [(0, rng.uniform(0, height)), (width, rng.uniform(0, height)), (rng.uniform(0, width), 0)]
    start.append((rng.uniform(0, width), height))
    inward = [0, math.pi, math.pi / 2, -math.pi / 2][side] + rng.normal(0, 0.45)
    turns = inward + np.cumsum(rng.normal(0, 0.12, count)) + rng.normal(0, 0.3, count)
    x = start[side][0] + np.cumsum(np.cos(turns)) * length / count
    y = start[side][1] + np.cumsum(np.sin(turns)) * length / count
    ragged = np.clip(1 + 0.4 * rng.normal(0, 1, count), 0.2, 2.5)
    sheet.ribbon(x, y, unit * rng.uniform(1.5, 7) * ragged * np.linspace(1, 0.15, count))
    cover = sheet.cover()
    return _Laid(_paper(_shadowed(picture, cover, rng, unit), cover, rng, unit))


def _folds(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    """A fold runs across the print: a broken line of bare paper, one side of it brighter, the other darker."""
    height, width = picture.shape[:2]
    x, y, direction = _across(height, width, rng)
    count = len(x)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    normal = -math.sin(direction), math.cos(direction)
    away = (columns - np.float32(x.mean())) * np.float32(normal[0]) + (rows - np.float32(y.mean())) * np.float32(
        normal[1]
    )
    reach, levels = np.float32(unit * rng.uniform(2, 13)), rng.uniform(0, 32) * rng.choice([-1, 1])
    near = np.exp(-np.abs(away) / reach)
    both = rng.uniform(-1, 1)
    shade = np.float32(levels) * near * np.where(away > 0, np.float32(1), np.float32(both))
    shaded = picture + shade[..., None]
    sheet = marks.Sheet(height, width)
    broad = unit * float(np.exp(rng.uniform(math.log(0.6), math.log(4.5))))
    widths = broad * np.clip(1 + 0.45 * rng.normal(0, 1, count) + 0.4 * marks.smooth(rng, count, 12), 0, 3)
    if rng.random() < 0.5:
        widths = widths * (marks.smooth(rng, count, max(4, count // 5)) > rng.uniform(-1.3, -0.2))
    sheet.ribbon(x, y, widths)
    for place in np.flatnonzero(rng.random(count) < rng.uniform(0, 0.25)):
        marks.flake(sheet, rng, float(x[place]), float(y[place]), broad * rng.uniform(0.8, 2.2))
    if rng.random() < 0.15:
        return _Laid(_covered(shaded, sheet.cover(), _thin_colour(rng), rng), STRONG, shaded)
    return _Laid(_paper(shaded, sheet.cover(), rng, unit), SEEN if abs(levels) < SEEN else STRONG, shaded)


def _tape(picture: Float, rng: np.random.Generator, unit: float) -> _Laid:
    """A strip of tape: what it covers shows through, or not; its edges catch the light."""
    height, width = picture.shape[:2]
    sheet = marks.Sheet(height, width)
    long, wide = unit * rng.uniform(40, 260), unit * rng.uniform(16, 45)
    turn, middle = rng.uniform(0, math.pi), (rng.uniform(0, width), rng.uniform(0, height))
    ends = np.linspace(-0.5, 0.5, 14)
    x = np.concatenate([np.full(14, 0.5) * long, np.full(14, -0.5) * long]) + unit * rng.uniform(0, 1.5) * rng.normal(
        0, 1, 28
    )
    y = np.concatenate([ends, ends[::-1]]) * wide
    sheet.polygon(
        middle[0] + x * math.cos(turn) - y * math.sin(turn), middle[1] + x * math.sin(turn) + y * math.cos(turn)
    )
    cover = sheet.cover()[..., None]
    opaque = rng.random() < 0.4
    colour = np.array([215, 190, 130]) * rng.uniform(0.6, 1.15) + rng.uniform(-15, 15, 3)
    share = np.float32(rng.uniform(0.85, 1) if opaque else rng.uniform(0.08, 0.45))
    grain = marks.clouds(rng, height, width, unit * 12)[..., None] * np.float32(5)
    laid = picture * (1 - cover * share) + (colour.astype(np.float32) + grain) * cover * share
    edge = np.asarray(cv2.morphologyEx(cover[..., 0], cv2.MORPH_GRADIENT, _disc(1)), np.float32)[..., None]
    laid = laid + edge * np.float32(rng.uniform(-25, 35))
    return _Laid(np.asarray(laid, np.float32), SEEN if opaque else math.inf)


KINDS: dict[str, Callable[[Float, np.random.Generator, float], _Laid]] = {
    "scratches": _scratches,
    "gouges": _gouges,
    "cracks": _cracks,
    "reticulation": _reticulation,
    "dust": _dust,
    "hairs": _hairs,
    "folds": _folds,
    "tears": _tears,
    "missing": _missing,
    "stains": _stains,
    "mould": _mould,
    "tape": _tape,
    "streaks": _streaks,
}
"""What lays each kind of damage on a picture; `unit` is what a fine scratch is wide, in pixels."""

OFTEN = {
    "scratches": 4.0,
    "dust": 4.0,
    "folds": 4.0,
    "cracks": 3.0,
    "hairs": 2.0,
    "streaks": 1.5,
    "missing": 0.7,
    "stains": 0.7,
    "mould": 0.7,
    "reticulation": 0.5,
    "tape": 0.3,
}
"""How often a kind is drawn where it is not once."""


def any_kinds(rng: np.random.Generator, count: int) -> list[str]:
    """Return the names of so many kinds, as often as they come."""
    weights = np.array([OFTEN.get(kind, 1.0) for kind in KINDS])
    return [str(kind) for kind in rng.choice(list(KINDS), count, p=weights / weights.sum(), replace=False)]


def damage(
    picture: Picture,
    rng: np.random.Generator,
    kinds: Sequence[str],
    *,
    unit: float = 1.0,
    masks: Sequence[Mask] = (),
) -> Damaged:
    """Return a picture with these kinds of damage on it, and where.

    Args:
        picture: (h, w, 3) uint8.
        rng: decides everything that is random.
        kinds: names of `KINDS`, or "files" for the shapes of `masks`; laid on in this order.
        unit: pixels of the picture that a fine scratch is wide.
        masks: shapes of real damage, grey, white = damaged.
    """
    clean = picture.astype(np.float32)
    laid = clean
    mask, unsure = np.zeros(picture.shape[:2], bool), np.zeros(picture.shape[:2], bool)
    for kind in kinds:
        before = laid
        if kind == "files":
            cover = marks.from_files(rng, _shape(before), unit, masks)
            made = _Laid(_covered(before, cover, _thin_colour(rng), rng))
        else:
            made = KINDS[kind](before, rng, unit)
        laid = np.clip(made.picture, 0, 255, dtype=np.float32)
        change = _change(laid, before)
        mask |= change >= made.from_levels
        if made.shaded is not None:
            mask |= (_change(laid, np.clip(made.shaded, 0, 255)) >= SEEN) & (change >= SEEN)
        unsure |= change >= FAINT
    ring = cv2.dilate(mask.astype(np.uint8), _disc(1)) > 0
    return Damaged(np.rint(laid).astype(np.uint8), mask, (unsure | ring) & ~mask)


def _change(one: Float, other: Float) -> Float:
    """Return by how much each pixel differs in the colour that differs most."""
    off = np.abs(one - other)
    return np.asarray(np.maximum(np.maximum(off[..., 0], off[..., 1]), off[..., 2]), np.float32)


def unit_of(height: int, width: int) -> float:
    """Return what a fine scratch is wide in a photograph of that size: a pixel of one whose long side is 900."""
    return max(1.0, max(height, width) / 900)


# ---------------------------------------------------------------------------------------------------- laying on


def _thin_colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the colour of a thin mark: light or dark, nearly grey."""
    light = rng.uniform(165, 255) if rng.random() < 0.66 else rng.uniform(0, 75)
    return light + rng.uniform(-12, 12, 3)


def _covered(
    picture: Float,
    cover: Float,
    colour: NDArray[np.float64],
    rng: np.random.Generator,
    share: tuple[float, float] = (0.45, 1),
) -> Float:
    """Return the picture with a colour laid on, as strong as drawn from `share`."""
    part = (cover * np.float32(rng.uniform(*share)))[..., None]
    return np.asarray(picture * (1 - part) + colour.astype(np.float32) * part, np.float32)


def _paper(picture: Float, cover: Float, rng: np.random.Generator, unit: float) -> Float:
    """Return the picture with bare paper where it is covered: light, mottled, now and then dark along its rim."""
    height, width = cover.shape
    light = rng.uniform(185, 252)
    tint = np.array([1.0, rng.uniform(0.93, 1), rng.uniform(0.8, 1)])
    mottled = marks.clouds(rng, height, width, unit * rng.uniform(2, 9), 3) * np.float32(rng.uniform(2, 16))
    colour = (np.float32(light) + mottled)[..., None] * tint.astype(np.float32)
    if rng.random() < 0.3:
        picture = _shadowed(picture, cover, rng, unit)
    part = (cover * np.float32(rng.uniform(0.75, 1)))[..., None]
    return np.asarray(picture * (1 - part) + np.clip(colour, 0, 255) * part, np.float32)


def _shadowed(picture: Float, cover: Float, rng: np.random.Generator, unit: float) -> Float:
    """Return the picture darker beside what is covered, on the side away from the light."""
    off, turn = unit * rng.uniform(0.5, 2.5), rng.uniform(0, 2 * math.pi)
    move = np.array([[1, 0, off * math.cos(turn)], [0, 1, off * math.sin(turn)]])
    moved = cv2.warpAffine(cover, move, cover.shape[::-1], flags=cv2.INTER_LINEAR)
    soft = np.asarray(cv2.GaussianBlur(moved, (0, 0), unit * rng.uniform(0.5, 1.5)), np.float32)
    return np.asarray(picture * (1 - soft * np.float32(rng.uniform(0.2, 0.7)))[..., None], np.float32)


def _across(height: int, width: int, rng: np.random.Generator) -> tuple[marks.Line, marks.Line, float]:
    """Return the points of a line through the whole picture, mostly along its sides, and its direction."""
    upright = rng.random() < 0.5
    direction = (math.pi / 2 if upright else 0.0) + rng.normal(0, 0.06)
    if rng.random() < 0.25:
        direction = rng.uniform(0, math.pi)
    length = 1.5 * math.hypot(height, width)
    count = int(length / 4)
    steps = np.linspace(-0.5, 0.5, count) * length
    off = marks.smooth(rng, count, 10) * length * 0.002 + rng.normal(0, 0.35, count)
    middle = rng.uniform(0.08, 0.92) * width, rng.uniform(0.08, 0.92) * height
    x = middle[0] + steps * math.cos(direction) - off * math.sin(direction)
    y = middle[1] + steps * math.sin(direction) + off * math.cos(direction)
    return x, y, direction


def _shape(picture: Float) -> marks.Shape:
    return picture.shape[0], picture.shape[1]


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * max(radius, 1) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
