"""Results go out in full or not at all, at the depth that the format holds, and every loss is named."""

from __future__ import annotations

import io
import os
import signal
import stat
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer.bench.survive.samples import png, saved, scene
from restorer.errors import MissingSupportError, PhotoTooLargeError, UnwritableOutputError, UsageError
from restorer.formatting import install_line
from restorer.photo import (
    FORMATS,
    PICTURE_SUFFIXES,
    Photo,
    WriteOptions,
    check_output_size,
    output_format,
    photo_from_array,
    read_photo,
    substitution,
    suffix_for,
    write_photo,
)
from restorer.photo.color import srgb_profile
from restorer.photo.formats import heif
from tests.support.photo_files import NOTE, again, ramp_alpha, written

RGB = scene()
DEEP = scene(deep=True)
ALPHA = ramp_alpha()
DEEP_ALPHA = ramp_alpha(deep=True)
WRITABLE = [name for name, entry in FORMATS.items() if entry.writable]


# ---------------------------------------------------------------------------------------------------- pixels and depth


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_lossless_formats_return_every_bit(format: str, deep: bool, alpha: bool, grey: bool) -> None:
    base = DEEP if deep else RGB
    photo = photo_from_array(base[..., 0] if grey else base, (DEEP_ALPHA if deep else ALPHA) if alpha else None)
    data, warnings = written(photo, format)
    result = read_photo(data)
    assert warnings == []
    assert result.pixels.dtype == base.dtype
    assert np.array_equal(result.pixels, photo.pixels)
    if alpha:
        assert result.alpha is not None
        assert np.array_equal(result.alpha, DEEP_ALPHA if deep else ALPHA)
    else:
        assert result.alpha is None
    if grey and not (alpha and (deep or format == "TIFF")):  # those are written as RGB with alpha
        assert result.grey


@pytest.mark.parametrize("deep", [False, True])
def test_other_readers_see_the_same_tiff(deep: bool) -> None:
    tifffile = pytest.importorskip("tifffile")
    pixels, alpha = (DEEP, DEEP_ALPHA) if deep else (RGB, ALPHA)
    data, _ = written(photo_from_array(pixels, alpha), "TIFF", note=NOTE)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image), np.dstack([pixels, alpha]) >> (8 if deep else 0))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert page.shape == (32, 48, 4)
        assert page.extrasamples == (tifffile.EXTRASAMPLE.UNASSALPHA,)
        if deep:  # LZW, which 8-bit files have, needs a package that is not here
            assert np.array_equal(page.asarray(), np.dstack([pixels, alpha]))


def test_lossless_webp_stays_lossless_and_lossy_stays_lossy() -> None:
    image = Image.fromarray(np.dstack([RGB, ALPHA]))
    photo = read_photo(saved(image, "WEBP", lossless=True, exact=True))
    result = again(photo, "WEBP")
    assert result.lossless
    assert np.array_equal(result.pixels, RGB)
    assert not again(photo, "WEBP", quality=80).lossless
    assert not again(read_photo(saved(image, "WEBP", quality=90)), "WEBP").lossless


def test_jpeg_has_full_chroma_and_the_quality_asked_for() -> None:
    photo = photo_from_array(RGB)
    layouts = {
        None: [(1, 1, 1)] * 3,
        "4:2:0": [(1, 2, 2), (1, 1, 1), (1, 1, 1)],
    }
    for subsampling, expected in layouts.items():
        options = {} if subsampling is None else {"subsampling": subsampling}
        with Image.open(io.BytesIO(written(photo, "JPEG", **options)[0])) as image:
            assert [layer[1:3] for layer in image.layer] == [layer[1:] for layer in expected]  # type: ignore[attr-defined]
    sizes = [len(written(photo, "JPEG", quality=quality)[0]) for quality in (30, 80, None, 100)]
    assert sizes == sorted(sizes)
    with Image.open(io.BytesIO(written(photo, "JPEG")[0])) as image:
        reference = Image.open(io.BytesIO(saved(Image.fromarray(RGB), "JPEG", quality=95)))
        assert image.quantization == reference.quantization  # type: ignore[attr-defined]


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "BMP", "HEIF"])
def test_depth_that_a_format_cannot_hold_is_rounded_with_a_warning(format: str) -> None:
    grey = np.array([[0, 127, 128, 129, 384, 65407, 65535]], np.uint16)
    photo = photo_from_array(np.repeat(grey, 16, axis=0))
    data, warnings = written(photo, format, quality=100)
    assert any("16 were rounded" in warning for warning in warnings)
    if format == "BMP":
        assert read_photo(data).pixels[0, :, 0].tolist() == [0, 0, 0, 1, 1, 255, 255]


def test_10_bit_heic_goes_out_as_10_bit_without_a_warning() -> None:
    tens = (np.arange(1024, dtype=np.uint32) * 65535 + 511) // 1023
    photo = photo_from_array(np.repeat(tens.astype(np.uint16)[None, :, None], 16, axis=0).repeat(3, axis=2))
    photo.bits, photo.format = 10, "HEIF"
    data, warnings = written(photo, "HEIF", quality=100)
    result = read_photo(data)
    assert warnings == []
    assert result.bits == 10
    assert result.pixels.min() <= 65
    assert result.pixels.max() == 65535
    assert np.abs(result.pixels.astype(int) - photo.pixels).max() <= 4 * 65


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("format", ["JPEG", "BMP"])
def test_alpha_is_laid_over_white_with_a_warning(format: str, deep: bool) -> None:
    colour = np.zeros((16, 3, 3), np.uint16 if deep else np.uint8)
    top = 65535 if deep else 255
    alpha = np.tile(np.array([0, top // 2, top], colour.dtype), (16, 1))
    data, warnings = written(photo_from_array(colour, alpha), format, quality=100)
    assert any("over white" in warning for warning in warnings)
    row = read_photo(data).pixels[0, :, 0].astype(int)
    assert np.abs(row - [255, 128, 0]).max() <= (12 if format == "JPEG" else 0)
    _, warnings = written(photo_from_array(colour, np.full((16, 3), top, colour.dtype)), format)
    assert any("opaque everywhere" in warning for warning in warnings)


def test_an_alpha_that_the_caller_forgot_is_a_warning() -> None:
    photo = photo_from_array(RGB, ALPHA)
    assert any("transparency" in warning for warning in written(photo, "PNG", alpha=None)[1])


@pytest.mark.parametrize("format", WRITABLE)
def test_grey_stays_grey_while_the_pixels_are_grey(format: str) -> None:
    photo = photo_from_array(RGB[..., 0])
    result = again(photo, format)
    assert result.grey or format == "WEBP"  # WebP knows no grey
    assert np.abs(result.pixels.astype(int) - photo.pixels).max() <= (6 if FORMATS[format].name != "PNG" else 0)
    photo.pixels = photo.pixels.copy()
    photo.pixels[3:9, 4:12] = (250, 30, 20)
    coloured = again(photo, format)
    assert not coloured.grey
    assert coloured.pixels[6, 8, 0] > coloured.pixels[6, 8, 1] + 60


def test_colour_photos_with_grey_pixels_stay_colour() -> None:
    photo = photo_from_array(np.repeat(RGB[..., :1], 3, axis=2))
    assert not again(photo, "PNG").grey


@pytest.mark.parametrize("format", WRITABLE)
def test_the_same_run_gives_the_same_bytes(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = read_photo(saved(Image.fromarray(RGB).convert("CMYK"), "JPEG"))
    first = written(photo, format, note=NOTE)
    monkeypatch.setattr("time.time", lambda: 4e9)
    script = f"""
        import hashlib, io, sys
        sys.path[:0] = {sys.path!r}
        from restorer.photo import read_photo, write_photo
        from tests.support.photo_files import NOTE
        photo = read_photo(sys.stdin.buffer.read())
        stream = io.BytesIO()
        write_photo(stream, photo.pixels, like=photo, format={format!r}, note=NOTE)
        print(hashlib.sha256(stream.getvalue()).hexdigest())
    """
    if format in ("PNG", "HEIF"):  # also from another process, at another time
        import hashlib

        source = saved(Image.fromarray(RGB).convert("CMYK"), "JPEG")
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], input=source, capture_output=True, check=True
        )
        assert done.stdout.decode().strip() == hashlib.sha256(first[0]).hexdigest()
    assert written(photo, format, note=NOTE) == first


def test_the_srgb_profile_tells_no_time() -> None:
    """The library stamps its profiles with the present hour (ICC.1 7.2.8: six numbers from byte 24)."""
    assert struct.unpack(">6H", srgb_profile()[24:36]) == (2000, 1, 1, 0, 0, 0)


# ------------------------------------------------------------------------------------------------ formats and limits


@pytest.mark.parametrize(
    ("given", "requested", "target", "expected"),
    [
        ("JPEG", "keep", None, "JPEG"),
        ("MPO", "keep", None, "JPEG"),
        ("WEBP", "keep", None, "WEBP"),
        ("HEIF", "keep", None, "HEIF"),
        ("GIF", "keep", None, "PNG"),
        ("AVIF", "keep", None, "PNG"),
        ("JPEG", "png", None, "PNG"),
        ("JPEG", "jpg", ".JPEG", "JPEG"),
        ("PNG", "jpg", None, "JPEG"),
        ("PNG", "keep", ".webp", "WEBP"),
        ("PNG", "keep", "out/photo.tif", "TIFF"),
        ("PNG", "tiff", ".tif", "TIFF"),
        ("TIFF", "keep", ".bmp", "BMP"),
    ],
)
def test_output_format(given: str, requested: str, target: str | None, expected: str) -> None:
    assert output_format(given, requested, target) == expected
    photo = photo_from_array(RGB)
    photo.format = given
    assert output_format(photo, requested, target) == expected


@pytest.mark.parametrize(
    ("requested", "target"), [("jpeg2000", None), ("keep", ".gif"), ("keep", ".txt"), ("png", ".jpg"), ("", None)]
)
def test_output_formats_that_make_no_sense(requested: str, target: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        output_format("JPEG", requested, target)
    assert caught.value.exit_code == 2
    assert caught.value.remedy


def test_heic_output_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, it fails before the work; "keep" keeps a HEIC as JPEG, and says so."""
    assert substitution("HEIF", "keep") is None
    monkeypatch.setattr(heif, "has_writer", lambda: False)
    for requested, target in (("keep", ".heic"), ("heic", None)):
        with pytest.raises(MissingSupportError, match="pillow-heif") as caught:
            output_format("JPEG", requested, target)
        assert install_line("pillow-heif") in (caught.value.remedy or "")
    with pytest.raises(MissingSupportError, match="pillow-heif"):
        written(photo_from_array(RGB), "HEIF")
    assert output_format("HEIF", "keep") == "JPEG"
    assert suffix_for("JPEG", ".HEIC") == ".jpg"
    said = substitution("HEIF", "keep") or ""
    assert "The result is a JPEG." in said
    assert install_line("pillow-heif") in said
    assert substitution("HEIF", "keep", ".jpg") is substitution("HEIF", "png") is substitution("JPEG", "keep") is None


def test_suffixes() -> None:
    assert suffix_for("JPEG", ".JPEG") == ".JPEG"
    assert suffix_for("JPEG", ".png") == ".jpg"
    assert suffix_for("TIFF") == ".tif"
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".heif", ".gif"} <= PICTURE_SUFFIXES
    assert not {".txt", ".csv", ".db", ".part", ".xmp"} & PICTURE_SUFFIXES


@pytest.mark.parametrize(
    ("format", "fits", "beyond", "named"),
    [
        ("JPEG", (65_500, 10), (65_501, 10), ("png", "tiff")),
        ("JPEG", (10, 65_500), (10, 65_536), ("png", "tiff")),
        ("WEBP", (16_383, 16_383), (16_384, 10), ("png", "tiff", "jpg")),
        ("BMP", (20_000, 20_000), (40_000, 40_000), ("png",)),
        ("TIFF", (30_000, 30_000), (40_000, 40_000), ("png",)),
        ("HEIF", (65_528, 10), (65_529, 10), ("png", "tiff")),
        ("PNG", (1_000_000, 10), (2**31, 10), ()),
    ],
)
def test_sizes_beyond_a_format_are_refused_before_the_work(
    format: str, fits: tuple[int, int], beyond: tuple[int, int], named: tuple[str, ...]
) -> None:
    check_output_size(format, *fits, Path("a.jpg"))
    with pytest.raises(PhotoTooLargeError) as caught:
        check_output_size(format, *beyond, Path("a.jpg"))
    assert "a.jpg" in caught.value.message
    assert f"{beyond[0]:,}" in caught.value.message
    for name in named:
        assert f'format="{name}"' in (caught.value.remedy or "")
    assert "smaller scale" in (caught.value.remedy or "")


def test_16_bits_and_alpha_count_towards_the_limit_in_bytes() -> None:
    check_output_size("TIFF", 30_000, 30_000, None)
    with pytest.raises(PhotoTooLargeError):
        check_output_size("TIFF", 30_000, 30_000, None, bits=16)
    with pytest.raises(PhotoTooLargeError):
        check_output_size("TIFF", 35_000, 35_000, None, channels=4)


@pytest.mark.parametrize(
    ("format", "side", "other"),
    [("JPEG", 65_500, 2), ("WEBP", 16_383, 2), pytest.param("HEIF", 65_528, 64, marks=pytest.mark.slow)],
)
def test_the_limits_are_the_encoders_own(format: str, side: int, other: int, tmp_path: Path) -> None:
    photo = photo_from_array(RGB)
    for shape in ((other, side, 3), (side, other, 3)):
        write_photo(tmp_path / "a", np.zeros(shape, np.uint8), like=photo, format=format)
        assert read_photo(tmp_path / "a").size == (shape[1], shape[0])
    with pytest.raises(PhotoTooLargeError):
        write_photo(tmp_path / "b", np.zeros((other, side + 1, 3), np.uint8), like=photo, format=format)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"format": "GIF"},
        {"format": "jpg"},
        {"how": WriteOptions(quality=0)},
        {"how": WriteOptions(quality=101)},
        {"alpha": ALPHA[1:]},
        {"alpha": DEEP_ALPHA},
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        write_photo(io.BytesIO(), RGB, like=photo_from_array(RGB), **({"format": "PNG"} | options))


@pytest.mark.parametrize("pixels", [RGB.astype(np.float32), RGB[..., 0], np.zeros((0, 4, 3), np.uint8)])
def test_arrays_that_are_no_result(pixels: Any) -> None:
    with pytest.raises(UsageError):
        write_photo(io.BytesIO(), pixels, like=photo_from_array(RGB), format="PNG")
    with pytest.raises(UsageError):
        photo_from_array(pixels.astype(np.float64))


# ------------------------------------------------------------------------------------------------------ all or nothing


def failing(name: str, error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    fail.__name__ = name
    return fail


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace", "os.open"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PermissionError(13, "Permission denied")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    step: str, error: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "result.png"
    target.write_bytes(b"the old one")
    monkeypatch.setattr(step, failing(step, error))
    with pytest.raises(UnwritableOutputError) as caught:
        write_photo(target, RGB, like=photo_from_array(RGB), format="PNG")
    monkeypatch.undo()
    assert caught.value.path == target
    assert str(error.strerror) in caught.value.message
    assert caught.value.remedy
    assert [file.name for file in tmp_path.iterdir()] == ["result.png"]
    assert target.read_bytes() == b"the old one"


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_photo(tmp_path / "a.png", RGB, like=photo_from_array(RGB), format="PNG")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_kill_in_mid_write_leaves_no_output(tmp_path: Path) -> None:
    """The process is killed after its bytes are written and before the rename: the target must not exist."""
    script = f"""
        import os, signal, sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        import numpy as np
        from restorer.photo import photo_from_array, write_photo
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        photo = photo_from_array(np.zeros((50, 50, 3), np.uint8))
        write_photo(Path({str(tmp_path)!r}) / "a.png", photo.pixels, like=photo, format="PNG")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    left = [file.name for file in tmp_path.iterdir()]
    assert "a.png" not in left
    assert all(Path(name).suffix == ".part" for name in left)
    photo = photo_from_array(RGB)
    write_photo(tmp_path / "a.png", RGB, like=photo, format="PNG")
    assert np.array_equal(read_photo(tmp_path / "a.png").pixels, RGB)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    photo = photo_from_array(RGB)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for target in (tmp_path / "folder.png", tmp_path / "absent" / "a.png", tmp_path / "file" / "a.png"):
        with pytest.raises(UnwritableOutputError) as caught:
            write_photo(target, RGB, like=photo, format="PNG")
        assert target.name in caught.value.message
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.png"]


def test_an_encoder_that_fails_is_an_error_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Image.Image, "save", failing("save", OSError("encoder error -2")))
    with pytest.raises(UnwritableOutputError, match="encoder error -2"):
        write_photo(tmp_path / "a.jpg", RGB, like=photo_from_array(RGB), format="JPEG")
    assert list(tmp_path.iterdir()) == []


def test_new_files_get_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_photo(tmp_path / "a.png", RGB, like=photo_from_array(RGB), format="PNG")
    finally:
        os.umask(before)
    assert os.name == "nt" or stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640


def test_long_names_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 251 + ".png")
    write_photo(target, RGB, like=photo_from_array(RGB), format="PNG")
    assert read_photo(target).size == (48, 32)


def test_a_stream_gets_the_whole_file() -> None:
    stream = io.BytesIO()
    assert write_photo(stream, RGB, like=photo_from_array(RGB), format="PNG") == []
    assert np.array_equal(read_photo(stream.getvalue()).pixels, RGB)


def test_the_photo_itself_is_not_changed(tmp_path: Path) -> None:
    photo = read_photo(png(np.dstack([DEEP, DEEP_ALPHA]), 6))
    before: Photo = read_photo(png(np.dstack([DEEP, DEEP_ALPHA]), 6))
    for format in WRITABLE:
        write_photo(tmp_path / format, photo.pixels, like=photo, format=format, alpha=photo.alpha, note=NOTE)
    assert np.array_equal(photo.pixels, before.pixels)
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, DEEP_ALPHA)
    assert (photo.warnings, photo.xmp, photo.exif) == ([], None, None)
