"""Whatever may be given as a photo: a file, its bytes, an open stream, pixels, or a picture of Pillow's."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeGuard

from restorer.errors import UnreadablePhotoError, UnsuitablePhotoError
from restorer.imaging.libraries import np
from restorer.photo.model import Photo, origin_of, photo_from_array
from restorer.photo.reading import read_photo

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Source: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | np.ndarray | PillowImage | Photo"
)
"""All that `open_photo` takes."""

_REMEDY = (
    "Give a file's path, its bytes, an open binary file, pixels as a numpy array (h, w, 3), or a picture of Pillow's."
)


def open_photo(source: Source) -> Photo:
    """Return the photo that was given, in whatever form.

    A file tells most: all depths, every kind of metadata. What Pillow has opened has lost some of it by then
    (`restorer.photo.pillow_images.photo_from_pillow`), and pixels have nothing but themselves.

    Args:
        source: a file's path; its bytes; an open binary file, which is read from its beginning where it can be; pixels
            as `restorer.photo.photo_from_array` takes them; a picture of Pillow's; or a photo that was read already.

    Raises:
        UnsuitablePhotoError: it is none of these.
        UnreadablePhotoError: it cannot be read, or is no picture.
        MissingSupportError: what its format needs is not installed.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, (str, os.PathLike)):
        return read_photo(Path(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return read_photo(bytes(source))
    if _is_pillow(source):
        from restorer.photo.pillow_images import photo_from_pillow

        return photo_from_pillow(source)
    if isinstance(source, np.ndarray):
        return photo_from_array(source)
    if callable(getattr(source, "read", None)):
        return _read_stream(source)
    raise UnsuitablePhotoError(f"A photo cannot be made of {_named(source)}.", _advice(source))


def _is_pillow(source: object) -> TypeGuard[PillowImage]:
    """Return whether it is a picture of Pillow's; who has none has not loaded Pillow either."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(source, module.Image)


def _read_stream(stream: Any) -> Photo:
    """Read an open file from its beginning; one that cannot go back, from where it stands."""
    name = getattr(stream, "name", None)
    path = Path(name) if isinstance(name, str) and Path(name).is_file() else None
    try:
        if stream.seekable():
            stream.seek(0)
    except (AttributeError, OSError):
        pass  # what cannot be asked or turned back is read as it stands
    try:
        data = stream.read()
    except (OSError, ValueError) as error:
        named = str(path) if path is not None else "The stream"
        raise UnreadablePhotoError(
            path, f"{named} cannot be read: {error}.", "Open it anew, in binary mode."
        ) from error
    if isinstance(data, str):
        raise UnsuitablePhotoError("The file is open as text, and a photo is bytes.", 'Open it with mode "rb".')
    photo = read_photo(bytes(data))
    if path is not None:
        photo.path, photo.origin = path, origin_of(path)
    return photo


def _named(source: object) -> str:
    if source is None or isinstance(source, (bool, int, float)):
        return repr(source)
    kind = type(source)
    return f"an object of the type {kind.__module__}.{kind.__qualname__}".replace("builtins.", "")


def _advice(source: object) -> str:
    """Return what to do with an object that is no photo; tensors and lists have their own way."""
    if callable(getattr(source, "detach", None)):
        return "Of a tensor (3, h, w) give tensor.permute(1, 2, 0).cpu().numpy(), in [0, 1] or of uint8."
    if isinstance(source, (list, tuple)):
        return "Restorer.restore takes one photo; Restorer.restore_many takes several."
    return _REMEDY
