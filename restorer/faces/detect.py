"""Finding faces in photos of any size and depth, with any network whose role is face detector.

A photo is scanned at several sizes (`DetectorArchitecture.views`), large ones in tiles, and the detections are put
together from the coarsest to the finest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from restorer.faces.turned import look_again
from restorer.imaging.boxes import NMS_IOU, area, intersection, iou, nms
from restorer.models.base import TILE, TILE_UP_TO, DetectorArchitecture, Face, View

if TYPE_CHECKING:
    from restorer.engine.network import Network

INSIDE = 0.8
"""What lies with this share of its area in a face too large for the view is a part of that face; chosen by eye."""


class FaceDetector:
    """Finds faces by scanning a photo at the sizes that a detector's architecture names.

    Args:
        network: whose architecture is a face detector.
        min_score: detections below this are no faces, 0 to 1.
        min_face: find faces from this many pixels of the photo on (the longer side of their box). None, or more than
            what is found anyway, changes nothing; less makes the search slower.

    Raises:
        TypeError: the network is for something else.
    """

    def __init__(self, network: Network, *, min_score: float = 0.9, min_face: float | None = None) -> None:
        if not isinstance(network.architecture, DetectorArchitecture):
            raise TypeError(f"{network.name} is no face detector")
        self.name = network.name
        self.min_score = min_score
        self.min_face = min_face
        self.network = network
        self._architecture = network.architecture

    def detect(self, pixels: np.ndarray) -> list[Face]:
        """Return the faces of a photo from left to right (by the middle of their boxes).

        Where nothing is found, or only faces that lie, the photo is looked at from its other sides as well.

        Args:
            pixels: (h, w), or (h, w, c) with 1, 3 (RGB) or 4 channels (alpha is not scanned), uint8 or uint16.

        Raises:
            ValueError: pixels of another shape or type.
        """
        photo = _three_channels(pixels)
        faces = look_again(self._look(photo), photo, self._glance, self._look)
        return sorted(faces, key=lambda face: (face.box[0] + face.box[2], face.box[1] + face.box[3], -face.score))

    def _look(self, photo: np.ndarray) -> list[Face]:
        """Return the faces of a photo (h, w, 3) as it is, in any order."""
        return self._seen(photo, self._architecture.views(max(photo.shape[:2]), self.min_face))

    def _glance(self, photo: np.ndarray) -> list[Face]:
        """Return those that are seen in less time."""
        return self._seen(photo, self._architecture.glances(max(photo.shape[:2])))

    def _seen(self, photo: np.ndarray, views: Iterable[View]) -> list[Face]:
        height, width = photo.shape[:2]
        faces: list[Face] = []
        for view in views:
            faces = _merge(faces, list(self._scan(photo, view)), view)
        kept: list[Face] = []
        for face in sorted((_within(face, width, height) for face in faces), key=lambda face: -face.score):
            if not any(self._architecture.same_face(face, other) for other in kept):
                kept.append(face)
        return kept

    def _scan(self, photo: np.ndarray, view: View) -> Iterator[Face]:
        """Yield the faces that one view shows, in pixels of the photo."""
        height, width = photo.shape[:2]
        side = math.ceil(TILE / view.scale)
        overlap = math.ceil(TILE_UP_TO / view.scale)
        found = []
        for top, bottom in _spans(height, side, overlap):
            for left, right in _spans(width, side, overlap):
                inner = (left > 0, top > 0, right < width, bottom < height)
                region = photo[top:bottom, left:right]
                for face in self._architecture.detect_region(self.network, region, view, self.min_score):
                    if not _is_cut(face.box, (right - left, bottom - top), inner, 2 / view.scale):
                        found.append(_moved(face, left, top))
        found.sort(key=lambda face: (-face.score, face.box))
        for number in nms(np.array([face.box for face in found]).reshape(-1, 4)):
            yield found[number]


def _three_channels(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as (h, w, 3) of their own type."""
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.size == 0:
        raise ValueError(f"a photo is uint8 or uint16 and not empty, not {pixels.shape} {pixels.dtype}")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise ValueError(f"a photo is (h, w) or (h, w, c) with 1, 3 or 4 channels, not {pixels.shape}")
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def _spans(length: int, side: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of equally spaced tiles along an axis, each `side` long, sharing at least `overlap`."""
    if length <= side:
        yield 0, length
        return
    count = math.ceil((length - overlap) / (side - overlap))
    for number in range(count):
        start = round(number * (length - side) / (count - 1))
        yield start, start + side


def _is_cut(
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    inner: tuple[bool, bool, bool, bool],
    margin: float,
) -> bool:
    """Return whether a box reaches an edge of its tile that is not the photo's; the next tile sees that face whole."""
    room = (box[0], box[1], size[0] - box[2], size[1] - box[3])
    return any(edge and gap < margin for edge, gap in zip(inner, room, strict=True))


def _moved(face: Face, x: float, y: float) -> Face:
    x0, y0, x1, y1 = face.box
    return replace(face, box=(x0 + x, y0 + y, x1 + x, y1 + y), landmarks=face.landmarks + np.array([x, y], np.float32))


def _within(face: Face, width: int, height: int) -> Face:
    x0, y0, x1, y1 = face.box
    return replace(face, box=(max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))))


def _merge(coarser: list[Face], found: list[Face], view: View) -> list[Face]:
    """Put the faces of a view to those of the coarser ones; faces that are too large for it stay as they are.

    A network that sees a face larger than its largest anchor finds faces in its parts. These are dropped.
    """
    giants = [face for face in coarser if face.size * view.scale > view.largest]
    owned = np.array([face.box for face in giants]).reshape(-1, 4)
    faces = giants.copy()
    for face in found:
        box = np.array(face.box)
        if not (intersection(box, owned) > INSIDE * area(box)).any():
            faces.append(face)
    boxes = np.array([face.box for face in faces]).reshape(-1, 4)
    for face in coarser:
        if face not in giants and not (iou(np.array(face.box), boxes) > NMS_IOU).any():
            faces.append(face)
    return faces
