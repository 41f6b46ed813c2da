"""Shapes of damage on a print: how much of each pixel is covered, 0 to 1, drawn at twice the resolution.

All lengths are pixels of the picture; `unit` is what a fine scratch is wide in it, so that a large scan gets the same
marks as a small one, only larger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from restorer.training.wear.blur import Float
from restorer.training.wear.damage import Mask

Line = NDArray[np.float64]
Shape = tuple[int, int]
"""Height and width in pixels."""
_FINER = 2
_SHIFT = 4


class Sheet:
    """A cover (height, width) that shapes are drawn on, finer than the picture that it is for."""

    def __init__(self, height: int, width: int) -> None:
        self._mask = np.zeros((height * _FINER, width * _FINER), np.uint8)

    def polygon(self, x: Line, y: Line, cover: float = 1.0) -> None:
        """Fill a polygon; corners in pixels of the picture."""
        points = np.rint((np.stack([x, y], axis=1) * _FINER - 0.5) * 2**_SHIFT).astype(np.int32)
        cv2.fillPoly(self._mask, [points], round(255 * cover), cv2.LINE_AA, _SHIFT)

    def ribbon(self, x: Line, y: Line, widths: Line, cover: float = 1.0) -> None:
        """Fill a line of changing width; parts narrower than a seventh of a pixel are left out."""
        along, across = np.gradient(x), np.gradient(y)
        length = np.maximum(np.hypot(along, across), 1e-6)
        off_x, off_y = -across / length * widths / 2, along / length * widths / 2
        for begin, end in _runs(widths > 1 / 7):
            part = slice(begin, end)
            left = x[part] + off_x[part], y[part] + off_y[part]
            right = x[part] - off_x[part], y[part] - off_y[part]
            self.polygon(np.concatenate([left[0], right[0][::-1]]), np.concatenate([left[1], right[1][::-1]]), cover)

    def cover(self) -> Float:
        """Return the cover in the picture's own pixels."""
        size = self._mask.shape[1] // _FINER, self._mask.shape[0] // _FINER
        return np.asarray(cv2.resize(self._mask, size, interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)


def _runs(kept: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return begin and end of the runs of two or more that are kept."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= 2]


def smooth(rng: np.random.Generator, count: int, knots: int) -> Line:
    """Return `count` values of a smooth random line of deviation about 1."""
    places = np.linspace(0, 1, count)
    return np.asarray(np.interp(places, np.linspace(0, 1, knots), rng.normal(0, 1, knots)))


def clouds(rng: np.random.Generator, height: int, width: int, size: float, octaves: int = 4) -> Float:
    """Return a field (height, width) of mean 0 and deviation about 1 whose largest forms are `size` pixels."""
    field = np.zeros((height, width), np.float32)
    weight, total = 1.0, 0.0
    for _ in range(octaves):
        rows, columns = max(2, math.ceil(height / size) + 1), max(2, math.ceil(width / size) + 1)
        rough = rng.standard_normal((rows, columns), dtype=np.float32)
        field += np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)) * np.float32(weight)
        total += weight**2
        weight, size = weight * 0.55, max(size / 2.3, 1.0)
    return field / np.float32(0.75 * math.sqrt(total))


def scratches(rng: np.random.Generator, shape: Shape, unit: float) -> Float:
    """Fine scratches: long and nearly straight, many along one direction, some broken, some in parallel."""
    height, width = shape
    sheet, longest = Sheet(height, width), max(height, width)
    main = rng.normal(math.pi / 2, 0.08) if rng.random() < 0.5 else rng.uniform(0, math.pi)
    for _ in range(int(rng.integers(1, 10))):
        direction = rng.normal(main, 0.12) if rng.random() < 0.75 else rng.uniform(0, math.pi)
        length = float(np.exp(rng.uniform(math.log(0.06), math.log(1.6)))) * longest
        count = max(8, int(length / 6))
        steps = np.linspace(-0.5, 0.5, count) * length
        bend = rng.normal(0, 0.04) * length * (2 * np.linspace(-0.5, 0.5, count)) ** 2
        bend = bend + smooth(rng, count, 12) * length * 0.003
        middle = rng.uniform(0, width), rng.uniform(0, height)
        broad = unit * float(np.exp(rng.uniform(math.log(0.45), math.log(2.2))))
        widths = broad * (1 + 0.35 * smooth(rng, count, max(4, count // 3)))
        if rng.random() < 0.4:
            widths = widths * (smooth(rng, count, max(4, count // 8)) > rng.uniform(-1, 0.3))
        widths = widths * np.minimum(1, 12 * (0.5 - np.abs(np.linspace(-0.5, 0.5, count))) + 0.15)
        for beside in range(int(rng.choice([1, 1, 1, 2, 3]))):
            off = bend + beside * unit * rng.uniform(2.5, 9)
            x = middle[0] + steps * math.cos(direction) - off * math.sin(direction)
            y = middle[1] + steps * math.sin(direction) + off * math.cos(direction)
            sheet.ribbon(x, y, widths, rng.uniform(0.6, 1))
    return sheet.cover()


def streaks(rng: np.random.Generator, shape: Shape, unit: float) -> Float:
    """Scratches of a film's transport: exactly along rows or columns, mostly from side to side, half of them crisp."""
    cover = np.zeros(shape, np.float32)
    upright = rng.random() < 0.7
    lines = cover.T if upright else cover  # each row is then one that a streak may follow
    for _ in range(int(rng.integers(1, 5))):
        along, across = lines.shape[1], lines.shape[0]
        begin, end = (0, along) if rng.random() < 0.6 else sorted(int(at) for at in rng.uniform(0, along, 2))
        broad, place = unit * float(np.exp(rng.uniform(math.log(0.7), math.log(2.2)))), rng.uniform(0, across)
        if rng.random() < 0.5:
            first = int(place)
            lines[first : first + max(1, round(broad)), begin:end] = rng.uniform(0.6, 1)
            continue
        away = np.abs(np.arange(across) + 0.5 - place)
        profile = np.clip(broad / 2 + 0.5 - away, 0, min(1.0, broad)) * rng.uniform(0.6, 1)
        lines[:, begin:end] = np.maximum(lines[:, begin:end], profile[:, None].astype(np.float32))
    return cover


def gouges(rng: np.random.Generator, shape: Shape, unit: float) -> Float:
    """Wide scratches: the layer of the picture is scraped off, with ragged sides."""
    height, width = shape
    sheet, longest = Sheet(height, width), max(height, width)
    for _ in range(int(rng.integers(1, 4))):
        count = 90
        x, y = _walk(rng, height, width, rng.uniform(0.1, 0.9) * longest, count, 0.03)
        broad = unit * rng.uniform(2.5, 9)
        taper = np.sin(np.linspace(0.05, math.pi - 0.05, count)) ** rng.uniform(0.2, 0.9)
        ragged = 1 + 0.3 * smooth(rng, count, 30) + 0.25 * rng.normal(0, 1, count)
        sheet.ribbon(x, y, np.maximum(broad * taper * ragged, 0))
    return sheet.cover()


def cracks(rng: np.random.Generator, shape: Shape, unit: float) -> Float:
    """Cracks of an emulsion or of creased paper: jagged walks that branch, with flakes beside them."""
    height, width = shape
    sheet, longest = Sheet(height, width), max(height, width)
    waiting = [
        (
            rng.uniform(0, width),
            rng.uniform(0, height),
            rng.uniform(0, 2 * math.pi),
            rng.uniform(0.15, 1.3) * longest,
            0,
        )
        for _ in range(int(rng.integers(1, 4)))
    ]
    broad, rough = unit * float(np.exp(rng.uniform(math.log(0.7), math.log(4)))), rng.uniform(0.15, 0.7)
    stride, branches = unit * rng.uniform(2.5, 9), rng.uniform(0, 0.05)
    while waiting:
        left, top, direction, length, depth = waiting.pop()
        count = max(4, int(length / stride))
        turns = direction + rough * rng.normal(0, 1, count) + 0.35 * smooth(rng, count, max(3, count // 12))
        x, y = left + np.cumsum(np.cos(turns)) * stride, top + np.cumsum(np.sin(turns)) * stride
        finer = np.linspace(0, count - 1, count * 3)
        widths = broad * 0.7**depth * np.clip(1 + 0.5 * rng.normal(0, 1, count * 3), 0.1, 2.4)
        widths = widths * np.clip(1.3 - np.linspace(0, 1, count * 3) ** 3, 0, 1)
        order = np.arange(count)
        sheet.ribbon(
            np.interp(finer, order, x) + 0.2 * broad * rng.normal(0, 1, count * 3),
            np.interp(finer, order, y) + 0.2 * broad * rng.normal(0, 1, count * 3),
            widths,
        )
        for place in np.flatnonzero(rng.random(count) < 0.04):
            flake(sheet, rng, float(x[place]), float(y[place]), broad * rng.uniform(0.6, 1.6))
        for place in np.flatnonzero(rng.random(count) < (branches if depth < 2 else 0)):
            side = direction + rng.choice([-1, 1]) * rng.uniform(0.5, 1.5)
            waiting.append((float(x[place]), float(y[place]), side, length * rng.uniform(0.1, 0.5), depth + 1))
    return sheet.cover()


def reticulation(rng: np.random.Generator, shape: Shape, unit: float) -> Float:
    """A net of cracks, as in a layer that dried out: borders of cells, in a part of the picture."""
    height, width = shape
    size = unit * rng.uniform(10, 40)
    seeds = np.ones((height, width), np.uint8)
    count = int(height * width / size**2) + 4
    seeds[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    _, cells = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    names = cells.astype(np.float32)
    borders = (cv2.morphologyEx(names, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0).astype(np.float32)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    bend = np.float32(size * rng.uniform(0.05, 0.2))
    rows, columns = (
        rows + bend * clouds(rng, height, width, size, 2),
        columns + bend * clouds(rng, height, width, size, 2),
    )
    bent = cv2.remap(borders, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    broad = cv2.GaussianBlur(bent, (0, 0), max(0.4, float(rng.uniform(0.03, 0.09) * size)) * 0.5)
    where = clouds(rng, height, width, max(height, width) * rng.uniform(0.4, 1), 2) > rng.uniform(0.2, 1.2)
    return np.asarray(np.clip(broad * rng.uniform(2, 4) - 0.15, 0, 1) * where, np.float32)


def dust(rng: np.random.Generator, shape: Shape, unit: float) -> Float:
    """Dust: specks, most of them small, some of no regular form."""
    height, width = shape
    sheet = Sheet(height, width)
    area = height * width / (unit * 256) ** 2
    for _ in range(int(np.clip(rng.lognormal(math.log(14 * area + 1), 0.9), 1, 2500))):
        radius = unit * float(np.clip(np.exp(rng.normal(math.log(0.85), 0.5)), 0.45, 5))
        flake(sheet, rng, rng.uniform(0, width), rng.uniform(0, height), radius, rng.uniform(0.6, 1))
    return sheet.cover()


def hairs(rng: np.random.Generator, shape: Shape, unit: float) -> Float:
    """Hairs and lint: thin arcs and curls of one width."""
    height, width = shape
    sheet = Sheet(height, width)
    for _ in range(int(rng.integers(1, 7))):
        count, length = 60, unit * float(np.exp(rng.uniform(math.log(14), math.log(260))))
        curl = rng.uniform(-4, 4) + rng.uniform(0, 2.5) * smooth(rng, count, 6)
        turns = rng.uniform(0, 2 * math.pi) + np.cumsum(curl) / count * rng.uniform(0.3, 1.6)
        x = rng.uniform(0, width) + np.cumsum(np.cos(turns)) * length / count
        y = rng.uniform(0, height) + np.cumsum(np.sin(turns)) * length / count
        broad = unit * rng.uniform(0.5, 1.6)
        sheet.ribbon(x, y, np.full(count, broad) * np.linspace(1, rng.uniform(0.4, 1), count), rng.uniform(0.6, 1))
    return sheet.cover()


def mould(rng: np.random.Generator, shape: Shape, unit: float) -> Float:
    """Mould and foxing: flocks of soft spots, dense in their middle."""
    height, width = shape
    sheet = Sheet(height, width)
    for _ in range(int(rng.integers(1, 5))):
        middle, reach = (rng.uniform(0, width), rng.uniform(0, height)), unit * rng.uniform(8, 60)
        for _ in range(int(rng.integers(6, 70))):
            away, turn = reach * abs(rng.normal(0, 0.6)), rng.uniform(0, 2 * math.pi)
            radius = unit * float(np.exp(rng.normal(math.log(1.3), 0.5)))
            x, y = middle[0] + away * math.cos(turn), middle[1] + away * math.sin(turn)
            flake(sheet, rng, x, y, radius, rng.uniform(0.5, 1))
    return _soft(sheet.cover(), unit * rng.uniform(0.3, 0.9))


def stains(rng: np.random.Generator, shape: Shape, unit: float) -> Float:
    """Opaque stains: blots of ink or paint, spots where the layer came off."""
    height, width = shape
    sheet = Sheet(height, width)
    for _ in range(int(rng.integers(1, 5))):
        radius = unit * float(np.exp(rng.uniform(math.log(4), math.log(32))))
        place = rng.uniform(0, width), rng.uniform(0, height)
        _blot(sheet, rng, *place, radius)
        for _ in range(int(rng.integers(0, 8))):
            turn, away = rng.uniform(0, 2 * math.pi), radius * rng.uniform(1.1, 2.2)
            x, y = place[0] + away * math.cos(turn), place[1] + away * math.sin(turn)
            flake(sheet, rng, x, y, radius * rng.uniform(0.04, 0.2))
    return _soft(sheet.cover(), unit * rng.uniform(0.2, 0.8))


def missing(rng: np.random.Generator, shape: Shape, unit: float) -> Float:
    """Missing corners, and pieces bitten out of an edge: ragged, from the picture's border inwards."""
    height, width = shape
    sheet = Sheet(height, width)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        reach = unit * float(np.exp(rng.uniform(math.log(8), math.log(60))))
        corner = np.array([rng.choice([0, width]), rng.choice([0, height])], float)
        inward = np.where(corner > 0, -1, 1)
        first, second = reach * rng.uniform(0.5, 1.6), reach * rng.uniform(0.5, 1.6)
        count = 48
        along = np.linspace(0, 1, count)
        jag = reach * (0.05 * smooth(rng, count, 8) + 0.015 * rng.normal(0, 1, count))
        x, y = first * (1 - along) + jag, second * along + jag
        if rng.random() < 0.5:  # an edge: the piece lies along it, its foot outside the picture
            swing = np.sin(math.pi * along) ** 0.6
            start = rng.uniform(0.05, 0.85)
            if rng.random() < 0.5:
                x, y = start * width + along * first * 2, second * 0.7 * swing + jag - 2
                inward, corner = np.array([1, inward[1]]), np.array([0, corner[1]])
            else:
                x, y = second * 0.7 * swing + jag - 2, start * height + along * first * 2
                inward, corner = np.array([inward[0], 1]), np.array([corner[0], 0])
        else:
            x, y = np.concatenate([x, [-9, -9, first]]), np.concatenate([y, [second, -9, -9]])
        sheet.polygon(corner[0] + inward[0] * x, corner[1] + inward[1] * y)
    return sheet.cover()


def flake(sheet: Sheet, rng: np.random.Generator, x: float, y: float, radius: float, cover: float = 1.0) -> None:
    """Draw a speck: round, long, or with corners."""
    corners = int(rng.integers(5, 12))
    turns = np.linspace(0, 2 * math.pi, corners, endpoint=False) + rng.uniform(0, 1)
    radii = radius * np.clip(1 + rng.uniform(0.1, 0.45) * rng.normal(0, 1, corners), 0.4, 1.9)
    long, turn = rng.uniform(0.4, 1), rng.uniform(0, math.pi)
    across, down = radii * np.cos(turns), radii * np.sin(turns) * long
    sheet.polygon(
        x + across * math.cos(turn) - down * math.sin(turn), y + across * math.sin(turn) + down * math.cos(turn), cover
    )


def _blot(sheet: Sheet, rng: np.random.Generator, x: float, y: float, radius: float) -> None:
    turns = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    radii = np.ones(72)
    for wave in range(2, 9):
        radii += rng.normal(0, 0.35) / wave * np.cos(wave * turns + rng.uniform(0, 6.3))
    radii = radius * np.clip(radii, 0.25, 2)
    sheet.polygon(x + radii * np.cos(turns), y + radii * np.sin(turns) * rng.uniform(0.5, 1))


def _walk(
    rng: np.random.Generator, height: int, width: int, length: float, count: int, turning: float
) -> tuple[Line, Line]:
    """Return a line through the picture that turns a little."""
    turns = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, turning, count))
    x, y = np.cumsum(np.cos(turns)) * length / count, np.cumsum(np.sin(turns)) * length / count
    return x - x.mean() + rng.uniform(0, width), y - y.mean() + rng.uniform(0, height)


def _soft(cover: Float, sigma: float) -> Float:
    return np.asarray(cv2.GaussianBlur(cover, (0, 0), sigma), np.float32) if sigma > 0.2 else cover


def from_files(rng: np.random.Generator, shape: Shape, unit: float, masks: Sequence[Mask]) -> Float:
    """Shapes of given masks, turned and scaled so that they are neither specks nor the whole picture."""
    height, width = shape
    found = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        mask = masks[int(rng.integers(len(masks)))]
        scale = unit * float(np.exp(rng.uniform(math.log(0.3), math.log(0.9))))
        scale = min(scale, 1.2 * max(height, width) / max(mask.shape))
        matrix = cv2.getRotationMatrix2D((mask.shape[1] / 2, mask.shape[0] / 2), rng.uniform(0, 360), scale)
        matrix[:, 2] += rng.uniform(0, width) - mask.shape[1] / 2, rng.uniform(0, height) - mask.shape[0] / 2
        laid = cv2.warpAffine(mask, matrix, (width, height), flags=cv2.INTER_AREA)
        found = np.maximum(found, np.asarray(laid, np.float32) / np.float32(255))
    return found
