"""How much of a restored crop is pasted: the face and its hair, fading out softly, nothing at the crop's edge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from restorer.models.base import ParserArchitecture

if TYPE_CHECKING:
    import torch

    from restorer.engine.network import Network

FEATHER = 0.1
"""Width, as a share of the crop's side, over which the weight rises from zero at the crop's edge to one."""

NEIGHBOUR_BORDER = 0.2
"""Width, as a share of the crop's side, over which one face gives way to the next (see `ownership`)."""

PARSE_SIZE = 512  # the side of the crops that the parsers were trained on
_COARSE = 128  # the blur is so wide that a quarter of the resolution holds all of it
_BLUR = 11 * 2**0.5 * _COARSE / PARSE_SIZE
"""Sigma at the coarse resolution: as wide as two Gaussians of sigma 11 px, one after the other, at 512 px."""


_SOFT = 0.35
"""Width of a drawn mask's soft edge, as a share of the face's own radius."""

# The outline, in distances of the eyes across and in those from the eyes to the mouth down; chosen by eye.
# What came of it was measured: tests/faces/test_mask.py holds how much of the skin it covers, and how little hair.
_CHIN, _BROW = 1.16, 1.4  # from the middle between eyes and mouth down and up
_HEAD, _NECK, _HAIR = 1.5, 1.8, 2.1  # the same of the head: to the sides, down and up
_NEARER, _FARTHER = 0.3, 0.6  # how much wider the near side of a turned face is, and how much narrower the far one


@lru_cache(maxsize=16)
def border_feather(size: int) -> np.ndarray:
    """Return weights (size, size), float32, read-only: zero at the crop's edge, one from `FEATHER` of its side on.

    They rise as a raised cosine along each side, so that neither the value nor its slope jumps anywhere.
    """
    distance = np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5) / (FEATHER * size)
    side = 0.5 - 0.5 * np.cos(np.pi * np.minimum(distance, 1))
    weights: np.ndarray = np.outer(side, side).astype(np.float32)
    weights.setflags(write=False)
    return weights


class LandmarkMask:
    """The face from the brows to the chin, drawn from its five landmarks: no network, and no hair or background.

    The outline is a superellipse, upright between eyes and mouth. Where the nose points to a side, the face is turned:
    its near cheek reaches farther out, its far one less far. Hair and neck are the photo's own; where that is hardly
    resolved, a sharp face would look cut out of a blurred head, so there the outline goes around hair, ears and neck.
    """

    name = "landmarks"

    def __call__(self, restored: torch.Tensor, landmarks: np.ndarray) -> np.ndarray:
        """Return (n, 128, 128) float32 in [0, 1] for n crops and their landmarks (n, 5, 2), 0 to 1 across the crop."""
        return self.drawn(landmarks, [0.0] * len(landmarks))

    def drawn(self, landmarks: np.ndarray, heads: Sequence[float]) -> np.ndarray:
        """Return the same with as much of the head around each face as is asked for, 0 to 1."""
        return np.stack(
            [
                np.minimum(_outline(points, head), border_feather(_COARSE))
                for points, head in zip(landmarks, heads, strict=True)
            ]
        )


def _outline(landmarks: np.ndarray, head: float = 0.0) -> np.ndarray:
    """Return how much each place of a crop belongs to the face with these landmarks: (128, 128), 0 to 1.

    Args:
        landmarks: (5, 2), 0 to 1 across the crop.
        head: 0 to 1, from the outline of the face to that of the head.
    """
    points = np.asarray(landmarks, np.float64)
    eyes, mouth, nose = points[:2].mean(0), points[3:].mean(0), points[2]
    down = mouth - eyes
    length = max(float(np.linalg.norm(down)), 1e-6)
    down /= length
    across = np.array([down[1], -down[0]])  # to the right of an upright face
    apart = abs(float((points[1] - points[0]) @ across))
    unit = max(apart, 0.9 * length)  # eyes that stand close together in a turned face do not make it narrow
    turned = float(np.clip((nose - (eyes + mouth) / 2) @ across / unit, -0.5, 0.5))
    middle = (points[0] + points[1]) / 2 + 0.5 * length * down
    steps = (np.arange(_COARSE) + 0.5) / _COARSE
    offset = np.stack(np.meshgrid(steps, steps), axis=-1) - middle
    x, y = offset @ across / unit, offset @ down / length
    near, far = 1.0 + _NEARER * abs(turned), 1.0 - _FARTHER * abs(turned) * (1 - head)
    right, left = (far, near) if turned > 0 else (near, far)
    width = np.where(x > 0, right, left) * (1 + (_HEAD - 1) * head)
    height = np.where(y > 0, _CHIN + (_NECK - _CHIN) * head, _BROW + (_HAIR - _BROW) * head)
    radius = (abs(x / width) ** 2.5 + abs(y / height) ** 2.5) ** 0.4
    # From one to zero over a share of the radius, soft at both ends, half way at the outline itself.
    ramp = np.clip((1 + _SOFT / 2 - radius) / _SOFT, 0, 1)
    weights: np.ndarray = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    return weights


class ParserMask:
    """What a face parser takes for face, hair, ears or earring, blurred, and faded out towards the crop's edge.

    Args:
        network: whose architecture is a face parser; only the likeliest class of each pixel counts.

    Raises:
        TypeError: the network is for something else.
    """

    record_name = "ParseNetMask"
    """What a record's `mask` says, as it did when classes were named there; `mask_name` holds the name."""

    def __init__(self, network: Network) -> None:
        if not isinstance(network.architecture, ParserArchitecture):
            raise TypeError(f"{network.name} is no face parser")
        self.name = network.name
        self.network = network
        self._architecture = network.architecture

    def __call__(self, restored: torch.Tensor, landmarks: np.ndarray) -> np.ndarray:
        """Return (n, t, t) float32 in [0, 1] for restored crops (n, 3, s, s), RGB in about [-1, 1], of any size."""
        import torch

        masks = []
        for crop in restored:  # one by one: a parser's activations at 512 px fill memory faster than time is won
            picture = crop[None].float().clamp(-1, 1)
            if picture.shape[-1] != PARSE_SIZE:
                picture = torch.nn.functional.interpolate(
                    picture, size=(PARSE_SIZE, PARSE_SIZE), mode="bilinear", antialias=True
                )
            classes = self._architecture.logits(self.network, picture)[0].argmax(0).to(torch.uint8).numpy()
            masks.append(soften(np.isin(classes, self._architecture.kept)))
        return np.stack(masks)


def soften(kept: np.ndarray) -> np.ndarray:
    """Blur a map (s, s) of what is kept, true or false, and fade it out towards the crop's edge.

    Float32 in [0, 1], (s, s), or (128, 128) where that is more.
    """
    size = max(kept.shape[0], _COARSE)
    coarse = cv2.resize(kept.astype(np.float32), (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), _BLUR, borderType=cv2.BORDER_REPLICATE)
    fine = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    # The smaller of the two, not a zero cut into the blurred map: that would be a step where hair leaves the crop.
    weights: np.ndarray = np.minimum(np.clip(fine, 0, 1), border_feather(size))
    return weights


def ownership(matrix: np.ndarray, others: Sequence[np.ndarray], align_size: int, size: int) -> np.ndarray:
    """Return how much of a crop is this face's own where other faces are pasted nearby: (size, size), 0 to 1.

    A network restores the one face that it is aligned to; a neighbour's cheek in the same crop it distorts. So each
    place belongs to the face whose middle is nearest, measured in that face's own size, with a soft border.

    Args:
        matrix: (2, 3), from the photo to this face's crop.
        others: the same for the other faces that are pasted.
        align_size: side in pixels of the crops that the matrices lead to.
        size: side of the result, any.
    """
    middle = np.array([0.5, 0.55]) * align_size  # a little below the crop's middle: between the eyes and the mouth
    near = _near(matrix, others, middle, align_size)
    if not near:
        return np.ones((size, size), np.float32)
    steps = (np.arange(_COARSE) + 0.5) * (align_size / _COARSE)
    crop = np.stack(np.meshgrid(steps, steps), axis=-1)
    photo = (crop - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    own = np.linalg.norm(crop - middle, axis=-1)
    weights = np.ones((_COARSE, _COARSE))
    for other in near:
        theirs = np.linalg.norm(photo @ other[:, :2].T + other[:, 2] - middle, axis=-1)
        weights = np.minimum(weights, np.clip(0.5 + (theirs - own) / (NEIGHBOUR_BORDER * align_size), 0, 1))
    weights = weights * weights * (3 - 2 * weights)
    return cv2.resize(weights.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)


def _near(matrix: np.ndarray, others: Sequence[np.ndarray], middle: np.ndarray, align_size: int) -> list[np.ndarray]:
    """Return the other faces that can have a share in a crop; in a crowd, most are too far away."""
    if not len(others):
        return []
    linear, shift = np.stack(others)[..., :2], np.stack(others)[..., 2]
    middles = np.linalg.solve(linear, (middle - shift)[..., None])[..., 0]
    apart = np.linalg.norm(middles - np.linalg.solve(matrix[:, :2], middle - matrix[:, 2]), axis=-1)
    reach = 0.75 * align_size  # from the middle to the farthest corner
    scale, scales = np.sqrt(np.linalg.det(matrix[:, :2])), np.sqrt(np.linalg.det(linear))
    far = (apart - reach / scale) * scales >= reach + NEIGHBOUR_BORDER * align_size / 2
    return [other for other, is_far in zip(others, far, strict=True) if not is_far]
