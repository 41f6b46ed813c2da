"""A photograph to try the tool on: one in the public domain, which the package carries, aged like a print."""

from __future__ import annotations

import io
from importlib import resources

import cv2
import numpy as np
from PIL import Image, ImageDraw

from restorer.imaging.colour import LUMA

CREDIT = "Eileen Collins, photographed by NASA (public domain)"
SIDE = 320
"""Side of the aged photo in pixels: a small print, scanned."""
_GAP = 12


def photograph() -> np.ndarray:
    """Return the photograph (512, 512, 3), uint8 RGB; the package carries it."""
    data = resources.files("restorer").joinpath("data", "astronaut.webp").read_bytes()
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def age(picture: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return what decades leave of a photograph (h, w, 3): small, soft, grainy, and faded towards sepia; uint8.

    What saving it as JPEG adds is left to the file.
    """
    rng = np.random.default_rng(seed)
    small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    x = np.asarray(cv2.GaussianBlur(small, (0, 0), 1.1), np.float32)
    luma = x @ LUMA
    sepia = luma[..., None] * np.array([1.04, 1.0, 0.9], np.float32)
    x = 0.55 * x + 0.45 * sepia
    x = 26 + x * 0.84  # blacks turn grey first
    grain = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), 0.6)
    x = x + 4.0 * (grain / grain.std())[..., None] + rng.normal(0, 1.5, x.shape).astype(np.float32)
    aged: np.ndarray = np.clip(np.rint(x), 0, 255).astype(np.uint8)
    return aged


def comparison(before: np.ndarray, after: np.ndarray, box: tuple[float, float, float, float] | None) -> Image.Image:
    """Return both side by side, the first enlarged to the second's size; below, the face of each, closer.

    Args:
        before: (h, w, 3), uint8.
        after: larger, likewise.
        box: of a face, in pixels of the first; None leaves the close-ups out.
    """
    height, width = after.shape[:2]
    scale = width / before.shape[1]
    large = Image.fromarray(before).resize((width, height), Image.Resampling.BICUBIC)
    rows = [(large, Image.fromarray(after))]
    if box is not None:
        x0, y0, x1, y1 = (scale * value for value in box)
        middle, side = ((x0 + x1) / 2, (y0 + y1) / 2), 1.5 * max(x1 - x0, y1 - y0)
        side = min(side, width, height)
        left = min(max(middle[0] - side / 2, 0), width - side)
        top = min(max(middle[1] - side / 2, 0), height - side)
        area = (left, top, left + side, top + side)
        close = [part.resize((width, width), Image.Resampling.BICUBIC, box=area) for part in rows[0]]
        rows.append((close[0], close[1]))
    sheet = Image.new("RGB", (2 * width + _GAP, sum(row[0].height for row in rows) + _GAP * (len(rows) - 1)), "white")
    top_edge = 0
    for first, second in rows:
        sheet.paste(first, (0, top_edge))
        sheet.paste(second, (width + _GAP, top_edge))
        top_edge += first.height + _GAP
    draw = ImageDraw.Draw(sheet)
    for x, word in ((0, "before"), (width + _GAP, "after")):
        draw.rectangle((x, 0, x + 62, 22), fill="white")
        draw.text((x + 8, 4), word, fill="black", font_size=14)
    return sheet
