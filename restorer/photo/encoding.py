"""One encoder a format: arrays and metadata in, a file's bytes out. The same input gives the same bytes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from restorer.photo import containers, exif, ifd, tiff, xmp

if TYPE_CHECKING:
    from restorer.photo.model import Pixels
    from restorer.photo.writing import Outgoing

_PNG_LEVEL = 2  # measured on photographs: level 6 takes five times as long for a file 11 % smaller
_UNASSOCIATED_ALPHA = 2

PNG_COLOUR_KINDS = frozenset({"PNG gAMA", "PNG cHRM", "PNG sRGB", "PNG cICP", "PNG mDCV", "PNG cLLI"})
# What sRGB, which every reader takes a picture without profile for, has in these chunks.
_SRGB_GAMMA, _SRGB_PRIMARIES = 45455, (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


@dataclass(frozen=True)
class Choices:
    """How lossy formats are written."""

    quality: int
    subsampling: str
    lossless: bool


def to_bits(values: Pixels, bits: int) -> Pixels:
    """Return 16-bit values rounded to fewer bits, as uint32; white stays white."""
    top = (1 << bits) - 1
    result: Pixels = (values.astype(np.uint32) * top + 32767) // 65535
    return result


def native_losses(native: Iterable[tuple[str, bytes]], format: str, *, has_profile: bool) -> list[str]:
    """Name what only the input's own format had a place for; nothing when that is also the output's."""
    lost: dict[str, None] = {}
    for kind, payload in native:
        if kind.startswith(format) or kind == "PNG sRGB" or (kind in PNG_COLOUR_KINDS and has_profile):
            continue
        if kind == "PNG gAMA" and payload[:4] == struct.pack(">I", _SRGB_GAMMA):
            continue
        if kind == "PNG cHRM" and payload[:32] == struct.pack(">8I", *_SRGB_PRIMARIES):
            continue
        words = {"PNG gAMA": "the PNG's gamma", "PNG cHRM": "the PNG's primaries", "JPEG comment": "the JPEG comment"}
        text = f"the PNG text {payload.partition(bytes(1))[0].decode('latin-1')!r}"
        lost[words.get(kind, f"the PNG's {kind[4:]} chunk" if kind in PNG_COLOUR_KINDS else text)] = None
    return list(lost)


def _channels(outgoing: Outgoing) -> Pixels:
    """Return (h, w), (h, w, 2), (h, w, 3) or (h, w, 4): grey or RGB, with alpha where there is one."""
    base = outgoing.pixels[..., 0] if outgoing.grey else outgoing.pixels
    if outgoing.alpha is None:
        return np.ascontiguousarray(base)
    return np.dstack((base, outgoing.alpha))


def _pillow(channels: Pixels) -> Image.Image:
    mode = "L" if channels.ndim == 2 else {2: "LA", 3: "RGB", 4: "RGBA"}[channels.shape[2]]
    height, width = channels.shape[:2]
    return Image.frombuffer(mode, (width, height), np.ascontiguousarray(channels), "raw", mode, 0, 1)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _opencv(suffix: str, channels: Pixels, parameters: list[int]) -> bytes:
    import cv2

    if channels.ndim == 3:
        code = cv2.COLOR_RGBA2BGRA if channels.shape[2] == 4 else cv2.COLOR_RGB2BGR
        channels = cv2.cvtColor(channels, code)
    encoded, content = cv2.imencode(suffix, channels, parameters)
    if not encoded:
        raise ValueError("OpenCV could not encode it")
    return bytes(content)


# ------------------------------------------------------------------------------------------------------------ JPEG


def _encode_jpeg(outgoing: Outgoing, choices: Choices) -> bytes:
    options = {} if outgoing.grey else {"subsampling": choices.subsampling}
    picture = _saved(_pillow(_channels(outgoing)), "JPEG", quality=choices.quality, **options)
    if outgoing.dpi is not None:
        picture = _with_density(picture, outgoing.dpi)
    packet = extension = None
    if outgoing.xmp is not None:
        packet, extension = xmp.split(outgoing.xmp, containers.XMP_LIMIT)
        if len(packet) > containers.XMP_LIMIT:
            outgoing.warnings.append("The XMP is larger than a JPEG can hold, and was dropped.")
            packet = extension = None
    icc_profile = outgoing.icc_profile
    if icc_profile is not None and len(icc_profile) > containers.ICC_LIMIT:
        outgoing.warnings.append("The ICC profile is larger than a JPEG can hold, and was dropped.")
        icc_profile = None
    return containers.join_jpeg(
        picture,
        exif=_fitting_exif(outgoing),
        xmp=packet,
        extended_xmp=extension,
        icc_profile=icc_profile,
        photoshop=outgoing.photoshop,
        comments=[payload for kind, payload in outgoing.native if kind == "JPEG comment"],
    )


def _fitting_exif(outgoing: Outgoing) -> bytes | None:
    """Return the EXIF block as far as one JPEG segment holds it."""
    block = outgoing.exif
    if block is None or len(block) <= containers.EXIF_LIMIT:
        return block
    smaller = exif.without_maker_note(block)
    if len(smaller) <= containers.EXIF_LIMIT:
        outgoing.warnings.append("The EXIF is larger than a JPEG can hold; the camera's maker note was dropped.")
        return smaller
    outgoing.warnings.append("The EXIF is larger than a JPEG can hold, and was dropped.")
    return None


def _with_density(picture: bytes, dpi: tuple[float, float]) -> bytes:
    """Set the resolution in an encoded JPEG's JFIF segment, in dots a centimetre where only that is exact."""
    unit, across, down = 1, dpi[0], dpi[1]
    metric = [value / 2.54 for value in dpi]
    if any(abs(value - round(value)) > 0.02 for value in dpi) and all(abs(v - round(v)) < 0.002 for v in metric):
        unit, (across, down) = 2, metric
    if picture[6:11] != b"JFIF\0":
        raise ValueError("the encoder wrote no JFIF segment")
    density = struct.pack(">BHH", unit, *(min(max(round(value), 1), 65535) for value in (across, down)))
    return picture[:13] + density + picture[18:]


# ------------------------------------------------------------------------------------------------------------- PNG


def _encode_png(outgoing: Outgoing, choices: Choices) -> bytes:
    channels = _channels(outgoing)
    if channels.ndim == 3 and channels.shape[2] == 2 and channels.dtype == np.uint8:
        picture = _saved(_pillow(channels), "PNG", compress_level=_PNG_LEVEL)
    else:
        import cv2

        parameters = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_ALL_FILTERS]
        picture = _opencv(".png", _with_rgb_for_alpha(channels), parameters)
    chunks: list[tuple[bytes, bytes]] = []
    if outgoing.icc_profile is not None:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(outgoing.icc_profile, 9)))
    for kind, payload in outgoing.native:
        if kind.startswith("PNG ") and not (kind == "PNG sRGB" and outgoing.icc_profile is not None):
            chunks.append((kind[4:].encode(), payload))
    if outgoing.dpi is not None:
        chunks.append((b"pHYs", struct.pack(">IIB", *(max(round(value / 0.0254), 1) for value in outgoing.dpi), 1)))
    if outgoing.exif is not None:
        chunks.append((b"eXIf", outgoing.exif))
    if outgoing.xmp is not None:
        chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + outgoing.xmp))
    return containers.join_png(picture, chunks)


def _with_rgb_for_alpha(channels: Pixels) -> Pixels:
    """Return grey with alpha as RGB with alpha: OpenCV knows no two-channel files, and no value changes."""
    if channels.ndim == 3 and channels.shape[2] == 2:
        return np.ascontiguousarray(channels[..., [0, 0, 0, 1]])
    return channels


# ------------------------------------------------------------------------------------------------------------ TIFF


def _encode_tiff(outgoing: Outgoing, choices: Choices) -> bytes:
    import cv2

    channels = _with_rgb_for_alpha(_channels(outgoing))
    # LZW makes files of noisy 16-bit pictures larger than the pictures; Deflate is slower and does not.
    deep = channels.dtype == np.uint16
    method = cv2.IMWRITE_TIFF_COMPRESSION_ADOBE_DEFLATE if deep else cv2.IMWRITE_TIFF_COMPRESSION_LZW
    parameters = [
        cv2.IMWRITE_TIFF_COMPRESSION,
        method,
        cv2.IMWRITE_TIFF_PREDICTOR,
        cv2.IMWRITE_TIFF_PREDICTOR_HORIZONTAL,
    ]
    content = _opencv(".tiff", channels, parameters)
    tags: ifd.Tree = {}
    if outgoing.exif is not None:
        tags, problems = exif.to_tiff(outgoing.exif)
        outgoing.warnings += problems
    if outgoing.dpi is not None:
        tags |= exif.resolution_tags(outgoing.dpi)
    if channels.ndim == 3 and channels.shape[2] == 4:
        tags[tiff.EXTRA_SAMPLES] = ifd.shorts(_UNASSOCIATED_ALPHA)
    if outgoing.xmp is not None:
        tags[700] = ifd.Value(ifd.BYTE, outgoing.xmp)
    if outgoing.icc_profile is not None:
        tags[34675] = ifd.Value(ifd.UNDEFINED, outgoing.icc_profile)
    if outgoing.photoshop is not None:
        tags[34377] = ifd.Value(ifd.BYTE, outgoing.photoshop)
        record = containers.iptc_of(outgoing.photoshop)
        if record is not None:
            tags[33723] = ifd.Value(ifd.UNDEFINED, record)
    order, big, position = ifd.header(content)
    directory = ifd.read_directory(content, position, order, big)
    return ifd.append_directory(content, directory, tags)


# ------------------------------------------------------------------------------------------------- WebP, BMP, HEIC


def _exif_with_resolution(outgoing: Outgoing) -> bytes | None:
    """Return the EXIF block with the resolution, for formats that have no other place for it."""
    return outgoing.exif if outgoing.dpi is None else exif.with_resolution(outgoing.exif, outgoing.dpi)


def _encode_webp(outgoing: Outgoing, choices: Choices) -> bytes:
    channels = _channels(outgoing)
    if outgoing.grey:  # WebP stores RGB only
        channels = np.dstack((outgoing.pixels, outgoing.alpha)) if outgoing.alpha is not None else outgoing.pixels
    options: dict[str, Any] = {"exif": _exif_with_resolution(outgoing), "xmp": outgoing.xmp}
    options["icc_profile"] = outgoing.icc_profile
    given = {name: value for name, value in options.items() if value is not None}
    quality = {"lossless": True, "exact": True, "quality": 60} if choices.lossless else {"quality": choices.quality}
    return _saved(_pillow(channels), "WEBP", method=4, **quality, **given)


def _encode_bmp(outgoing: Outgoing, choices: Choices) -> bytes:
    # Left to itself, Pillow would claim 96 dots per inch; 0 says that nothing is known.
    return _saved(_pillow(_channels(outgoing)), "BMP", dpi=outgoing.dpi or (0, 0))


def _encode_heif(outgoing: Outgoing, choices: Choices) -> bytes:
    import pillow_heif

    channels = _channels(outgoing)
    if outgoing.grey and outgoing.alpha is not None:
        channels = _with_rgb_for_alpha(channels)
    mode = "L" if channels.ndim == 2 else {3: "RGB", 4: "RGBA"}[channels.shape[2]]
    if channels.dtype == np.uint16:  # the library takes the upper 10 bits
        channels = (to_bits(channels, 10) << 6).astype("<u2")
        mode += ";16"
    height, width = channels.shape[:2]
    heif = pillow_heif.from_bytes(mode, (width, height), channels.tobytes())
    metadata = {"exif": _exif_with_resolution(outgoing), "xmp": outgoing.xmp, "icc_profile": outgoing.icc_profile}
    stream = io.BytesIO()
    given = {name: value for name, value in metadata.items() if value is not None}
    heif.save(stream, quality=choices.quality, chroma=int(choices.subsampling.replace(":", "")), **given)
    return stream.getvalue()


ENCODERS: dict[str, Callable[[Outgoing, Choices], bytes]] = {
    "JPEG": _encode_jpeg,
    "PNG": _encode_png,
    "WEBP": _encode_webp,
    "TIFF": _encode_tiff,
    "BMP": _encode_bmp,
    "HEIF": _encode_heif,
}
