"""The built-in detector on photos of any size: a few views of each photo, put together as RetinaFace's are.

- fine: the photo at its size, its long side reduced to 1200 px, or enlarged to 800 px, but at most 1.6 times. From
  1200 px on the cost does not grow;
- coarser: a third and a ninth of that, with an empty frame around, for the larger faces: the network is at its best
  with those of 20 to 150 px;
- finer, in tiles, when smaller faces are asked for (`min_face`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import DetectorArchitecture, Face, View
from restorer.models.retinaface import FINER_BY, multiple

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from restorer.models.base import RunningNetwork, Shapes


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
MARGIN = 1.5  # of the first scan's logit below what is asked for: what is less likely is not scanned again
# Mean distance of the landmarks of one face found twice, as a share of their mean distance from the middle; chosen by
# eye, no measurement of it is recorded.
SAME = 0.6
SECOND_COUNTS = 0.35  # share of the second scan in the score
SIZES = (0.8, 0.9, 1.0, 1.1, 1.2)  # of the crops in which landmarks are placed; their errors differ
AT_MOST = 500  # detections of a view that are scanned again


class TinyDetectorArchitecture(DetectorArchitecture):
    """A small detector of plain convolutions; see `restorer.networks.tinydetector`."""

    name = "tinydetector"
    bf16 = True
    channels_last = True
    defaults: ClassVar = {"widths": [16, 24, 48, 64, 64], "head": 48}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Tell the widths by the layers' own."""
        layers = ("stem.0", "stem.1", "body.0.0", "body.1.0", "body.2.0.pointwise")
        return {
            "widths": [shapes[f"{layer}.conv.weight"][0] for layer in layers],
            "head": shapes["judge.conv.weight"][0],
        }

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network without batch normalisation, as files hold it."""
        from restorer.networks.tinydetector import TinyDetector

        widths = arguments["widths"]
        if len(widths) != 5:
            raise ValueError(f"the architecture 'tinydetector' has 5 widths, not {len(widths)}")
        return TinyDetector(widths, arguments["head"])

    def views(self, longest: int, min_face: float | None) -> Iterator[View]:
        """Yield coarser views, the fine one, and finer ones in tiles for small faces."""
        fine = min(FINE / longest, max(ENLARGED_TO / longest, 1.0), ENLARGED)
        for power in range(COARSER, 0, -1):
            largest = math.inf if power == COARSER else UP_TO
            yield View(fine / COARSER_BY**power, frame=COARSE_FRAME, smallest=COARSE_FROM, largest=largest)
        yield View(fine, largest=UP_TO)
        finest = SURE_FROM / min_face if min_face else 0
        while fine < finest:
            fine = min(fine * FINER_BY, finest)
            yield View(fine, largest=UP_TO)

    def detect_region(
        self, network: RunningNetwork, region: np.ndarray, view: View, min_score: float
    ) -> Iterator[Face]:
        """Yield the faces of a part of the photo; see `DetectorArchitecture.detect_region`."""
        import cv2
        import numpy as np
        import torch

        from restorer.networks.tinydetector import cells, place

        height, width = region.shape[:2]
        wide, high = max(1, round(width * view.scale)), max(1, round(height * view.scale))
        method = cv2.INTER_AREA if view.scale < 1 else cv2.INTER_CUBIC
        picture = cv2.resize(region, (wide, high), interpolation=method) if (wide, high) != (width, height) else region
        if picture.dtype != np.uint8:
            picture = np.rint(picture * np.float32(1 / 257)).astype(np.uint8)
        frame = round(view.frame * max(wide, high))
        framed = np.full((multiple(high + 2 * frame), multiple(wide + 2 * frame), 3), 128, np.uint8)
        framed[frame : frame + high, frame : frame + wide] = picture
        asked = min(max(min_score, 1e-4), 1 - 1e-4)
        lowest = 1 / (1 + math.exp(MARGIN - math.log(asked / (1 - asked))))
        unit = np.arange(256, dtype=np.float32) * np.float32(1 / 127.5) - 1  # levels of 255 in [-1, 1]
        tensor = torch.from_numpy(cv2.LUT(framed, unit)).permute(2, 0, 1)[None]
        rows = network(tensor)[0]
        likely = torch.nonzero(rows[:, 4] >= lowest)[:, 0]
        rows = rows[likely]
        placed = [part.numpy() for part in place(rows, cells(*framed.shape[:2])[likely])]
        boxes, landmarks, scores = vote(placed[0], placed[1], rows[:, 4].numpy())
        if len(scores):
            seen, logits = network(tensor, landmarks=torch.from_numpy(landmarks))
            scores = fuse_scores(scores, logits.numpy())
            kept = scores >= min_score
            boxes, scores, seen = boxes[kept], scores[kept], seen[torch.from_numpy(kept)]
            landmarks = landmarks[:0]
            if len(seen):
                # They bring a face nearer to where the second scan expects it: once more, at some sizes.
                landmarks = network(tensor, landmarks=seen, sizes=SIZES)[0].numpy()
        back = np.array([width / wide, height / high])  # the scale that rounding left, for each axis
        for box, spots, score in zip(boxes, landmarks, scores, strict=True):
            (x0, y0), (x1, y1) = ((box.reshape(2, 2) - frame) * back).tolist()
            face = Face((x0, y0, x1, y1), ((spots - frame) * back).astype(np.float32), float(score))
            if view.smallest <= face.size * view.scale <= view.largest:
                yield face

    def same_face(self, face: Face, other: Face) -> bool:
        """Whether two detections have nearly the same landmarks.

        What the views say of one face are boxes of different quality, but nearly the same landmarks.
        """
        import numpy as np

        spread = np.linalg.norm(other.landmarks - other.landmarks.mean(axis=0), axis=1).mean()
        return bool(np.linalg.norm(face.landmarks - other.landmarks, axis=1).mean() < SAME * spread)


def fuse_scores(scores: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return the scores (k,) of detections from the first scan's scores and the second's logits: a mean of logits."""
    import numpy as np

    first = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    mean = (1 - SECOND_COUNTS) * np.log(first / (1 - first)) + SECOND_COUNTS * logits
    both: np.ndarray = 1 / (1 + np.exp(-mean))
    return both


def vote(boxes: np.ndarray, landmarks: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return one box (n, 4), landmarks (n, 5, 2) and score (n,) a face, best first, at most `AT_MOST`.

    Several cells lie near the middle of a face, and their errors differ: the landmarks are the mean, weighted by the
    square of the score, of those whose box is nearly the best one's.

    Args:
        boxes: (k, 4), what each cell says.
        landmarks: (k, 5, 2), likewise.
        scores: (k,), likewise.
    """
    import numpy as np

    from restorer.imaging.boxes import NMS_IOU, iou

    found: list[int] = []
    means = []
    left = np.argsort(-scores, kind="stable")
    while left.size and len(found) < AT_MOST:
        best = int(left[0])
        shares = iou(boxes[best], boxes[left])
        voters = left[(shares >= VOTES_AT) | (left == best)]
        weights = scores[voters] ** 2
        means.append(np.tensordot(weights / weights.sum(), landmarks[voters], 1))
        found.append(best)
        left = left[(shares <= NMS_IOU) & (left != best)]
    return boxes[found], np.array(means, np.float32).reshape(-1, 5, 2), scores[found]


ARCHITECTURES = (TinyDetectorArchitecture(),)
