"""Small pictures of large photos, as data that stands in the page itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

from restorer.photo import Photo, read_photo
from restorer.photo import color as colors

if TYPE_CHECKING:
    from numpy.typing import NDArray

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sizes:
    """How large the pictures of a page are.

    Attributes:
        side: long side of a photo in pixels, at most; smaller photos stay as they are.
        face: side of a face's close-up, at most.
        faces: close-ups a photo, at most.
        quality: of WebP.
    """

    side: int
    face: int
    faces: int
    quality: int = 80


def sizes_for(photos: int) -> Sizes:
    """Return sizes with which a page of so many photos can still be opened and mailed or kept."""
    for most, sizes in TIERS.items():
        if photos <= most:
            return sizes
    return LEAST


TIERS = {
    40: Sizes(1600, 320, 12),
    150: Sizes(1280, 256, 8),
    600: Sizes(800, 192, 4, 75),
}
"""Sizes by the number of photos up to which they are used."""
LEAST = Sizes(480, 128, 2, 70)


@dataclass(frozen=True)
class Preview:
    """A picture for the page: a data URI, its width and height in pixels."""

    uri: str
    width: int
    height: int


class Picture:
    """A photo's pixels, from which previews are cut.

    Args:
        photo: what was read.
    """

    def __init__(self, photo: Photo) -> None:
        self._photo = photo
        self.size = photo.size

    @classmethod
    def read(cls, source: Photo | Path, page: int | None = None) -> Picture:
        """Return the picture of a photo, or of a page of a file; raises PhotoError where that cannot be read."""
        return cls(source if isinstance(source, Photo) else read_photo(source, page=page))

    def whole(self, sizes: Sizes) -> Preview:
        """Return the whole photo."""
        return self._preview((0, 0, *self.size), sizes.side, sizes.quality)

    def part(self, box: Box, sizes: Sizes) -> Preview:
        """Return a part of the photo; `box` holds shares of its width and height, 0 to 1."""
        width, height = self.size
        x0, y0 = min(round(box[0] * width), width - 1), min(round(box[1] * height), height - 1)
        x1, y1 = max(round(box[2] * width), x0 + 1), max(round(box[3] * height), y0 + 1)
        return self._preview((x0, y0, x1, y1), sizes.face, sizes.quality)

    def image(self, side: int) -> Image.Image:
        """Return the whole photo in sRGB, RGB or RGBA or grey, reduced to a long side."""
        return self._image((0, 0, *self.size), side)

    def _preview(self, region: tuple[int, int, int, int], side: int, quality: int) -> Preview:
        """Return a region in sRGB, reduced to a long side."""
        image = self._image(region, side)
        stream = io.BytesIO()
        image.save(stream, "WEBP", quality=quality, method=4)
        uri = "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
        return Preview(uri, image.width, image.height)

    def _image(self, region: tuple[int, int, int, int], side: int) -> Image.Image:
        import cv2

        x0, y0, x1, y1 = region
        pixels = self._photo.pixels[y0:y1, x0:x1]
        if self._photo.alpha is not None:
            pixels = np.dstack([pixels, self._photo.alpha[y0:y1, x0:x1]])
        height, width = pixels.shape[:2]
        scale = side / max(width, height)
        if scale < 1:
            smaller = (max(1, round(width * scale)), max(1, round(height * scale)))
            pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
        return _srgb(_eight_bits(pixels), self._photo.icc_profile)


def _eight_bits(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels, dtype=np.uint8)
    return np.rint(pixels / 257).astype(np.uint8)


def _srgb(pixels: NDArray[np.uint8], profile: bytes | None) -> Image.Image:
    """Return pixels as a picture in sRGB, which browsers take for granted; a profile that cannot be used is ignored."""
    image = Image.fromarray(pixels)
    space = colors.profile_space(profile) if profile else None
    if profile is None or space not in ("RGB", "GRAY"):
        return image
    try:
        if space == "GRAY":
            curved = colors.grey_curve_to_srgb(pixels[..., :3], profile)
            return Image.fromarray(np.dstack([curved, *np.moveaxis(pixels[..., 3:], 2, 0)]))
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # A fourth channel is carried along as it is.
        converted = ImageCms.profileToProfile(
            image,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError):  # only the preview's colours; the result itself carries the profile
        return image
    return converted or image


def around(box: Box, size: tuple[int, int], margin: float = 0.35) -> Box:
    """Return the square around a face's box, as shares of the photo's width and height.

    Args:
        box: pixels of the photo.
        size: (width, height) of the photo.
        margin: how far the square reaches beyond the box on each side, in the box's longer side. Near an edge it is
            moved into the photo, and made smaller where the photo is.
    """
    width, height = size
    side = min(max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * margin), width, height)
    spans = []
    for low, high, length in ((box[0], box[2], width), (box[1], box[3], height)):
        start = min(max((low + high - side) / 2, 0.0), length - side)
        spans.append((start / length, (start + side) / length))
    (x0, x1), (y0, y1) = spans
    return x0, y0, x1, y1
