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
_FINER = 4


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


def wear(picture: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a print (h, w, 3) that was carried about: with a fold across it and long scratches; uint8."""
    rng = np.random.default_rng([seed, 1])
    height, width = picture.shape[:2]
    x = picture.astype(np.float32)
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    away = down - np.float32(rng.uniform(0.52, 0.58) * height) - np.float32(rng.uniform(-0.03, 0.03)) * across
    x = x + np.float32(14) * (np.exp(-np.abs(away) / 7) * np.sign(away))[..., None]  # either side catches other light
    ragged = cv2.GaussianBlur(rng.standard_normal((1, width)).astype(np.float32), (0, 0), 2.0)
    broad = np.clip(0.9 + 0.9 * ragged / ragged.std(), 0, 2.4)
    cover = np.clip(broad + 0.5 - np.abs(away), 0, 1)
    lines = np.zeros((height * _FINER, width * _FINER), np.uint8)
    for _ in range(5):
        left, slope = rng.uniform(0.05, 0.95) * width, rng.uniform(-0.12, 0.12)
        first, last = sorted(rng.uniform(-0.1, 1.1, 2) * height)
        last = max(last, first + 0.4 * height)
        ends = [(round((left + slope * y) * _FINER), round(y * _FINER)) for y in (first, last)]
        cv2.line(lines, ends[0], ends[1], 255, round(1.4 * _FINER), cv2.LINE_AA)
    scratched = cv2.resize(lines, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    for laid, paper in ((cover, (236, 230, 214)), (scratched, (240, 236, 226))):
        part = laid[..., None] * np.float32(0.92)
        x = x * (1 - part) + np.array(paper, np.float32) * part
    worn: np.ndarray = np.clip(np.rint(x), 0, 255).astype(np.uint8)
    return worn


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
