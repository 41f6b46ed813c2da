"""Every real photograph of the reference data goes in and out with all that it carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.photo import Photo, output_format, read_note, read_photo, suffix_for, write_photo
from tests.support.photo_files import NOTE

pytestmark = pytest.mark.shared


def photos(shared: Path) -> list[Path]:
    folder = shared / "data" / "photos"
    return sorted(file for file in folder.iterdir() if file.suffix != ".csv")


def tag_values(photo: Photo) -> dict[int, object]:
    """Return the EXIF tags that must stay, as Pillow reads them."""
    image_exif = Image.Exif()
    image_exif.load(b"Exif\0\0" + photo.exif if photo.exif else b"")
    found: dict[int, object] = {
        tag: value for tag, value in image_exif.items() if tag not in (256, 257, 274, 34665, 34853)
    }
    for directory in (34665, 34853):
        below = image_exif.get_ifd(directory)
        found |= {(directory << 16) + tag: v for tag, v in below.items() if tag not in (40962, 40963, 40965)}
    return found


def test_all_photos_keep_what_they_carry(shared: Path, tmp_path: Path) -> None:
    files = photos(shared)
    assert len(files) == 110
    for file in files:
        photo = read_photo(file)
        assert photo.warnings == [], file.name
        format = output_format(photo, "keep")
        target = tmp_path / (file.stem + suffix_for(format, file.suffix))
        warnings = write_photo(target, photo.pixels, like=photo, format=format, alpha=photo.alpha, note=NOTE)
        assert warnings == [], file.name
        assert read_note(target) == NOTE, file.name
        result = read_photo(target)
        assert result.warnings == [], file.name
        assert (result.format, result.size, result.grey, result.bits) == (format, photo.size, photo.grey, photo.bits)
        assert result.pixels.dtype == photo.pixels.dtype, file.name
        assert result.icc_profile == photo.icc_profile, file.name
        assert result.photoshop == photo.photoshop, file.name
        assert result.format_specific == photo.format_specific, file.name
        assert result.dpi == photo.dpi, file.name
        assert result.xmp is not None, file.name
        assert (photo.exif is None) == (result.exif is None), file.name
        assert tag_values(result) == tag_values(photo), file.name
        assert (result.alpha is None) == (photo.alpha is None), file.name
        difference = np.abs(result.pixels.astype(int) - photo.pixels)
        if format == "PNG":
            assert difference.max() == 0, file.name
            assert photo.alpha is None or np.array_equal(result.alpha, photo.alpha), file.name  # type: ignore[arg-type]
        else:
            assert difference.mean() < 2.5, file.name


def test_pixels_are_those_that_pillow_reads(shared: Path) -> None:
    """Upright and untouched; Pillow is the second opinion wherever it keeps all bits."""
    from PIL import ImageOps

    for file in photos(shared):
        photo = read_photo(file)
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            reference = np.asarray(upright.convert("RGBA" if photo.alpha is not None else "RGB"))
        pixels = photo.pixels if photo.bits == 8 else photo.pixels >> 8
        assert np.array_equal(pixels, reference[..., :3]), file.name
        if photo.alpha is not None:
            assert np.array_equal(photo.alpha >> (photo.bits - 8), reference[..., 3]), file.name


def test_the_special_ones(shared: Path) -> None:
    folder = shared / "data" / "photos"
    deep = read_photo(folder / "realesrgan_tree_alpha_16bit.png")
    assert (deep.bits, deep.alpha is not None) == (16, True)
    assert deep.pixels.dtype == np.uint16
    assert len(np.unique(deep.pixels & 255)) > 200  # the lower byte is there, and not a copy of the upper one
    assert read_photo(folder / "realesrgan_00017_gray.png").grey
    assert read_photo(folder / "exif_Portrait_6.jpg").size == (1200, 1800)
    assert read_photo(folder / "exif_Landscape_8.jpg").size == (1800, 1200)
    assert read_photo(folder / "ulfg_masked_img3.jpg").format == "WEBP"
    assert read_photo(folder / "real47_23.jpg").dpi == pytest.approx((195.58, 195.58))
