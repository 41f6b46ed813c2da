"""BMP, of Windows and OS/2."""

from __future__ import annotations

from restorer.photo import decoding
from restorer.photo.base import FOUR_GIB, EncodeChoices, EncodeInput, Format
from restorer.photo.builder import read_by_pillow
from restorer.photo.channels import channels_of, pillow_image, saved
from restorer.photo.model import Photo

_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def _recognise(head: bytes) -> bool:
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _HEADER_SIZES


def _read_bmp(data: bytes) -> Photo:
    return read_by_pillow(data, "BMP", "BMP", "DIB")


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
