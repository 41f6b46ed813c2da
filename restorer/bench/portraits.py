"""What becomes of the faces of whole photographs: detail beside the plain enlargement's, photo by photo.

    python -m restorer.bench portraits FOLDER --match "facenet_*" "ulfg_5*" --scale 1 2

Each photograph goes through the pipeline as by the command (the model's own detector, Lanczos around the faces). For
each face: its side in the photo, whether it was restored, and its detail (energy of the Laplacian within its box) as a
share of that of the plain enlargement. A clean face should be left alone or keep 0.95 of it; a noisy one loses noise,
which counts here as detail.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from restorer.bench.harm import ENOUGH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from restorer.pipeline.restorer import Restorer


@dataclass(frozen=True)
class Row:
    """A face of a photograph.

    Attributes:
        photo: name of the file.
        scale: of the result.
        side: of the face's box, pixels of the photo.
        restored: whether the model's answer was pasted.
        detail: share of the plain enlargement's.
    """

    photo: str
    scale: float
    side: float
    restored: bool
    detail: float

    @property
    def enough(self) -> bool:
        """Whether it was left alone, or has no less detail than it should."""
        return not self.restored or self.detail >= ENOUGH


def faces_of(path: Path, restorer: Restorer) -> list[Row]:
    """Restore a photograph and return what became of its faces, the largest first."""
    import cv2

    from restorer.imaging.quality import luma_of
    from restorer.imaging.resize import resize

    result = restorer.restore(path)
    photo = result.photo.pixels
    plain = resize(photo, (result.image.shape[1], result.image.shape[0]))
    ours, theirs = (cv2.Laplacian(luma_of(each), cv2.CV_32F) for each in (result.image, plain))
    scale, rows = result.image.shape[1] / photo.shape[1], []
    for face in result.faces:
        left, top, right, bottom = (max(round(edge * scale), 0) for edge in face.box)
        seen = np.s_[top:bottom, left:right]
        share = float(ours[seen].var()) / max(float(theirs[seen].var()), 1e-9)
        rows.append(Row(path.name, scale, (right - left) / scale, face.restored, share))
    return sorted(rows, key=lambda row: -row.side)


def main(arguments: list[str]) -> int:
    """Print the figures."""
    import torch

    from restorer.engine import device as devices
    from restorer.pipeline.restorer import Restorer
    from restorer.training.datasets import picture_files

    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench portraits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="photographs")
    parser.add_argument("--match", nargs="*", default=["*"], help='only files of such names, for example "ulfg_5*"')
    parser.add_argument("--model", default="tiny", help="face restorer (default tiny)")
    parser.add_argument("--scale", type=float, nargs="*", default=[1.0, 2.0], help="default 1 2")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(devices.allowed_cores())
    files = [path for path in picture_files(options.folder) if any(map(path.match, options.match))]
    rows: list[Row] = []
    for scale in options.scale:
        restorer = Restorer(options.model, background="lanczos", scale=scale)
        for path in files:
            rows += faces_of(path, restorer)
    print(json.dumps([asdict(row) for row in rows]) if options.json else table(rows))
    return 0


def table(rows: Sequence[Row]) -> str:
    """Return the figures as a table: a line a photograph and scale, and one for all."""
    lines = ["photo                             scale  faces  restored  detail (least)  left alone or 0.95"]

    def line(name: str, scale: Any, found: Sequence[Row]) -> str:
        details = [row.detail for row in found]
        restored, enough = (sum(values) for values in zip(*((row.restored, row.enough) for row in found), strict=True))
        return (
            f"{name[:32]:32}  {scale:>5}  {len(found):5}  {restored:8}  {float(np.median(details)):6.2f} "
            f"({min(details):.2f})   {enough} of {len(found)}"
        )

    for name, scale in dict.fromkeys((row.photo, row.scale) for row in rows):
        lines.append(line(name, f"{scale:g}", [row for row in rows if (row.photo, row.scale) == (name, scale)]))
    return "\n".join([*lines, line("all", "", rows)] if rows else [*lines, "no faces"])
