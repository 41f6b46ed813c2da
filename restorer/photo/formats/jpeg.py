"""JPEG, and the first picture of an MPO."""

from __future__ import annotations

import struct
from typing import Any

from restorer.imaging.colour import Pixels
from restorer.imaging.libraries import np
from restorer.photo import decoding, exif, jpeg_scan, jpeg_segments, xmp
from restorer.photo.base import EncodeChoices, EncodeInput, Format
from restorer.photo.builder import PhotoBuilder, pillow_dpi
from restorer.photo.channels import channels_of, pillow_image, saved
from restorer.photo.damage import DAMAGE, LEAST_LEFT, cut_off, look_at_it
from restorer.photo.decoding import UndecodableError
from restorer.photo.model import Photo

_GREY = 128  # what libjpeg makes of blocks that are not there
_COMMENTS = frozenset({"JPEG comment", "GIF comment"})


def _read_jpeg(data: bytes) -> Photo:
    parts = jpeg_segments.split_jpeg(data)
    if parts.precision != 8:
        raise UndecodableError(f"it has {parts.precision} bits a channel, and 8 can be read")
    builder = PhotoBuilder("MPO" if parts.pictures > 1 else "JPEG")
    builder.warnings += parts.problems
    if parts.pictures > 1:
        builder.warnings.append(f"The file holds {parts.pictures} pictures; only the first was taken.")
    builder.icc_profile = parts.icc_profile
    builder.format_specific = [("JPEG comment", comment) for comment in parts.comments]
    builder.take_exif(parts.exif)
    builder.take_xmp(parts.xmp)
    if parts.xmp and parts.extended_xmp:
        try:
            builder.take_xmp(xmp.merged(parts.xmp, parts.extended_xmp))
        except DAMAGE as error:
            builder.warnings.append(f"The extended part of the XMP is damaged ({error}); it was dropped.")
    builder.take_photoshop(parts.photoshop)
    builder.warn_of_unknown("JPEG", parts.unknown)
    picture = jpeg_scan.coded(parts.picture)
    if parts.pictures == 1:
        builder.warn_of_rest(picture.behind)
    feed = jpeg_scan.Feed(picture) if picture.plain else None
    with decoding.opened(feed or picture.data, "JPEG") as image:
        builder.take_dpi(pillow_dpi(image.info))
        decoded = decoding.from_pillow(image, parts.icc_profile)
        found = feed.soundness() if feed is not None else jpeg_scan.check(picture, np.asarray(image))
        if feed is not None and found == jpeg_scan.Soundness():
            found = jpeg_scan.check_end(picture, np.asarray(image))
    builder.warnings += _damage(picture, found, decoded.pixels)
    return builder.photo(decoded)


def _damage(picture: jpeg_scan.Coded, found: jpeg_scan.Soundness, pixels: Pixels) -> list[str]:
    """Say what is wrong with a picture that was decoded all the same.

    Raises:
        UndecodableError: its end is missing, and nearly all of its rows with it.
    """
    if not picture.ended and (found.too_short or not picture.finished):
        return [_cut_off(pixels)]
    if found.too_short or found.too_long or picture.blanked or picture.odd_codes:
        return [look_at_it("JPEG")]
    return [] if picture.ended else ["The JPEG's end marker is missing; all its pixels are there."]


def _cut_off(pixels: Pixels) -> str:
    """Say how much of a picture is there whose end is missing: the decoder leaves the rest of it grey.

    Raises:
        UndecodableError: next to nothing of it is there.
    """
    height = len(pixels)
    shown = np.flatnonzero((pixels != _GREY).any(axis=(1, 2)))
    rows = int(shown[-1]) + 1 if shown.size else 0
    if rows < LEAST_LEFT * height:
        raise UndecodableError("it is cut off before its last pixels, and next to none are there")
    if rows < height:
        return cut_off("JPEG", rows, height)
    return "The JPEG is cut off: its last pixels, or the detail of all of it, are missing. Look at it."


def _find_xmp(data: Any) -> bytes | None:
    prefix = jpeg_segments.XMP_HEADER
    for marker, start, end in jpeg_segments.jpeg_segments(data):
        if marker == 0xE1 and data[start : start + len(prefix)] == prefix:
            return bytes(data[start + len(prefix) : end])
    return None


def _encode_jpeg(given: EncodeInput, choices: EncodeChoices) -> bytes:
    options = {} if given.grey else {"subsampling": choices.subsampling}
    picture = saved(pillow_image(channels_of(given)), "JPEG", quality=choices.quality, **options)
    if given.dpi is not None:
        picture = _with_density(picture, given.dpi)
    packet = extension = None
    if given.xmp is not None:
        packet, extension = xmp.split(given.xmp, jpeg_segments.XMP_LIMIT)
        if len(packet) > jpeg_segments.XMP_LIMIT:
            given.warnings.append("The XMP is larger than a JPEG can hold, and was dropped.")
            packet = extension = None
    icc_profile = given.icc_profile
    if icc_profile is not None and len(icc_profile) > jpeg_segments.ICC_LIMIT:
        given.warnings.append("The ICC profile is larger than a JPEG can hold, and was dropped.")
        icc_profile = None
    return jpeg_segments.join_jpeg(
        picture,
        exif=_fitting_exif(given),
        xmp=packet,
        extended_xmp=extension,
        icc_profile=icc_profile,
        photoshop=given.photoshop,
        comments=[payload for kind, payload in given.format_specific if kind in _COMMENTS],
    )


def _fitting_exif(given: EncodeInput) -> bytes | None:
    """Return the EXIF block as far as one JPEG segment holds it."""
    block = given.exif
    if block is None or len(block) <= jpeg_segments.EXIF_LIMIT:
        return block
    smaller = exif.without_maker_note(block)
    if len(smaller) <= jpeg_segments.EXIF_LIMIT:
        given.warnings.append("The EXIF is larger than a JPEG can hold; the camera's maker note was dropped.")
        return smaller
    given.warnings.append("The EXIF is larger than a JPEG can hold, and was dropped.")
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


FORMAT = Format(
    "JPEG",
    "JPEG",
    (".jpg", ".jpeg", ".jpe", ".jfif"),
    recognise=lambda head: head.startswith(b"\xff\xd8\xff"),
    read=_read_jpeg,
    size=decoding.size_by_pillow("JPEG", "MPO"),
    find_xmp=_find_xmp,
    other_suffixes=(".mpo", ".jps", ".jif", ".jfi", ".pjp", ".pjpeg"),
    aliases=("MPO",),
    requests=("jpg", "jpeg"),
    encode=_encode_jpeg,
    takes=_COMMENTS,
    max_side=65_500,  # the standard ends at 65,535; libjpeg, which Pillow and OpenCV write with, at 65,500
    holds=frozenset({"icc", "exif", "xmp", "iptc", "dpi"}),
    offered=True,
    bytes_per_pixel=0.27,
    encoding_seconds=0.02,
)
