"""Faces that are named by where they are: `--face X,Y,W,H`."""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Sequence
from typing import Any

from restorer.errors import OptionValueError, UsageError

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the upright photo."""

LEAST = 8.0
"""Pixels of the shorter side of a box; of a smaller face nothing is to be seen."""

_HOW = "Write it as X,Y,W,H, such as 120,80,64,90: left upper corner, width and height in pixels of the upright photo."
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*")


def boxes_as_text(given: Any) -> Any:
    """Return boxes as texts that are always written alike: "120,80,64,90"; what cannot be any as it came.

    Args:
        given: a text, four numbers, or several of either.

    Raises:
        OptionValueError: a text is no box.
    """
    if isinstance(given, str) or _is_box(given):
        given = [given]
    if not isinstance(given, Iterable) or isinstance(given, bytes):
        return given
    return tuple(_as_text(each) for each in given)


def _is_box(given: Any) -> bool:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        return False
    values = list(given)
    return len(values) == 4 and all(isinstance(each, numbers.Real) and not isinstance(each, bool) for each in values)


def _as_text(given: Any) -> Any:
    if _is_box(given):
        given = ",".join(f"{float(each):.10g}" for each in given)
    if not isinstance(given, str):
        return given
    parts = [_PART.fullmatch(part) for part in given.split(",")]
    values = [float(part[1]) for part in parts if part is not None]
    if len(parts) != 4 or len(values) != 4:
        raise OptionValueError("face", f"--face {given} is no box.", _HOW)
    if min(values[2:]) < LEAST:
        raise OptionValueError("face", f"--face {given} is too small.", f"Sides of {LEAST:g} pixels are the least.")
    return ",".join(f"{value:.10g}" for value in values)


def boxes(texts: Sequence[str], size: tuple[int, int]) -> list[Box]:
    """Return the boxes of a photo.

    Args:
        texts: as `boxes_as_text` writes them.
        size: (width, height) of the photo.

    Raises:
        UsageError: one lies outside the photo, or partly.
    """
    found = []
    for text in texts:
        x, y, wide, high = map(float, text.split(","))
        if x + wide > size[0] or y + high > size[1]:
            raise UsageError(
                f"--face {text} reaches beyond the photo, which is {size[0]} x {size[1]} pixels when upright.",
                "Let the box lie in the photo; `restore faces PHOTO` shows where faces are.",
            )
        found.append((x, y, x + wide, y + high))
    return found
