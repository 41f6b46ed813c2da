"""Writing a result with everything that its photo carried, the note of what was done, and a word on every loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from restorer.errors import UnwritableOutputError, UsageError
from restorer.imaging.colour import Pixels, is_grey
from restorer.imaging.layers import Layer
from restorer.imaging.libraries import ImageCms, np
from restorer.photo import color, density, exif, exif_pixels, formats, photoshop, xmp
from restorer.photo.base import EncodeChoices, EncodeInput, Format
from restorer.photo.channels import to_bits
from restorer.photo.damage import DAMAGE, quiet_libraries
from restorer.photo.model import Note, Photo
from restorer.photo.png_chunks import PNG_COLOUR_KINDS
from restorer.storage import atomic as files

DEFAULT_QUALITY = 95
"""Of JPEG, lossy WebP and HEIC, where none was asked for."""

_NAMES = {"icc": "ICC profile", "exif": "EXIF", "xmp": "XMP", "iptc": "IPTC", "dpi": "resolution"}


@dataclass(frozen=True)
class WriteOptions:
    """How a result is written.

    Attributes:
        quality: 1 to 100, of JPEG, WebP and HEIC. None = 95, and lossless for a WebP whose input was lossless WebP.
        subsampling: chroma subsampling of JPEG and HEIC.
        strip_metadata: drop all that the photo carried but the ICC profile (and what else tells its colours), and the
            note too.
        replace: whether a file that is there is replaced.
        layers: what the pixels are made of, of the same type, the first as large as they; only a TIFF holds them.
        dpi: dots per inch in place of the photo's, also where metadata is left out; None = as the photo tells them.
    """

    quality: int | None = None
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:4:4"
    strip_metadata: bool = False
    replace: bool = True
    layers: Sequence[Layer] = ()
    dpi: float | None = None


_AS_USUAL = WriteOptions()


def write_photo(
    target: Path | str | BinaryIO,
    pixels: Pixels,
    *,
    like: Photo,
    format: str,
    alpha: Pixels | None = None,
    note: Note | None = None,
    how: WriteOptions = _AS_USUAL,
) -> list[str]:
    """Write a result in full or not at all, with what its photo carried.

    Args:
        target: a file; or a binary stream, to which all bytes go at once.
        pixels: (h, w, 3) RGB, uint8 or uint16; any size.
        like: the photo that the result was made from; its metadata goes along, and its grey stays grey.
        format: a key of `FORMATS`, from `output_format`.
        alpha: (h, w), same dtype as `pixels`.
        note: goes into the XMP, together with the IPTC digital source type.
        how: quality, and what is left out or replaced.

    Returns:
        Warnings: what the format could not hold, in words.

    Raises:
        MissingSupportError: this installation cannot write the format.
        PhotoTooLargeError: the format cannot hold the size.
        OutputExistsError: the file is there, and is not to be replaced.
        UnwritableOutputError: the file cannot be encoded or written; a file that was there before is as it was.
        UsageError: arrays, format or quality make no sense.
    """
    named = None if not isinstance(target, (str, Path)) else Path(target)
    _check(pixels, alpha, format, how.quality)
    formats.FORMATS[format].check_writing(named)
    height, width = pixels.shape[:2]
    channels = 3 if alpha is None else 4
    formats.check_output_size(format, width, height, named, channels=channels, bits=8 * pixels.itemsize)
    if how.dpi is not None:
        like = density.printed(like, how.dpi)
    given = prepared(pixels, alpha, like, formats.FORMATS[format], note, how.strip_metadata, how.layers)
    if how.dpi is not None and "dpi" in formats.FORMATS[format].holds:
        given.dpi = like.dpi
    lossless = like.lossless and like.format == format and how.quality is None
    choices = EncodeChoices(DEFAULT_QUALITY if how.quality is None else how.quality, how.subsampling, lossless)
    encode, title = formats.FORMATS[format].encode, formats.FORMATS[format].title
    assert encode is not None  # `_check` has seen to it
    try:
        with quiet_libraries():
            content = encode(given, choices)
    except MemoryError as error:
        message = f"{named or 'The result'} does not fit into memory while it is encoded as {title}."
        raise UnwritableOutputError(named, message, "Close other programs, or use a smaller --scale.") from error
    except Exception as error:  # encoders raise various classes; the reason goes into the message
        message = f"{named or 'The result'} cannot be encoded as {title}: {error}."
        raise UnwritableOutputError(named, message, "Choose another --format.") from error
    if named is not None:
        files.write_whole(named, content, replace=how.replace)
    else:
        assert not isinstance(target, (str, Path))
        target.write(content)
    return given.warnings


def _check(pixels: Pixels, alpha: Pixels | None, format: str, quality: int | None) -> None:
    if format not in formats.FORMATS or not formats.FORMATS[format].writable:
        raise UsageError(f"Files of the format {format!r} cannot be written.")
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise UsageError(f"A result must be (h, w, 3) of uint8 or uint16, not {pixels.shape} of {pixels.dtype}.")
    if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
        raise UsageError(f"Alpha must be {pixels.shape[:2]} of {pixels.dtype}, not {alpha.shape} of {alpha.dtype}.")
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"Quality is a number from 1 to 100, not {quality}.")


def prepared(
    pixels: Pixels,
    alpha: Pixels | None,
    like: Photo,
    format: Format,
    note: Note | None,
    strip: bool = False,
    layers: Sequence[Layer] = (),
) -> EncodeInput:
    """Bring pixels and metadata to what the format can hold, with a warning for each thing that it cannot."""
    grey = like.grey and is_grey(pixels) and all(is_grey(layer.pixels) for layer in layers)
    out = EncodeInput(pixels, alpha, grey, icc_profile=like.icc_profile, layers=list(layers))
    if layers and not format.layers:
        out.layers = []
        out.warnings.append(f"{format.title} holds no layers; {formats.keepers(lambda entry: entry.layers)} does.")
    if like.alpha is not None and alpha is None:
        out.warnings.append("The result has no transparency, although the photo had.")
    _fit_colours(out, like)
    _fit_alpha(out, format)
    _fit_depth(out, like, format)
    if strip:
        _keep_colour_space(out, like)
        out.format_specific = tuple(item for item in like.format_specific if item[0] in PNG_COLOUR_KINDS)
    else:
        _fit_metadata(out, like, note)
    _drop_what_has_no_place(out, format, bool(note and not strip))
    return out


def _keep_colour_space(out: EncodeInput, like: Photo) -> None:
    """Give a result without EXIF the profile of the colours that only EXIF has named."""
    if out.icc_profile is not None or like.exif is None:
        return
    if not exif.names_adobe_rgb(like.exif):
        if exif.tells_primaries(like.exif):
            out.warnings.append(
                "The EXIF, which was dropped, tells primaries or curves of its own; colours may change."
            )
    elif out.grey:
        out.warnings.append("The EXIF, which was dropped, says Adobe RGB; without it, greys may look a little darker.")
    else:
        out.icc_profile = color.adobe_rgb_profile()
        out.warnings.append("The EXIF, which was dropped, says Adobe RGB; the result carries a profile that does.")


def _fit_colours(out: EncodeInput, like: Photo) -> None:
    """Give a result in colour, made from a grey photo, a profile for colour."""
    if out.grey or out.icc_profile is None or color.profile_space(out.icc_profile) != "GRAY":
        return
    try:
        curve = out.icc_profile
        out.pixels = color.grey_curve_to_srgb(out.pixels, curve)
        out.layers = [replace(each, pixels=color.grey_curve_to_srgb(each.pixels, curve)) for each in out.layers]
        how = "its tones were converted to sRGB"
    except (ImageCms.PyCMSError, OSError) as error:
        how = f"its tones could not be converted to sRGB ({error})"
    out.icc_profile = color.srgb_profile()
    origin = (
        "The photo was grey with a profile for grey; the result has colour" if like.grey else "The profile is for grey"
    )
    out.warnings.append(f"{origin}, so {how}.")


def _fit_alpha(out: EncodeInput, format: Format) -> None:
    if out.alpha is None or format.alpha:
        return
    top = int(np.iinfo(out.pixels.dtype).max)
    if int(out.alpha.min()) == top:
        out.warnings.append(f"{format.title} holds no transparency; the alpha channel, opaque everywhere, was dropped.")
    else:
        share = out.alpha.astype(np.float32)[..., None] / np.float32(top)
        flat = out.pixels * share + np.float32(top) * (1 - share)
        out.pixels = np.clip(np.rint(flat), 0, top).astype(out.pixels.dtype)
        out.warnings.append(
            f"{format.title} holds no transparency; the photo was laid over white. "
            f"{formats.keepers(lambda entry: entry.alpha)} keep it."
        )
    out.alpha = None


def _fit_depth(out: EncodeInput, like: Photo, format: Format) -> None:
    if out.pixels.dtype != np.uint16 or format.bits == 16:
        return
    if format.bits == 8:
        out.pixels = to_bits(out.pixels, 8).astype(np.uint8)
        out.alpha = None if out.alpha is None else to_bits(out.alpha, 8).astype(np.uint8)
    if like.bits > format.bits:
        kept = f"{formats.keepers(lambda entry: entry.bits == 16)} keep 16"
        out.warnings.append(
            f"{format.title} holds {format.bits} bits a channel; the photo's {like.bits} were rounded. {kept}."
        )


def _fit_metadata(out: EncodeInput, like: Photo, note: Note | None) -> None:
    height, width = out.pixels.shape[:2]
    try:
        out.exif = None if like.exif is None else exif_pixels.resized(like.exif, like.size, (width, height))
    except DAMAGE as error:
        out.warnings.append(f"The EXIF is damaged ({error}) and was dropped.")
    if like.photoshop is not None:
        out.photoshop = photoshop.resized(like.photoshop, width / like.size[0], height / like.size[1])
    out.dpi, out.format_specific = like.dpi, like.format_specific
    try:
        out.xmp = xmp.finished(like.xmp, like.size, (width, height), note)
    except DAMAGE as error:
        out.warnings.append(f"The XMP is damaged ({error}) and was dropped.")
        out.xmp = xmp.finished(None, like.size, (width, height), note)


def _drop_what_has_no_place(out: EncodeInput, format: Format, noted: bool) -> None:
    """Take out what the format has no place for, and name it."""
    lost: list[str] = []
    iptc = photoshop.iptc_of(out.photoshop or b"")
    present = {"icc": out.icc_profile, "exif": out.exif, "xmp": out.xmp, "iptc": iptc, "dpi": out.dpi}
    for key, value in present.items():
        if value is not None and key not in format.holds:
            lost.append(_NAMES[key])
    if "iptc" not in format.holds:
        lost += photoshop.drawn_on(out.photoshop or b"")
    if "xmp" not in format.holds and noted:
        lost[lost.index("XMP")] = "XMP (with the note of what was done)"
    if "icc" not in format.holds:
        out.icc_profile = None
    if "exif" not in format.holds:
        out.exif = None
    if "xmp" not in format.holds:
        out.xmp = None
    if "iptc" not in format.holds:
        out.photoshop = None
    if "dpi" not in format.holds:
        out.dpi = None
    lost += _specific_losses(out, format)
    if lost:
        out.warnings.append(f"{format.title} has no place for: {', '.join(lost)}.")


def _specific_losses(out: EncodeInput, format: Format) -> list[str]:
    """Name what only the input's own format had a place for; nothing when that is also the output's."""
    lost: dict[str, None] = {}
    for kind, payload in out.format_specific:
        owner = formats.FORMATS[kind.partition(" ")[0]]
        words = owner.describe(kind, payload, out.icc_profile is not None)
        if owner is not format and kind not in format.takes and words is not None:
            lost[words] = None
    return list(lost)
