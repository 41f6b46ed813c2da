"""Finding faces: RetinaFace's networks with a decoding of our own, on photos of any size and depth.

A photo is looked at in several sizes. In each, the network finds the faces that are neither too small for it nor larger
than its largest anchor, and the findings are put together from the coarsest to the finest:

- coarse: the long side at 480 px, with an empty frame around, so that a face that fills the whole picture is found too;
- fine: the long side at 1920 px, enlarged at most 1.6 times. The network finds hardly half of the faces of 20 px, but
  nearly all of 32 px: so faces that have 20 px when the long side is reduced to 1200 px are found. The cost no longer
  grows from there on;
- finer, in tiles, when faces smaller than that are asked for (`min_face`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from restorer.engine.device import Device, Precision
from restorer.models.retinaface import RetinaFaceDetectorModel

if TYPE_CHECKING:
    from restorer.models.registry import LoadedNetwork

STRIDES = (8, 16, 32)
ANCHORS = ((16, 32), (64, 128), (256, 512))  # pixels, two sizes at each stride
VARIANCES = (0.1, 0.2)  # of centres and landmarks, of the logarithm of sizes
MEAN_RGB = (123.0, 117.0, 104.0)  # the network sees it as nothing
OVERLAP = 0.4  # two boxes that share more of their union than this are one face
INSIDE = 0.8  # what lies with this share of its area in a face too large for the view is a part of that face

REDUCED = 1200  # long side at which faces of SEEN_FROM pixels are still found
SEEN_FROM = 20
SURE_FROM = 32  # pixels in the view at which the network is sure of a face
COARSE = 480
COARSE_FRAME = 0.25  # width of the empty frame, as a share of the long side
COARSE_FROM = 64  # pixels in the coarse view; what is smaller there, the fine view sees better
FINE_UP_TO = 512  # pixels in a view: the largest anchor
TILE = 1920  # side of a tile; the fine view is one tile
TILE_UP_TO = 256  # pixels; tiles overlap by so much that each smaller face is whole in one of them
FINER_BY = 4  # between two views


@dataclass(frozen=True)
class Face:
    """A face in a photo, in pixels of the upright photo, in edge coordinates: the first pixel's centre is at 0.5.

    Attributes:
        box: x0, y0, x1, y1, within the photo.
        landmarks: (5, 2) float32: left eye, right eye, nose, left and right corner of the mouth, as seen in the
            picture; of a face that the photo cuts they may lie outside it.
        score: 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    score: float

    @property
    def size(self) -> float:
        """The longer side of the box in pixels, which depends less on the pose than the shorter one."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


@dataclass(frozen=True)
class _View:
    """One size at which a photo is looked at; sizes of faces are pixels of the view."""

    scale: float
    frame: float = 0.0
    smallest: float = 0.0
    largest: float = math.inf


class RetinaFaceDetector:
    """Finds faces with a network of the architecture "retinaface".

    Args:
        loaded: the network.
        min_score: detections below this are no faces, 0 to 1.
        min_face: find faces from this many pixels of the photo on (the longer side of their box). None, or more than
            what is found anyway, changes nothing; less makes the search slower.
        precision: in which the network computes.

    Raises:
        TypeError: the network is of another architecture.
    """

    def __init__(
        self,
        loaded: LoadedNetwork,
        *,
        min_score: float = 0.9,
        min_face: float | None = None,
        precision: Precision = "fp32",
    ) -> None:
        if not isinstance(loaded.architecture, RetinaFaceDetectorModel):
            raise TypeError(f"{loaded.table.name} is no RetinaFace")
        self.name = loaded.table.name
        self.min_score = min_score
        self.min_face = min_face
        self._network = loaded.network
        self._device = Device(str(next(loaded.network.parameters()).device), precision)

    def detect(self, pixels: np.ndarray) -> list[Face]:
        """Return the faces of a photo from left to right (by the middle of their boxes).

        Args:
            pixels: (h, w), or (h, w, c) with 1, 3 (RGB) or 4 channels (alpha is not looked at), uint8 or uint16.

        Raises:
            ValueError: pixels of another shape or type.
        """
        photo = _three_channels(pixels)
        height, width = photo.shape[:2]
        faces: list[Face] = []
        for view in self._views(max(width, height)):
            faces = _merge(faces, list(self._look(photo, view)), view)
        faces = [_within(face, width, height) for face in faces]
        return sorted(faces, key=lambda face: (face.box[0] + face.box[2], face.box[1] + face.box[3], -face.score))

    def _views(self, longest: int) -> Iterator[_View]:
        """Yield the views of a photo by its long side, coarsest first."""
        fine = min(REDUCED / longest, 1) * SURE_FROM / SEEN_FROM
        coarse = min(COARSE / longest, fine)
        yield _View(coarse, frame=COARSE_FRAME, smallest=COARSE_FROM)
        yield _View(fine, largest=FINE_UP_TO)
        finest = SURE_FROM / self.min_face if self.min_face else 0
        while fine < finest:
            fine = min(fine * FINER_BY, finest)
            yield _View(fine, largest=TILE_UP_TO if fine * longest > TILE else FINE_UP_TO)

    def _look(self, photo: np.ndarray, view: _View) -> Iterator[Face]:
        """Yield the faces that one view shows, in pixels of the photo."""
        height, width = photo.shape[:2]
        side = math.ceil(TILE / view.scale)
        overlap = math.ceil(TILE_UP_TO / view.scale)
        found = []
        for top, bottom in _spans(height, side, overlap):
            for left, right in _spans(width, side, overlap):
                inner = (left > 0, top > 0, right < width, bottom < height)
                for face in self._look_at(photo[top:bottom, left:right], view):
                    if not _is_cut(face.box, (right - left, bottom - top), inner, 2 / view.scale):
                        found.append(_moved(face, left, top))
        yield from _suppressed(found)

    def _look_at(self, region: np.ndarray, view: _View) -> Iterator[Face]:
        """Yield the faces of a part of the photo, in its own pixels."""
        import torch

        height, width = region.shape[:2]
        wide, high = max(1, round(width * view.scale)), max(1, round(height * view.scale))
        shrinks = view.scale < 1
        picture = cv2.resize(region, (wide, high), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        frame = round(view.frame * max(wide, high))
        framed = np.empty((_multiple(high + 2 * frame), _multiple(wide + 2 * frame), 3), np.float32)
        framed[:] = MEAN_RGB
        framed[frame : frame + high, frame : frame + wide] = picture * np.float32(255 / np.iinfo(region.dtype).max)
        tensor = torch.from_numpy(framed).permute(2, 0, 1)[None].to(self._device.name) / 127.5 - 1
        with torch.inference_mode(), self._device.autocast():
            rows = self._network(tensor)[0].float()
            likely = torch.nonzero(rows[:, 4] >= self.min_score)[:, 0]
            rows, numbers = rows[likely].cpu().numpy(), likely.cpu().numpy()
        boxes, landmarks = decode(rows, numbers, framed.shape[0], framed.shape[1])
        back = np.array([width / wide, height / high])  # the scale that rounding left, for each axis
        boxes = (boxes.reshape(-1, 2, 2) - frame) * back
        landmarks = (landmarks - frame) * back
        for box, points, row in zip(boxes, landmarks, rows, strict=True):
            (x0, y0), (x1, y1) = box.tolist()
            face = Face((x0, y0, x1, y1), points.astype(np.float32), float(row[4]))
            if view.smallest <= face.size * view.scale <= view.largest:
                yield face


def decode(rows: np.ndarray, numbers: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (k, 4) and landmarks (k, 5, 2) in pixels from some of the network's rows.

    Args:
        rows: (k, 15), what the network says of these anchors.
        numbers: (k,), which anchors of the picture they are.
        height: of the picture the network saw, in pixels, a multiple of 32.
        width: likewise.
    """
    centre = np.empty((len(rows), 2))
    side = np.empty((len(rows), 1))
    first = 0
    for stride, sizes in zip(STRIDES, ANCHORS, strict=True):
        down, across = height // stride, width // stride
        here = (numbers >= first) & (numbers < first + down * across * len(sizes))
        cell, which = np.divmod(numbers[here] - first, len(sizes))
        centre[here] = (np.stack([cell % across, cell // across], axis=-1) + 0.5) * stride
        side[here] = np.array(sizes, np.float64)[which][:, None]
        first += down * across * len(sizes)
    middle = centre + rows[:, :2] * VARIANCES[0] * side
    extent = side * np.exp(rows[:, 2:4] * VARIANCES[1])
    landmarks = centre[:, None] + rows[:, 5:].reshape(-1, 5, 2) * VARIANCES[0] * side[:, None]
    return np.concatenate([middle - extent / 2, middle + extent / 2], axis=1), landmarks


def _three_channels(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as (h, w, 3) of their own type."""
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.size == 0:
        raise ValueError(f"a photo is uint8 or uint16 and not empty, not {pixels.shape} {pixels.dtype}")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise ValueError(f"a photo is (h, w) or (h, w, c) with 1, 3 or 4 channels, not {pixels.shape}")
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def _multiple(length: int) -> int:
    """Return the next multiple of the coarsest stride."""
    return -(-length // STRIDES[-1]) * STRIDES[-1]


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


def _suppressed(faces: list[Face]) -> list[Face]:
    """Return the best of each set of overlapping boxes (non-maximum suppression), best first."""
    left = sorted(faces, key=lambda face: (-face.score, face.box))
    boxes = np.array([face.box for face in left]).reshape(-1, 4)
    kept, alive = [], np.arange(len(left))
    while alive.size:
        first, rest = alive[0], alive[1:]
        kept.append(left[first])
        alive = rest[_share(boxes[first], boxes[rest]) <= OVERLAP]
    return kept


def _common(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the areas that a box (4,) has in common with others (n, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    areas: np.ndarray = np.clip(sides, 0, None).prod(axis=1)
    return areas


def _area(boxes: np.ndarray) -> np.ndarray:
    areas: np.ndarray = (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)
    return areas


def _share(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return intersection over union of a box (4,) with others (n, 4)."""
    common = _common(box, others)
    shares: np.ndarray = common / (_area(box) + _area(others) - common)
    return shares


def _merge(coarser: list[Face], found: list[Face], view: _View) -> list[Face]:
    """Put the faces of a view to those of the coarser ones; faces that are too large for it stay as they are.

    A network that sees a face larger than its largest anchor finds faces in its parts. These are dropped.
    """
    giants = [face for face in coarser if face.size * view.scale > view.largest]
    owned = np.array([face.box for face in giants]).reshape(-1, 4)
    faces = giants.copy()
    for face in found:
        box = np.array(face.box)
        if not (_common(box, owned) > INSIDE * _area(box)).any():
            faces.append(face)
    boxes = np.array([face.box for face in faces]).reshape(-1, 4)
    for face in coarser:
        if face not in giants and not (_share(np.array(face.box), boxes) > OVERLAP).any():
            faces.append(face)
    return faces
