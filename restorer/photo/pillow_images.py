"""Pictures of Pillow's, in and out: what they bring along, and what they can carry away."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from restorer.errors import UnreadablePhotoError, UnsuitablePhotoError
from restorer.imaging.colour import Pixels, grey_to_rgb
from restorer.imaging.libraries import Image, np
from restorer.photo import channels, decoding, formats
from restorer.photo.builder import PhotoBuilder, take_pillow_info
from restorer.photo.damage import quiet_libraries
from restorer.photo.decoding import Decoded, UndecodableError
from restorer.photo.model import Note, Photo, origin_of
from restorer.photo.writing import prepared

_EXIF_PREFIX = b"Exif\0\0"


def photo_from_pillow(image: Image.Image) -> Photo:
    """Return a photo made of a picture of Pillow's, as it is now: what was drawn or cut counts.

    It brings its ICC profile, EXIF, XMP and resolution, as Pillow keeps them in `info`; an orientation that stands in
    the EXIF is obeyed, as with a file. Of 16-bit colour Pillow has kept 8 bits, of an animation the present picture,
    and of a TIFF no EXIF; whoever gives the file itself loses none of it.

    Args:
        image: of any mode that has a plain meaning as a photo; one that was opened and not loaded yet is loaded.

    Raises:
        UnreadablePhotoError: its file is damaged or cut off, or has been closed.
        UnsuitablePhotoError: it has no pixels, or its mode has no meaning as a photo.
    """
    name = getattr(image, "filename", None)
    path = Path(name) if isinstance(name, str) and name and Path(name).is_file() else None
    if 0 in image.size:
        raise UnsuitablePhotoError(f"The picture has no pixels: it is {image.size[0]} x {image.size[1]}.")
    known = image.format in formats.FORMATS
    builder = PhotoBuilder(str(image.format) if known else "PNG")
    try:
        with quiet_libraries():
            decoding.check_size(*image.size)
            take_pillow_info(builder, image)
            decoded = _decoded(image)
    except UndecodableError as error:
        raise UnsuitablePhotoError(f"The picture cannot be taken as a photo: {error}.", "Convert it to RGB.") from error
    except Exception as error:  # decoders raise nearly every class on a damaged file; the reason goes into the message
        message = f"{path or 'The picture'} cannot be read: it is damaged, cut off or closed ({error})."
        raise UnreadablePhotoError(path, message, "Open it again, or give the file itself.") from error
    photo = builder.photo(decoded)
    photo.path, photo.sha256 = path, _digest(photo)
    photo.origin = None if path is None else origin_of(path)
    return photo


def _decoded(image: Image.Image) -> Decoded:
    """Return a picture's arrays, which are not its own."""
    image.load()
    if image.mode == "I":  # as Pillow opens some 16-bit greys
        values = np.asarray(image)
        if int(values.min()) < 0 or int(values.max()) > 65535:
            raise UndecodableError(f"it holds whole numbers from {values.min()} to {values.max()}, not of 16 bits")
        return Decoded(grey_to_rgb(values.astype(np.uint16)), None, True)
    return decoding.from_pillow(image, image.info.get("icc_profile"))


def _digest(photo: Photo) -> str:
    """Return what tells a photo from another one, as a file's hash does: of pixels and all that goes along."""
    digest = hashlib.sha256(f"{photo.pixels.dtype.str}{photo.pixels.shape}{photo.grey}{photo.format}".encode())
    for part in (photo.pixels.data, b"" if photo.alpha is None else photo.alpha.data):
        digest.update(part)
    for block in (photo.icc_profile, photo.exif, photo.xmp, str(photo.dpi).encode()):
        digest.update(b"-" if block is None else len(block).to_bytes(8, "little") + block)
    return digest.hexdigest()


def pillow_image(pixels: Pixels, alpha: Pixels | None, *, like: Photo, note: Note | None = None) -> Image.Image:
    """Return a result as a picture of Pillow's, of mode L, LA, RGB or RGBA.

    In its `info` stands what a PNG of it would carry. Pillow has no 16-bit colour, so 16 bits are rounded to 8.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16.
        alpha: (h, w) of the same type, or None.
        like: the photo that it was made from, whose profile and metadata go along.
        note: what was done; goes into the XMP.
    """
    given = prepared(pixels, alpha, like, formats.FORMATS["PNG"], note)
    planes = channels.channels_of(given)
    if planes.dtype == np.uint16:
        planes = channels.to_bits(planes, 8).astype(np.uint8)
    image = channels.pillow_image(planes).copy()  # of its own memory, which may be written to
    exif = None if given.exif is None else _EXIF_PREFIX + given.exif
    info: dict[str, Any] = {"icc_profile": given.icc_profile, "exif": exif, "xmp": given.xmp, "dpi": given.dpi}
    image.info.update({name: value for name, value in info.items() if value is not None})
    return image
