"""What comes out of a photo's way through the pipeline: pixels, record, and how to save them."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from restorer.errors import OutputExistsError
from restorer.formatting import duration
from restorer.imaging.colour import grey_to_rgb
from restorer.imaging.layers import Layer
from restorer.imaging.libraries import np
from restorer.options import Options
from restorer.options.sizes import dpi_of
from restorer.photo import Note, Photo, WriteOptions, check_output_size, open_photo, output_format, write_photo
from restorer.record import FaceRecord, Record
from restorer.storage.atomic import write_whole
from restorer.storage.digest import sha256_of
from restorer.storage.identity import identity, key

if TYPE_CHECKING:
    from PIL.Image import Image

_PREVIEW = 1024
"""Pixels of the longer side of what a notebook shows."""


@dataclass(frozen=True, repr=False)
class Result:
    """A restored photo.

    Attributes:
        image: (H, W, 3) RGB, uint8 or uint16 as the photo was.
        alpha: (H, W) of the same type, or None.
        photo: what was opened, with all that it carries.
        faces: every detected face: box, landmarks, score, whether and why not it was restored.
        record: all that is said of the photo; `record.as_dict()` is what `--json` prints.
        note: what the file will say of how it was made.
        changed: (H, W) uint8, how much of each pixel was invented, 255 = all; None where nothing was.
        options: the choices that it was made with.
        layers: what the image is made of, from the bottom, where `layers` asked for them; a TIFF is written with them.
        variants: of several answers, the pictures behind the first, in the form of `image`.
        variant_layers: of these, what `layers` is of the first.
        damage: (h, w) uint8 of the photo's size, 255 where it is damaged, where `save_mask` asked for it.
    """

    image: np.ndarray
    alpha: np.ndarray | None
    photo: Photo
    faces: tuple[FaceRecord, ...]
    record: Record
    note: Note
    changed: np.ndarray | None = None
    options: Options = field(default_factory=Options)
    layers: tuple[Layer, ...] = ()
    variants: tuple[np.ndarray, ...] = ()
    variant_layers: tuple[tuple[Layer, ...], ...] = ()
    damage: np.ndarray | None = None

    def __repr__(self) -> str:
        done = self.record.background or "unchanged"
        if self.faces:
            restored, found = sum(face.restored for face in self.faces), len(self.faces)
            count = f"{restored}" if restored == found else f"{restored} of {found}"
            done = f"{count} face{'' if found == 1 else 's'} by {self.record.model}"
        total = self.record.seconds.get("total", 0.0)
        return f"Result({self.image.shape[1]} x {self.image.shape[0]}, {done}, {duration(total)})"

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows: the picture, made smaller where it is large."""
        image = self.to_pil()
        image.thumbnail((_PREVIEW, _PREVIEW))
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return stream.getvalue()

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by stage."""
        return dict(self.record.seconds)

    @property
    def warnings(self) -> list[str]:
        """What did not go as one may expect, in words; those of the record."""
        return list(self.record.warnings)

    def to_pil(self) -> Image:
        """Return the picture as one of Pillow's, of mode L, LA, RGB or RGBA, and 8 bits a channel.

        Profile, EXIF, XMP (with the note of what was done) and resolution stand in its `info`.
        """
        from restorer.photo.density import printed
        from restorer.photo.pillow_images import pillow_image

        dpi = dpi_of(self.options, self.photo.size)
        like = self.photo if dpi is None else printed(self.photo, dpi)
        return pillow_image(self.image, self.alpha, like=like, note=self.note)

    def save(
        self,
        target: Path | str | os.PathLike[str] | BinaryIO,
        *,
        format: str | None = None,
        quality: int | None = None,
        strip_metadata: bool | None = None,
        overwrite: bool = False,
        variant: int = 0,
    ) -> list[str]:
        """Write the photo with everything that the input carried; return warnings about what the format cannot hold.

        The photo that it was made from is never written to, by whatever name, link or spelling.

        Args:
            target: a file, written beside and renamed, or a binary stream.
            format: "JPEG", "PNG", "WEBP", "TIFF", "BMP" or "HEIF"; None = by the file's suffix, PNG without one.
            quality: of JPEG, WebP and HEIC, 1 to 100; None = the options', where 95 stands for none, and a lossless
                WebP stays lossless.
            strip_metadata: drop everything but the colour profile; None = as the options say.
            overwrite: replace a file that is there.
            variant: which of several answers, from 0.

        Raises:
            OutputExistsError: the file is there already, or is the photo itself.
            UnwritableOutputError: the file cannot be written; nothing is left of it.
            UsageError: the suffix is no picture's, or of a kind that is not written.
            PhotoTooLargeError: the format cannot hold a picture of this size.
        """
        where = Path(target) if isinstance(target, (str, os.PathLike)) else target
        if format is None:
            suffix = where.suffix if isinstance(where, Path) else ""
            format = output_format(self.photo.format, "keep", suffix) if suffix else "TIFF" if self.layers else "PNG"
        check_target(where, self.photo, overwrite=overwrite)
        size = self.image.shape[1], self.image.shape[0]
        check_size(format, size, self.photo, where if isinstance(where, Path) else None)
        options = self.options
        how = WriteOptions(
            quality=options.quality if quality is None else quality,
            strip_metadata=options.strip_metadata if strip_metadata is None else strip_metadata,
            replace=overwrite,
            layers=self.layers if variant == 0 else self.variant_layers[variant - 1],
            dpi=dpi_of(options, self.photo.size),
        )
        alpha, note = self.alpha, self.note
        image = self.image if variant == 0 else self.variants[variant - 1]
        return write_photo(where, image, like=self.photo, format=format, alpha=alpha, note=note, how=how)


def variant_paths(target: Path, count: int) -> list[Path]:
    """Return the files of several answers: the result's own, then those with _2, _3 ... behind its name."""
    return [target, *(target.with_name(f"{target.stem}_{number}{target.suffix}") for number in range(2, count + 1))]


def mask_path(target: Path) -> Path:
    """Return the file that a result's mask of damage is written into."""
    return target.with_name(f"{target.stem}_mask.png")


def mask_file(damage: np.ndarray, note: Note) -> bytes:
    """Return a mask of damage (h, w), uint8, as a PNG file; its note tells it from photos that are to be restored."""
    stream, picture = io.BytesIO(), grey_to_rgb(damage)
    write_photo(stream, picture, like=open_photo(picture), format="PNG", note=note)
    return stream.getvalue()


def write_mask(target: Path, damage: np.ndarray, note: Note, *, overwrite: bool) -> str:
    """Write the mask of a result, and return its file's name.

    Raises:
        OutputExistsError: the file is there already.
        UnwritableOutputError: it cannot be written.
    """
    path = mask_path(target)
    if os.path.lexists(path) and not overwrite:
        raise OutputExistsError(path, f"{path} exists already.", "Use --overwrite to replace it, or another name.")
    write_whole(path, mask_file(damage, note))
    return str(path)


def file_format(options: Options) -> str:
    """Return what `format` asks for; where it is silent, layers ask for a TIFF."""
    return "tiff" if options.layers and options.format == "keep" else options.format


def check_size(format: str, size: tuple[int, int], photo: Photo, path: Path | None) -> None:
    """Raise `PhotoTooLargeError` when a format cannot hold the photo at this size."""
    check_output_size(format, *size, path, channels=3 if photo.alpha is None else 4, bits=photo.bits)


def check_target(target: Path | BinaryIO, photo: Photo, *, overwrite: bool) -> None:
    """Raise `OutputExistsError` for what must not be written to.

    Args:
        target: where a result is to go.
        photo: what it is made from; a name that leads to its file, on any disk, is refused in any case.
        overwrite: whether any other file may be replaced.
    """
    if _is_original(target, photo):
        named = target if isinstance(target, Path) else "The stream"
        message = f"{named} is the photo itself; an original is never overwritten."
        raise OutputExistsError(target if isinstance(target, Path) else None, message, "Choose another name.")
    if isinstance(target, Path) and os.path.lexists(target) and not overwrite:
        raise OutputExistsError(target, f"{target} exists already.", "Use --overwrite to replace it, or another name.")


def _is_original(target: Path | BinaryIO, photo: Photo) -> bool:
    """Return whether a file is the photo's, as far as its name, its links and, where it has no name, its bytes tell."""
    if not isinstance(target, Path):
        return photo.origin is not None and photo.origin[0] is not None and _open_file(target) == photo.origin[0]
    if photo.origin is None:
        return _holds(target, photo)
    file, place = photo.origin[0], Path(photo.origin[1])
    if file is not None and identity(target) == file:  # disks give the number of a file that is gone to another one
        return identity(place) == file or _holds(target, photo)
    return os.path.lexists(place) and key(target) == key(place)


def _holds(target: Path, photo: Photo) -> bool:
    """Return whether a file holds the very bytes of the photo."""
    try:
        return bool(photo.sha256) and target.is_file() and sha256_of(target) == photo.sha256
    except OSError:  # what cannot be read cannot be told; whether it can be written, writing says
        return False


def _open_file(stream: BinaryIO) -> tuple[int, int] | None:
    """Return which file a stream writes to; None for one that has none."""
    try:
        return identity(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return None
