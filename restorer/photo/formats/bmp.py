"""BMP, of Windows and OS/2."""

from __future__ import annotations

from restorer.photo import decoding
from restorer.photo.base import FOUR_GIB, EncodeChoices, EncodeInput, Format
from restorer.photo.builder import PhotoBuilder, pillow_dpi
from restorer.photo.channels import channels_of, pillow_image, saved
from restorer.photo.damage import look_at_it
from restorer.photo.model import Photo

_WITH_COLOURS, _WITH_PROFILE = 108, 124
_EMBEDDED, _LINKED = b"DEBM", b"KNIL"
_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def _recognise(head: bytes) -> bool:
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _HEADER_SIZES


def _read_bmp(data: bytes) -> Photo:
    builder = PhotoBuilder("BMP")
    _take_colours(builder, data)
    if int.from_bytes(data[10:14], "little") < 14 + int.from_bytes(data[14:18], "little"):
        builder.warnings.append(look_at_it("BMP"))  # its pixels begin inside its header, as it says
    with decoding.opened(data, "BMP", "DIB") as image:
        builder.take_dpi(pillow_dpi(image.info))
        decoded = decoding.from_pillow(image)
    return builder.photo(decoded)


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
