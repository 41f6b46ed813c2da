"""What a photo is once it is read, and the note that a restored one carries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restorer.errors import UsageError
from restorer.imaging.colour import Pixels, grey_to_rgb
from restorer.imaging.libraries import np


@dataclass(eq=False)
class Photo:
    """A photo's upright pixels with everything else that its file carried.

    Attributes:
        pixels: (h, w, 3) RGB, uint8 or uint16 by the file's own depth, upright. The values are the file's own: no
            profile was applied (save for CMYK and Lab, which have no RGB values) and nothing was stretched.
        alpha: (h, w), same dtype, 0 = transparent, not multiplied into the pixels; None when the file has none.
        grey: whether the file was greyscale.
        path: where it was read from; None for bytes and arrays.
        format: "JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "HEIF", "AVIF" or "GIF", by content.
        sha256: of the file's bytes.
        icc_profile: byte for byte as it came.
        exif: a TIFF-structured block without JPEG's prefix; orientation 1, no thumbnail, all else as it came.
        xmp: an XMP packet; orientation 1.
        photoshop: Photoshop image resources, IPTC-IIM (0x0404) among them, without thumbnails.
        dpi: dots per inch, (horizontal, vertical) of the upright photo.
        format_specific: (kind, bytes) of what only the input's own format has a place for: PNG text and colour chunks,
            a JPEG comment.
        lossless: whether a format that can be both was lossless (WebP).
        bits: bits a channel in the file: 8, 10, 12 or 16.
        warnings: what was lost or changed on the way in, in words.
    """

    pixels: Pixels = field(repr=False)
    alpha: Pixels | None = field(default=None, repr=False)
    grey: bool = False
    path: Path | None = None
    format: str = "PNG"
    sha256: str = ""
    icc_profile: bytes | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)
    xmp: bytes | None = field(default=None, repr=False)
    photoshop: bytes | None = field(default=None, repr=False)
    dpi: tuple[float, float] | None = None
    format_specific: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    lossless: bool = False
    bits: int = 8
    warnings: list[str] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True)
class Note:
    """What was done to a photo, as its XMP tells it. Holds no clock: the same run gives the same bytes.

    Attributes:
        tool: the tool's name.
        version: its version.
        model: the face restorer, "none" when there was none.
        fingerprint: hex digest of input, weights and options, by which done work is recognised.
        options: plain values by name.
        license: of the weights that did the work, those licences that limit the use of the result; "" = none does.
    """

    tool: str
    version: str
    model: str
    fingerprint: str
    options: Mapping[str, Any] = field(default_factory=dict)
    license: str = ""

    def options_json(self) -> str:
        """Return the options as JSON that is the same for the same options, in ASCII."""
        return json.dumps(dict(self.options), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def photo_from_array(pixels: Pixels, alpha: Pixels | None = None) -> Photo:
    """Return a photo made of an array, as if it had been read from a PNG without metadata.

    Args:
        pixels: uint8 or uint16; (h, w) or (h, w, 1) grey, (h, w, 3) RGB, (h, w, 4) RGB and alpha.
        alpha: (h, w), same dtype; not together with a fourth channel.

    Raises:
        UsageError: other shapes or dtypes; the array's values are never guessed at or rescaled.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UsageError(f"A photo's array must be uint8 or uint16, not {pixels.dtype}.", "Convert it first.")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        if alpha is not None:
            raise UsageError("An array of four channels has its own alpha; another one was given.")
        pixels, alpha = pixels[..., :3], pixels[..., 3]
    grey = pixels.ndim == 2
    if grey:
        pixels = grey_to_rgb(pixels)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise UsageError(f"A photo's array must be (h, w), (h, w, 3) or (h, w, 4), not {pixels.shape}.")
    if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
        raise UsageError(f"Alpha must be {pixels.shape[:2]} of {pixels.dtype}, not {alpha.shape} of {alpha.dtype}.")
    pixels = np.ascontiguousarray(pixels)
    alpha = None if alpha is None else np.ascontiguousarray(alpha)
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}{grey}{alpha is not None}".encode())
    digest.update(pixels.data)
    if alpha is not None:
        digest.update(alpha.data)
    return Photo(pixels, alpha, grey, sha256=digest.hexdigest(), bits=8 * pixels.itemsize)
