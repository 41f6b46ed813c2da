"""What was filled smoothly gets the texture of places nearby that look alike.

A surface through the rim of a hole knows nothing of what recurs: weave, bricks, leaves, grain of a print. Each filled
pixel moves towards the mean of known pixels nearby, weighed by how alike their surroundings are to its own (non-local
means; Buades, Coll and Morel 2005; for holes: Wexler et al. 2004). Compared and taken over is only what is finer than
some eight pixels, so that light and shade stay those of the hole's own place.
"""

from __future__ import annotations

from restorer.imaging.libraries import cv2, np

FAR = 8
"""Pixels to each side in which places that look alike are searched."""
AROUND = 3
"""Pixels to each side of a place that are compared."""
SOFT = 1.8
"""Pixels (sigma) within which they count most."""
COARSE = 8.0
"""Pixels (sigma) of what is taken for light and shade."""
GUESSED = 0.2
"""What a filled pixel counts in a comparison, beside a known one."""
DIFFERENT = 6.0
"""Levels of 255 by which surroundings differ that count a third of equal ones."""
SURE = 1.0
"""So many equal places count as much as the surface does."""
_TILE = 24  # pixels to a side of what is compared at a time


def like_elsewhere(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return a picture whose hole, which is filled smoothly, has the texture of places nearby, float64 in [0, 1].

    Args:
        picture: (h, w, 3) float64 in [0, 1].
        hole: (h, w) bool.
    """
    levels = picture.astype(np.float32) * np.float32(255)
    shade = cv2.GaussianBlur(levels, (0, 0), COARSE, borderType=cv2.BORDER_REFLECT_101)
    fine = _framed(levels - shade)
    light = np.ascontiguousarray(fine.mean(axis=2))
    known = _framed((~hole).astype(np.float32), cv2.BORDER_CONSTANT)
    counts = np.where(_framed(hole.astype(np.uint8)) > 0, np.float32(GUESSED), np.float32(1))
    result: np.ndarray = picture.copy()
    height, width = hole.shape
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            rows, columns = np.nonzero(hole[top : top + _TILE, left : left + _TILE])
            if len(rows) == 0:
                continue
            upper, first = top + rows.min(), left + columns.min()
            rows, columns = rows - rows.min(), columns - columns.min()
            seen = (
                slice(upper, upper + rows.max() + 1 + 2 * _FRAME),
                slice(first, first + columns.max() + 1 + 2 * _FRAME),
            )
            alike = _alike(light[seen], counts[seen], rows, columns) * _around(known[seen], rows, columns)
            total = alike.sum(axis=(1, 2))
            taken = np.einsum("nchw,nhw->nc", _around(fine[seen], rows, columns), alike)
            taken /= np.maximum(total, np.float32(1e-9))[:, None]
            share = (total / (total + np.float32(SURE)))[:, None]
            at = rows + upper, columns + first
            result[at] += share * (shade[at] + taken - levels[at]) / 255
    return result


_FRAME = FAR + AROUND
_SIDE = 2 * FAR + 1


def _alike(light: np.ndarray, counts: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return how alike places of a tile are to each place up to `FAR` pixels from them, (n, side, side), 1 = equal.

    Args:
        light: the tile with `_FRAME` pixels around it.
        counts: what each pixel of that counts where it is next to one of the places.
        rows: of the places, (n,), from the tile's corner on.
        columns: likewise.
    """
    own = slice(FAR, light.shape[0] - FAR), slice(FAR, light.shape[1] - FAR)
    size = own[0].stop - FAR, own[1].stop - FAR
    apart = np.empty((_SIDE, _SIDE, *size), np.float32)
    np.subtract(light[own], _views(light, size), out=apart)
    apart *= apart
    apart *= counts[own]
    # One below the other they are one picture; what of it is used looks at nothing of its neighbours.
    near = _near(apart.reshape(-1, size[1])).reshape(apart.shape)
    at = rows + AROUND, columns + AROUND
    differ = near[:, :, at[0], at[1]] / _near(np.ascontiguousarray(counts[own]))[at]
    return np.asarray(np.exp(differ / np.float32(-(DIFFERENT**2)))).transpose(2, 0, 1)


def _around(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return what is up to `FAR` pixels around places of a tile with its frame, (n, ..., side, side)."""
    return np.asarray(_views(plane, (_SIDE, _SIDE))[rows + AROUND, columns + AROUND])


def _views(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(np.lib.stride_tricks.sliding_window_view(plane, size, axis=(0, 1)))


def _framed(plane: np.ndarray, border: int | None = None) -> np.ndarray:
    """Return a plane with what a comparison at its edge looks at beyond it: mirrored, or 0."""
    border = cv2.BORDER_REFLECT_101 if border is None else border
    return np.asarray(cv2.copyMakeBorder(plane, _FRAME, _FRAME, _FRAME, _FRAME, border))


def _near(plane: np.ndarray) -> np.ndarray:
    """Return the sum of each place's surroundings, what is next to it counting most."""
    kernel = cv2.getGaussianKernel(2 * AROUND + 1, SOFT, cv2.CV_32F)
    return np.asarray(cv2.sepFilter2D(plane, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE))
