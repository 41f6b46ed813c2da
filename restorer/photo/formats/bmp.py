"""BMP, of Windows and OS/2."""

from __future__ import annotations

from restorer.imaging.libraries import np
from restorer.photo import decoding
from restorer.photo.base import FOUR_GIB, EncodeChoices, EncodeInput, Format
from restorer.photo.builder import PhotoBuilder, pillow_dpi
from restorer.photo.channels import channels_of, pillow_image, saved
from restorer.photo.damage import look_at_it
from restorer.photo.model import Photo

_OF_OS2, _WITH_COUNT, _WITH_COLOURS, _WITH_PROFILE = 12, 40, 108, 124
_EMBEDDED, _LINKED = b"DEBM", b"KNIL"
_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def _recognise(head: bytes) -> bool:
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _HEADER_SIZES


def _read_bmp(data: bytes) -> Photo:
    builder = PhotoBuilder("BMP")
    _take_colours(builder, data)
    if int.from_bytes(data[10:14], "little") < 14 + int.from_bytes(data[14:18], "little"):
        builder.warnings.append(look_at_it("BMP"))  # its pixels begin inside its header, as it says
    data, colours = _with_whole_table(data)
    with decoding.opened(data, "BMP", "DIB") as image:
        builder.take_dpi(pillow_dpi(image.info))
        decoded = decoding.from_pillow(image)
        if colours is not None and np.max(image.getextrema()) >= colours:  # decoders differ on what that is
            builder.warnings.append(look_at_it("BMP"))
    return builder.photo(decoded)


def _with_whole_table(data: bytes) -> tuple[bytes, int | None]:
    """Return a BMP whose table has a colour for each number that its pixels can be, and how many it had before them.

    Pillow takes pixels of 4 and 8 bits for single ones where the table holds black and white alone. What was not in
    the table is black, as OpenCV has it. None where nothing was lacking.
    """
    size, begin = int.from_bytes(data[14:18], "little"), int.from_bytes(data[10:14], "little")
    bits = int.from_bytes(data[24:26] if size == _OF_OS2 else data[28:30], "little")
    counted = size >= _WITH_COUNT
    if bits not in (1, 4, 8) or not (counted or size == _OF_OS2) or not 14 + size <= begin <= len(data):
        return data, None
    each = 4 if counted else 3
    told = int.from_bytes(data[46:50], "little") if counted else 0
    colours = min(told or 2**bits, (begin - 14 - size) // each)
    if colours >= 2**bits:
        return data, None
    end, whole = 14 + size + each * colours, 14 + size + each * 2**bits
    head = data[14:46] + bytes(4) + data[50:end] if counted else data[14:end]
    return b"".join((data[:10], whole.to_bytes(4, "little"), head, bytes(whole - end), data[begin:])), colours


def _take_colours(builder: PhotoBuilder, data: bytes) -> None:
    """Take what the larger headers tell of colours: an embedded profile, a name of a file, primaries of its own."""
    size = int.from_bytes(data[14:18], "little")
    if size < _WITH_COLOURS:
        return
    kind = data[70:74]
    if kind == _EMBEDDED and size >= _WITH_PROFILE:
        at, length = 14 + int.from_bytes(data[126:130], "little"), int.from_bytes(data[130:134], "little")
        builder.icc_profile = data[at : at + length]
    elif kind == _LINKED:
        builder.warnings.append("The BMP names a file with its ICC profile; the name was dropped.")
    elif kind == bytes(4) and any(data[74:122]):
        builder.warnings.append("The BMP tells primaries and gamma of its own; they were dropped.")


def _encode_bmp(given: EncodeInput, choices: EncodeChoices) -> bytes:
    # Left to itself, Pillow would claim 96 dots per inch; 0 says that nothing is known.
    return saved(pillow_image(channels_of(given)), "BMP", dpi=given.dpi or (0, 0))


FORMAT = Format(
    "BMP",
    "BMP",
    (".bmp", ".dib"),
    recognise=_recognise,
    read=_read_bmp,
    size=decoding.size_by_pillow("BMP"),
    requests=("bmp",),
    encode=_encode_bmp,
    max_side=2**31 - 1,
    max_bytes=FOUR_GIB,
    holds=frozenset({"dpi"}),
    bytes_per_pixel=3.0,
    encoding_seconds=0.01,
    compressed=False,
)
