"""Files that are whole to look at, with an end and sound check sums, and hold fewer rows than they claim.

Decoders leave what is missing black, and say nothing; found by `python -m restorer.bench survive`.
"""

from __future__ import annotations

import struct
from itertools import product

import numpy as np
import pytest
from PIL import Image

from restorer.bench.survive.bombs import claims
from restorer.bench.survive.samples import png, samples, saved, scene
from restorer.errors import UnreadablePhotoError
from restorer.photo import Photo, ifd, jpeg_segments, png_chunks, read_photo


def pngs() -> dict[str, bytes]:
    picture = Image.fromarray(scene())
    clear = np.dstack([scene(), scene()[..., 0]])
    return {
        "RGB": png(scene(), 2), "16 bits": png(scene(deep=True), 2), "grey": png(scene()[..., 0], 0),
        "palette": saved(picture.quantize(16), "PNG"), "bits": saved(picture.convert("1"), "PNG"),
        "alpha": png(clear, 6),
    }  # fmt: skip


@pytest.mark.parametrize("name", pngs())
def test_a_png_of_fewer_rows_than_it_claims_is_cut_off(name: str) -> None:
    data = pngs()[name]
    assert read_photo(data).warnings == []
    photo = read_photo(claims(data, 48, 64))
    assert photo.warnings == ["The PNG is cut off: 32 of its 64 rows are there (50%); the rest is grey."]
    assert len(np.unique(photo.pixels[32:])) == 1
    assert np.array_equal(photo.pixels[:32], read_photo(data).pixels)
    with pytest.raises(UnreadablePhotoError, match="next to none"):
        read_photo(claims(data, 48, 3_200))


@pytest.mark.parametrize("name", pngs())
def test_a_png_of_more_rows_than_it_claims_is_doubted(name: str) -> None:
    assert any("Look at it" in warning for warning in read_photo(claims(pngs()[name], 48, 31)).warnings)


def test_a_png_whose_pixels_are_in_many_chunks() -> None:
    whole = png(scene(), 2)
    parts = [(kind, whole[start:end]) for kind, start, end, _ in png_chunks.png_chunks(whole)]
    split = [(kind, payload[at : at + 100] if kind == b"IDAT" else payload) for kind, payload in parts
             for at in range(0, max(len(payload), 1), 100 if kind == b"IDAT" else 10**9)]  # fmt: skip
    data = png_chunks.PNG_SIGNATURE + b"".join(png_chunks.png_chunk(*chunk) for chunk in split)
    assert read_photo(data).warnings == []
    assert "32 of its 40 rows" in read_photo(claims(data, 48, 40)).warnings[0]


def lying(data: bytes, height: int, *, rows: bool) -> Photo:
    """Read a TIFF that claims another height; `rows`: and that its strips have as many."""
    changed = bytearray(data)
    directory = ifd.read_directory(data, ifd.header(data)[2], ifd.header(data)[0], ifd.header(data)[1])
    for tag in (257, *((278,) if rows else ())):
        ifd.overwrite(changed, directory.entries[tag], directory.entries[tag].packed([height]))
    return read_photo(bytes(changed))


@pytest.mark.parametrize(("kind", "number"), [*product(["TIFF"], range(2, 9)), ("BigTIFF", 0)])
def test_a_tiff_of_fewer_strips_than_it_claims_is_cut_off(kind: str, number: int) -> None:
    data = samples(kind)[number]
    sound, photo = read_photo(data), lying(data, 40, rows=False)
    assert any("32 of its 40 rows are there" in warning for warning in photo.warnings), photo.warnings
    assert np.array_equal(photo.pixels[:32], sound.pixels)
    assert len(np.unique(photo.pixels[32:])) == 1
    with pytest.raises(UnreadablePhotoError):
        lying(data, 2**15 if kind == "TIFF" else 60_000, rows=False)


@pytest.mark.parametrize("number", range(2, 9))
def test_a_tiff_whose_strip_is_too_short_for_its_rows_is_doubted_or_refused(number: int) -> None:
    try:
        photo = lying(samples("TIFF")[number], 33, rows=True)
    except UnreadablePhotoError:
        return
    assert any("Look at it" in warning for warning in photo.warnings), photo.warnings


@pytest.mark.parametrize("kind", ["TIFF", "BigTIFF"])
def test_sound_files_are_not_doubted(kind: str) -> None:
    for data in samples(kind):
        assert not any("Look at it" in warning or "cut off" in warning for warning in read_photo(data).warnings)


def test_a_jpeg_with_two_codes_for_a_symbol_is_doubted() -> None:
    for number in (1, 2, 3):
        data = bytearray(samples("JPEG")[number])
        assert read_photo(bytes(data)).warnings == []
        tables = [start for marker, start, _ in jpeg_segments.jpeg_segments(data) if marker == 0xC4]
        last = tables[-1] + 17 + sum(data[tables[-1] + 1 : tables[-1] + 17]) - 1
        data[last] = data[last - 1]
        try:
            photo = read_photo(bytes(data))
        except UnreadablePhotoError:
            continue
        assert any("Look at it" in warning for warning in photo.warnings)


@pytest.mark.parametrize("kind", ["TIFF", "BigTIFF"])
def test_a_tiff_of_more_strips_than_it_needs_is_doubted(kind: str) -> None:
    """Pillow puts the second over the first, and others do not."""
    for data in samples(kind)[:2]:
        order, big, position = ifd.header(data)
        directory = ifd.read_directory(data, position, order, big)
        if len(directory.integers(273)) < 2:
            continue
        changed = bytearray(data)
        ifd.overwrite(changed, directory.entries[257], directory.entries[257].packed([8]))
        assert any("Look at it" in warning for warning in read_photo(bytes(changed)).warnings)


def test_a_tiff_of_strips_and_tiles_at_once_is_doubted() -> None:
    data = samples("TIFF")[3]
    order, big, position = ifd.header(data)
    directory = ifd.read_directory(data, position, order, big)
    both = ifd.append_directory(data, directory, {324: ifd.longs(8), 325: ifd.longs(100)})
    try:
        photo = read_photo(both)
    except UnreadablePhotoError:
        return
    assert any("Look at it" in warning for warning in photo.warnings)


def test_a_bmp_whose_pixels_begin_in_its_header_is_doubted() -> None:
    for data in samples("BMP"):
        assert read_photo(data).warnings == []
        changed = bytearray(data)
        struct.pack_into("<I", changed, 10, 20)
        assert any("Look at it" in warning for warning in read_photo(bytes(changed)).warnings)
