"""TIFF pages: what kind of picture one is, and its pixels at their own depth."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from restorer.imaging.colour import Pixels, grey_to_rgb
from restorer.photo import decoding, exif, ifd
from restorer.photo.decoding import Decoded, UndecodableError

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, SAMPLES, COUNTS = 256, 257, 258, 259, 262, 273, 277, 279
_SUBFILE, _PLANAR, _PREDICTOR, _TILE_OFFSETS, _TILE_COUNTS, EXTRA_SAMPLES, _FORMAT = 254, 284, 317, 324, 325, 338, 339
_SUB_DIRECTORIES, _LAYERS, _DNG_VERSION = 330, 37724, 50706
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_UNSIGNED, _FLOAT = 1, 3
_ASSOCIATED = 1
_NO_PREDICTOR, _DIFFERENCES = 1, 2


# What a decoder needs to know; it is given files with these tags alone, so that no other can disturb it.
_FOR_DECODERS = frozenset(
    {_SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, SAMPLES, COUNTS, _PLANAR, _PREDICTOR}
    | {_TILE_OFFSETS, _TILE_COUNTS, EXTRA_SAMPLES, _FORMAT}
    | {
        266,
        278,
        292,
        293,
        320,
        322,
        323,
        332,
        336,
        347,
        512,
        513,
        514,
        515,
        517,
        518,
        519,
        520,
        521,
        529,
        530,
        531,
        532,
    }
)


@dataclass(frozen=True)
class Page:
    """The first picture of a TIFF file; `picture` is the file for decoders, without metadata and orientation."""

    data: bytes
    picture: bytes
    directory: ifd.Directory
    orientation: int
    pages: int

    @property
    def bits(self) -> int:
        """The most bits that a channel has."""
        return max(self.directory.integers(BITS, (1,)))

    def bytes_of(self, tag: int) -> bytes | None:
        """Return a tag's value as it stands in the file, or None."""
        entry = self.directory.entries.get(tag)
        return entry.raw if entry is not None and entry.raw else None


def first_page(data: bytes) -> Page:
    """Return the first page; raises `UndecodableError` for camera raw files, which only look like TIFF."""
    try:
        directories = list(ifd.pages(data))
        if not directories:
            raise UndecodableError("it holds no picture")
        first = directories[0]
        reduced = bool(first.integer(_SUBFILE, 0) & 1) and _SUB_DIRECTORIES in first.entries
        if _DNG_VERSION in first.entries or reduced:
            raise UndecodableError("it is a camera raw file, which this tool does not read")
        picture = _upright_big(data, first) if first.big else _bare(data, first)
    except ifd.DamagedDirectoryError as error:
        raise UndecodableError(f"its TIFF structure is damaged: {error}") from error
    orientation = first.integer(exif.ORIENTATION, 1)
    return Page(data, picture, first, orientation if 1 <= orientation <= 8 else 1, len(directories))


def _bare(data: bytes, first: ifd.Directory) -> bytes:
    return ifd.append_directory(data, first, {}, set(first.entries) - _FOR_DECODERS)


def _upright_big(data: bytes, first: ifd.Directory) -> bytes:
    """Return a BigTIFF with its orientation overwritten by 1; its directories cannot be laid out anew here."""
    entry = first.entries.get(exif.ORIENTATION)
    if entry is None:
        return data
    changed = bytearray(data)
    one = (1).to_bytes(len(entry.raw), "little" if first.order == "<" else "big")
    changed[entry.value_position : entry.value_position + len(entry.raw)] = one
    return bytes(changed)


def decode(page: Page, profile: bytes | None) -> Decoded:
    """Return the page's pixels, not yet upright."""
    directory = page.directory
    photometric = directory.integer(PHOTOMETRIC, _BLACK_IS_ZERO)
    width, height = directory.integer(WIDTH, 0), directory.integer(LENGTH, 0)
    decoding.check_size(width, height)
    _check_whole(page)
    samples = directory.integer(SAMPLES, 1)
    formats = set(directory.integers(_FORMAT, (_UNSIGNED,)))
    planar = samples > 1 and directory.integer(_PLANAR, 1) == 2
    ordinary = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) and formats == {_UNSIGNED}
    if _FLOAT in formats:
        decoded = _decode_float(page)
    elif ordinary and (page.bits == 16 or (page.bits == 8 and planar)):
        decoded = _decode_channels(page, samples, photometric, planar=planar)
    elif page.bits == 8 or (page.bits < 8 and photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE)):
        decoded = _decode_plain(page, profile)
    elif page.bits == 16 and photometric == _CMYK and formats == {_UNSIGNED}:
        decoded = _decode_plain(page, profile)
        decoded.warnings.append("16-bit CMYK was reduced to 8 bits a channel.")
    else:
        raise UndecodableError(f"it has {page.bits} bits a channel of a kind that cannot be read; 8 and 16 bits can")
    if page.pages > 1:
        decoded.warnings.append(f"The file holds {page.pages} pages; only the first was taken.")
    if _LAYERS in directory.entries:
        decoded.warnings.append("Photoshop layers were dropped; the flattened picture was taken.")
    return decoded


def _check_whole(page: Page) -> None:
    """Raise when strips or tiles lie beyond the end of the file, before a decoder meets them."""
    for offsets, counts in ((OFFSETS, COUNTS), (_TILE_OFFSETS, _TILE_COUNTS)):
        pairs = zip(page.directory.integers(offsets), page.directory.integers(counts), strict=False)
        if any(at + count > len(page.data) for at, count in pairs):
            raise UndecodableError("it is cut off before its last pixels")


def _decode_plain(page: Page, profile: bytes | None) -> Decoded:
    with decoding.opened(page.picture, "TIFF") as image:
        decoded = decoding.from_pillow(image, profile)
    used = 1 if decoded.grey else 3
    if page.directory.integer(PHOTOMETRIC, 1) == _CMYK:
        used = 4
    spare = page.directory.integer(SAMPLES, 1) - used - (decoded.alpha is not None)
    if spare > 0 and page.directory.integer(PHOTOMETRIC, 1) != _PALETTE:
        decoded.warnings.append(
            f"{spare} extra channel{'s' * (spare > 1)} of the TIFF without a known meaning dropped."
        )
    return decoded


def _decode_float(page: Page) -> Decoded:
    samples = page.directory.integer(SAMPLES, 1)
    if page.bits != 32 or samples not in (1, 3) or (samples > 1 and page.directory.integer(_PLANAR, 1) != 1):
        raise UndecodableError(f"it holds {page.bits}-bit floating-point values in {samples} channels")
    if samples == 1:
        return _decode_plain(page, None)
    return decoding.from_float(decoding.from_opencv(page.picture))


def _decode_channels(page: Page, samples: int, photometric: int, *, planar: bool) -> Decoded:
    """Decode grey or RGB, with or without alpha, at the page's own depth: 16-bit pages, and planar ones of 8 bits."""
    colours = 3 if photometric == _RGB else 1
    if samples < colours:
        raise UndecodableError(f"it claims {samples} channels, and {colours} are needed")
    if planar:
        channels = np.dstack([_decode_plane(page, number) for number in range(samples)])
    elif samples in (1, 3, 4):
        channels = decoding.from_opencv(page.picture)
        channels = channels[..., None] if channels.ndim == 2 else channels
    else:
        channels = _decode_interleaved(page, samples)
    expected = (page.directory.integer(LENGTH, 0), page.directory.integer(WIDTH, 0), samples)
    if channels.itemsize * 8 != page.bits or channels.shape != expected:
        shape = f"{channels.shape} of {channels.itemsize * 8} bits"
        raise UndecodableError(f"it was decoded as {shape}, not as {expected} of {page.bits} bits")
    pixels = channels[..., :colours]
    if photometric == _WHITE_IS_ZERO:
        pixels = np.iinfo(pixels.dtype).max - pixels
    kinds = page.directory.integers(EXTRA_SAMPLES)
    # Writers that leave the tag out, as OpenCV does, mean alpha by a fourth channel; 0 says that it has no meaning.
    has_alpha = samples > colours and (kinds[:1] or (2,))[0] in (1, 2)
    decoded = Decoded(
        grey_to_rgb(pixels[..., 0]) if colours == 1 else np.ascontiguousarray(pixels),
        np.ascontiguousarray(channels[..., colours]) if has_alpha else None,
        colours == 1,
    )
    spare = samples - colours - has_alpha
    if spare:
        decoded.warnings.append(
            f"{spare} extra channel{'s' * (spare > 1)} of the TIFF without a known meaning dropped."
        )
    return decoding.unmultiplied(decoded) if has_alpha and kinds[:1] == (_ASSOCIATED,) else decoded


def _as_grey(page: Page, changes: ifd.Tree, remove: Collection[int] = ()) -> Pixels:
    """Decode the page's data as if it were one grey picture with these tags."""
    grey: ifd.Tree = {BITS: ifd.shorts(page.bits), PHOTOMETRIC: ifd.shorts(_BLACK_IS_ZERO), SAMPLES: ifd.shorts(1)}
    remove = {EXTRA_SAMPLES, _PLANAR, _FORMAT, *remove, *(set(page.directory.entries) - _FOR_DECODERS)}
    try:
        data = ifd.append_directory(page.data, page.directory, {**grey, **changes}, remove)
    except ifd.DamagedDirectoryError as error:
        raise UndecodableError(f"its channels cannot be taken apart: {error}") from error
    return decoding.from_opencv(data)


def _decode_plane(page: Page, number: int) -> Pixels:
    """Decode one channel of a picture that is stored plane by plane (libraries mix the planes up)."""
    changes: ifd.Tree = {}
    for tag in (OFFSETS, COUNTS, _TILE_OFFSETS, _TILE_COUNTS):
        values = page.directory.integers(tag)
        each = len(values) // page.directory.integer(SAMPLES, 1)
        if each:
            changes[tag] = ifd.longs(*values[number * each : (number + 1) * each])
    return _as_grey(page, changes)


def _decode_interleaved(page: Page, samples: int) -> Pixels:
    """Decode interleaved 16-bit channels that no library reads (grey with alpha) as one wider grey picture."""
    directory = page.directory
    if _TILE_OFFSETS in directory.entries:
        raise UndecodableError(f"it holds {samples} 16-bit channels in tiles; in strips they can be read")
    width, predictor = directory.integer(WIDTH, 0), directory.integer(_PREDICTOR, _NO_PREDICTOR)
    wide = _as_grey(page, {WIDTH: ifd.shorts(samples * width)}, {_PREDICTOR})
    channels = wide.reshape(wide.shape[0], width, samples)
    if predictor == _DIFFERENCES:  # each pixel holds the difference from its left neighbour, modulo 65536
        channels = np.cumsum(channels, axis=1, dtype=np.uint16)
    return channels
