"""TIFF: the metadata of its tags, and its writing; its pages are the matter of `restorer.photo.tiff_page`."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

from restorer.imaging.libraries import np
from restorer.photo import exif, ifd, layered, photoshop, tiff_page, tiff_pixels
from restorer.photo.base import FOUR_GIB, EncodeChoices, EncodeInput, Format
from restorer.photo.builder import PhotoBuilder
from restorer.photo.channels import channels_of, opencv_file, with_rgb_for_alpha
from restorer.photo.model import Photo

_XMP, _IPTC, _PHOTOSHOP, _ICC = 700, 33723, 34377, 34675
_UNASSOCIATED_ALPHA = 2


def _read_tiff(data: bytes, number: int | None = None) -> Photo:
    try:
        page = tiff_page.open_page(data, number)
    except tiff_page.CameraRawError:
        from restorer.photo.formats import raw

        return raw.read_raw(data)
    builder = PhotoBuilder("TIFF")
    builder.icc_profile = page.bytes_of(_ICC)
    block, problems = exif.from_tiff(page.data, page.directory)
    builder.warnings += problems
    builder.take_exif(block)
    builder.take_xmp(page.bytes_of(_XMP))
    builder.take_dpi(exif.directory_resolution(page.directory))
    builder.take_photoshop(page.bytes_of(_PHOTOSHOP) or b"")
    record = page.bytes_of(_IPTC)
    if record is not None and photoshop.iptc_of(builder.photoshop or b"") is None:
        builder.photoshop = (builder.photoshop or b"") + photoshop.iptc_resource(record)
    decoded = tiff_pixels.decode(page, builder.icc_profile)
    told = page.orientation if exif.ORIENTATION in page.directory.entries else None
    return builder.photo(decoded, orientation=told)


def _size(path: Path) -> tuple[int, int] | None:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        page = tiff_page.chosen_page(data)
    return page.integer(tiff_page.WIDTH, 0), page.integer(tiff_page.LENGTH, 0)


def _pages(path: Path) -> int:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return len(tiff_page.photo_pages(data))


def _find_xmp(data: Any) -> bytes | None:
    order, big, position = ifd.header(data)
    entry = ifd.read_directory(data, position, order, big).entries.get(_XMP)
    return entry.raw if entry is not None else None


def _encode_tiff(given: EncodeInput, choices: EncodeChoices) -> bytes:
    import cv2

    channels = with_rgb_for_alpha(channels_of(given))
    # LZW makes files of noisy 16-bit pictures larger than the pictures; Deflate is slower and does not.
    deep = channels.dtype == np.uint16
    method = cv2.IMWRITE_TIFF_COMPRESSION_ADOBE_DEFLATE if deep else cv2.IMWRITE_TIFF_COMPRESSION_LZW
    parameters = [
        cv2.IMWRITE_TIFF_COMPRESSION,
        method,
        cv2.IMWRITE_TIFF_PREDICTOR,
        cv2.IMWRITE_TIFF_PREDICTOR_HORIZONTAL,
    ]
    content = opencv_file(".tiff", channels, parameters)
    tags: ifd.Tree = {}
    if given.exif is not None:
        tags, problems = exif.to_tiff(given.exif)
        given.warnings += problems
    if given.dpi is not None:
        tags |= exif.resolution_tags(given.dpi)
    if channels.ndim == 3 and channels.shape[2] == 4:
        tags[tiff_page.EXTRA_SAMPLES] = ifd.shorts(_UNASSOCIATED_ALPHA)
    if given.xmp is not None:
        tags[_XMP] = ifd.Value(ifd.BYTE, given.xmp)
    if given.icc_profile is not None:
        tags[_ICC] = ifd.Value(ifd.UNDEFINED, given.icc_profile)
    order, big, position = ifd.header(content)
    if given.layers:
        grey = channels.ndim == 2
        packed = layered.document_data(given.layers, given.alpha, grey=grey, order=order)
        if len(content) + len(packed) > FOUR_GIB:
            raise ValueError("its layers take more than the 4 GiB that a TIFF holds")
        tags[layered.TAG] = ifd.Value(ifd.UNDEFINED, packed)
    if given.photoshop is not None:
        tags[_PHOTOSHOP] = ifd.Value(ifd.BYTE, given.photoshop)
        record = photoshop.iptc_of(given.photoshop)
        if record is not None:
            tags[_IPTC] = ifd.Value(ifd.UNDEFINED, record)
    directory = ifd.read_directory(content, position, order, big)
    return ifd.append_directory(content, directory, tags)


FORMAT = Format(
    "TIFF",
    "TIFF",
    (".tif", ".tiff"),
    recognise=lambda head: head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and head[8:10] != b"CR",
    read=_read_tiff,
    size=_size,
    pages=_pages,
    read_page=_read_tiff,
    find_xmp=_find_xmp,
    requests=("tiff", "tif"),
    encode=_encode_tiff,
    max_side=2**31 - 1,
    max_bytes=FOUR_GIB,
    bits=16,
    alpha=True,
    layers=True,
    holds=frozenset({"icc", "exif", "xmp", "iptc", "dpi"}),
    offered=True,
    bytes_per_pixel=1.2,
    encoding_seconds=0.08,
    lossless=True,
)
