"""A JPEG whose data are damaged says so, a sound one does not, and what stands around the picture is named."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer.bench.survive.samples import saved, scene
from restorer.errors import UnreadablePhotoError
from restorer.photo import jpeg_scan, jpeg_segments, read_photo
from tests.support.photo_files import exif_block, jpeg

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_rows": 1},
    "many restart markers": {"restart_marker_blocks": 3},
    "full chroma": {"subsampling": 0},
}


def detailed(height: int = 240, width: int = 320, *, grey: bool = False) -> Image.Image:
    """Return a picture with something in every block, as photographs have it."""
    y, x = np.mgrid[:height, :width]
    planes = [
        128 + 90 * np.sin(x / a) * np.cos(y / b) + 25 * np.sin(x * y / c)
        for a, b, c in ((7, 5, 90), (9, 4, 70), (5, 8, 50))
    ]
    drawn = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    return Image.fromarray(drawn[..., 0] if grey else drawn)


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def behind_jfif(data: bytes, *more: bytes) -> bytes:
    at = 4 + struct.unpack(">H", data[4:6])[0]
    return data[:at] + b"".join(more) + data[at:]


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("grey", [False, True])
def test_a_sound_jpeg_is_not_called_damaged(options: dict[str, Any], quality: int, grey: bool) -> None:
    flat = Image.new("L" if grey else "RGB", (100, 70), 200 if grey else (255, 255, 255))
    for picture in (detailed(grey=grey), detailed(7, 5, grey=grey), detailed(17, 200, grey=grey), flat):
        assert read_photo(saved(picture, "JPEG", quality=quality, **options)).warnings == []


@pytest.mark.parametrize("missing", range(1, 9))
def test_a_few_bytes_that_are_missing_before_the_end_are_a_warning(missing: int) -> None:
    """The decoder looks ahead by eight bytes, so that where it read to did not tell of fewer."""
    for picture in (Image.fromarray(scene()), detailed(64, 48), detailed(64, 48, grey=True)):
        for options in ({}, {"subsampling": 0}, {"optimize": True}):
            data = saved(picture, "JPEG", quality=90, **options)
            warnings = read_photo(data[: -2 - missing] + data[-2:]).warnings
            assert any("Look at it" in warning for warning in warnings), (picture.size, options)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("damage", ["zeros", "a piece gone", "bytes of another file"])
def test_data_overwritten_or_lost_in_the_middle_are_a_warning(options: dict[str, Any], damage: str) -> None:
    # Now and then what is left over happens to have the right number of bits; the decoder does not notice either.
    said = []
    for place in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        data = bytearray(saved(detailed(), "JPEG", quality=90, **options))
        at = int(len(data) * place)
        if damage == "zeros":
            data[at : at + 300] = bytes(300)
        elif damage == "a piece gone":
            del data[at : at + 333]
        else:
            data[at : at + 256] = bytes(range(1, 255)) + b"ab"
        said.append(_is_said(bytes(data)))
    assert sum(said) >= (6 if damage == "zeros" and not options.get("progressive") else 4), said


def _is_said(data: bytes) -> bool:
    try:
        return any("damaged" in warning for warning in read_photo(data).warnings)
    except UnreadablePhotoError as error:
        return "damaged" in str(error)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_missing_end_marker_is_a_warning_and_missing_rows_are_counted(options: dict[str, Any]) -> None:
    data = saved(detailed(), "JPEG", quality=90, **options)
    photo = read_photo(data[:-2])
    assert np.array_equal(photo.pixels, read_photo(data).pixels)
    assert photo.warnings == ["The JPEG's end marker is missing; all its pixels are there."]
    assert read_photo(data[:-1]).warnings == photo.warnings
    for cut in (40, 200, len(data) // 2):
        part = read_photo(data[:-cut])
        assert part.size == photo.size
        assert any("is cut off" in warning for warning in part.warnings)
        assert np.abs(part.pixels[:20].astype(int) - photo.pixels[:20]).mean() < (40 if options else 1)
    if "progressive" not in options:
        (said,) = read_photo(data[: len(data) // 2]).warnings
        rows = int(said.split(": ")[1].split(" of ")[0])
        assert 0.3 < rows / photo.size[1] < 0.7
        assert np.array_equal(read_photo(data[: len(data) // 2]).pixels[: rows - 20], photo.pixels[: rows - 20])
    tall = np.random.default_rng(0).integers(0, 256, (1600, 16, 3)).astype(np.uint8)
    begun = saved(Image.fromarray(tall), "JPEG", quality=90, **options)
    if "progressive" not in options:
        with pytest.raises(UnreadablePhotoError, match="cut off"):
            read_photo(begun[: begun.find(b"\xff\xda") + 40])


def test_a_progressive_jpeg_that_ends_behind_a_scan_is_cut_off() -> None:
    data = saved(detailed(), "JPEG", progressive=True)
    ends = [end for _, end in jpeg_scan.coded(data).parts]
    for end in ends[2:-1]:
        assert any("is cut off" in warning for warning in read_photo(data[:end]).warnings)


@pytest.mark.parametrize(
    "between", [bytes(7), b"\x12" * 40, b"\xff\x00" * 3, b"\0\xff\x00\0"], ids=["zeros", "text", "no markers", "mixed"]
)
def test_bytes_between_segments_are_passed_over_as_viewers_do(between: bytes) -> None:
    data = behind_jfif(jpeg(), between, segment(0xE1, b"Exif\0\0" + exif_block(6)))
    photo = read_photo(data)
    assert photo.size == (32, 48)
    assert photo.exif is not None
    assert any("between" in warning for warning in photo.warnings)


def test_fill_bytes_before_a_segment_are_as_they_should_be() -> None:
    photo = read_photo(behind_jfif(jpeg(), b"\xff\xff\xff", segment(0xE1, b"Exif\0\0" + exif_block(6))))
    assert (photo.size, photo.warnings) == ((32, 48), [])


C2PA = b"JP\0\1" + struct.pack(">II", 1, 60) + b"jumb\0\0\0\x20jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9bq\x03c2pa\0"


@pytest.mark.parametrize(
    ("marker", "payload", "named"),
    [
        (0xEB, C2PA, "Content Credentials"),
        (0xEB, b"JP\0\1" + bytes(20), "APP11 (JUMBF)"),
        (0xE1, b"FLIR\0\1\0\1" + bytes(30), "APP1 (FLIR)"),
        (0xE2, b"FPXR\0" + bytes(20), "APP2 (FPXR)"),
        (0xEC, b"Ducky\0\2\0\6\0\0\0\1\0A", "APP12 (Ducky)"),
        (0xED, b"Adobe_CM\0", "APP13 (Adobe_CM)"),
        (0xE3, bytes(50), "APP3 (50 bytes)"),
        (0xE1, b"Exif\0\0" + exif_block(), "a second EXIF block"),
    ],
)
def test_a_segment_that_is_not_known_is_dropped_with_a_word(marker: int, payload: bytes, named: str) -> None:
    warnings = read_photo(
        behind_jfif(jpeg(block=exif_block()), segment(0xE1, b"Exif\0\0" + exif_block()), segment(marker, payload))
    ).warnings
    assert any(named in warning for warning in warnings), warnings


def test_many_unknown_segments_are_one_short_warning() -> None:
    thermal = [segment(0xE1, b"FLIR\0\1" + bytes((number, 40)) + bytes(30)) for number in range(40)]
    others = [segment(0xE5, b"name %d\0" % number) for number in range(30)]
    warnings = read_photo(behind_jfif(jpeg(), *thermal, *others)).warnings
    assert len(warnings) == 1
    assert warnings[0].count("FLIR") == 1
    assert "and 23 more" in warnings[0]


def test_an_end_of_zeros_is_damage() -> None:
    data = saved(detailed(), "JPEG", quality=90)
    for zeros in (100, 1000):
        try:
            warnings = read_photo(data[:-zeros] + bytes(zeros)).warnings
            assert any("damaged" in w or "cut off" in w for w in warnings)
            assert not any("all its pixels" in w for w in warnings)
        except UnreadablePhotoError as error:
            assert "cut off" in str(error)  # noqa: PT017


def test_what_every_jpeg_has_is_no_loss() -> None:
    jfxx = segment(0xE0, b"JFXX\0\x10" + saved(Image.new("RGB", (8, 8)), "JPEG"))
    ducky = segment(0xEC, b"Ducky\0\1\0\4\0\0\0\x50\0\0")
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\1")
    assert read_photo(behind_jfif(jpeg(), jfxx, adobe, ducky)).warnings == []


@pytest.mark.parametrize(
    ("rest", "word"),
    [
        (b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(99), "short video"),
        (b"\0\0\0\x18ftypisom\0\0\0\0" + bytes(99), "short video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0" + bytes(99), "short video"),
        (saved(Image.new("RGB", (8, 8)), "JPEG"), "further pictures"),
        (b"SEFHe\0\0\0SEFT", "12 bytes of other data"),
        (b"PK\x03\x04" + bytes(3000), "3,004 bytes of other data"),
    ],
)
def test_what_lies_behind_the_picture_is_named(rest: bytes, word: str) -> None:
    for options in KINDS.values():
        warnings = read_photo(saved(detailed(40, 50), "JPEG", **options) + rest).warnings
        assert len(warnings) == 1, warnings
        assert word in warnings[0]


def test_padding_behind_the_picture_is_no_loss() -> None:
    for rest in (bytes(500), b"\xff" * 9, b"\r\n"):
        assert read_photo(jpeg() + rest).warnings == []


def test_the_decoder_gets_the_same_picture_as_before() -> None:
    for options in KINDS.values():
        data = saved(detailed(), "JPEG", **options)
        assert np.array_equal(read_photo(data).pixels, np.asarray(Image.open(io.BytesIO(data))))


def test_extended_xmp_that_belongs_to_nothing_is_named() -> None:
    extension = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", 4, 0) + b"text")
    assert any("extended XMP" in warning for warning in read_photo(behind_jfif(jpeg(), extension)).warnings)


def test_segments_are_found_in_any_bytes() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        noise = b"\xff\xd8" + rng.integers(0, 256, 90, np.uint8).tobytes().replace(b"\x10", b"\xff")
        spans = list(jpeg_segments.jpeg_segments(noise))
        assert all(start <= end <= len(noise) for _, start, end in spans)
        jpeg_scan.coded(noise)


def test_scene_keeps_its_pixels() -> None:
    assert np.abs(read_photo(jpeg()).pixels.astype(int) - scene()).mean() < 3
