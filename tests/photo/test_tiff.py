"""TIFF in all its layouts: planes, strips, tiles, byte orders, depths, and what only looks like one.

The files are written by tifffile, which is not used to read: OpenCV and Pillow silently mix up some of these layouts.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from restorer.bench.survive.samples import saved, scene
from restorer.errors import UnreadablePhotoError
from restorer.photo import ifd, read_photo
from tests.support.photo_files import Array, ramp_alpha, three, tiff16

tifffile = pytest.importorskip("tifffile", reason="part of the extra [test]")

RGB = scene()
GREY = scene()[..., 0]
ALPHA = ramp_alpha()
DEEP = scene(deep=True)
DEEP_ALPHA = ramp_alpha(deep=True)


@pytest.mark.parametrize("channels", [DEEP[..., 0], DEEP, np.dstack([DEEP, DEEP_ALPHA])], ids=["grey", "rgb", "rgba"])
def test_16_bit_tiff(channels: Array) -> None:
    photo = read_photo(tiff16(channels))
    assert photo.pixels.dtype == np.uint16
    assert np.array_equal(photo.pixels, three(channels) if channels.ndim == 2 else channels[..., :3])
    assert (photo.alpha is None) == (channels.ndim == 2 or channels.shape[2] == 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packing", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("colours", "alpha", "planar"),
    [(1, False, False), *((n, a, p) for n, a in ((1, True), (3, False), (3, True)) for p in (False, True))],
)
def test_tiff_layouts(
    order: str, planar: bool, packing: dict[str, object], dtype: type, colours: int, alpha: bool
) -> None:
    rgb, opacity = (DEEP, DEEP_ALPHA) if dtype is np.uint16 else (RGB, ALPHA)
    parts = [rgb[..., :colours], *([opacity[..., None]] if alpha else [])]
    channels = np.concatenate(parts, axis=-1)
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        np.moveaxis(channels, -1, 0) if planar else channels.squeeze(),
        byteorder=order,
        photometric="rgb" if colours == 3 else "minisblack",
        planarconfig=None if channels.shape[2] == 1 else ("separate" if planar else "contig"),
        extrasamples=["unassalpha"] if alpha else None,
        rowsperstrip=10,
        extratags=[(274, 3, 1, 6, True)],
        **packing,
    )
    photo = read_photo(stream.getvalue())
    assert photo.pixels.dtype == dtype
    assert photo.grey is (colours == 1)
    expected = rgb if colours == 3 else three(rgb[..., 0])
    assert np.array_equal(photo.pixels, np.rot90(expected, -1))
    if alpha:
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, np.rot90(opacity, -1))
    else:
        assert photo.alpha is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", [False, True])
def test_premultiplied_alpha_is_divided_out(dtype: type, planar: bool) -> None:
    top = np.iinfo(dtype).max
    rgb, alpha = (DEEP, DEEP_ALPHA) if dtype is np.uint16 else (RGB, ALPHA)
    multiplied: Array = np.rint(rgb * (alpha[..., None] / top)).astype(dtype)
    channels = np.dstack([multiplied, alpha])
    stream = io.BytesIO()
    config = "separate" if planar else "contig"
    data = np.moveaxis(channels, -1, 0) if planar else channels
    tifffile.imwrite(stream, data, photometric="rgb", extrasamples=["assocalpha"], planarconfig=config)
    photo = read_photo(stream.getvalue())
    solid = alpha > top // 2
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, alpha)
    assert np.abs(photo.pixels.astype(int) - rgb)[solid].max() <= 2
    assert photo.pixels[alpha == 0].max() in (0, top)  # nothing is known of a fully transparent pixel


def test_white_is_zero_is_turned_round() -> None:
    for grey in (GREY, DEEP[..., 0]):
        stream = io.BytesIO()
        tifffile.imwrite(stream, grey, photometric="miniswhite")
        assert np.array_equal(read_photo(stream.getvalue()).pixels, three(np.iinfo(grey.dtype).max - grey))


def test_bigtiff_and_tiles() -> None:
    for options in ({"bigtiff": True}, {"tile": (16, 16), "compression": "zlib", "predictor": True}):
        stream = io.BytesIO()
        tifffile.imwrite(stream, DEEP, photometric="rgb", extratags=[(274, 3, 1, 8, True)], **options)
        assert np.array_equal(read_photo(stream.getvalue()).pixels, np.rot90(DEEP, 1))


def test_floating_point_between_0_and_1_is_taken_as_16_bit_with_a_warning() -> None:
    for values in (DEEP, DEEP[..., 0]):
        stream = io.BytesIO()
        tifffile.imwrite(stream, (values / 65535).astype(np.float32), photometric="rgb" if values.ndim == 3 else None)
        photo = read_photo(stream.getvalue())
        assert np.array_equal(photo.pixels, values if values.ndim == 3 else three(values))
        assert "Floating-point" in photo.warnings[0]


@pytest.mark.parametrize("values", [DEEP.astype(np.float32), np.full((4, 4, 3), np.nan, np.float32)])
def test_other_floating_point_is_refused_and_never_stretched(values: Array) -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, photometric="rgb")
    with pytest.raises(UnreadablePhotoError, match="floating-point values from"):
        read_photo(stream.getvalue())


@pytest.mark.parametrize("dtype", [np.uint32, np.int16, np.float16])
def test_tiffs_of_other_numbers_are_refused(dtype: type) -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, GREY.astype(dtype), photometric="minisblack")
    with pytest.raises(UnreadablePhotoError, match=r"bits? a channel|floating-point"):
        read_photo(stream.getvalue())


@pytest.mark.parametrize("packing", ["jpeg", "tiff_lzw", None])
def test_ycbcr_tiff(packing: str | None) -> None:
    photo = read_photo(saved(Image.fromarray(RGB).convert("YCbCr"), "TIFF", compression=packing))
    assert np.abs(photo.pixels.astype(int) - RGB).mean() < 4


def test_camera_raw_that_looks_like_tiff_is_not_taken_for_its_thumbnail() -> None:
    data = saved(Image.fromarray(RGB), "TIFF")
    directory = next(ifd.pages(data))
    dng = ifd.append_directory(data, directory, {50706: ifd.Value(1, b"\1\4\0\0")})
    with pytest.raises(UnreadablePhotoError, match="camera raw"):
        read_photo(dng)
    nef = ifd.append_directory(data, directory, {254: ifd.longs(1), 330: ifd.longs(8, 8)})
    with pytest.raises(UnreadablePhotoError, match="camera raw"):
        read_photo(nef)


def test_channels_without_a_meaning_are_dropped_with_a_warning() -> None:
    for rgb, dtype in ((RGB, np.uint8), (DEEP, np.uint16)):
        five = np.dstack([rgb, rgb[..., :2]])
        for planar in (False, True):
            stream = io.BytesIO()
            data = np.moveaxis(five, -1, 0) if planar else five
            config = "separate" if planar else "contig"
            tifffile.imwrite(stream, data, photometric="rgb", planarconfig=config)
            photo = read_photo(stream.getvalue())
            assert photo.pixels.dtype == dtype
            assert np.array_equal(photo.pixels, rgb)
            assert "2 extra channels" in photo.warnings[0]


def test_damaged_metadata_of_a_tiff_is_a_warning() -> None:
    data = saved(Image.fromarray(RGB), "TIFF")
    changes: ifd.Tree = {315: ifd.Value(2, b"Emil\0"), 305: ifd.Value(2, b"a long name of a tool\0")}
    whole = ifd.append_directory(data, next(ifd.pages(data)), changes)
    cut = read_photo(whole[:-4])
    assert np.array_equal(cut.pixels, RGB)
    assert any("damaged tags (315)" in warning for warning in cut.warnings)
    assert cut.exif is not None
    assert b"a long name of a tool" in cut.exif
