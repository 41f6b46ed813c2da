"""PNG and TIFF files that are cut off: what is there is read, the rest is grey, and a warning says how much."""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from restorer.bench.survive.samples import png, saved
from restorer.errors import UnreadablePhotoError
from restorer.photo import Photo, ifd, png_chunks, png_salvage, read_photo, tiff_packing
from tests.support.photo_files import Array

SHARES = (0.3, 0.55, 0.8, 0.97)


def drawn(height: int = 90, width: int = 70) -> Array:
    """Return a picture that is half smooth and half noise, so that packed rows are of many lengths."""
    y, x = np.mgrid[:height, :width]
    smooth = np.dstack([(x * 5) % 256, (y * 3) % 256, (x * y) % 256]).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, smooth.shape, np.uint8)
    return np.where((x < width // 2)[..., None], smooth, noise)


RGB = drawn()
PICTURE = Image.fromarray(RGB)


def check(part: bytes, whole: Photo, least: float) -> Photo:
    """Read a file that is cut off: each pixel must be the right one, or grey where it is said to be missing."""
    photo = read_photo(part)
    (told,) = (warning for warning in photo.warnings if "is cut off" in warning)
    grey = 128 if photo.pixels.dtype == np.uint8 else 32768
    assert photo.pixels.shape == whole.pixels.shape
    same, empty = (photo.pixels == whole.pixels).all(2), (photo.pixels == grey).all(2)
    assert (same | empty).all()
    found = re.search(r"(\d+)%", told)
    assert found
    assert abs(float(found[1]) / 100 - (same & ~empty).mean()) < 0.03, "it says how much is there"
    assert same.mean() > least
    if photo.alpha is not None:
        assert whole.alpha is not None
        assert (photo.alpha[empty & ~same] == np.iinfo(photo.alpha.dtype).max).all()
    return photo


# --------------------------------------------------------------------------------------------------------------- PNG

PNGS = {
    "RGB": saved(PICTURE, "PNG"),
    "grey": saved(PICTURE.convert("L"), "PNG"),
    "bilevel": saved(PICTURE.convert("1"), "PNG"),
    "palette": saved(PICTURE.quantize(17), "PNG"),
    "alpha": saved(Image.fromarray(np.dstack([RGB, RGB[..., 0]])), "PNG"),
    "grey and alpha": saved(PICTURE.convert("LA"), "PNG"),
    "16 bit": png(RGB.astype(np.uint16) * 257, 2),
    "16 bit alpha": png(np.dstack([RGB, RGB[..., 0]]).astype(np.uint16) * 257, 6),
}


@pytest.mark.parametrize("kind", PNGS)
def test_the_whole_rows_of_a_png_are_read(kind: str) -> None:
    data = PNGS[kind]
    whole = read_photo(data)
    for share in SHARES[:3]:
        photo = check(data[: int(len(data) * share)], whole, share - 0.25)
        rows = int(re.findall(r"(\d+) of its 90 rows", str(photo.warnings))[0])
        assert np.array_equal(photo.pixels[:rows], whole.pixels[:rows])
        assert not np.array_equal(photo.pixels[rows], whole.pixels[rows])


def test_a_png_that_is_cut_behind_its_last_pixels_is_whole() -> None:
    for kind, data in PNGS.items():
        at = data.rfind(b"IEND") - 4
        for end in (at, at - 4, at - 6):  # without its end, without a check sum, within another
            photo = read_photo(data[:end])
            assert np.array_equal(photo.pixels, read_photo(data).pixels), kind
            assert photo.warnings == ["The PNG's end marker is missing; all its pixels are there."]


def interlaced(array: Array) -> bytes:
    """Return an RGB PNG in seven passes (Adam7), written by hand."""
    height, width = array.shape[:2]
    deep = array.astype(">u2") if array.itemsize == 2 else array
    rows = b""
    for row, column, down, across, _, _ in png_salvage._ADAM7:
        part = deep[row::down, column::across]
        if part.size:
            rows += b"".join(b"\0" + line.tobytes() for line in part)
    head = struct.pack(">IIBBBBB", width, height, 8 * array.itemsize, 2, 0, 0, 1)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return png_chunks.PNG_SIGNATURE + b"".join(png_chunks.png_chunk(kind, payload) for kind, payload in chunks)


@pytest.mark.parametrize("shape", [(90, 70), (33, 5), (7, 64)])
@pytest.mark.parametrize("deep", [False, True])
def test_an_interlaced_png_gets_coarser_where_it_is_cut(shape: tuple[int, int], deep: bool) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    array: Any = np.dstack([x * 2, y * 2, x + y]).astype(np.uint8)
    array = array.astype(np.uint16) * 257 if deep else array
    data = interlaced(array)
    assert np.array_equal(read_photo(data).pixels, array)
    errors = []
    for share in (0.4, 0.6, 0.8):
        photo = read_photo(data[: int(len(data) * share)])
        assert any("is cut off" in warning and "coarse to fine" in warning for warning in photo.warnings)
        assert np.array_equal(photo.pixels[0, 0], array[0, 0])
        errors.append(np.abs(photo.pixels.astype(float) - array).mean())
    assert errors == sorted(errors, reverse=True), "more of the file is never less of the picture"
    assert errors[-1] < (2000 if deep else 8), "what is missing looks like its neighbours"


def test_every_pixel_that_an_interlaced_png_still_has_is_right() -> None:
    data = interlaced(RGB)
    for share in SHARES:
        photo = read_photo(data[: int(len(data) * share)])
        told = next(warning for warning in photo.warnings if "is cut off" in warning)
        claimed = int(re.findall(r"(\d+)%", told)[0]) / 100
        assert (photo.pixels == RGB).all(2).mean() >= claimed - 0.01


@pytest.mark.parametrize("kind", ["RGB", "16 bit"])
def test_next_to_nothing_of_a_png_is_no_photo(kind: str) -> None:
    data = PNGS[kind]
    for end in (20, 40, 60, int(0.03 * len(data))):
        with pytest.raises(UnreadablePhotoError, match="cut off"):
            read_photo(data[:end])


@pytest.mark.parametrize("deep", [False, True])
def test_a_damaged_png_that_is_also_cut_is_refused(deep: bool) -> None:
    data = PNGS["16 bit" if deep else "RGB"]
    chunks = [(kind, data[start:end]) for kind, start, end, _ in png_chunks.png_chunks(data)]
    packed = b"".join(payload for kind, payload in chunks if kind == b"IDAT")
    pieces = [packed[at : at + 500] for at in range(0, len(packed), 500)]
    head = png_chunks.PNG_SIGNATURE + png_chunks.png_chunk(*chunks[0])
    cut = bytearray(head + b"".join(png_chunks.png_chunk(b"IDAT", piece) for piece in pieces[:-3]))
    assert any("is cut off" in warning for warning in read_photo(bytes(cut)).warnings)
    cut[len(head) + 700] ^= 255
    with pytest.raises(UnreadablePhotoError, match="damaged"):
        read_photo(bytes(cut))


# -------------------------------------------------------------------------------------------------------------- TIFF


def directory_first(data: bytes) -> bytes:
    """Return a TIFF with its directory before its strips, as many programs write it."""
    _, _, position = ifd.header(data)
    directory = ifd.read_directory(data, position, "<")
    starts, counts = directory.integers(273), directory.integers(279)
    tags: ifd.Tree = {tag: ifd.Value(entry.kind, entry.raw) for tag, entry in directory.entries.items()}

    def packed(begin: int) -> bytes:
        offsets = [begin + sum(counts[:number]) for number in range(len(counts))]
        return ifd._pack({}, {**tags, 273: ifd.longs(*offsets)}, 8, "<")

    strips = b"".join(data[at : at + count] for at, count in zip(starts, counts, strict=True))
    return b"II*\0" + struct.pack("<I", 8) + packed(8 + len(packed(0))) + strips


@pytest.mark.parametrize("rows", [7, 90])
@pytest.mark.parametrize("packing", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "raw"])
def test_the_whole_rows_of_strips_are_read(packing: str, rows: int, capfd: pytest.CaptureFixture[str]) -> None:
    for mode in ("RGB", "L", "1", "CMYK", "P"):
        size = {} if rows == 7 else {"strip_size": 10**7}
        options = {} if packing == "raw" else {"compression": packing}
        data = directory_first(saved(PICTURE.convert(mode), "TIFF", tiffinfo={278: rows}, **options, **size))
        whole = read_photo(data)
        for share in SHARES:
            check(data[: int(len(data) * share)], whole, share - 0.3)
    assert capfd.readouterr().err == "", "libraries do not speak of it"


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "layout",
    [{}, {"rowsperstrip": 7}, {"tile": (32, 16)}, {"rowsperstrip": 7, "predictor": True, "compression": "zlib"},
     {"tile": (32, 16), "predictor": True, "compression": "zlib"}],
)  # fmt: skip
def test_strips_and_tiles_at_any_depth(layout: dict[str, Any], dtype: type, big: bool) -> None:
    stream = io.BytesIO()
    tifffile.imwrite(
        stream, RGB.astype(dtype) * (1 if dtype == np.uint8 else 257), photometric="rgb", bigtiff=big, **layout
    )
    data = stream.getvalue()
    whole = read_photo(data)
    for share in SHARES:
        photo = check(data[: int(len(data) * share)], whole, share - 0.3)
        if "tile" in layout and share > 0.5:
            assert "of its pixels" in str(photo.warnings)
            assert np.array_equal(photo.pixels[:32, :16], whole.pixels[:32, :16])


def test_planes_are_there_where_all_of_them_are() -> None:
    stream = io.BytesIO()
    planes = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(stream, planes, photometric="rgb", planarconfig="separate", rowsperstrip=9, compression="zlib")
    data = stream.getvalue()
    check(data[: int(len(data) * 0.9)], read_photo(data), 0.4)
    with pytest.raises(UnreadablePhotoError, match="cut off"):
        read_photo(data[: int(len(data) * 0.5)])  # no blue at all


def test_strips_need_not_stand_in_their_order() -> None:
    """The last strip stands first in the file, so that the middle is missing."""
    data = bytearray(directory_first(saved(PICTURE, "TIFF", compression="tiff_lzw", tiffinfo={278: 9})))
    directory = ifd.read_directory(bytes(data), 8, "<")
    starts, counts = list(directory.integers(273)), list(directory.integers(279))
    blocks = [bytes(data[at : at + count]) for at, count in zip(starts, counts, strict=True)]
    order = [9, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    at = starts[0]
    for number in order:
        starts[number] = at
        at += len(blocks[number])
    ifd.overwrite(data, directory.entries[273], directory.entries[273].packed(starts))
    shuffled = bytes(data[: min(starts)]) + b"".join(blocks[number] for number in order)
    whole = read_photo(shuffled)
    assert np.array_equal(whole.pixels, RGB)
    photo = check(shuffled[: starts[6] + 5], whole, 0.6)
    assert np.array_equal(photo.pixels[81:], RGB[81:])
    assert (photo.pixels[54:81] == 128).all()


def test_a_strip_of_a_jpeg_is_there_or_not() -> None:
    data = directory_first(saved(PICTURE, "TIFF", compression="jpeg", tiffinfo={278: 16}))
    whole = read_photo(data)
    photo = check(data[: int(len(data) * 0.7)], whole, 0.3)
    rows = int(re.findall(r"(\d+) of its 90 rows", str(photo.warnings))[0])
    assert rows % 16 == 0


def test_a_tiff_whose_directory_is_gone_or_that_has_next_to_nothing_is_no_photo() -> None:
    end = saved(PICTURE, "TIFF", compression="tiff_lzw")
    first = directory_first(end)
    for part in (end[: int(len(end) * 0.7)], first[:300], first[: len(first) // 40]):
        with pytest.raises(UnreadablePhotoError, match=r"cut off|damaged"):
            read_photo(part)


@pytest.mark.parametrize("method", [1, 5, 8, 32773])
@pytest.mark.parametrize("row", [1, 9, 210])
def test_rows_are_packed_as_they_are_unpacked(method: int, row: int) -> None:
    rows = RGB.tobytes()[: row * 80]
    packed = tiff_packing.packed(method, rows, row)
    assert tiff_packing.unpacked(method, packed, len(rows)) == rows
    for end in (0, 1, len(packed) // 2):
        assert rows.startswith(tiff_packing.unpacked(method, packed[:end], len(rows)))


@pytest.mark.parametrize("method", [5, 8, 32773, 7])
def test_bytes_that_are_no_strip_do_no_harm(method: int) -> None:
    noise = np.random.default_rng(1)
    for length in (0, 1, 2, 3, 50, 400):
        assert len(tiff_packing.unpacked(method, noise.bytes(length), 1000)) <= 1000
