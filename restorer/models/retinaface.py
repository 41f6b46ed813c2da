"""RetinaFace: which checkpoint goes with which of facexlib's two networks, and a decoding of our own.

In each view the network finds the faces that are neither too small for it nor larger than its largest anchor:

- coarse: the long side at 480 px, with an empty frame around, so that a face that fills the whole picture is found too;
- fine: the long side at 1920 px, enlarged at most 1.6 times. The network finds hardly half of the faces of 20 px, but
  nearly all of 32 px: so faces that have 20 px when the long side is reduced to 1200 px are found. The cost no longer
  grows from there on;
- finer, in tiles, when faces smaller than that are asked for (`min_face`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.errors import InvalidTableError
from restorer.models.base import TILE, TILE_UP_TO, DetectorArchitecture, Face, View

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from restorer.models.base import RunningNetwork, Shapes, StateDict

STRIDES = (8, 16, 32)
ANCHORS = ((16, 32), (64, 128), (256, 512))  # pixels, two sizes at each stride
VARIANCES = (0.1, 0.2)  # of centres and landmarks, of the logarithm of sizes
MEAN_RGB = (123.0, 117.0, 104.0)  # the network sees it as nothing

REDUCED = 1200  # long side at which faces of SEEN_FROM pixels are still found
SEEN_FROM = 20
SURE_FROM = 32  # pixels in the view at which the network is sure of a face
COARSE = 480
GLANCE = 640  # long side
COARSE_FRAME = 0.25  # width of the empty frame, as a share of the long side
COARSE_FROM = 64  # pixels in the coarse view; what is smaller there, the fine view sees better
FINE_UP_TO = 512  # pixels in a view: the largest anchor
FINER_BY = 4  # between two views
_TELLTALE = {"resnet50": "body.layer4.0.conv1.weight", "mobile0.25": "body.stage3.0.0.weight"}


class RetinaFaceArchitecture(DetectorArchitecture):
    """RetinaFace with a ResNet-50 or a MobileNet of a quarter of its width."""

    name = "retinaface"
    channels_last = True
    defaults: ClassVar = {"network_name": "resnet50"}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Tell the backbone by its layers' names."""
        names = {key.removeprefix("module.") for key in shapes}
        backbones = [backbone for backbone, key in _TELLTALE.items() if key in names]
        return {"network_name": backbones[0]} if backbones else {}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Take off what torch's DataParallel puts in front of every name."""
        return {key.removeprefix("module."): value for key, value in state.items()}

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network; see `restorer.networks.facexlib_networks`."""
        from restorer.networks.facexlib_networks import RetinaFace

        backbone = arguments["network_name"]
        if backbone not in _TELLTALE:
            raise InvalidTableError(
                self.name,
                f"The architecture 'retinaface' has no network_name {backbone!r}.",
                f"Use one of: {', '.join(_TELLTALE)}.",
            )
        return RetinaFace(backbone)

    def views(self, longest: int, min_face: float | None) -> Iterator[View]:
        """Yield a coarse view, a fine one, and finer ones in tiles for small faces."""
        fine = min(REDUCED / longest, 1) * SURE_FROM / SEEN_FROM
        coarse = min(COARSE / longest, fine)
        yield View(coarse, frame=COARSE_FRAME, smallest=COARSE_FROM)
        yield View(fine, largest=FINE_UP_TO)
        finest = SURE_FROM / min_face if min_face else 0
        while fine < finest:
            fine = min(fine * FINER_BY, finest)
            yield View(fine, largest=TILE_UP_TO if fine * longest > TILE else FINE_UP_TO)

    def glances(self, longest: int) -> Iterator[View]:
        """Yield one view of `GLANCE` pixels: with a ResNet the fine one takes seconds, and few photos lie on a side."""
        fine = min(REDUCED / longest, 1) * SURE_FROM / SEEN_FROM
        yield View(min(GLANCE / longest, fine))

    def detect_region(
        self, network: RunningNetwork, region: np.ndarray, view: View, min_score: float
    ) -> Iterator[Face]:
        """Yield the faces of a part of the photo; see `DetectorArchitecture.detect_region`."""
        import cv2
        import numpy as np
        import torch

        from restorer.imaging.colour import top_of

        height, width = region.shape[:2]
        wide, high = max(1, round(width * view.scale)), max(1, round(height * view.scale))
        shrinks = view.scale < 1
        picture = cv2.resize(region, (wide, high), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        frame = round(view.frame * max(wide, high))
        framed = np.empty((multiple(high + 2 * frame), multiple(wide + 2 * frame), 3), np.float32)
        framed[:] = MEAN_RGB
        framed[frame : frame + high, frame : frame + wide] = picture * np.float32(255 / top_of(region.dtype))
        found = network(torch.from_numpy(framed).permute(2, 0, 1)[None] / 127.5 - 1)[0].numpy()
        numbers = np.flatnonzero(found[:, 4] >= min_score)
        rows = found[numbers]
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
    import numpy as np

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


def multiple(length: int) -> int:
    """Return the next multiple of the coarsest stride."""
    return -(-length // STRIDES[-1]) * STRIDES[-1]


ARCHITECTURES = (RetinaFaceArchitecture(),)
