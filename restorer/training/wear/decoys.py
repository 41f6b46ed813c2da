"""What looks like damage and is none: letters, handwriting, frames of film and paper, rims of glasses, grids, grass.

They are part of what the photograph shows: a finder has to leave them alone, and damage on top of them is damage still.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable

import cv2
import numpy as np

from restorer.imaging.sheets import Picture
from restorer.training.wear import marks
from restorer.training.wear.blur import Float


def _letters(picture: Float, rng: np.random.Generator) -> Float:
    """Print a line or two of letters, as on signs, shirts and in captions."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = picture.shape[:2]
    layer = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(layer)
    for _ in range(int(rng.integers(1, 4))):
        font = ImageFont.load_default(float(np.exp(rng.uniform(math.log(7), math.log(60)))))
        words = "".join(rng.choice(list(string.ascii_letters + string.digits + "   .,-&"), int(rng.integers(3, 22))))
        pen.text((rng.uniform(-0.1, 0.8) * width, rng.uniform(0, 0.95) * height), words, 255, font)
    turned = layer.rotate(float(rng.normal(0, 8)), Image.Resampling.BILINEAR)
    return _inked(picture, np.asarray(turned, np.float32) / np.float32(255), rng)


def _handwriting(picture: Float, rng: np.random.Generator) -> Float:
    """Write a line or two by hand, numbers of a photographer's list among them."""
    height, width = picture.shape[:2]
    layer = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        words = "".join(rng.choice(list(string.ascii_lowercase + string.digits + "  "), int(rng.integers(3, 18))))
        place = round(rng.uniform(-0.1, 0.8) * width), round(rng.uniform(0, 1) * height)
        font = cv2.FONT_HERSHEY_SCRIPT_SIMPLEX if rng.random() < 0.5 else cv2.FONT_HERSHEY_SCRIPT_COMPLEX
        size, thick = float(np.exp(rng.uniform(math.log(0.35), math.log(1.8)))), int(rng.integers(1, 3))
        cv2.putText(layer, words, place, font, size, 255, thick, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.normal(0, 9), 1)
    bend = rng.uniform(1, 4) * marks.clouds(rng, height, width, 60, 2)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    turned = cv2.warpAffine(layer, turn, (width, height), flags=cv2.INTER_LINEAR)
    moved = cv2.remap(turned, columns + bend, rows + bend[::-1], cv2.INTER_LINEAR)
    return _inked(picture, np.asarray(moved, np.float32) / np.float32(255), rng)


def _frame(picture: Float, rng: np.random.Generator) -> Float:
    """Put a border of film or paper around it: straight or deckled, with rounded corners, with a row of holes."""
    height, width = picture.shape[:2]
    side = min(height, width)
    inset = rng.uniform(0.01, 0.14, 4) * side * (rng.random(4) < 0.7)
    sheet = marks.Sheet(height, width)
    top, bottom = inset[0], height - inset[1]
    left, right = inset[2], width - inset[3]
    along = np.linspace(0, 1, 160)
    deckle = rng.uniform(0, 2) * (rng.random() < 0.4)

    def edge(count: int) -> marks.Line:
        return np.asarray(deckle * rng.normal(0, 1, count))

    across, down = left + along * (right - left), top + along * (bottom - top)
    x = np.concatenate([across, right + edge(160), across[::-1], left + edge(160)])
    y = np.concatenate([top + edge(160), down, bottom + edge(160), down[::-1]])
    sheet.polygon(x, y)
    inside = sheet.cover()
    level = rng.uniform(225, 255) if rng.random() < 0.6 else rng.uniform(0, 35)
    colour = np.full(3, level) + rng.uniform(-10, 3, 3)
    if rng.random() < 0.3:  # a thin line inside the border
        ring = np.abs(np.asarray(cv2.GaussianBlur(inside, (0, 0), 3), np.float32) - 0.9) < 0.05
        picture = np.where(ring[..., None], np.float32(rng.uniform(0, 255)), picture)
    framed = picture * inside[..., None] + colour.astype(np.float32) * (1 - inside[..., None])
    if level < 40 and inset[0] > 8 and rng.random() < 0.6:
        step = inset[0] * rng.uniform(1, 1.8)
        for begin in np.arange(rng.uniform(0, step), width, step):
            hole = (round(begin), round(inset[0] * 0.25)), (round(begin + step * 0.45), round(inset[0] * 0.75))
            framed = np.ascontiguousarray(framed, np.float32)
            cv2.rectangle(framed, *hole, (240.0, 240.0, 240.0), -1)
    return np.asarray(framed, np.float32)


def _glasses(picture: Float, rng: np.random.Generator) -> Float:
    """Draw the rims of glasses: two loops, a bridge, arms."""
    height, width = picture.shape[:2]
    size = rng.uniform(9, 60)
    x0, y0 = rng.uniform(0, width), rng.uniform(0, height)
    turns = np.linspace(0, 2 * math.pi, 60)
    power, gap = rng.uniform(0.5, 1), size * rng.uniform(1.15, 1.4)
    sheet = marks.Sheet(height, width)
    broad = np.full(60, max(0.8, size * rng.uniform(0.02, 0.13)))
    for side in (-1, 1):
        x = np.sign(np.cos(turns)) * np.abs(np.cos(turns)) ** power * size
        y = np.sign(np.sin(turns)) * np.abs(np.sin(turns)) ** power * size * 0.75
        sheet.ribbon(x0 + side * gap + x, y0 + y, broad)
        ends = np.array([size, size * 1.9]) * side
        sheet.ribbon(x0 + side * gap + ends, np.array([y0, y0 - 0.15 * size]), broad[:2])
    sheet.ribbon(np.array([x0 - gap + size, x0, x0 + gap - size]), np.array([y0, y0 - 0.15 * size, y0]), broad[:3])
    return _inked(picture, sheet.cover(), rng)


def _grid(picture: Float, rng: np.random.Generator) -> Float:
    """Draw lines at equal distances: fences, blinds, bricks, stripes, cables."""
    height, width = picture.shape[:2]
    sheet = marks.Sheet(height, width)
    place = rng.uniform(0, width), rng.uniform(0, height)
    for turn in [rng.uniform(0, math.pi), rng.uniform(0, math.pi)][: int(rng.integers(1, 3))]:
        step, long = rng.uniform(6, 40), rng.uniform(60, 500)
        broad = np.full(2, max(0.7, step * rng.uniform(0.04, 0.3)))
        for row in range(int(rng.integers(5, 14))):
            off = (row - 5) * step
            ends = np.array([-0.5, 0.5]) * long
            x = place[0] + ends * math.cos(turn) - off * math.sin(turn)
            y = place[1] + ends * math.sin(turn) + off * math.cos(turn)
            sheet.ribbon(x, y, broad)
    return _inked(picture, sheet.cover(), rng)


def _grass(picture: Float, rng: np.random.Generator) -> Float:
    """Draw strands that grow out of one place in about one direction: grass, whiskers, hair, twigs."""
    height, width = picture.shape[:2]
    sheet = marks.Sheet(height, width)
    place, wide = (rng.uniform(0, width), rng.uniform(0, height)), rng.uniform(4, 90)
    main, spread, bend = rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.4), rng.uniform(0, 1.6)
    broad, long = rng.uniform(0.6, 2.2), rng.uniform(20, 160)
    for _ in range(int(rng.integers(8, 60))):
        turns = rng.normal(main, spread) + rng.normal(0, bend) * np.linspace(0, 1, 20)
        step = long * rng.uniform(0.5, 1.2) / 20
        x = place[0] + rng.normal(0, wide) + np.cumsum(np.cos(turns)) * step
        y = place[1] + rng.normal(0, wide * 0.3) + np.cumsum(np.sin(turns)) * step
        sheet.ribbon(x, y, broad * np.linspace(1, 0.2, 20), rng.uniform(0.5, 1))
    return _inked(picture, sheet.cover(), rng)


def _beads(picture: Float, rng: np.random.Generator) -> Float:
    """Draw a chain of equal beads along an arc: necklaces, buttons, lamps."""
    height, width = picture.shape[:2]
    sheet = marks.Sheet(height, width)
    radius, count = rng.uniform(1, 6), int(rng.integers(6, 30))
    arc = rng.uniform(0, 2 * math.pi) + np.linspace(0, rng.uniform(0.3, 2.6), count)
    far = radius * count * rng.uniform(0.8, 2)
    place, long = (rng.uniform(0, width), rng.uniform(0, height)), rng.uniform(0.5, 1)
    circle = np.linspace(0, 2 * math.pi, 16, endpoint=False)
    for turn in arc:
        x, y = place[0] + far * math.cos(turn), place[1] + far * math.sin(turn) * long
        sheet.polygon(x + radius * np.cos(circle), y + radius * np.sin(circle))
    return _inked(picture, sheet.cover(), rng)


KINDS: dict[str, Callable[[Float, np.random.Generator], Float]] = {
    "letters": _letters,
    "handwriting": _handwriting,
    "frame": _frame,
    "glasses": _glasses,
    "grid": _grid,
    "grass": _grass,
    "beads": _beads,
}
"""What puts each kind into a picture (h, w, 3), float, 0 to 255."""


def add(picture: Picture, rng: np.random.Generator, count: int) -> Picture:
    """Return a picture with so many kinds of what is no damage in it, drawn at random."""
    shown = picture.astype(np.float32)
    for kind in rng.choice(list(KINDS), count, replace=False):
        shown = np.clip(KINDS[str(kind)](shown, rng), 0, 255)
    return np.rint(shown).astype(np.uint8)


def _inked(picture: Float, cover: Float, rng: np.random.Generator) -> Float:
    """Return the picture with ink, of any colour, where it is covered."""
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.35 else rng.choice([0.0, 255.0]) + rng.uniform(-60, 60, 3)
    part = (cover * np.float32(rng.uniform(0.6, 1)))[..., None]
    return np.asarray(picture * (1 - part) + np.clip(colour, 0, 255).astype(np.float32) * part, np.float32)
