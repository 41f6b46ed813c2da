"""Which detections are hardly faces: motifs that repeat all over a picture, and letters of a text.

A detector that looks for two eyes over a mouth finds them in flowers of a wallpaper and in letters too. No two faces of
a photograph are alike to the last wrinkle, not even twins; printed motifs and letters are. And print is ink on paper:
two tones, one of them even, and little between.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from restorer.faces import align
from restorer.imaging.quality import luma_of
from restorer.models.base import Face, Template

MOTIF, LETTERING = "hardly a face: one of many equal motifs", "hardly a face: part of a text"

ALIKE, TWINS = 0.95, 0.97
"""Correlation of two crops from which on they show one motif, and from which on even a few are suspicious."""
MANY, SOME = 8, 2
"""So many others are alike where it is a motif; a sheet of passport photographs has fewer. So many where it may be."""
FEWEST, SUSPICIOUS = 6, 1 / 3
"""Where at least so many detections, and this share of all, are suspicious, others of their size are print too."""
LARGER = 2.0
"""By how many times a detection may be larger than the suspicious ones and still be of their kind."""
_SIDE = 24
_INNER = (slice(6, 20), slice(6, 18))  # of the crop: from the brows to below the mouth
_FAINTEST = 20.0
"""Spread of a crop's luma, over all its pixels, below which it shows nothing that could be compared."""
_TWO_TONES, _BETWEEN, _EVEN = 0.77, 0.22, 0.33
"""Of print: the spread that two tones explain, at least; pixels between them, at most; pixels of one tone, at least.
Of the 786 detections in 110 photographs this module leaves none out."""


def implausible(pixels: np.ndarray, faces: Sequence[Face], template: Template) -> list[str | None]:
    """Return for each detection why it is hardly a face, or None.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16, of the photo.
        faces: detections in it.
        template: of aligned faces, any.
    """
    if len(faces) < FEWEST:
        return [None] * len(faces)
    alike = _alike(pixels, faces, template)
    motif = (alike >= ALIKE).sum(1) >= MANY
    printed = np.array([_is_print(pixels, face) for face in faces])
    suspicious = motif | printed | ((alike >= TWINS).sum(1) >= SOME)
    size = np.array([max(face.box[2] - face.box[0], face.box[3] - face.box[1]) for face in faces])
    of_text = np.zeros(len(faces), bool)
    if suspicious.sum() >= max(FEWEST, SUSPICIOUS * len(faces)):
        of_text = size <= LARGER * np.median(size[suspicious])
    return [MOTIF if equal else LETTERING if text else None for equal, text in zip(motif, of_text, strict=True)]


def _alike(pixels: np.ndarray, faces: Sequence[Face], template: Template) -> np.ndarray:
    """Return the correlations of all detections' crops with each other, (n, n), 0 with themselves."""
    rows = np.zeros((len(faces), (_INNER[0].stop - _INNER[0].start) * (_INNER[1].stop - _INNER[1].start)), np.float32)
    for row, face in zip(rows, faces, strict=True):
        matrix = align.estimate(face.landmarks, template, _SIDE)
        if matrix is None:
            continue
        crop = luma_of(align.extract(pixels, matrix, _SIDE))[_INNER].ravel()
        crop = crop - crop.mean()
        spread = float(np.linalg.norm(crop))
        if spread > _FAINTEST:
            row[...] = crop / spread
    alike: np.ndarray = rows @ rows.T
    np.fill_diagonal(alike, 0)
    return alike


def _is_print(pixels: np.ndarray, face: Face) -> bool:
    """Whether a detection and a little around it are two tones, one of them even."""
    (x0, y0, x1, y1), (height, width) = face.box, pixels.shape[:2]
    across, down = 0.2 * (x1 - x0), 0.2 * (y1 - y0)
    left, top = max(round(x0 - across), 0), max(round(y0 - down), 0)
    part = pixels[top : min(round(y1 + down), height), left : min(round(x1 + across), width)]
    if part.size == 0:
        return False
    luma = luma_of(part)
    levels = np.clip(np.rint(luma), 0, 255).astype(np.uint8)
    split, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    light = levels > split
    share = float(light.mean())
    if not 0.03 < share < 0.97:
        return False
    dark_tone, light_tone = float(luma[~light].mean()), float(luma[light].mean())
    apart = light_tone - dark_tone
    explained = share * (1 - share) * apart**2 / max(float(luma.var()), 1e-6)
    between = float(((luma > dark_tone + apart / 4) & (luma < light_tone - apart / 4)).mean())
    tones = np.histogram(luma, 128, (0, 256))[0] / luma.size
    even = float(np.convolve(tones, np.ones(6), "same").max())
    return explained >= _TWO_TONES and between <= _BETWEEN and even >= _EVEN
