"""A photo with a numbered box around each of its faces, readable at any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Box = tuple[float, float, float, float]

LEAST_SIDE = 1200
"""Long side in pixels that a drawing has at least; smaller photos are enlarged to it."""
LEAST_FACE = 32
"""Pixels that the smallest face has in the drawing, as far as `MOST_SIDE` lets it."""
MOST_SIDE = 4000
"""Long side up to which photos are enlarged for the sake of small faces; larger ones stay as they are."""

_INK, _PAPER = (255, 221, 0), (0, 0, 0)  # yellow on black, contrast 15:1; both are seen on any photo
_LEFT_INK = (255, 255, 255)  # of faces that are left alone


@dataclass(frozen=True)
class Mark:
    """A face to draw: its number, its box in pixels of the photo, and whether it would be left alone."""

    number: int
    box: Box
    left_alone: bool = False


def draw(pixels: np.ndarray, marks: Sequence[Mark]) -> np.ndarray:
    """Return the photo with numbered boxes, enlarged where it or its faces are small.

    A number stands on a plate beside its box, where it hides as little as can be of this face, of the others and of
    their numbers. Boxes of faces that would be left alone are white and thin, the others yellow.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16.
        marks: the faces.

    Returns:
        (H, W, 3) uint8.
    """
    photo = Image.fromarray(pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8))
    scale = _scale(photo.size, marks)
    if scale > 1:
        photo = photo.resize(
            (round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC
        )  # boxes are scaled by the same factor; the half pixel that rounding leaves is not seen
    pen = ImageDraw.Draw(photo)
    boxes = {mark.number: _scaled(mark.box, scale) for mark in marks}
    plates: list[Box] = []
    for mark in marks:
        width = _line_width(photo.size, boxes[mark.number])
        _frame(pen, boxes[mark.number], width, thin=mark.left_alone)
    for mark in sorted(marks, key=lambda mark: -_side(boxes[mark.number])):
        plates.append(_plate(pen, photo.size, mark, boxes, plates))
    return np.asarray(photo)


def _scale(size: tuple[int, int], marks: Sequence[Mark]) -> float:
    """Return by how much the photo is enlarged; never below 1."""
    longest = max(size)
    wanted = LEAST_SIDE / longest
    if marks:
        smallest = min(_side(mark.box) for mark in marks)
        wanted = max(wanted, min(LEAST_FACE / max(smallest, 1), MOST_SIDE / longest))
    return max(1.0, wanted)


def _scaled(box: Box, scale: float) -> Box:
    x0, y0, x1, y1 = (value * scale for value in box)
    return x0, y0, x1, y1


def _side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _line_width(size: tuple[int, int], box: Box) -> int:
    """Return the width of a box's line: seen in the whole picture, and never a bar across a small face."""
    return max(2, min(round(_extent(size) / 250), round(_side(box) / 15)))


def _frame(pen: ImageDraw.ImageDraw, box: Box, width: int, *, thin: bool) -> None:
    """Draw a box outside of the face's own pixels: a coloured line between two dark ones."""
    x0, y0, x1, y1 = box
    line = max(1, width // 2) if thin else width
    edge = max(1, round(width / 3))
    for reach, stroke, colour in (
        (line + 2 * edge, line + 2 * edge, _PAPER),
        (line + edge, line, _LEFT_INK if thin else _INK),
    ):
        outer = (round(x0) - reach, round(y0) - reach, round(x1) + reach - 1, round(y1) + reach - 1)
        pen.rectangle(outer, outline=colour, width=stroke)


def _plate(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], mark: Mark, boxes: dict[int, Box], plates: Sequence[Box]
) -> Box:
    """Draw a number beside its box; return where."""
    own = boxes[mark.number]
    width = _line_width(size, own)
    height = _plate_height(size, own)
    font = ImageFont.load_default(height * 0.8)
    text = str(mark.number)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    wide, high = max(right - left + height * 0.4, height * 0.8), height
    others = [box for number, box in boxes.items() if number != mark.number]
    spot = min(
        _spots(own, wide, high, 1.5 * width, size),
        key=lambda spot: 3 * sum(_common(spot, box) for box in [own, *plates]) + sum(_common(spot, b) for b in others),
    )
    pen.rectangle(tuple(round(value) for value in spot), fill=_PAPER)
    middle = ((spot[0] + spot[2] - left - right) / 2, (spot[1] + spot[3] - top - bottom) / 2)
    pen.text(middle, text, font=font, fill=_LEFT_INK if mark.left_alone else _INK)
    return spot


def _plate_height(size: tuple[int, int], box: Box) -> float:
    """Return the height of a plate: a share of the face, between what can be read and what would shout."""
    extent = _extent(size)
    return max(16.0, min(max(_side(box) * 0.3, extent / 70), extent / 20))


def _extent(size: tuple[int, int]) -> float:
    """Return the length that lines and numbers go by: the long side, or less in a narrow strip."""
    return min(max(size), 3 * min(size))


def _spots(box: Box, wide: float, high: float, gap: float, size: tuple[int, int]) -> list[Box]:
    """Return the places for a plate around a box, best first, each moved into the picture."""
    x0, y0, x1, y1 = box
    top, bottom, left, right = y0 - gap - high, y1 + gap, x0 - gap - wide, x1 + gap
    corners = [
        (x0 - gap, top), (x1 + gap - wide, top), (x0 - gap, bottom), (x1 + gap - wide, bottom),
        ((x0 + x1 - wide) / 2, top), ((x0 + x1 - wide) / 2, bottom),
        (right, y0 - gap), (left, y0 - gap), (right, y1 + gap - high), (left, y1 + gap - high),
        (right, (y0 + y1 - high) / 2), (left, (y0 + y1 - high) / 2),
    ]  # fmt: skip
    spots = []
    for x, y in corners:
        x = min(max(x, 0.0), max(size[0] - 1 - wide, 0.0))
        y = min(max(y, 0.0), max(size[1] - 1 - high, 0.0))
        spots.append((x, y, x + wide, y + high))
    return spots


def _common(one: Box, other: Box) -> float:
    """Return the area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(down, 0.0)
