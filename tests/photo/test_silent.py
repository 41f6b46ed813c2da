"""Nothing that a decoder would print reaches the user's screen: what is wrong with a file, its own record says.

Below Python, libtiff and libpng write to the process's stderr. `python -m restorer.bench survive --parts pictures`
counts a line of theirs as a loss.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from restorer.bench.survive.samples import png, saved, scene
from restorer.errors import UnreadablePhotoError
from restorer.photo import png_chunks, read_photo
from restorer.photo.png_chunks import PNG_SIGNATURE, png_chunk

DEEP = png(scene(deep=True), 2)


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(kind, data[start:end]) for kind, start, end, _ in png_chunks.png_chunks(data)]


def built(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return PNG_SIGNATURE + b"".join(png_chunk(kind, payload) for kind, payload in chunks)


def with_head(**changes: int) -> bytes:
    """Return the 16-bit PNG with another header."""
    names = ("width", "height", "bits", "colour", "method", "filtering", "interlaced")
    values = dict(zip(names, struct.unpack(">IIBBBBB", chunks_of(DEEP)[0][1]), strict=True)) | changes
    return built([(b"IHDR", struct.pack(">IIBBBBB", *values.values())), *chunks_of(DEEP)[1:]])


def with_pixels(change: Callable[[bytes], bytes]) -> bytes:
    """Return the 16-bit PNG with other data of its pixels."""
    return built([(kind, change(body) if kind == b"IDAT" else body) for kind, body in chunks_of(DEEP)])


def with_filter(value: int, row: int) -> bytes:
    rows = bytearray(zlib.decompress(dict(chunks_of(DEEP))[b"IDAT"]))
    rows[row * (1 + 48 * 6)] = value
    return with_pixels(lambda _: zlib.compress(bytes(rows)))


def with_sum(data: bytes, kind: bytes) -> bytes:
    """Return a PNG in which the check sum of a chunk is wrong."""
    end = next(end for name, _, end, _ in png_chunks.png_chunks(data) if name == kind)
    return data[:end] + bytes((data[end] ^ 1,)) + data[end + 1 :]


def changed_tiff(compression: str, change: Callable[[bytearray], object]) -> bytes:
    data = bytearray(saved(Image.fromarray(scene()), "TIFF", compression=compression))
    change(data)
    return bytes(data)


def tiff_of_channels(channels: int) -> bytes:
    data = bytearray(saved(Image.fromarray(scene()), "TIFF"))
    at = data.index(struct.pack("<HHI", 277, 3, 1))
    data[at + 8 : at + 10] = channels.to_bytes(2, "little")
    return bytes(data)


KEYED = built([chunks_of(DEEP)[0], (b"tRNS", struct.pack(">3H", 0, 0, 0)), *chunks_of(DEEP)[1:]])
REFUSED = {
    "a row in no known way": with_filter(9, 0),
    "a later row in no known way": with_filter(200, 31),
    "a header twice": built([chunks_of(DEEP)[0], *chunks_of(DEEP)]),
    "a header whose sum is wrong": with_sum(DEEP, b"IHDR"),
    "no width": with_head(width=0),
    "17 bits": with_head(bits=17),
    "a palette of 16 bits": with_head(colour=3),
    "another compression": with_head(method=1),
    "another filter": with_head(filtering=64),
    "another interlacing": with_head(interlaced=2),
    "more on a side than libpng takes": with_head(width=1_000_001, height=1),
    "pixels whose sum is wrong": with_sum(DEEP, b"IDAT"),
    "LZW": changed_tiff("tiff_lzw", lambda data: data.__setitem__(slice(40, 60), b"\xff" * 20)),
    "JPEG in TIFF": changed_tiff("jpeg", lambda data: data.__setitem__(slice(data.index(b"\xff\xd8"), None), b"x" * 9)),
    "seven channels": tiff_of_channels(7),
}
READ = {
    "an end whose sum is wrong": with_sum(DEEP, b"IEND"),
    "a palette that is none": built([chunks_of(DEEP)[0], (b"PLTE", b"12"), *chunks_of(DEEP)[1:]]),
    "rows beyond the last": with_pixels(lambda coded: zlib.compress(zlib.decompress(coded) + bytes(289 * 3))),
    "bytes behind the pixels": with_pixels(lambda coded: coded + b"more"),
    "a transparent colour whose sum is wrong": with_sum(KEYED, b"tRNS"),
    "Deflate whose sum is wrong": changed_tiff(
        "tiff_adobe_deflate", lambda data: data.__setitem__(data.index(b"\x78\x9c") + 700, 7)
    ),
}


def said(capfd: pytest.CaptureFixture[str]) -> str:
    return "".join(capfd.readouterr())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_in_silence(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnreadablePhotoError) as caught:
        read_photo(REFUSED[name])
    assert said(capfd) == ""
    assert caught.value.remedy


@pytest.mark.parametrize("name", READ)
def test_what_is_read_is_read_in_silence(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        photo = read_photo(READ[name])
    except UnreadablePhotoError:
        assert name.startswith("Deflate")
    else:
        assert np.array_equal(photo.pixels, scene(deep=photo.pixels.dtype == np.uint16))
        assert bool(photo.warnings) == (name.startswith(("a transparent", "rows")))
    assert said(capfd) == ""


def test_rows_of_every_pass_are_looked_at(capfd: pytest.CaptureFixture[str]) -> None:
    """Interlaced pictures have rows of seven lengths."""
    head = struct.pack(">IIBBBBB", 5, 5, 16, 0, 0, 0, 1)
    sizes = [(1, 1), (1, 1), (2, 1), (1, 2), (3, 1), (2, 3), (5, 2)]  # columns and rows of each pass
    lengths = [1 + 2 * columns for columns, rows in sizes for _ in range(rows)]
    rows = [bytes(length) for length in lengths]

    def picture(number: int, value: int) -> bytes:
        other = [bytes((value,)) + row[1:] if index == number else row for index, row in enumerate(rows)]
        return built([(b"IHDR", head), (b"IDAT", zlib.compress(b"".join(other))), (b"IEND", b"")])

    for number in range(len(rows)):
        assert read_photo(picture(number, 4)).size == (5, 5)
        with pytest.raises(UnreadablePhotoError, match="no known way"):
            read_photo(picture(number, 5))
    assert said(capfd) == ""


def test_a_library_that_logs_is_heard_by_who_asks(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="PIL"), pytest.raises(UnreadablePhotoError):
        read_photo(REFUSED["seven channels"])
    assert "samples per pixel" in caplog.text
