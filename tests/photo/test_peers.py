"""Defects that other restoration tools have with photo files, and this one must not have. One test each."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.bench.survive.samples import png, saved, scene
from restorer.photo import photo_from_array, read_note, read_photo, write_photo
from tests.support.photo_files import NOTE, again, exif_block, ramp_alpha, written

RGB = scene()


def test_alpha_is_not_dropped() -> None:
    """Peers read with three channels and lose transparency without a word."""
    rgba = np.dstack([RGB, ramp_alpha()])
    photo = read_photo(saved(Image.fromarray(rgba), "PNG"))
    for format in ("PNG", "TIFF", "WEBP"):
        result = again(photo, format)
        assert result.alpha is not None, format
        assert np.array_equal(result.alpha, rgba[..., 3]), format
    assert any("transparency" in warning for warning in written(photo, "JPEG")[1])


def test_a_dark_picture_is_not_brightened_by_its_own_maximum() -> None:
    """A peer divides by the picture's maximum, which brightens dark photos."""
    for dark in (RGB // 8, (scene(deep=True) // 8).astype(np.uint16)):
        photo = read_photo(written(photo_from_array(dark), "PNG")[0])
        assert photo.pixels.max() == dark.max() < np.iinfo(dark.dtype).max // 6
        for format in ("PNG", "TIFF"):
            assert np.array_equal(again(photo, format).pixels, dark)


def test_16_bits_are_known_by_the_file_and_not_by_the_largest_value() -> None:
    """A peer takes a 16-bit picture whose values stay below 256 for one of 8 bits, and shows it white."""
    almost_black = (RGB // 2).astype(np.uint16)
    assert almost_black.max() < 256
    photo = read_photo(png(almost_black, 2))
    assert photo.pixels.dtype == np.uint16
    assert photo.bits == 16
    assert np.array_equal(photo.pixels, almost_black)
    result = again(photo, "TIFF")
    assert result.pixels.dtype == np.uint16
    assert np.array_equal(result.pixels, almost_black)
    assert read_photo(written(photo, "JPEG")[0]).pixels.max() <= 3


def test_rotation_is_not_applied_twice() -> None:
    """Peers turn the pixels and copy the tag, so that every viewer turns the result again."""
    source = saved(Image.fromarray(RGB), "JPEG", quality=98, exif=b"Exif\0\0" + exif_block(6))
    photo = read_photo(source)
    assert photo.size == (32, 48)
    for format in ("JPEG", "PNG", "TIFF", "WEBP", "HEIF"):
        data = written(photo, format)[0]
        result = read_photo(data)
        assert result.size == (32, 48), format
        assert np.abs(result.pixels.astype(int) - photo.pixels).mean() < 4, format
        if format != "HEIF":
            with Image.open(io.BytesIO(data)) as image:
                assert image.getexif().get(274, 1) == 1, format
                assert image.size == (32, 48), format


def test_rotation_is_not_forgotten_at_16_bits() -> None:
    """OpenCV's unchanged mode, which 16 bits need, leaves the tag to the caller."""
    deep = scene(deep=True)
    photo = read_photo(png(deep, 2, (b"eXIf", exif_block(6))))
    assert np.array_equal(photo.pixels, np.rot90(deep, -1))


@pytest.mark.parametrize("name", ["Großmutter mit Äpfeln.png", "祖母.png", "фото №1.png", "with 'quotes' & $(x).png"])
def test_names_beyond_ascii_and_with_spaces(name: str, tmp_path: Path) -> None:
    """OpenCV's own file functions fail on such names on some systems, and shells on others."""
    folder = tmp_path / "Фамилия 家族"
    folder.mkdir()
    photo = photo_from_array(scene(deep=True))
    write_photo(folder / name, photo.pixels, like=photo, format="PNG", note=NOTE)
    result = read_photo(folder / name)
    assert result.path == folder / name
    assert np.array_equal(result.pixels, photo.pixels)
    assert read_note(folder / name) == NOTE
    assert [file.name for file in folder.iterdir()] == [name]


def test_a_webp_or_grey_file_is_no_crash() -> None:
    """Peers accept some suffixes only, and crash on pictures with one channel."""
    for image in (Image.fromarray(RGB[..., 0]), Image.fromarray(RGB)):
        for kind in ("WEBP", "PNG", "TIFF", "BMP", "JPEG"):
            photo = read_photo(saved(image, kind))
            assert photo.pixels.shape == (32, 48, 3)
            assert again(photo, kind).size == (48, 32)
