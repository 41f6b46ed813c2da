"""What is seen of a photo before it is restored: a small picture, its faces, whether it is black and white."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restorer.options import Options
from restorer.photo import Photo
from restorer.pipeline.canvas import Canvas, Work
from restorer.pipeline.restorer import Restorer
from restorer.pipeline.stages.detect import STAGE
from restorer.record import Record
from restorer.report.previews import Picture

if TYPE_CHECKING:
    import numpy as np

THUMBNAIL = 320
"""Pixels of the longer side of a photo's small picture."""
SHOWN = frozenset({"JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP"})
"""Formats that every browser shows as they are."""


def find_faces(restorer: Restorer, photo: Photo, options: Options) -> Record:
    """Return a record with the faces of a photo, found and chosen as a restoration with these options does.

    Raises:
        WeightsError: the detector was named, and its weights cannot be had.
    """
    record = restorer.new_record("-", options)
    components = restorer.components_for(options)
    work = Work(photo, components.options, components, record, restorer.output_size(photo.size, options))
    if STAGE.is_wanted(work):
        STAGE.run(Canvas(photo.pixels, photo.alpha), work)
    return record


def faces_of(record: Record) -> list[dict[str, Any]]:
    """Return the faces of a record with their numbers."""
    return [{"number": number, **face.as_dict()} for number, face in enumerate(record.faces, 1)]


def write_small(photo: Photo, path: Path, side: int = THUMBNAIL) -> None:
    """Write a small picture of a photo in sRGB."""
    Picture(photo).image(side).save(path, "WEBP", quality=80, method=2)


def as_file(pixels: np.ndarray, profile: bytes | None) -> bytes:
    """Return a part of a result (h, w, 3) as a file that every browser shows, in the result's own colours."""
    from PIL import Image

    from restorer.imaging.libraries import np
    from restorer.imaging.resize import to_type

    levels = pixels if pixels.dtype == np.uint8 else to_type(pixels.astype(np.float32) / 257, np.dtype(np.uint8))
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "PNG", compress_level=1, icc_profile=profile)
    return stream.getvalue()


def write_shown(photo: Photo, path: Path) -> None:
    """Write a photo as a browser can show it, at its full size, in sRGB and without loss."""
    image = Picture(photo).image(max(photo.size))
    image.save(path, "PNG", compress_level=1)
