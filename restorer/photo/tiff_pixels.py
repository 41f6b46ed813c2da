"""The pixels of a TIFF page at their own depth, and whether its data are whole and sound."""

from __future__ import annotations

import zlib
from collections.abc import Collection

from restorer.imaging.colour import Pixels, grey_to_rgb
from restorer.imaging.libraries import np
from restorer.photo import color, decoding, ifd, jpeg_scan, tiff_salvage
from restorer.photo.damage import DAMAGE, is_blanked, look_at_it
from restorer.photo.decoding import Decoded, UndecodableError
from restorer.photo.tiff_page import (
    BITS,
    BLACK_IS_ZERO,
    CMYK,
    COMPRESSION,
    COUNTS,
    EXTRA_SAMPLES,
    FOR_DECODERS,
    FORMAT,
    ICC_LAB,
    LAB,
    LENGTH,
    OFFSETS,
    PALETTE,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    RGB,
    ROWS,
    SAMPLES,
    TILE_COUNTS,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WHITE_IS_ZERO,
    WIDTH,
    Page,
    strip_bytes,
    strip_counts,
)

_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_ASSOCIATED = 1
_NO_PREDICTOR, _DIFFERENCES = 1, 2
_COMMON = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946})
_DEFLATE = (8, 32946)
_JPEG, _JPEG_TABLES = 7, 347
_WITHOUT_ZEROS = frozenset({5, 32773, 34925, 34926, 50000, 50001})  # LZW, PackBits, LZMA, Zstandard, WebP
_MOST_OF_A_STRIP = 2**28  # bytes that are unpacked for a check
_MOST_CHANNELS = 64  # of which all but four are dropped
_METHODS = {
    32809: "ThunderScan", 33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34676: "SGI LogLuv",
    34677: "SGI LogLuv", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG (DNG)", 34925: "LZMA",
    34926: "Zstandard", 34927: "WebP", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip


class _UnknownKindError(UndecodableError):
    """Raised for values that have no meaning here, however they are compressed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "Export it as 8-bit or 16-bit integers (TIFF or PNG).")


def decode(page: Page, profile: bytes | None) -> Decoded:
    """Return the page's pixels, not yet upright; of one that is cut off what is there, with a warning."""
    directory = page.directory
    width, height = directory.integer(WIDTH, 0), directory.integer(LENGTH, 0)
    decoding.check_size(width, height)
    _check_channels(width * height, directory.integer(SAMPLES, 1))
    if _is_cut(page) or tiff_salvage.spare_parts(page) < 0:
        left = tiff_salvage.salvaged(page)
        decoded = decode(left.page, profile)
        left.fill(decoded)
        return decoded
    photometric = directory.integer(PHOTOMETRIC, BLACK_IS_ZERO)
    try:
        decoded = _decoded(page, profile, photometric)
    except MemoryError:
        raise
    except DAMAGE as error:
        method = directory.integer(COMPRESSION, 1)
        if method in _COMMON or isinstance(error, _UnknownKindError):
            raise
        name = _METHODS.get(method, f"a method of the number {method}")
        reason = f"it is compressed by {name}, which cannot be decoded here at {page.bits} bits, or it is damaged"
        raise UndecodableError(reason) from error
    if _is_damaged(page):
        decoded.warnings.append(look_at_it("TIFF"))
    decoded.warnings += page.warnings
    return decoded


def _check_channels(pixels: int, channels: int) -> None:
    """Raise `UndecodableError` for more channels than any photo has, before a decoder takes memory for all of them."""
    most = min(_MOST_CHANNELS, 4 * decoding.MAX_PIXELS // max(pixels, 1))
    if channels > most:
        reason = f"it claims {channels:,} channels, and {most} are the most that are read of a picture of its size"
        raise UndecodableError(reason, "Export it as RGB or grey with 8 or 16 bits, as PNG or TIFF.")


def _is_damaged(page: Page) -> bool:
    """Whether a strip or tile that was decoded fails its own check sum, is too short, or has zeros that none writes."""
    directory, method = page.directory, page.directory.integer(COMPRESSION, 1)
    if (OFFSETS in directory.entries and TILE_OFFSETS in directory.entries) or tiff_salvage.spare_parts(page) > 0:
        return True  # decoders do not agree on which of them hold the picture
    left = 2 * len(page.data)  # strips may be the same bytes, and each is a while's work
    for offsets, counts in ((OFFSETS, COUNTS), (TILE_OFFSETS, TILE_COUNTS)):
        rows = _rows_of_parts(page, len(directory.integers(offsets)), tiles=offsets == TILE_OFFSETS)
        for at, count, high in zip(directory.integers(offsets), directory.integers(counts), rows, strict=False):
            left -= count
            if left < 0 or _is_bad(page, method, at, count, high):
                return True
    return False


def _is_bad(page: Page, method: int, at: int, count: int, rows: int) -> bool:
    """Whether something is wrong with a strip or tile of so many rows."""
    if method in _DEFLATE:
        return not _inflates(page.data[at : at + count], _most_of_a_part(page))
    if method == _JPEG:
        coded = _coded(page, at, count)
        return coded.blanked or 0 < coded.size[1] < rows
    if method == 1:
        return TILE_OFFSETS not in page.directory.entries and 0 < count < strip_bytes(page.directory, rows)
    return method in _WITHOUT_ZEROS and is_blanked(page.data, at, at + count)


def _rows_of_parts(page: Page, number: int, *, tiles: bool) -> list[int]:
    """Return how many rows each strip or tile has to hold."""
    directory = page.directory
    if tiles:
        return [directory.integer(TILE_LENGTH, 0)] * number
    length = directory.integer(LENGTH, 0)
    rows = max(min(directory.integer(ROWS, length) or length, length), 1)
    strips = max(-(-length // rows), 1)
    return [max(min(rows, length - index % strips * rows), 0) for index in range(number)]


def _coded(page: Page, at: int, count: int) -> jpeg_scan.Coded:
    """Return the JPEG of a strip or tile, with the tables that stand in a tag of their own."""
    tables = page.bytes_of(_JPEG_TABLES) or b"\xff\xd8\xff\xd9"
    return jpeg_scan.coded(tables[:-2] + page.data[at + 2 : at + count])


def _most_of_a_part(page: Page) -> int:
    """Return how many bytes a strip or a tile may unpack to; what is more, decoders leave packed."""
    directory = page.directory
    samples = directory.integer(SAMPLES, 1) if directory.integer(PLANAR, 1) == 1 else 1
    if TILE_OFFSETS in directory.entries:
        pixels = directory.integer(TILE_WIDTH, 0) * directory.integer(TILE_LENGTH, 0)
    else:
        length = directory.integer(LENGTH, 0)
        pixels = directory.integer(WIDTH, 0) * min(directory.integer(ROWS, length), length)
    return min(pixels * samples * max(page.bits, 8) // 8 + 1024, _MOST_OF_A_STRIP)


def _inflates(packed: bytes, most: int) -> bool:
    """Whether zlib data unpack to what their check sum says; what is missing at their end is for the decoder to say."""
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(packed, most)
    except zlib.error:
        return False
    return True


def _decoded(page: Page, profile: bytes | None, photometric: int) -> Decoded:
    directory = page.directory
    samples = directory.integer(SAMPLES, 1)
    formats = set(directory.integers(FORMAT, (_UNSIGNED,)))
    planar = samples > 1 and directory.integer(PLANAR, 1) == 2
    ordinary = photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB) and formats == {_UNSIGNED}
    if _SIGNED in formats and page.bits <= 8:
        raise _UnknownKindError(f"it has {page.bits} bits a channel with a sign, which has no meaning as a photo")
    if _FLOAT in formats:
        decoded = _decode_float(page)
    elif ordinary and (page.bits == 16 or (page.bits == 8 and planar)):
        decoded = _decode_channels(page, samples, photometric, planar=planar)
    elif page.bits == 8 or (page.bits < 8 and photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE)):
        decoded = _decode_plain(page, profile)
    elif page.bits == 16 and photometric in (CMYK, LAB, ICC_LAB) and formats <= {_UNSIGNED, _SIGNED}:
        decoded = _decode_converted(page, samples, profile, photometric, planar=planar)
    else:
        raise _UnknownKindError(f"it has {page.bits} bits a channel of a kind that cannot be read; 8 and 16 bits can")
    return decoded


def _is_cut(page: Page) -> bool:
    """Tell whether strips or tiles lie beyond the end of the file, before a decoder meets them."""
    directory, size = page.directory, len(page.data)
    strips = zip(directory.integers(OFFSETS), strip_counts(directory, size), strict=False)
    tiles = zip(directory.integers(TILE_OFFSETS), directory.integers(TILE_COUNTS), strict=False)
    return any(at + count > size for at, count in (*strips, *tiles))


def _decode_plain(page: Page, profile: bytes | None) -> Decoded:
    with decoding.opened(page.picture, "TIFF") as image:
        decoded = decoding.from_pillow(image, profile)
    used = 1 if decoded.grey else 3
    if page.directory.integer(PHOTOMETRIC, 1) == CMYK:
        used = 4
    spare = page.directory.integer(SAMPLES, 1) - used - (decoded.alpha is not None)
    if spare > 0 and page.directory.integer(PHOTOMETRIC, 1) != PALETTE:
        decoded.warnings.append(
            f"{spare} extra channel{'s' * (spare > 1)} of the TIFF without a known meaning dropped."
        )
    return decoded


def _decode_float(page: Page) -> Decoded:
    samples = page.directory.integer(SAMPLES, 1)
    if page.bits != 32 or samples not in (1, 3) or (samples > 1 and page.directory.integer(PLANAR, 1) != 1):
        raise _UnknownKindError(f"it holds {page.bits}-bit floating-point values in {samples} channels")
    if samples == 1:
        return _decode_plain(page, None)
    return decoding.from_float(decoding.from_opencv(page.picture))


def _decode_channels(page: Page, samples: int, photometric: int, *, planar: bool) -> Decoded:
    """Decode grey or RGB, with or without alpha, at the page's own depth: 16-bit pages, and planar ones of 8 bits."""
    colours = 3 if photometric == RGB else 1
    if samples < colours:
        raise UndecodableError(f"it claims {samples} channels, and {colours} are needed")
    if planar:
        channels = np.dstack([_decode_plane(page, number) for number in range(samples)])
    elif samples == 1:
        channels = _grey_of(page.picture)[..., None]
    elif samples in (3, 4) and page.directory.integer(COMPRESSION, 1) in _COMMON:
        channels = decoding.from_opencv(page.picture)
    else:
        channels = _decode_interleaved(page, samples)
    expected = (page.directory.integer(LENGTH, 0), page.directory.integer(WIDTH, 0), samples)
    if channels.itemsize * 8 != page.bits or channels.shape != expected:
        shape = f"{channels.shape} of {channels.itemsize * 8} bits"
        raise UndecodableError(f"it was decoded as {shape}, not as {expected} of {page.bits} bits")
    pixels = channels[..., :colours]
    if photometric == WHITE_IS_ZERO:
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


def _decode_converted(page: Page, samples: int, profile: bytes | None, photometric: int, *, planar: bool) -> Decoded:
    """Decode 16-bit Lab or CMYK, whose values are no RGB, into a space that holds their colours, at the same depth."""
    used = 4 if photometric == CMYK else 3
    if samples < used:
        raise UndecodableError(f"it claims {samples} channels, and {used} are needed")
    planes = [_decode_plane(page, number) for number in range(samples)] if planar else None
    channels = _decode_interleaved(page, samples) if planes is None else np.dstack(planes)
    if photometric == CMYK:
        pixels, new_profile, warning = color.cmyk16_to_rgb(channels[..., :4], profile)
    else:
        pixels, new_profile, warning = color.lab16_to_rgb(channels[..., :3], signed=photometric == LAB)
    has_alpha = samples > used and (page.directory.integers(EXTRA_SAMPLES)[:1] or (0,))[0] in (1, 2)
    alpha = np.ascontiguousarray(channels[..., used]) if has_alpha else None
    decoded = Decoded(pixels, alpha, new_profile=new_profile, warnings=[warning])
    if spare := samples - used - has_alpha:
        decoded.warnings.append(
            f"{spare} extra channel{'s' * (spare > 1)} of the TIFF without a known meaning dropped."
        )
    return decoded


def _as_grey(page: Page, changes: ifd.Tree, remove: Collection[int] = ()) -> Pixels:
    """Decode the page's data as if it were one grey picture with these tags."""
    grey: ifd.Tree = {BITS: ifd.shorts(page.bits), PHOTOMETRIC: ifd.shorts(BLACK_IS_ZERO), SAMPLES: ifd.shorts(1)}
    remove = {EXTRA_SAMPLES, PLANAR, FORMAT, *remove, *(set(page.directory.entries) - FOR_DECODERS)}
    try:
        data = ifd.append_directory(page.data, page.directory, {**grey, **changes}, remove)
    except ifd.DamagedDirectoryError as error:
        raise UndecodableError(f"its channels cannot be taken apart: {error}") from error
    return _grey_of(data)


def _grey_of(picture: bytes) -> Pixels:
    """Decode a grey TIFF of 8 or 16 bits by OpenCV, or by Pillow, whose libtiff knows other compressions."""
    try:
        return decoding.from_opencv(picture)
    except UndecodableError as refused:
        try:
            with decoding.opened(picture, "TIFF") as image:
                values = np.asarray(image)
        except DAMAGE:
            raise refused from None
        if image.mode == "L" or image.mode.startswith("I;16"):
            return values.astype(np.uint8 if image.mode == "L" else np.uint16)
        raise


def _decode_plane(page: Page, number: int) -> Pixels:
    """Decode one channel of a picture that is stored plane by plane (libraries mix the planes up)."""
    changes: ifd.Tree = {}
    for tag in (OFFSETS, COUNTS, TILE_OFFSETS, TILE_COUNTS):
        values = page.directory.integers(tag)
        each = len(values) // page.directory.integer(SAMPLES, 1)
        if each:
            changes[tag] = ifd.longs(*values[number * each : (number + 1) * each])
    return _as_grey(page, changes)


def _decode_interleaved(page: Page, samples: int) -> Pixels:
    """Decode interleaved 16-bit channels that no library reads (grey with alpha) as one wider grey picture."""
    directory = page.directory
    width, predictor = directory.integer(WIDTH, 0), directory.integer(PREDICTOR, _NO_PREDICTOR)
    changes: ifd.Tree = {WIDTH: ifd.shorts(samples * width)}
    tile = directory.integer(TILE_WIDTH, 0) if TILE_OFFSETS in directory.entries else width
    if tile != width:
        changes[TILE_WIDTH] = ifd.shorts(samples * tile)
    channels = _as_grey(page, changes, {PREDICTOR}).reshape(-1, width, samples)
    if predictor == _DIFFERENCES:  # each pixel holds the difference from its left neighbour in the tile, modulo 65536
        for left in range(0, width, max(tile, 1)):
            part = channels[:, left : left + tile]
            part[...] = np.cumsum(part, axis=1, dtype=np.uint16)
    return channels
