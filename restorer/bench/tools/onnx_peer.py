"""A pipeline as face enhancers on ONNX Runtime have it (facefusion's is the best known), written from its description.

    python onnx_peer.py PHOTO OUT.png --model gfpgan.onnx --detector retinaface.onnx [--scale 2] [--threads N]

The detector sees the photo once, as a square. Each face is brought to the template by OpenCV's own estimate, restored
in fp32, and put back under a soft box with a warp that is as large as its place; one after another. What such programs
do besides (finer landmarks, a recogniser, age and gender of each face) is left out, which makes it quicker than they
are. The photo is enlarged bicubically. It is started by its path, not imported: nothing of torch or restorer is loaded,
as nothing of them would be there. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STRIDES = (8, 16, 32)
ANCHORS = ((16, 32), (64, 128), (256, 512))
EMPTY = (123, 117, 104)  # RGB, where the square is larger than the photo
LEAST_SCORE, MOST_OVERLAP = 0.9, 0.4
TEMPLATE = (
    (192.98138, 239.94708),
    (318.90277, 240.1936),
    (256.63416, 314.01935),
    (201.26117, 371.41043),
    (313.08905, 371.15118),
)
"""Where a face's five landmarks belong in a crop of 512 pixels aligned as FFHQ's are."""
SIDE = 512
BLUR = 0.3
"""Share of the crop over which the box fades."""


class Stages(dict[str, float]):
    """Seconds by stage."""

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds of what is done meanwhile."""
        begin = time.perf_counter()
        yield
        self[name] = self.get(name, 0.0) + time.perf_counter() - begin


class Peer:
    """The pipeline with its two networks.

    Args:
        model: the face restorer's file.
        detector: the detector's.
        threads: of ONNX Runtime; 0 = as many as it takes by itself.
        stages: where seconds are counted.
    """

    def __init__(self, model: Path, detector: Path, threads: int, stages: Stages) -> None:
        self.stages = stages
        with stages.timed("import"):
            self.cv2: Any = importlib.import_module("cv2")
            self.np: Any = importlib.import_module("numpy")
            ort: Any = importlib.import_module("onnxruntime")
        with stages.timed("load"):
            options = ort.SessionOptions()
            options.intra_op_num_threads, options.log_severity_level = threads, 3
            self.model, self.detector = (
                ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
                for path in (model, detector)
            )

    def restore(self, source: Path, target: Path, scale: int) -> int:
        """Restore one photo; return how many faces it had."""
        cv2, timed = self.cv2, self.stages.timed
        with timed("read"):
            photo = cv2.cvtColor(cv2.imread(str(source), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        with timed("detect"):
            faces = self.faces(photo)
        with timed("upscale"):
            canvas = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        for landmarks in faces:
            with timed("align"):
                matrix, crop = self.aligned(photo, landmarks)
            with timed("restore"):
                restored = self.restored(crop)
            with timed("mask"):
                mask = self.box()
            with timed("paste"):
                self.paste(canvas, restored, mask, matrix, scale)
        with timed("write"):
            cv2.imwrite(str(target), cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
        return len(faces)

    def faces(self, photo: Any) -> list[Any]:
        """Return the landmarks (5, 2) of each face of a photo (h, w, 3)."""
        cv2, np = self.cv2, self.np
        side = self.detector.get_inputs()[0].shape[2]
        share = min(side / max(photo.shape[:2]), 1.0)
        small = photo
        if share < 1:
            small = cv2.resize(photo, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        square = np.empty((side, side, 3), np.float32)
        square[:] = EMPTY
        square[: small.shape[0], : small.shape[1]] = small
        rows = self.detector.run(None, {"pictures": square.transpose(2, 0, 1)[None] / 127.5 - 1})[0][0]
        middles, sides = self.anchors(side)
        good = np.flatnonzero(rows[:, 4] >= LEAST_SCORE)
        good = good[np.argsort(-rows[good, 4])]
        rows, middles, sides = rows[good], middles[good], sides[good]
        centres, extents = middles + rows[:, :2] * 0.1 * sides, sides * np.exp(rows[:, 2:4] * 0.2)
        boxes = np.concatenate([centres - extents / 2, extents], axis=1)
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 4].tolist(), LEAST_SCORE, MOST_OVERLAP)
        points = middles[:, None] + rows[:, 5:].reshape(-1, 5, 2) * 0.1 * sides[:, None]
        return [points[number] / share for number in np.asarray(kept, int).reshape(-1)]

    def anchors(self, side: int) -> tuple[Any, Any]:
        """Return the middles (n, 2) and sides (n, 1) of the detector's anchors in a square."""
        np = self.np
        middles, sides = [], []
        for stride, sizes in zip(STRIDES, ANCHORS, strict=True):
            steps = (np.arange(side // stride) + 0.5) * stride
            cells = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 1, 2)
            middles.append(np.repeat(cells, len(sizes), axis=1).reshape(-1, 2))
            sides.append(np.tile(np.array(sizes, np.float64), len(cells)).reshape(-1, 1))
        return np.concatenate(middles), np.concatenate(sides)

    def aligned(self, photo: Any, landmarks: Any) -> tuple[Any, Any]:
        """Return the map (2, 3) from the photo to the crop, and the crop (512, 512, 3)."""
        cv2 = self.cv2
        # Landmarks count from the corner of the first pixel, OpenCV from its middle.
        source, target = (self.np.asarray(points, self.np.float32) - 0.5 for points in (landmarks, TEMPLATE))
        matrix = cv2.estimateAffinePartial2D(source, target, method=cv2.LMEDS)[0]
        return matrix, cv2.warpAffine(
            photo, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )

    def restored(self, crop: Any) -> Any:
        """Return a restored crop, float32 (512, 512, 3), 0 to 255."""
        np = self.np
        given = (crop.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
        found = self.model.run(None, {"pictures": given})[0][0]
        return np.ascontiguousarray((found.clip(-1, 1).transpose(1, 2, 0) + 1) * np.float32(127.5))

    def box(self) -> Any:
        """Return the mask (512, 512), 0 to 1."""
        np = self.np
        margin = int(SIDE * 0.5 * BLUR)
        mask = np.ones((SIDE, SIDE), np.float32)
        half = max(margin // 2, 1)
        mask[:half], mask[-half:], mask[:, :half], mask[:, -half:] = 0, 0, 0, 0
        return self.cv2.GaussianBlur(mask, (0, 0), margin * 0.25)

    def paste(self, canvas: Any, face: Any, mask: Any, matrix: Any, scale: int) -> None:
        """Blend a face into the enlarged photo, in place."""
        cv2, np = self.cv2, self.np
        back = cv2.invertAffineTransform(matrix) * scale
        back[:, 2] += (scale - 1) / 2
        corners = np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]]) @ back[:, :2].T + back[:, 2]
        (x0, y0), (x1, y1) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, canvas.shape[1]), min(y1, canvas.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        back[:, 2] -= (x0, y0)
        size = x1 - x0, y1 - y0
        warped = cv2.warpAffine(face, back, size, borderMode=cv2.BORDER_REPLICATE)
        weight = cv2.warpAffine(mask, back, size).clip(0, 1)[..., None]
        below = canvas[y0:y1, x0:x1]
        canvas[y0:y1, x0:x1] = np.rint(below * (1 - weight) + warped * weight).clip(0, 255).astype(np.uint8)


def main() -> None:
    """Read the command line and restore the photo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    stages = Stages()
    peer = Peer(options.model, options.detector, options.threads, stages)
    faces = peer.restore(options.photo, options.out, options.scale)
    print(json.dumps({"faces": faces, "stages": stages}))


if __name__ == "__main__":
    main()
