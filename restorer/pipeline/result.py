"""What comes out of a photo's way through the pipeline: pixels, record, and how to save them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from restorer.imaging.libraries import np
from restorer.options import Options
from restorer.photo import Note, Photo, check_output_size, output_format, write_photo
from restorer.record import FaceRecord


@dataclass(frozen=True)
class Result:
    """A restored photo.

    Attributes:
        image: (H, W, 3) RGB, uint8 or uint16 as the photo was.
        alpha: (H, W) of the same type, or None.
        photo: what was opened, with all that it carries.
        faces: every detected face: box, landmarks, score, whether and why not it was restored.
        record: the record of the photo as plain values, as `--json` prints it.
        note: what the file will say of how it was made.
        changed: (H, W) uint8, how much of each pixel was invented, 255 = all; None where nothing was.
        options: the choices that it was made with.
    """

    image: np.ndarray
    alpha: np.ndarray | None
    photo: Photo
    faces: tuple[FaceRecord, ...]
    record: dict[str, Any]
    note: Note
    changed: np.ndarray | None = None
    options: Options = field(default_factory=Options, repr=False)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by stage."""
        return dict(self.record["seconds"])

    def save(
        self,
        target: Path | str | BinaryIO,
        *,
        format: str | None = None,
        quality: int | None = None,
        strip_metadata: bool | None = None,
    ) -> list[str]:
        """Write the photo with everything that the input carried; return warnings about what the format cannot hold.

        Args:
            target: a file, written beside and renamed, or a binary stream.
            format: "JPEG", "PNG", "WEBP", "TIFF", "BMP" or "HEIF"; None = by the file's suffix, PNG without one.
            quality: of JPEG, WebP and HEIC, 1 to 100; None = the options', where 95 stands for none, and a lossless
                WebP stays lossless.
            strip_metadata: drop everything but the colour profile; None = as the options say.

        Raises:
            UnwritableOutputError: the file cannot be written; nothing is left of it.
            UsageError: the suffix is no picture's, or of a kind that is not written.
            PhotoTooLargeError: the format cannot hold a picture of this size.
        """
        where = Path(target) if isinstance(target, str) else target
        if format is None:
            suffix = where.suffix if isinstance(where, Path) else ""
            format = output_format(self.photo.format, "keep", suffix) if suffix else "PNG"
        size = self.image.shape[1], self.image.shape[0]
        check_size(format, size, self.photo, where if isinstance(where, Path) else None)
        return write_photo(
            where,
            self.image,
            like=self.photo,
            format=format,
            alpha=self.alpha,
            quality=self.options.quality if quality is None else quality,
            note=self.note,
            strip_metadata=self.options.strip_metadata if strip_metadata is None else strip_metadata,
        )


def check_size(format: str, size: tuple[int, int], photo: Photo, path: Path | None) -> None:
    """Raise `PhotoTooLargeError` when a format cannot hold the photo at this size."""
    check_output_size(format, *size, path, channels=3 if photo.alpha is None else 4, bits=photo.bits)
