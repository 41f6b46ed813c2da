"""Lab and CMYK of 16 bits: read at their depth, through their profile, into a space that holds their colours."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from restorer.bench.survive.samples import saved, scene
from restorer.errors import UnreadablePhotoError
from restorer.imaging import icc
from restorer.photo import color, read_photo
from tests.support.photo_files import cmyk_profile

WHITE = np.array(icc.WHITE)


def tiff(pixels: np.ndarray, photometric: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, photometric=photometric, **options)
    return stream.getvalue()


def lab_of(pixels: np.ndarray) -> np.ndarray:
    """Return ProPhoto pixels (n, 3), uint16, as Lab, by its own definition."""
    columns = np.array(((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82490)))
    relative = (pixels / 65535) ** (461 / 256) @ columns / WHITE
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


COLOURS = np.array([[100, 0, 0], [0, 0, 0], [50, 0, 0], [60, 50, 30], [55, -60, 40], [40, 20, -50], [70, -40, -30]])


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_lab_of_16_bits_keeps_its_colours_and_its_depth(planar: str, compression: str | None) -> None:
    values = np.stack([COLOURS[:, 0] * 655.35, COLOURS[:, 1] * 256, COLOURS[:, 2] * 256], 1)
    picture = np.rint(values).astype(np.int32).astype(np.uint16)
    picture = np.repeat(picture[None], 12, 0)
    data = tiff(
        picture if planar == "contig" else np.moveaxis(picture, -1, 0),
        "cielab",
        planarconfig=planar,
        compression=compression,
    )
    photo = read_photo(data)
    assert photo.pixels.dtype == np.uint16
    assert photo.icc_profile == color.prophoto_profile()
    assert any("Lab was converted to ProPhoto RGB of 16 bits" in line for line in photo.warnings)
    assert np.abs(lab_of(photo.pixels[5]) - COLOURS).max() < 0.1


def test_lab_of_16_bits_by_the_icc_begins_a_and_b_elsewhere() -> None:
    values = np.stack([COLOURS[:, 0] * 652.8, (COLOURS[:, 1] + 128) * 256, (COLOURS[:, 2] + 128) * 256], 1)
    photo = read_photo(tiff(np.rint(values).astype(np.uint16)[None], "icclab"))
    assert np.abs(lab_of(photo.pixels[0]) - COLOURS).max() < 0.1


def test_cmyk_of_16_bits_goes_through_its_profile() -> None:
    image = Image.fromarray(scene()).convert("CMYK")
    inks = np.asarray(image).astype(np.uint16) * 257
    eight = read_photo(saved(image, "TIFF", icc_profile=cmyk_profile()))
    deep = read_photo(tiff(inks, "separated", iccprofile=cmyk_profile()))
    assert deep.pixels.dtype == np.uint16
    assert deep.icc_profile == color.prophoto_profile()
    assert any("through its own profile" in line for line in deep.warnings)
    assert len(np.unique(deep.pixels)) > 256
    from restorer.imaging.profiles import colours_of

    space = colours_of(color.prophoto_profile())
    assert space is not None
    difference = np.abs(space.picture(deep.pixels) / 257 - eight.pixels)
    assert np.median(difference) < 4  # that path cuts at sRGB's edge, and takes its black from a search of its own
    assert np.abs(deep.pixels[-1, -1] / 65535).min() > 0.8


def test_cmyk_of_16_bits_without_a_profile_says_so() -> None:
    inks = np.zeros((4, 6, 4), np.uint16)
    inks[:, :3] = (0, 65535, 65535, 0)
    inks[:, 5] = (0, 0, 0, 65535)
    photo = read_photo(tiff(inks, "separated"))
    assert any("plain formula" in line for line in photo.warnings)
    assert photo.pixels[0, 0].tolist() == [65535, 0, 0]
    assert photo.pixels[0, 4].tolist() == [65535] * 3
    assert photo.pixels[0, 5].tolist() == [0] * 3
    assert photo.icc_profile == color.srgb_profile()


def test_a_fifth_channel_is_alpha_or_named() -> None:
    five = np.zeros((4, 6, 5), np.uint16)
    five[..., 4] = 40000
    for kind in (0, 2):
        photo = read_photo(tiff(five, "separated", planarconfig="contig", extrasamples=[kind]))
        assert any("extra channel" in line for line in photo.warnings) == (kind == 0)
        assert (photo.alpha is None) == (kind == 0)
        assert photo.alpha is None or (photo.alpha == 40000).all()


def test_what_cannot_be_taken_is_told_how_to_be_exported() -> None:
    floats = np.linspace(0, 10, 48 * 32 * 3, dtype=np.float32).reshape(32, 48, 3)
    for pixels in (floats, floats.astype(np.float64), np.zeros((4, 4, 3), np.uint32)):
        with pytest.raises(UnreadablePhotoError) as error:
            read_photo(tiff(pixels, "rgb"))
        assert str(error.value.remedy).startswith("Export it ")
        assert "16-bit" in str(error.value.remedy)
