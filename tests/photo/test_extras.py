"""Camera raw and JPEG XL are read where their libraries are, and named with what to type where they are not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from restorer.batch.discovery import find_photos
from restorer.bench.survive.samples import scene
from restorer.errors import MissingSupportError, UnreadablePhotoError
from restorer.photo import color, read_photo
from restorer.photo.formats import jxl, raw
from restorer.photo.header import read_header


def dng() -> bytes:
    """Return a raw file: a grey ramp below a Bayer filter, of a camera whose colours are sRGB's."""
    ramp = np.repeat(np.linspace(1000, 60000, 128)[None], 64, 0).astype(np.uint16)
    numbers = (32405, -15371, -4985, -9693, 18760, 416, 556, -2040, 10572)
    matrix = tuple(each for number in numbers for each in (number, 10000))
    tags: list[Any] = [
        (50706, 1, 4, (1, 4, 0, 0), True),
        (50708, 2, 0, "A camera", True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, (0, 1, 1, 2), True),
        (50721, 10, 9, matrix, True),
        (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
        (50717, 3, 1, 65535, True),
        (271, 2, 0, "Maker", True),
        (272, 2, 0, "A camera", True),
    ]
    stream = io.BytesIO()
    tifffile.imwrite(stream, ramp, photometric=32803, extratags=tags, metadata=None)
    return stream.getvalue()


def test_a_raw_file_is_developed_at_16_bits(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    file = tmp_path / "a.dng"
    file.write_bytes(dng())
    photo = read_photo(file)
    assert (photo.format, photo.bits) == ("RAW", 16)
    assert photo.pixels.dtype == np.uint16
    assert photo.icc_profile == color.prophoto_profile()
    assert any("developed plainly" in line for line in photo.warnings)
    middle = photo.pixels[20:-20, 10:-10].astype(float).mean(axis=(0, 2))
    assert (np.diff(middle) >= 0).mean() > 0.95  # the ramp
    assert (photo.pixels % 257 > 0).any()  # more than 8 bits
    assert [job.source for job in find_photos([str(tmp_path)], None).jobs] == [file]


def test_a_jpeg_xl_is_read(tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl")
    file = tmp_path / "a.jxl"
    Image.fromarray(scene()).save(file, lossless=True)
    photo = read_photo(file)
    assert photo.format == "JXL"
    assert np.array_equal(photo.pixels, scene())
    assert read_header(file).size == (48, 32)
    assert [job.source for job in find_photos([str(tmp_path)], None).jobs] == [file]


@pytest.mark.parametrize(
    ("module", "data", "package"),
    [
        (raw, b"FUJIFILMCCD-RAW 0201" + bytes(80), "rawpy"),
        (raw, b"II*\0\x10\0\0\0CR\2\0" + bytes(80), "rawpy"),
        (jxl, b"\xff\x0a" + bytes(80), "pillow-jxl-plugin"),
    ],
    ids=["RAF", "CR2", "JPEG XL"],
)
def test_what_is_missing_is_named_with_the_line_to_type(
    module: Any, data: bytes, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(MissingSupportError, match=package) as error:
        read_photo(data)
    assert package in str(error.value.remedy)


def test_a_raw_file_that_looks_like_a_tiff_names_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "find_spec", lambda _name: None)
    with pytest.raises(UnreadablePhotoError, match="rawpy") as error:
        read_photo(dng())
    assert "rawpy" in str(error.value.remedy)


def test_a_damaged_raw_file_is_refused() -> None:
    pytest.importorskip("rawpy")
    with pytest.raises(UnreadablePhotoError):
        read_photo(b"FUJIFILMCCD-RAW 0201" + bytes(500))
