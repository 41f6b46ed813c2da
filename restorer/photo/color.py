"""Which colours a photo's values mean, and pictures whose values cannot stay: CMYK, Lab, grey that gained colour."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from restorer.imaging import icc, profiles
from restorer.imaging.libraries import Image, ImageCms, np
from restorer.photo import exif

if TYPE_CHECKING:
    from restorer.imaging.colour import Pixels
    from restorer.photo.model import Photo

_D65 = (0.3127, 0.3290)
_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
_BT709_CURVE, _SRGB_CURVE = (1, 6, 14, 15), 13  # transfer characteristics of ITU-T H.273
_PRIMARIES = {9: ("BT.2020", _BT2020), 12: ("Display P3", _P3)}  # of H.273 too; 1 is sRGB's own
_CICP = "PNG cICP"
_PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82490))  # primaries, XYZ under D50
PROPHOTO_GAMMA = 461 / 256
"""Of ProPhoto RGB's curve, as its usual profiles have it."""
# From XYZ to the responses of the eye's cones, by which white is changed (Bradford; ICC.1:2010, annex E).
_BRADFORD = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))


def srgb_profile() -> bytes:
    """Return an sRGB profile, always the same bytes (the library stamps it with the hour; ICC.1 7.2.8)."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[24:36] = b"".join(number.to_bytes(2, "big") for number in (2000, 1, 1, 0, 0, 0))
    return bytes(data)


def adobe_rgb_profile() -> bytes:
    """Return a profile of the colours that cameras call Adobe RGB (1998).

    Its primaries are those of the specification, adapted to D50 by Bradford's matrix; its curve is a gamma of 563/256.
    """
    columns = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
    return _rgb_profile("Compatible with Adobe RGB (1998)", columns, _gamma(563))


def prophoto_profile() -> bytes:
    """Return a profile of ProPhoto RGB (ROMM, ISO 22028-2), with the plain gamma of 461/256 of its usual profiles."""
    return _rgb_profile("Compatible with ProPhoto RGB", _PROPHOTO, _gamma(461))


def display_p3_profile() -> bytes:
    """Return a profile of Display P3: the primaries of DCI-P3, white of D65, sRGB's curve."""
    return _rgb_profile("Compatible with Display P3", _columns(_P3), _table(profiles.decoded(np.linspace(0, 1, 1024))))


def _rgb_profile(name: str, columns: tuple[tuple[float, ...], ...], curve: bytes) -> bytes:
    """Return a profile of three primaries, as XYZ under D50, and one tone curve."""
    blocks = {b"desc": icc.description(name), b"wtpt": icc.xyz_tag((0.9642, 1.0, 0.8249))}
    blocks |= {tag: icc.xyz_tag(column) for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    return icc.icc_profile("mntr", "RGB ", blocks | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def _gamma(steps: int) -> bytes:
    """Return a curve that is a power, in 1/256."""
    return b"curv" + bytes(4) + struct.pack(">IH", 1, steps) + bytes(2)


def _table(samples: Pixels) -> bytes:
    """Return a curve through samples from 0 to 1."""
    return b"curv" + bytes(4) + struct.pack(f">I{len(samples)}H", len(samples), *np.rint(samples * 65535).astype(int))


def _columns(primaries: tuple[tuple[float, float], ...]) -> tuple[tuple[float, ...], ...]:
    """Return primaries (x, y) under a white of D65 as XYZ under D50."""

    def xyz(place: tuple[float, float]) -> Pixels:
        return np.array([place[0] / place[1], 1, (1 - sum(place)) / place[1]])

    matrix = np.stack([xyz(place) for place in primaries], axis=1)
    matrix = matrix * np.linalg.solve(matrix, xyz(_D65))
    cones = np.array(_BRADFORD)
    gain = (cones @ np.array([0.9642, 1.0, 0.8249])) / (cones @ xyz(_D65))
    adapted = np.linalg.inv(cones) @ np.diag(gain) @ cones @ matrix
    return tuple(tuple(float(value) for value in column) for column in adapted.T)


def profile_meant(photo: Photo) -> bytes | None:
    """Return the profile that tells a photo's colours: its own, or one for what its file says without a profile.

    None for sRGB, for what nothing is said of, and for curves of high dynamic range, which no ICC profile holds.
    """
    if photo.icc_profile is not None:
        return photo.icc_profile
    code = next((payload for kind, payload in photo.format_specific if kind == _CICP), b"")
    if len(code) >= 2 and code[0] in _PRIMARIES and code[1] in (*_BT709_CURVE, _SRGB_CURVE):
        name, primaries = _PRIMARIES[code[0]]
        light = np.linspace(0, 1, 1024)
        curve = profiles.decoded(light) if code[1] == _SRGB_CURVE else light**2.4  # BT.1886: as BT.709 is shown
        return _rgb_profile(name, _columns(primaries), _table(curve))
    if photo.exif is not None and exif.names_adobe_rgb(photo.exif) and not photo.grey:
        return adobe_rgb_profile()
    return None


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


def lab16_to_rgb(values: Pixels, *, signed: bool) -> tuple[Pixels, bytes, str]:
    """Return 16-bit Lab as ProPhoto RGB of 16 bits, its profile, and a warning that says so.

    Args:
        values: (h, w, 3), uint16 as they lie in a TIFF.
        signed: whether a and b are numbers with a sign, in 1/256 (CIE L*a*b*); otherwise they begin at -128 (ICC).
    """

    def xyz(part: Pixels) -> Pixels:
        lightness = part[:, 0] * (100 / (65535 if signed else 65280))
        a, b = ((part[:, i].view(np.int16) if signed else part[:, i]) / 256 - (0 if signed else 128) for i in (1, 2))
        y = (lightness + 16) / 116
        f = np.stack([y + a / 500, y, y - b / 200], axis=1)
        found: Pixels = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array(icc.WHITE)
        return found

    said = "Lab was converted to ProPhoto RGB of 16 bits, which holds its colours."
    return _to_prophoto(np.ascontiguousarray(values), xyz), prophoto_profile(), said


def cmyk16_to_rgb(inks: Pixels, profile: bytes | None) -> tuple[Pixels, bytes, str]:
    """Return 16-bit CMYK as RGB of 16 bits, that one's profile, and a warning that says how it was converted.

    Through its own profile, relative to white and to the profile's darkest colour, into ProPhoto RGB, which holds the
    colours of print; by the plain formula where there is no profile.

    Args:
        inks: (h, w, 4), uint16, full ink is 65,535.
        profile: the file's.
    """
    reason = "it has no CMYK profile"
    if profile is not None and profile_space(profile) == "CMYK":
        try:
            convert = _through_inks(profile)
        except icc.UnusableProfileError as error:
            reason = f"its profile cannot be used ({error})"
        else:
            said = "CMYK was converted to ProPhoto RGB of 16 bits through its own profile."
            return _to_prophoto(np.ascontiguousarray(inks), convert), prophoto_profile(), said
    paper = 1 - inks / np.float32(65535)
    plain = np.rint(paper[..., :3] * paper[..., 3:] * 65535).astype(np.uint16)
    said = f"CMYK was converted to RGB by the plain formula, because {reason}; colours may be off."
    return plain, srgb_profile(), said


def _through_inks(profile: bytes) -> Callable[[Pixels], Pixels]:
    """Return what makes XYZ of inks (n, 4), uint16."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    nodes = np.stack(np.meshgrid(*4 * [steps], indexing="ij"), -1)
    found = icc.measured(profile, nodes.reshape(-1, 4))
    white, black = np.array(icc.WHITE), found[found[:, 1].argmin()][1] * np.array(icc.WHITE)
    grid = np.cbrt(np.clip((found - black) * white / (white - black), 0, None)).reshape(*nodes.shape[:-1], 3)
    return lambda inks: profiles.interpolated(grid, inks / 65535.0) ** 3


def _to_prophoto(values: Pixels, xyz: Callable[[Pixels], Pixels]) -> Pixels:
    """Return values (h, w, c) as ProPhoto RGB, uint16, by what makes XYZ of (n, c)."""
    inverse = np.linalg.inv(np.stack([np.array(column) for column in _PROPHOTO], axis=1))
    flat, result = values.reshape(-1, values.shape[-1]), np.empty((values.shape[0] * values.shape[1], 3), np.uint16)
    for start in range(0, len(flat), profiles.CHUNK):
        part = slice(start, start + profiles.CHUNK)
        light = np.clip(xyz(flat[part]) @ inverse.T, 0, 1)
        result[part] = np.rint(light ** (1 / PROPHOTO_GAMMA) * 65535)
    return result.reshape(*values.shape[:2], 3)


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
