"""The few pictures whose values cannot stay as they are: CMYK, Lab, and grey ones that gained colour."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from restorer.imaging.colour import Pixels


def srgb_profile() -> bytes:
    """Return an sRGB profile, always the same bytes (the library stamps it with the hour; ICC.1 7.2.8)."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[24:36] = b"".join(number.to_bytes(2, "big") for number in (2000, 1, 1, 0, 0, 0))
    return bytes(data)


def profile_space(profile: bytes) -> str | None:
    """Return the colour space that an ICC profile is for ("RGB", "GRAY", "CMYK", "Lab", ...); None: no profile."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return None
    return profile[16:20].decode("latin-1").strip()


def cmyk_to_rgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str]:
    """Return a CMYK picture as sRGB, and a warning that says how it was converted."""
    if profile is not None and profile_space(profile) == "CMYK":
        try:
            return _through(image, profile), "CMYK was converted to sRGB through its own profile."
        except (ImageCms.PyCMSError, OSError) as error:
            reason = f"its profile cannot be used ({error})"
    else:
        reason = "it has no CMYK profile"
    return image.convert(
        "RGB"
    ), f"CMYK was converted to RGB by the plain formula, because {reason}; colours may be off."


def _through(image: Image.Image, profile: bytes) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # only an in-place conversion returns None
    return converted


def lab_to_rgb(image: Image.Image) -> Image.Image:
    """Return a Lab picture as sRGB."""
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only an in-place conversion returns None
    return converted


def grey_curve_to_srgb(pixels: Pixels, profile: bytes) -> Pixels:
    """Return RGB pixels whose channels follow a grey profile's tone curve as pixels that follow sRGB's.

    Args:
        pixels: (h, w, 3), uint8 or uint16.
        profile: an ICC profile for grey.

    Raises:
        PyCMSError: the profile cannot be used.
    """
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    curve = np.asarray(_through(ramp, profile), dtype=np.float64)[0, :, 0] / 255
    top = np.iinfo(pixels.dtype).max
    table = np.interp(np.linspace(0, 1, top + 1), np.linspace(0, 1, 256), curve)
    lookup = np.rint(table * top).astype(pixels.dtype)
    result: Pixels = lookup[pixels]
    return result
