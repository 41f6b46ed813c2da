"""Several prints on one scan: where each lies on the lid of the scanner, and the picture of each by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from restorer.imaging.colour import top_of
from restorer.imaging.libraries import cv2, np

SIDE = 1400
"""Longer side in pixels of the picture that is looked at."""
RIM, ALIKE = 0.012, 0.6
"""The rim of a scan, as a share of its sides, shows the lid: at least this share of the rim's pixels are alike."""
LEAST, LEAST_SIDE = 0.01, 0.07
"""Share of a scan's area, and of its longer side, that a print takes at least."""
FILLED, HELD, COVERED = 0.93, 0.5, 0.2
"""Shares: of its rectangle that the outline of a print fills at least (what does not is no print, or two that touch),
of its outline that differs from the lid, and of a scan that its prints cover."""
SEEN = 0.35
"""Share of a side where its edge must be seen; elsewhere the picture may look like the lid."""
_UNSURE = "what lies on the lid is not plainly prints apart from each other"
_STEEP = 7.0  # levels of 255 in a pixel; the shadow of a print is gentler
_DUST = 80  # pixels of a speck
_DARKER = 9.0  # levels of 255 that a print differs from the lid by at least
_INSET = 0.002  # of a side: what lies at the very edge is half lid
_STRAIGHT = 0.05  # degrees below which nothing is turned


@dataclass(frozen=True)
class Print:
    """A print on a scan.

    Attributes:
        centre: x and y of its middle, pixels of the scan.
        size: (width, height) in pixels.
        angle: degrees by which it is turned, clockwise as one sees it, -45 to 45.
    """

    centre: tuple[float, float]
    size: tuple[float, float]
    angle: float

    def corners(self) -> list[list[float]]:
        """Return its corners, from the upper left one clockwise, as x and y in pixels of the scan."""
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        wide, high = self.size[0] / 2, self.size[1] / 2
        return [
            [round(self.centre[0] + x * cos - y * sin, 2), round(self.centre[1] + x * sin + y * cos, 2)]
            for x, y in ((-wide, -high), (wide, -high), (wide, high), (-wide, high))
        ]


def find(pixels: np.ndarray) -> tuple[list[Print], str | None]:
    """Return the prints on a scan in reading order, and why it stays whole; at least two of them, or none.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    if min(height, width) * scale < 100:
        return [], "it is too small for a scan of prints"
    size = round(width * scale), round(height * scale)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32) * (255 / top_of(pixels.dtype))
    lid = _from_lid(small)
    if lid is None:
        return [], "no plain lid of a scanner is around it"
    away, limit = lid
    mask = cv2.morphologyEx((away > limit).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels, figures, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    mask[figures[:, cv2.CC_STAT_AREA][labels] < _DUST] = 0
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found: list[Print] = []
    whole = small.shape[0] * small.shape[1]
    for outline in outlines:
        hull = cv2.convexHull(outline)  # what looks like the lid at the edge of a print is bridged
        area = cv2.contourArea(hull)
        if area < LEAST * whole:
            continue
        box = cv2.minAreaRect(hull)
        if area < FILLED * box[1][0] * box[1][1] or cv2.contourArea(outline) < HELD * area:
            return [], _UNSURE
        if min(box[1]) < LEAST_SIDE * max(size):
            continue
        refined = _refined(small, _upright(box))
        if refined is None:
            return [], _UNSURE
        found.append(refined)
    if not found:
        return [], "no print is found on it"
    if len(found) == 1:
        return [], "it shows one print"
    if sum(place.size[0] * place.size[1] for place in found) < COVERED * whole or _overlap(found):
        return [], _UNSURE
    across, down = width / size[0], height / size[1]
    return [_enlarged(place, across, down) for place in _in_order(found)], None


def cut(pixels: np.ndarray, place: Print) -> np.ndarray:
    """Return a print by itself, upright; only what is turned is resampled.

    Args:
        pixels: (h, w) or (h, w, 3) of the scan, uint8 or uint16.
        place: where it lies.
    """
    size = tuple(max(1, round(side * (1 - 2 * _INSET))) for side in place.size)
    if abs(place.angle) < _STRAIGHT:
        left, top = (max(0, round(middle - side / 2)) for middle, side in zip(place.centre, size, strict=True))
        return np.ascontiguousarray(pixels[top : top + size[1], left : left + size[0]])
    reach = math.hypot(*size) / 2 + 4
    left, top = (max(0, math.floor(middle - reach)) for middle in place.centre)
    part = pixels[top : math.ceil(place.centre[1] + reach), left : math.ceil(place.centre[0] + reach)]
    cos, sin = math.cos(math.radians(place.angle)), math.sin(math.radians(place.angle))
    # From pixels of the print to pixels of the part; the middle of a pixel lies at +0.5.
    across, down = (0.5 - size[0] / 2, 0.5 - size[1] / 2)
    x = place.centre[0] - left - 0.5 + cos * across - sin * down
    y = place.centre[1] - top - 0.5 + sin * across + cos * down
    matrix = np.array([[cos, -sin, x], [sin, cos, y]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    turned: np.ndarray = cv2.warpAffine(
        np.ascontiguousarray(part), matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return turned


def _from_lid(picture: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Return how far pixels are from the lid (h, w), and from where on they are none; None where the rim is no lid.

    A lid may be lighter at one end than at the other: its colour is a plane through what the rim shows.
    """
    height, width = picture.shape[:2]
    rim = np.zeros((height, width), bool)
    rows, columns = max(2, round(RIM * height)), max(2, round(RIM * width))
    rim[:rows] = rim[-rows:] = rim[:, :columns] = rim[:, -columns:] = True
    values = picture[rim]
    middle = np.median(values, axis=0)
    y, x = np.nonzero(rim)
    near = np.abs(values - middle).max(1) < 2 * _DARKER
    if near.mean() < ALIKE:
        return None
    ground = np.stack([np.ones(len(x)), x / width, y / height], axis=1)
    plane, *_ = np.linalg.lstsq(ground[near], values[near], rcond=None)
    rest = np.abs(values[near] - ground[near] @ plane).max(1)
    limit = max(_DARKER, 5 * float(np.quantile(rest, 0.9)))
    if limit > 60:
        return None
    down, across = np.arange(height)[:, None, None] / height, np.arange(width)[None, :, None] / width
    lid = plane[0] + across * plane[1] + down * plane[2]
    return np.abs(picture - lid).max(2).astype(np.float32), limit


def _upright(box: tuple[Sequence[float], Sequence[float], float]) -> Print:
    """Return a rectangle of OpenCV's, whose pixels have their middles at whole numbers, as a print."""
    (x, y), (wide, high), angle = box
    wide, high = wide + 1, high + 1  # outlines run through the middles of pixels
    while angle > 45:
        angle, wide, high = angle - 90, high, wide
    while angle < -45:
        angle, wide, high = angle + 90, high, wide
    return Print((x + 0.5, y + 0.5), (wide, high), angle)


def _refined(picture: np.ndarray, rough: Print) -> Print | None:
    """Return a print with its sides where the picture steps away from the lid; None where they are not to be seen.

    Seen from outside, the shadow of a print rises gently, and its edge is the first steep step.

    Args:
        picture: (h, w, 3) float32, levels of 255.
        rough: the print by its outline.
    """
    cos, sin = math.cos(math.radians(rough.angle)), math.sin(math.radians(rough.angle))
    along, outward = np.array([cos, sin]), np.array([-sin, cos])
    reach = max(6, round(0.035 * min(rough.size)))
    steps = np.arange(-reach, reach + 0.25, 0.5)
    places: list[tuple[float, float]] = []  # of each side: its distance from the middle, and its slope
    for turn in range(4):
        wide, high = rough.size if turn % 2 == 0 else rough.size[::-1]
        line = np.linspace(-0.47, 0.47, 96) * wide
        points = np.array(rough.centre) + line[:, None, None] * along + (high / 2 - steps)[:, None] * outward
        map_x, map_y = (points[..., k].astype(np.float32) - 0.5 for k in (0, 1))
        profile = cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # A shadow on a grey lid has no colour, and the paper of a print mostly has some.
        red, green, blue = (profile[..., k] for k in range(3))
        profile = cv2.blur(np.stack([green, 2 * (red - green), 2 * (blue - green)], axis=2), (1, 9))
        rise = np.abs(profile[:, 2:] - profile[:, :-2]).max(2)  # over a pixel
        steep = rise > _STEEP
        seen = steep.any(1)
        if seen.mean() < SEEN:
            return None
        first = steep[seen].argmax(1)
        rows = np.arange(len(first))
        # From the first steep place on, to the crest of that step.
        crest = first + np.stack([rise[seen][rows, np.minimum(first + k, rise.shape[1] - 1)] for k in range(4)]).argmax(
            0
        )
        found = _line(line[seen], high / 2 - steps[crest + 1])
        if found is None:
            return None
        places.append(found)
        along, outward = outward * -1, along  # the next side, a quarter turn on
    bottom, right, top, left = places
    angle = rough.angle + math.degrees(math.atan((bottom[1] * rough.size[0] + top[1] * rough.size[0]
        + right[1] * rough.size[1] + left[1] * rough.size[1]) / (2 * sum(rough.size))))  # fmt: skip
    x, y = (right[0] - left[0]) / 2, (bottom[0] - top[0]) / 2
    centre = rough.centre[0] + x * cos - y * sin, rough.centre[1] + x * sin + y * cos
    return Print(centre, (right[0] + left[0], bottom[0] + top[0]), angle)


def _line(places: np.ndarray, values: np.ndarray) -> tuple[float, float] | None:
    """Return the height at 0 and the slope of a line through most of the points; None where they lie on no line."""
    kept = np.ones(len(places), bool)
    best = np.array([0.0, float(np.median(values))])
    for _ in range(8):
        rest = np.abs(values - np.polyval(best, places))
        kept = rest <= max(0.8, 2.5 * float(np.median(rest)))
        best = np.polyfit(places[kept], values[kept], 1)
    if kept.mean() < 0.5 or np.abs(values[kept] - np.polyval(best, places[kept])).mean() > 2:
        return None
    return float(best[1]), float(best[0])


def _overlap(found: list[Print]) -> bool:
    """Whether one print lies on another, or is a part of one that was taken for two."""
    return any(
        math.dist(one.centre, other.centre) < 0.45 * (min(one.size) + min(other.size))
        for i, one in enumerate(found)
        for other in found[:i]
    )


def _enlarged(place: Print, across: float, down: float) -> Print:
    """Return a print in pixels of the scan; both factors are the same but for rounding."""
    x, y = place.centre
    return Print((x * across, y * down), (place.size[0] * across, place.size[1] * down), place.angle)


def _in_order(found: list[Print]) -> list[Print]:
    """Return prints row by row, from left to right."""
    rows: list[list[Print]] = []
    for place in sorted(found, key=lambda place: place.centre[1]):
        if rows and place.centre[1] - rows[-1][0].centre[1] < rows[-1][0].size[1] / 2:
            rows[-1].append(place)
        else:
            rows.append([place])
    return [place for row in rows for place in sorted(row, key=lambda place: place.centre[0])]
