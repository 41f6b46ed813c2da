"""What a photo is once it is read, and the note that a restored one carries."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restorer.errors import UnsuitablePhotoError
from restorer.imaging.colour import Pixels, grey_to_rgb
from restorer.imaging.libraries import np
from restorer.storage.identity import Identity, identity

_ROUNDING = 1e-5
"""How far floats may be out of [0, 1] by rounding alone."""


@dataclass(eq=False, repr=False)
class Photo:
    """A photo's upright pixels with everything else that its file carried.

    Attributes:
        pixels: (h, w, 3) RGB, uint8 or uint16 by the file's own depth, upright. The values are the file's own: no
            profile was applied (save for CMYK and Lab, which have no RGB values) and nothing was stretched.
        alpha: (h, w), same dtype, 0 = transparent, not multiplied into the pixels; None when the file has none.
        grey: whether the file was greyscale.
        path: where it was read from; None for bytes and arrays.
        origin: that file as `restorer.storage.identity` tells it, and its whole path, so that it is never written to.
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
    origin: tuple[Identity | None, str] | None = field(default=None, repr=False)
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

    def __repr__(self) -> str:
        named = f" {str(self.path)!r}" if self.path is not None else ""
        kind = f"{'grey ' if self.grey else ''}{self.format}, {self.bits} bits"
        return f"Photo({self.size[0]} x {self.size[1]}, {kind}{named})"

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
        options: plain values by name; in a file, what "auto" came to stands there in its place.
        license: of the weights that did the work, those licences that limit the use of the result; "" = none does.
        components: what did the work ("model", "detector", "background", "mask"), each with "name", "sha256" (the first
            digits of its weights' hash; None where there are no weights) and "named", whether it was asked for by name.
        faces: what was found in the photo, as in the record, without landmarks.
        input: sha256 of the photo's bytes; "" in notes of versions that did not tell it.
        colours: where they are guesses, by what they were guessed; "" = they are the photo's.
        settings: hex digest of all that the fingerprint is made of but the photo; "" likewise.
    """

    tool: str
    version: str
    model: str
    fingerprint: str
    options: Mapping[str, Any] = field(default_factory=dict)
    license: str = ""
    components: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    faces: Sequence[Mapping[str, Any]] = ()
    input: str = ""
    settings: str = ""
    colours: str = ""

    def options_json(self) -> str:
        """Return the options as JSON that is the same for the same options, in ASCII."""
        return compact_json(dict(self.options))


def compact_json(value: object) -> str:
    """Return JSON that is the same for the same values, in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def page_digest(sha256: str, page: int | None) -> str:
    """Return what stands for the bytes of one page of a file: the file's own hash where no page was asked for."""
    return sha256 if page is None else hashlib.sha256(f"{sha256} page {page}".encode()).hexdigest()


def photo_from_array(pixels: Pixels, alpha: Pixels | None = None) -> Photo:
    """Return a photo made of an array, as if it had been read from a PNG without metadata.

    Args:
        pixels: uint8, uint16, or float in [0, 1], which becomes uint16; (h, w) or (h, w, 1) grey, (h, w, 3) RGB,
            (h, w, 4) RGB and alpha.
        alpha: (h, w), same dtype; not together with a fourth channel.

    Raises:
        UnsuitablePhotoError: other shapes or dtypes, or numbers out of range; values are never guessed at or rescaled.
    """
    pixels = _whole(np.asarray(pixels))
    alpha = None if alpha is None else _whole(np.asarray(alpha))
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        if alpha is not None:
            raise UnsuitablePhotoError("An array of four channels has its own alpha; another one was given.")
        pixels, alpha = pixels[..., :3], pixels[..., 3]
    grey = pixels.ndim == 2
    if grey:
        pixels = grey_to_rgb(pixels)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        remedy = "Give pixels.transpose(1, 2, 0)." if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) else None
        message = f"A photo's array must be (h, w), (h, w, 3) or (h, w, 4), not {pixels.shape}."
        raise UnsuitablePhotoError(message, remedy)
    if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
        message = f"Alpha must be {pixels.shape[:2]} of {pixels.dtype}, not {alpha.shape} of {alpha.dtype}."
        raise UnsuitablePhotoError(message)
    pixels = np.ascontiguousarray(pixels)
    alpha = None if alpha is None else np.ascontiguousarray(alpha)
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}{grey}{alpha is not None}".encode())
    digest.update(pixels.data)
    if alpha is not None:
        digest.update(alpha.data)
    return Photo(pixels, alpha, grey, sha256=digest.hexdigest(), bits=8 * pixels.itemsize)


def _whole(values: Pixels) -> Pixels:
    """Return an array of uint8 or uint16 as it is, and one of floats in [0, 1] as uint16."""
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.dtype.kind != "f" or not values.size:
        message = f"A photo's array must be uint8, uint16 or float in [0, 1], not {values.dtype}."
        raise UnsuitablePhotoError(message, "Convert it, for example by array.astype(numpy.uint8).")
    low, high = float(values.min()), float(values.max())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # also true of NaN
        message = f"A photo's array of floats must lie in [0, 1], not in [{low:g}, {high:g}]."
        remedy = "Divide it by 255." if 1.5 < high <= 255 and low >= 0 else "Use numpy.clip(array, 0, 1)."
        raise UnsuitablePhotoError(message, remedy)
    whole: Pixels = np.rint(np.clip(values.astype(np.float64), 0, 1) * 65535).astype(np.uint16)
    return whole


def origin_of(path: Path) -> tuple[Identity | None, str]:
    """Return what tells a photo's file again, whatever name leads to it and wherever the program works by then."""
    return identity(path), os.path.abspath(path)  # noqa: PTH100 - the name as it is, whatever its links lead to
