"""The hole of `--hole` and the mask of `--mask`: where a picture is missing, or damaged."""

from __future__ import annotations

from pathlib import Path

from restorer.errors import UsageError
from restorer.imaging.libraries import np
from restorer.photo import read_photo
from restorer.storage.digest import sha256_of


def read_hole(path: Path, size: tuple[int, int], called: str = "hole") -> np.ndarray:
    """Return a hole, or another mask, as it is drawn: (h, w, 3) uint8 of the photo's size, 255 where it is white.

    Args:
        path: a picture, white where something is missing; anything lighter than mid-grey counts as white.
        size: (width, height) of the photo.
        called: what messages call it.

    Raises:
        UsageError: it is of another size, or has no white.
        PhotoError: it cannot be read.
    """
    drawn = read_photo(path)
    if drawn.size != size:
        raise UsageError(
            f"The {called} {path} is {drawn.size[0]} x {drawn.size[1]} pixels, the photo {size[0]} x {size[1]}.",
            "Draw it on a copy of the photo, so that both are of one size.",
        )
    top = 255 if drawn.pixels.dtype == np.uint8 else 65535
    white = drawn.pixels.astype(np.float32).mean(2) > top / 2
    if not white.any():
        raise UsageError(
            f"The {called} {path} has no white in it.",
            f"Paint white what is {'damaged' if called == 'mask' else 'missing'}, and all else black.",
        )
    return np.repeat(np.where(white, 255, 0).astype(np.uint8)[..., None], 3, axis=2)


def hash_of(path: Path, called: str = "hole") -> str:
    """Return what pins the drawing of a hole or of another mask; raises `UsageError` where there is no such file."""
    if path.exists() and not path.is_file():  # it is read more than once, which no pipe can be, and a device has no end
        raise UsageError(f"The {called} {path} is no file.", "Name a picture.")
    try:
        return sha256_of(path)
    except OSError as error:
        raise UsageError(
            f"The {called} {path} cannot be read: {error.strerror or error}.", "Check its name."
        ) from error
