"""The built-in detector on photos of any size: two views of each photo, and findings put together as RetinaFace's are.

- coarse: the long side at 256 px, with an empty frame around, for faces that fill much of the photo;
- fine: the long side at 1200 px, enlarged at most 1.6 times, for all others. From 1200 px on the cost does not grow;
- finer, in tiles, when smaller faces are asked for (`min_face`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np

from restorer.device import Device, Precision
from restorer.faces.detect import FINER_BY, TILE_UP_TO, Face, RetinaFaceDetector, _multiple, _View
from restorer.faces.tinydetector import TinyDetectorModel

if TYPE_CHECKING:
    from restorer.registry import LoadedNetwork

COARSE = 256
COARSE_FRAME = 0.125  # width of the empty frame, as a share of the long side
COARSE_FROM = 40  # pixels in the coarse view
FINE = 1200
ENLARGED = 1.6  # at most, in the fine view
UP_TO = 300  # pixels in the fine view
SURE_FROM = 20  # pixels in a view


class TinyDetector(RetinaFaceDetector):
    """Finds faces with a network of the architecture "tinydetector"; the arguments are those of `RetinaFaceDetector`.

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
        import torch

        if not isinstance(loaded.architecture, TinyDetectorModel):
            raise TypeError(f"{loaded.table.name} is no tinydetector")
        self.name = loaded.table.name
        self.min_score = min_score
        self.min_face = min_face
        # On a CPU these convolutions are several times as quick when a pixel's channels lie together.
        self._network = loaded.network.to(memory_format=torch.channels_last)
        self._device = Device(str(next(loaded.network.parameters()).device), precision)

    def _views(self, longest: int) -> Iterator[_View]:
        """Yield the views of a photo by its long side, coarsest first."""
        fine = min(FINE / longest, ENLARGED)
        yield _View(min(COARSE / longest, ENLARGED), frame=COARSE_FRAME, smallest=COARSE_FROM)
        yield _View(fine, largest=UP_TO)
        finest = SURE_FROM / self.min_face if self.min_face else 0
        while fine < finest:
            fine = min(fine * FINER_BY, finest)
            yield _View(fine, largest=TILE_UP_TO)

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
        tensor = torch.from_numpy(framed).to(self._device.name).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.inference_mode(), self._device.autocast():
            rows = self._network(tensor)[0].float()
            likely = torch.nonzero(rows[:, 4] >= self.min_score)[:, 0].cpu()
            rows = rows.cpu()[likely]
            boxes, landmarks = place(rows, cells(*framed.shape[:2])[likely])
        back = np.array([width / wide, height / high])  # the scale that rounding left, for each axis
        corners = (boxes.numpy().reshape(-1, 2, 2) - frame) * back
        points = ((landmarks.numpy() - frame) * back).astype(np.float32)
        for box, spots, score in zip(corners, points, rows[:, 4].tolist(), strict=True):
            (x0, y0), (x1, y1) = box.tolist()
            face = Face((x0, y0, x1, y1), spots, score)
            if view.smallest <= face.size * view.scale <= view.largest:
                yield face


def detector_for(
    loaded: LoadedNetwork, *, min_score: float = 0.9, min_face: float | None = None, precision: Precision = "fp32"
) -> RetinaFaceDetector:
    """Return the detector for a network of either architecture; raises TypeError when it is of none of them."""
    kind = TinyDetector if isinstance(loaded.architecture, TinyDetectorModel) else RetinaFaceDetector
    return kind(loaded, min_score=min_score, min_face=min_face, precision=precision)
