"""The few pictures whose values cannot stay as they are: CMYK, Lab, and grey ones that gained colour."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from restorer.imaging.libraries import Image, ImageCms, np

if TYPE_CHECKING:
    from restorer.imaging.colour import Pixels


def srgb_profile() -> bytes:
    """Return an sRGB profile, always the same bytes (the library stamps it with the hour; ICC.1 7.2.8)."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[24:36] = b"".join(number.to_bytes(2, "big") for number in (2000, 1, 1, 0, 0, 0))
    return bytes(data)


def adobe_rgb_profile() -> bytes:
    """Return a profile of the colours that cameras call Adobe RGB (1998), laid out by hand (ICC.1:2001-04).

    Its primaries are those of the specification, adapted to D50 by Bradford's matrix; its curve is a gamma of 563/256.
    """
    columns = {b"rXYZ": (0.60974, 0.31111, 0.01947), b"gXYZ": (0.20528, 0.62567, 0.06087)}
    columns |= {b"bXYZ": (0.14919, 0.06322, 0.74457), b"wtpt": (0.95045, 1.0, 1.08905)}
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 563) + bytes(2)
    name = b"Compatible with Adobe RGB (1998)\0"
    blocks = [(b"desc", b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78))]
    blocks.append((b"cprt", b"text" + bytes(4) + b"No copyright, use freely\0"))
    for tag, values in columns.items():
        numbers = struct.pack(">3i", *(round(value * 65536) for value in values))
        blocks.append((tag, b"XYZ " + bytes(4) + numbers))
    blocks += [(tag, curve) for tag in (b"rTRC", b"gTRC", b"bTRC")]
    table, body, at = [struct.pack(">I", len(blocks))], [], 128 + 4 + 12 * len(blocks)
    for tag, block in blocks:
        table.append(tag + struct.pack(">II", at, len(block)))
        body.append(block + bytes(-len(block) % 4))
        at += len(body[-1])
    header = bytearray(srgb_profile()[:128])  # the same class, space and illuminant
    header[0:4], header[8:12] = struct.pack(">I", at), b"\2\x40\0\0"
    header[84:100] = bytes(16)  # no digest
    return bytes(header) + b"".join(table + body)


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
