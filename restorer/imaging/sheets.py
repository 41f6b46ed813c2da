"""Pictures of one size side by side, as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Picture = NDArray[np.uint8]
"""(h, w, 3) RGB."""


def sheet(rows: Sequence[Sequence[Picture]], labels: Sequence[str] = ()) -> Image.Image:
    """Return pictures of one size as a table: one list of pictures a row, `labels` above the columns."""
    side = rows[0][0].shape[0]
    head = 16 if labels else 0
    result = Image.new("RGB", (side * max(len(row) for row in rows), head + side * len(rows)), "white")
    draw = ImageDraw.Draw(result)
    for column, label in enumerate(labels):
        draw.text((column * side + 4, 2), label, fill="black")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            result.paste(Image.fromarray(picture), (x * side, head + y * side))
    return result


def grid(pictures: Sequence[Picture], columns: int | None = None) -> Image.Image:
    """Return pictures of one size side by side, as square a table as their number allows."""
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    return sheet([pictures[start : start + columns] for start in range(0, len(pictures), columns)])
