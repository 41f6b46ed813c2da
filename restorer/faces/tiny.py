"""The built-in detector on photos of any size: a few views of each photo, put together as RetinaFace's are.

- fine: the photo at its size, its long side reduced to 1200 px, or enlarged to 800 px, but at most 1.6 times. From
  1200 px on the cost does not grow;
- coarser: a third and a ninth of that, with an empty frame around, for the larger faces: the network is at its best
  with those of 20 to 150 px;
- finer, in tiles, when smaller faces are asked for (`min_face`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from restorer.engine.device import Device, Precision, _computes_in_bf16
from restorer.faces.detect import FINER_BY, OVERLAP, Face, RetinaFaceDetector, _multiple, _share, _View
from restorer.models.tinydetector import TinyDetectorModel

if TYPE_CHECKING:
    from restorer.models.registry import LoadedNetwork
    from restorer.networks.tinydetector import TinyDetector as TinyDetectorNetwork

COARSER = 2  # views coarser than the fine one
COARSER_BY = 3
COARSE_FRAME = 0.125  # width of the empty frame around them, as a share of the long side
COARSE_FROM = 40  # pixels in a coarser view
FINE = 1200
ENLARGED = 1.6  # at most, in the fine view
ENLARGED_TO = 800
UP_TO = 180  # pixels in a view, but for the coarsest
SURE_FROM = 20  # pixels in a view
VOTES_AT = 0.65  # intersection over union with the best cell's box from which a cell has a say about the landmarks
MARGIN = 1.5  # of the first look's logit below what is asked for: what is less likely is not looked at again
SAME = 0.6  # mean distance of the landmarks of one face found twice, as a share of their mean distance from the middle
SECOND_COUNTS = 0.35  # share of the second look in the score
SIZES = (0.8, 0.9, 1.0, 1.1, 1.2)  # of the crops in which landmarks are placed; their errors differ
AT_MOST = 500  # finds of a view that are looked at again

_UNIT = np.arange(256, dtype=np.float32) * np.float32(1 / 127.5) - 1  # levels of 255 in [-1, 1]


class TinyDetector(RetinaFaceDetector):
    """Finds faces with a network of the architecture "tinydetector"; the arguments are those of `RetinaFaceDetector`.

    Without a precision it computes in bf16 where the hardware does, and in fp32 elsewhere.

    Raises:
        TypeError: the network is of another architecture.
    """

    def __init__(
        self,
        loaded: LoadedNetwork,
        *,
        min_score: float = 0.9,
        min_face: float | None = None,
        precision: Precision | None = None,
    ) -> None:
        import torch

        if not isinstance(loaded.architecture, TinyDetectorModel):
            raise TypeError(f"{loaded.table.name} is no tinydetector")
        self.name = loaded.table.name
        self.min_score = min_score
        self.min_face = min_face
        # On a CPU these convolutions are several times as quick when a pixel's channels lie together.
        self._network = loaded.network.to(memory_format=torch.channels_last)
        name = str(next(loaded.network.parameters()).device)
        # Where the hardware computes in bf16 it finds the same faces in two thirds of the time.
        self._device = Device(name, precision or ("bf16" if _computes_in_bf16(name) else "fp32"))
        if self._device.precision == "bf16":
            from restorer.engine.casting import cast_weights

            cast_weights(self._network, torch.bfloat16)

    def detect(self, pixels: np.ndarray) -> list[Face]:
        """Return the faces of a photo as `RetinaFaceDetector.detect` does.

        What the views say of one face are boxes of different quality, but nearly the same landmarks: the surest stays.
        """
        kept: list[Face] = []
        for face in sorted(super().detect(pixels), key=lambda face: -face.score):
            if not any(_is_same(face, other) for other in kept):
                kept.append(face)
        return sorted(kept, key=lambda face: (face.box[0] + face.box[2], face.box[1] + face.box[3], -face.score))

    def _views(self, longest: int) -> Iterator[_View]:
        """Yield the views of a photo by its long side, coarsest first."""
        fine = min(FINE / longest, max(ENLARGED_TO / longest, 1.0), ENLARGED)
        for power in range(COARSER, 0, -1):
            largest = math.inf if power == COARSER else UP_TO
            yield _View(fine / COARSER_BY**power, frame=COARSE_FRAME, smallest=COARSE_FROM, largest=largest)
        yield _View(fine, largest=UP_TO)
        finest = SURE_FROM / self.min_face if self.min_face else 0
        while fine < finest:
            fine = min(fine * FINER_BY, finest)
            yield _View(fine, largest=UP_TO)

    def _look_at(self, region: np.ndarray, view: _View) -> Iterator[Face]:
        """Yield the faces of a part of the photo, in its own pixels."""
        import torch

        from restorer.networks.tinydetector import cells, place

        height, width = region.shape[:2]
        wide, high = max(1, round(width * view.scale)), max(1, round(height * view.scale))
        method = cv2.INTER_AREA if view.scale < 1 else cv2.INTER_CUBIC
        picture = cv2.resize(region, (wide, high), interpolation=method) if (wide, high) != (width, height) else region
        if picture.dtype != np.uint8:
            picture = np.rint(picture * np.float32(1 / 257)).astype(np.uint8)
        frame = round(view.frame * max(wide, high))
        framed = np.full((_multiple(high + 2 * frame), _multiple(wide + 2 * frame), 3), 128, np.uint8)
        framed[frame : frame + high, frame : frame + wide] = picture
        asked = min(max(self.min_score, 1e-4), 1 - 1e-4)
        lowest = 1 / (1 + math.exp(MARGIN - math.log(asked / (1 - asked))))
        network = cast("TinyDetectorNetwork", self._network)
        tensor = torch.from_numpy(cv2.LUT(framed, _UNIT)).to(self._device.name).permute(2, 0, 1)[None]
        with torch.inference_mode(), self._device.autocast():
            rows = network(tensor)[0].float()
            likely = torch.nonzero(rows[:, 4] >= lowest)[:, 0].cpu()
            rows = rows.cpu()[likely]
            placed = [part.numpy() for part in place(rows, cells(*framed.shape[:2])[likely])]
            boxes, landmarks, scores = together(placed[0], placed[1], rows[:, 4].numpy())
            if len(scores):
                seen, logits = network.look_again(tensor[0], torch.from_numpy(landmarks).to(tensor))
                scores = joined(scores, logits.float().cpu().numpy())
                kept = scores >= self.min_score
                boxes, scores, seen = boxes[kept], scores[kept], seen.float()[torch.from_numpy(kept).to(seen.device)]
                landmarks = landmarks[:0]
                if len(seen):
                    # They bring a face nearer to where the second look expects it: once more, at some sizes.
                    landmarks = network.look_again(tensor[0], seen, SIZES)[0].float().cpu().numpy()
        back = np.array([width / wide, height / high])  # the scale that rounding left, for each axis
        for box, spots, score in zip(boxes, landmarks, scores, strict=True):
            (x0, y0), (x1, y1) = ((box.reshape(2, 2) - frame) * back).tolist()
            face = Face((x0, y0, x1, y1), ((spots - frame) * back).astype(np.float32), float(score))
            if view.smallest <= face.size * view.scale <= view.largest:
                yield face


def _is_same(face: Face, other: Face) -> bool:
    """Return whether two finds have nearly the same landmarks."""
    spread = np.linalg.norm(other.landmarks - other.landmarks.mean(axis=0), axis=1).mean()
    return bool(np.linalg.norm(face.landmarks - other.landmarks, axis=1).mean() < SAME * spread)


def joined(scores: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return the scores of finds (k,) from the first look's scores and the second's logits: a mean of both logits."""
    first = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    mean = (1 - SECOND_COUNTS) * np.log(first / (1 - first)) + SECOND_COUNTS * logits
    both: np.ndarray = 1 / (1 + np.exp(-mean))
    return both


def together(boxes: np.ndarray, landmarks: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return one box (n, 4), landmarks (n, 5, 2) and score (n,) a face, best first, at most `AT_MOST`.

    Several cells lie near the middle of a face, and their errors differ: the landmarks are the mean, weighted by the
    square of the score, of those whose box is nearly the best one's.

    Args:
        boxes: (k, 4), what each cell says.
        landmarks: (k, 5, 2), likewise.
        scores: (k,), likewise.
    """
    found: list[int] = []
    means = []
    left = np.argsort(-scores, kind="stable")
    while left.size and len(found) < AT_MOST:
        best = int(left[0])
        shares = _share(boxes[best], boxes[left])
        voters = left[(shares >= VOTES_AT) | (left == best)]
        weights = scores[voters] ** 2
        means.append(np.tensordot(weights / weights.sum(), landmarks[voters], 1))
        found.append(best)
        left = left[(shares <= OVERLAP) & (left != best)]
    return boxes[found], np.array(means, np.float32).reshape(-1, 5, 2), scores[found]


def detector_for(
    loaded: LoadedNetwork, *, min_score: float = 0.9, min_face: float | None = None, precision: Precision | None = None
) -> RetinaFaceDetector:
    """Return the detector for a network of either architecture; raises TypeError when it is of none of them."""
    if isinstance(loaded.architecture, TinyDetectorModel):
        return TinyDetector(loaded, min_score=min_score, min_face=min_face, precision=precision)
    return RetinaFaceDetector(loaded, min_score=min_score, min_face=min_face, precision=precision or "fp32")
