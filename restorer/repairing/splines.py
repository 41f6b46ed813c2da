"""Filling of thin damage: the surface that bends least, and along edges more stiffly than across them.

A thin plate through the known pixels around a hole (biharmonic) goes on with their slopes, where diffusion (harmonic,
Telea, Navier-Stokes) levels them; across an edge it overshoots. Here the bending across an edge costs next to nothing,
so that edges go on straight through the hole, and tension, which wins in wide holes, keeps them from bulging. Where
edges are and how they run is read from the structure tensor (Bigun and Granlund 1987; in diffusion: Weickert 1998).
"""

from __future__ import annotations

from typing import NamedTuple

from restorer.imaging.colour import top_of
from restorer.imaging.libraries import cv2, np
from restorer.imaging.resize import to_type
from restorer.repairing.alike import like_elsewhere

REACH = 2.0
"""Pixels (sigma) around a place from which the direction of its edges is taken; beyond what is known, up to `FAR` times
as many, with less weight the farther."""
FAR = (1.0, 2.0, 4.0)
TENSION = 0.2
"""What slope costs, beside bending 1."""
WIDE, RISE = 3.0, 6
"""In a hole so many pixels deep bending costs half as much, and less with that power of depth: the paper beside a wide
hole is mostly shaded or frayed, and its slope is not to go on."""
_NEAR = 11
"""Pixels around a place within which a hole's depth is its own."""
STEEP = 4
"""Power by which the lack of an edge counts in what bending across it costs."""
FLAT = (2.0 / 255) ** 2
"""Squared slope a pixel, of white, below which an edge is no edge but noise."""
PASSES = 2
"""The directions are read first around the hole, then from what was filled."""
_STIFF = 1e-9
_RIM = 2
"""Pixels around a hole whose bending depends on what is in it."""


class Splines:
    """Fills parts of a picture as `restorer.repairing.filling.fill` asks for it.

    Args:
        textured: whether what is filled takes its texture from places nearby. In the midst of a deep hole there are
            none but such as were filled themselves.
    """

    margin = 24
    part = 128
    near = 4
    grain = False

    def __init__(self, textured: bool = True) -> None:
        self._textured = textured

    @property
    def coarse(self) -> Splines:
        """What paints the midst of deep holes at a smaller size."""
        return Splines(textured=False)

    def paint(self, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """Return a part of a picture with its hole filled.

        Args:
            pixels: (h, w, 3) RGB, uint8 or uint16.
            hole: (h, w) uint8, not 0 where nothing is known; not everywhere.
        """
        top = float(top_of(pixels.dtype))
        picture, unknown = pixels.astype(np.float64) / top, hole > 0
        picture[unknown] = picture[~unknown].mean(axis=0)
        known = cv2.erode((~unknown).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
        for number in range(PASSES):
            edges = _edges(picture, known if number == 0 else np.ones_like(known))
            picture[unknown] = _solved(picture, unknown, edges)
        if self._textured:
            picture = like_elsewhere(picture, unknown)
        filled: np.ndarray = pixels.copy()
        filled[unknown] = to_type(np.clip(picture[unknown], 0, 1) * top, pixels.dtype)
        return filled


class _Edges(NamedTuple):
    """The unit vectors across edges, (h, w) each, and what bending across costs, 1 where there is no edge."""

    across_x: np.ndarray
    across_y: np.ndarray
    cost: np.ndarray


def _edges(picture: np.ndarray, known: np.ndarray) -> _Edges:
    """Return how the edges of a picture run, from what is known of it."""
    light = picture.mean(axis=2).astype(np.float32)
    across, down = (cv2.Scharr(light, cv2.CV_32F, *order) / 32 for order in ((1, 0), (0, 1)))
    planes = cv2.merge([across * across * known, across * down * known, down * down * known, known])
    blurred = sum(cv2.GaussianBlur(planes, (0, 0), REACH * far) / 10**nth for nth, far in enumerate(FAR))
    xx, xy, yy, weight = cv2.split(blurred)
    xx, xy, yy = (plane / np.maximum(weight, 1e-12) for plane in (xx, xy, yy))
    turn = 0.5 * np.arctan2(2 * xy, xx - yy)
    edge = np.hypot(xx - yy, 2 * xy) / (xx + yy + FLAT)
    return _Edges(np.cos(turn), np.sin(turn), np.clip(1 - edge, 0.02, 1.0) ** STEEP)


def _solved(picture: np.ndarray, unknown: np.ndarray, edges: _Edges) -> np.ndarray:
    """Return the values (n, 3) of the unknown pixels, in the order of `numpy.nonzero`, at which the costs are least."""
    from scipy.sparse import csr_matrix, identity
    from scipy.sparse.linalg import splu

    concerned = cv2.dilate(unknown.astype(np.uint8), np.ones((2 * _RIM + 1,) * 2, np.uint8)) > 0
    rows, columns = np.nonzero(concerned)
    x, y, cost = (plane[concerned].astype(np.float64) for plane in edges)
    stiff = _stiffness(unknown)[concerned]
    slopes = [_slope(unknown, *step) for step in ((0, 1), (1, 0))]
    parts = [
        _split(picture, unknown, *_bending(unknown, rows, columns, -y, x), stiff),
        _split(picture, unknown, *_bending(unknown, rows, columns, x, y), cost * stiff),
        *(_split(picture, unknown, *slope, np.full(len(slope[0]), TENSION)) for slope in slopes),
    ]
    # One matrix of all sums: each sparse one takes longer to be set up than to be multiplied.
    open_, places, weights, given, costs = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    ends = np.concatenate([[0], np.cumsum(open_)])
    count = int(unknown.sum())
    matrix = csr_matrix((weights, places, ends), shape=(len(open_), count))
    weighed = csr_matrix((weights * np.repeat(costs, open_), places, ends), shape=matrix.shape).T
    system = weighed @ matrix + _STIFF * identity(count, format="csr")
    factors = splu(system.tocsc(), "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    found: np.ndarray = factors.solve(-(weighed @ given))
    return found


def _stiffness(unknown: np.ndarray) -> np.ndarray:
    """Return what bending costs at each pixel, (h, w), for the depth of the hole that it lies at."""
    edged = cv2.copyMakeBorder(unknown.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(edged, cv2.DIST_L2, 5)[1:-1, 1:-1]
    depth = cv2.dilate(depth, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_NEAR, _NEAR))).astype(np.float64)
    return np.asarray(1 / (1 + (depth / WIDE) ** RISE))


def _bending(
    unknown: np.ndarray, rows: np.ndarray, columns: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return second differences along (x, y) as sums of pixels: which, and what each counts, (m, 9)."""
    height, width = unknown.shape
    places, weights = [rows * width + columns], [np.full(len(rows), -2.0)]
    for side in (1.0, -1.0):
        at_x, at_y = np.clip(columns + side * x, 0, width - 1), np.clip(rows + side * y, 0, height - 1)
        left, above = np.minimum(at_x.astype(int), max(width - 2, 0)), np.minimum(at_y.astype(int), max(height - 2, 0))
        part_x, part_y = at_x - left, at_y - above
        for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
            at = np.minimum(above + below, height - 1) * width + np.minimum(left + right, width - 1)
            places.append(at)
            weights.append((part_x if right else 1 - part_x) * (part_y if below else 1 - part_y))
    return np.stack(places, axis=1), np.stack(weights, axis=1)


def _slope(unknown: np.ndarray, down: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """Return differences of neighbours, of which one is unknown at least, as `_bending` returns its own, (m, 2)."""
    height, width = unknown.shape
    rows, columns = np.nonzero(unknown[: height - down, : width - right] | unknown[down:, right:])
    place = rows * width + columns
    places = np.stack([place, place + down * width + right], axis=1)
    return places, np.broadcast_to(np.array([-1.0, 1.0]), places.shape)


def _split(
    picture: np.ndarray, unknown: np.ndarray, places: np.ndarray, weights: np.ndarray, costs: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Part weighted sums of pixels into what is unknown in them and what is known.

    Returns:
        How many unknown pixels each sum has, (m,); which these are, one sum after the other, in the order of
        `numpy.nonzero`, and what they count, (n,) each; what the known ones make, (m, 3); what each sum costs, (m,).
    """
    free = unknown.ravel()
    number = np.cumsum(free) - 1
    open_ = free[places]
    given = np.einsum("mk,mkc->mc", np.where(open_, 0.0, weights), picture.reshape(-1, 3)[places])
    return open_.sum(axis=1), number[places[open_]], weights[open_], given, costs
