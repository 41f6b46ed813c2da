"""Whatever may be given as a photo, and what each form brings along."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from restorer import Restorer
from restorer.bench.survive.samples import saved
from restorer.errors import UnreadablePhotoError, UnsuitablePhotoError, UsageError
from restorer.photo import Photo, open_photo, photo_from_array, read_photo
from restorer.photo.color import srgb_profile

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
ALPHA = np.random.default_rng(1).integers(0, 256, (20, 30), np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A PNG."""
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    return path


class _Named:
    """A path of somebody else's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


class _Response:
    """A stream that can only be read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        return self._data


def test_every_form_of_a_file_gives_the_same_photo(file: Path) -> None:
    data = file.read_bytes()
    read_to_its_end = io.BytesIO(data)
    read_to_its_end.read()
    with file.open("rb") as stream, tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(data)
        forms = [
            file, str(file), _Named(file), data, bytearray(data), memoryview(data), io.BytesIO(data), read_to_its_end,
            stream, spooled, _Response(data), read_photo(file),
        ]  # fmt: skip
        photos = [open_photo(cast(Any, form)) for form in forms]
    assert all(np.array_equal(photo.pixels, RGB) for photo in photos)
    assert len({photo.sha256 for photo in photos}) == 1
    assert [photo.path for photo in photos[:3]] == [file] * 3
    assert photos[8].path == file  # an open file knows its name
    assert [photo.path for photo in photos[3:8]] == [None] * 5


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "made of None"), (3, "made of 3"), (object(), "the type object"), ([RGB], "the type list"),
        (io.StringIO("text"), "open as text"), (RGB.astype(np.int64), "int64"), (RGB.astype(bool), "bool"),
        (RGB.transpose(2, 0, 1), r"\(3, 20, 30\)"), (np.zeros((0, 3, 3)), "float64"), (RGB[..., :2], r"\(20, 30, 2\)"),
        (RGB * 1.0, r"\[0, 255\]"), (RGB / 127.5 - 1, r"\[-1, 1\]"), (np.full((2, 2, 3), np.nan), "nan"),
        (torch.zeros(3, 4, 4), "Tensor"), (Image.new("RGB", (0, 4)), "no pixels"),
        (Image.new("I", (4, 4), 70000), "16 bits"),
    ],
)  # fmt: skip
def test_what_is_no_photo_is_said_in_words(source: Any, words: str) -> None:
    with pytest.raises(UnsuitablePhotoError, match=words) as error:
        Restorer("none", background="lanczos").restore(source)
    assert isinstance(error.value, UsageError)
    assert isinstance(error.value, TypeError)
    assert not error.value.ends_run


def test_the_remedy_fits_what_was_given() -> None:
    def remedy(source: Any) -> str:
        with pytest.raises(UnsuitablePhotoError) as error:
            open_photo(source)
        return str(error.value.remedy)

    assert "permute" in remedy(torch.zeros(3, 4, 4))
    assert "restore_many" in remedy([RGB])
    assert "255" in remedy(RGB * 1.0)
    assert "clip" in remedy(RGB / 255 * 1.1)
    assert "transpose" in remedy(RGB.transpose(2, 0, 1))
    assert "path" in remedy(object())


# ------------------------------------------------------------------------------------------------------------- floats


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_taken_as_16_bits(dtype: type) -> None:
    photo = photo_from_array((RGB / 255).astype(dtype))
    assert photo.pixels.dtype == np.uint16
    assert photo.bits == 16
    assert np.abs(photo.pixels.astype(float) / 257 - RGB).max() < (0.2 if dtype is np.float16 else 1e-6)
    alpha = photo_from_array(np.dstack([RGB, ALPHA]) / 255).alpha
    assert alpha is not None
    assert np.array_equal(alpha, ALPHA.astype(np.uint16) * 257)
    assert photo_from_array((RGB[..., 0] / 255).astype(dtype)).grey


def test_floats_may_be_out_by_rounding_alone() -> None:
    values = np.array([[-1e-7, 1 + 1e-7]], np.float64)
    assert photo_from_array(values).pixels[0, :, 0].tolist() == [0, 65535]
    assert photo_from_array(np.zeros((4, 4))).pixels.max() == 0  # black is in [0, 1] too


# ------------------------------------------------------------------------------------------------------------- Pillow

MODES: dict[str, Any] = {
    "1": (RGB[..., 0] > 127, None), "L": (RGB[..., 0], None), "LA": (RGB[..., 0], ALPHA), "RGB": (RGB, None),
    "RGBA": (RGB, ALPHA), "I;16": (RGB[..., 0].astype(np.uint16) * 257, None),
    "I": (RGB[..., 0].astype(np.int32) * 257, None), "F": (RGB[..., 0].astype(np.float32) / 255, None),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_pillow_keep_their_pixels(mode: str) -> None:
    pixels, alpha = MODES[mode]
    image = Image.fromarray(pixels if alpha is None else np.dstack([pixels, alpha]))
    assert image.mode == mode
    photo = open_photo(image)
    wanted = photo_from_array(
        {"1": lambda: pixels * np.uint8(255), "I": lambda: pixels.astype(np.uint16)}.get(mode, lambda: pixels)()
    )
    assert np.array_equal(photo.pixels, wanted.pixels)
    assert photo.grey == (pixels.ndim == 2)
    assert (photo.alpha is None) == (alpha is None)
    assert photo.alpha is None or np.array_equal(photo.alpha, alpha)


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "HSV", "RGBa", "LAB"])
def test_pictures_of_other_modes_become_rgb(mode: str) -> None:
    flat = Image.fromarray(np.full((8, 8, 3), (200, 100, 50), np.uint8))
    image = (
        flat.convert("RGBA").convert("RGBa")
        if mode == "RGBa"
        else Image.new("LAB", (8, 8))
        if mode == "LAB"
        else flat.convert(mode)
    )
    photo = open_photo(image)
    assert photo.pixels.shape == (8, 8, 3)
    assert mode == "LAB" or np.abs(photo.pixels.astype(int) - (200, 100, 50)).max() < 60


def test_a_picture_of_pillow_brings_profile_exif_xmp_and_resolution(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8298] = "somebody"
    packet = b"<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"
    carried: dict[str, Any] = {"exif": exif, "dpi": (240, 240), "icc_profile": srgb_profile()}
    Image.fromarray(RGB).save(tmp_path / "a.jpg", quality=95, xmp=packet + b"<?xpacket end='w'?>", **carried)
    with Image.open(tmp_path / "a.jpg") as image:
        photo, cut = open_photo(image), open_photo(image.crop((0, 0, 8, 8)).convert("L"))
    own = read_photo(tmp_path / "a.jpg")
    for name in ("format", "icc_profile", "exif", "xmp", "dpi", "path"):
        assert getattr(photo, name) == getattr(own, name), name
    assert np.array_equal(photo.pixels, own.pixels)
    assert (cut.path, cut.format, cut.size, cut.grey) == (None, "PNG", (8, 8), True)
    assert cut.exif is not None


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_orientation_is_obeyed_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(RGB), "PNG", exif=exif)
    wanted = read_photo(data).pixels
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(open_photo(image).pixels, wanted)
        assert np.array_equal(open_photo(ImageOps.exif_transpose(image)).pixels, wanted)


def test_a_turned_tiff_is_turned_once() -> None:
    """Pillow turns it by itself when it loads it."""
    data = saved(Image.fromarray(RGB), "TIFF", tiffinfo={274: 6})
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(open_photo(image).pixels, read_photo(data).pixels)


def test_pictures_that_cannot_be_read_are_errors_in_words() -> None:
    data = saved(Image.fromarray(RGB), "PNG")
    closed = Image.open(io.BytesIO(data))
    closed.fp.close()  # type: ignore[union-attr]
    for image in (Image.open(io.BytesIO(data[: len(data) // 2])), closed):
        with pytest.raises(UnreadablePhotoError, match="damaged, cut off or closed"):
            open_photo(image)


def test_pictures_are_told_apart_by_all_that_they_carry() -> None:
    first, same, other = Image.fromarray(RGB), Image.fromarray(RGB), Image.fromarray(RGB)
    other.info["icc_profile"] = srgb_profile()
    assert open_photo(first).sha256 == open_photo(same).sha256 != open_photo(other).sha256


def test_a_photo_of_pillow_is_a_copy() -> None:
    image = Image.fromarray(RGB)
    photo = open_photo(image)
    image.putpixel((0, 0), (1, 2, 3))
    assert np.array_equal(photo.pixels, RGB)


def test_who_has_no_pillow_at_hand_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "PIL.Image")
    assert isinstance(open_photo(RGB), Photo)
