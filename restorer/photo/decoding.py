"""From a file's bytes to arrays: upright pixels, alpha, depth. Metadata is none of this module's business.

Pillow decodes everything but 16-bit colour, which it would cut to 8 bits; that is OpenCV's.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import UnidentifiedImageError

from restorer.imaging.colour import grey_to_rgb, is_grey
from restorer.imaging.libraries import Image, np
from restorer.photo import color

if TYPE_CHECKING:
    from restorer.imaging.colour import Pixels

MAX_PIXELS = 2**30
"""The largest photo that is read: 1,073,741,824 pixels, which is 3.2 GB of 8-bit RGB, and OpenCV's own limit."""


class UndecodableError(ValueError):
    """Raised with the reason why a picture cannot be decoded; never leaves this package.

    Attributes:
        remedy: what helps, where the file is not damaged; None = a whole copy of it.
    """

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass
class Decoded:
    """Upright or not yet upright arrays; `pixels` is (h, w, 3), `icc_profile` replaces the file's where it is set."""

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    new_profile: bytes | None = None
    drop_profile: bool = False
    warnings: list[str] = field(default_factory=list)


class _Borrowed:
    """A setting of the whole process that is ours while anyone is inside, and put back when the last one leaves."""

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], Any], ours: Any) -> None:
        self._read, self._write, self._ours = read, write, ours
        self._lock = threading.Lock()
        self._users = 0
        self._before: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = self._read()
                self._write(self._ours)
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._write(self._before)


def _set_pillow_limit(limit: int | None) -> None:
    Image.MAX_IMAGE_PIXELS = limit


# Pillow's guard against decompression bombs refuses, at 179 megapixels, photos that cameras take today. It is lifted
# while pictures are opened here; `check_size` is the guard in its place.
_no_pillow_limit = _Borrowed(lambda: Image.MAX_IMAGE_PIXELS, _set_pillow_limit, None)


@cache
def _quiet_opencv() -> _Borrowed:
    """OpenCV prints its complaints on stderr; what is wrong with a file is said in the error instead."""
    import cv2

    log = cv2.utils.logging
    return _Borrowed(log.getLogLevel, log.setLogLevel, log.LOG_LEVEL_SILENT)


@cache
def _quiet_libtiff() -> None:
    """Take from Pillow's libtiff the functions that print its complaints on stderr; errors are raised as before.

    It has one pair of them for a process, and no way to have them for one file alone. Where Pillow is linked in such a
    way that they cannot be found (on Windows), it goes on printing.
    """
    import ctypes

    from PIL import _imaging

    library = ctypes.CDLL(_imaging.__file__)  # looks into what that is linked with, too
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if setter := getattr(library, name, None):
            setter.restype, setter.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
            setter(None)


def check_size(width: int, height: int) -> None:
    """Raise `UndecodableError` for a picture beyond `MAX_PIXELS`, before it is decoded."""
    if width * height > MAX_PIXELS:
        reason = f"it has {width:,} x {height:,} pixels, and {MAX_PIXELS:,} are the most that are read"
        raise UndecodableError(reason, "Give a smaller copy, or parts of it.")


@contextmanager
def opened(data: bytes | io.BytesIO, *kinds: str) -> Iterator[Image.Image]:
    """Open a picture with Pillow, as one of the kinds only; not decoded yet, size checked."""
    stream = data if isinstance(data, io.BytesIO) else io.BytesIO(data)
    if "TIFF" in kinds:
        _quiet_libtiff()
    with _no_pillow_limit:
        try:
            image = Image.open(stream, formats=kinds)
        except UnidentifiedImageError as error:
            raise UndecodableError("its header is damaged, or it holds pixels of a kind that cannot be read") from error
        with image:
            check_size(*image.size)
            yield image


def size_by_pillow(*kinds: str) -> Callable[[Path], tuple[int, int]]:
    """Return a function that tells width and height from a file's header, as Pillow's plug-ins of these kinds do."""

    def size(path: Path) -> tuple[int, int]:
        with _no_pillow_limit, Image.open(path, formats=kinds) as image:
            return image.size

    return size


def from_pillow(image: Image.Image, profile: bytes | None = None) -> Decoded:
    """Decode the first picture of an opened file. Its values stay as they are, save for CMYK, Lab and HSV.

    Args:
        image: opened by `opened`.
        profile: the file's ICC profile, through which CMYK is converted.
    """
    image.load()
    mode = image.mode
    if mode in ("1", "L"):
        key = image.info.get("transparency")
        grey = np.array(image.convert("L"))
        if isinstance(key, int):
            key_level = 255 if mode == "1" and key else key
            return Decoded(grey_to_rgb(grey), np.where(grey == key_level, 0, 255).astype(np.uint8), True)
        return Decoded(grey_to_rgb(grey), None, True)
    if mode in ("LA", "La"):
        both = np.array(image.convert("LA"))
        return Decoded(grey_to_rgb(both[..., 0]), both[..., 1].copy(), True)
    if mode.startswith("I;16"):
        return Decoded(grey_to_rgb(np.asarray(image).astype(np.uint16)), None, True)
    if mode in ("P", "PA"):
        has_alpha = mode == "PA" or "transparency" in image.info
        decoded = _split(image.convert("RGBA" if has_alpha else "RGB"))
        decoded.grey = is_grey(decoded.pixels)
        return decoded
    if mode == "RGB":
        if isinstance(image.info.get("transparency"), tuple):
            return _split(image.convert("RGBA"))
        return Decoded(np.array(image))
    if mode in ("RGBA", "RGBa"):
        return _split(image if mode == "RGBA" else image.convert("RGBA"))
    if mode == "RGBX":
        return Decoded(np.array(image.convert("RGB")), warnings=["A fourth channel without meaning was dropped."])
    if mode == "CMYK":
        converted, warning = color.cmyk_to_rgb(image, profile)
        return Decoded(np.array(converted), new_profile=color.srgb_profile(), warnings=[warning])
    if mode == "LAB":
        return Decoded(
            np.array(color.lab_to_rgb(image)),
            new_profile=color.srgb_profile(),
            warnings=["Lab colour was converted to sRGB."],
        )
    if mode in ("YCbCr", "HSV"):
        return Decoded(np.array(image.convert("RGB")))
    if mode == "F":
        return from_float(np.asarray(image))
    reason = f"its pixels are of the kind {mode!r}, which has no plain meaning as a photo"
    raise UndecodableError(reason, "Export it as RGB or grey with 8 or 16 bits, as PNG or TIFF.")


def _split(image: Image.Image) -> Decoded:
    """Return an RGB or RGBA picture as arrays of their own."""
    pixels = np.array(image)
    if pixels.shape[2] == 4:
        return Decoded(np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3]))
    return Decoded(pixels)


def from_float(values: Pixels) -> Decoded:
    """Take floating-point values between 0 and 1 as 16-bit ones; any others have no fixed white and are refused."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= 1.0):  # also true of NaN
        reason = f"it holds floating-point values from {low:g} to {high:g}, and only 0 to 1 has a meaning"
        raise UndecodableError(reason, "Export it with 16-bit whole numbers, as TIFF or PNG.")
    pixels = np.rint(values.astype(np.float64) * 65535).astype(np.uint16)
    warnings = ["Floating-point values were taken as 16-bit ones."]
    if pixels.ndim == 2:
        return Decoded(grey_to_rgb(pixels), None, True, warnings=warnings)
    return Decoded(pixels, warnings=warnings)


def from_opencv(data: bytes) -> Pixels:
    """Decode a PNG or TIFF at its own depth with OpenCV, as (h, w), (h, w, 3) RGB or (h, w, 4) RGBA.

    The data must carry no orientation: versions of OpenCV differ in whether they turn the picture.
    """
    import cv2

    try:
        with _quiet_opencv():
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise UndecodableError(f"it cannot be decoded ({str(error).strip()})") from error
    if pixels is None:
        raise UndecodableError("it is damaged, cut off, or compressed in a way that cannot be decoded at 16 bits")
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        code = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        pixels = cv2.cvtColor(pixels, code)
    result: Pixels = pixels
    return result


def separated(pixels: Pixels, *, grey: bool) -> Decoded:
    """Return channels as OpenCV gives them ((h, w), (h, w, 3 or 4)) as pixels and alpha."""
    if pixels.ndim == 2:
        return Decoded(grey_to_rgb(pixels), None, True)
    alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2] == 4 else None
    return Decoded(np.ascontiguousarray(pixels[..., :3]), alpha, grey)


def unmultiplied(decoded: Decoded) -> Decoded:
    """Divide the pixels by the alpha that was multiplied into them; fully transparent ones become black."""
    if decoded.alpha is None:
        return decoded
    top = float(np.iinfo(decoded.pixels.dtype).max)
    alpha = decoded.alpha.astype(np.float32)[..., None]
    straight = np.divide(
        decoded.pixels * np.float32(top), alpha, out=np.zeros(decoded.pixels.shape, np.float32), where=alpha > 0
    )
    decoded.pixels = np.clip(np.rint(straight), 0, top).astype(decoded.pixels.dtype)
    return decoded


def upright(array: Pixels, orientation: int) -> Pixels:
    """Return an array (h, w, ...) turned and mirrored as its EXIF orientation 1 to 8 says (EXIF 2.32, 4.6.4 A)."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)
