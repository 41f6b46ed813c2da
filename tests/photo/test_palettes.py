"""BMPs whose table holds fewer colours than their pixels can name; found by `python -m restorer.bench survive`."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import pytest

from restorer.photo import read_photo

Colour = tuple[int, int, int]
TABLES: dict[str, list[Colour]] = {
    "black and white": [(0, 0, 0), (255, 255, 255)], "black": [(0, 0, 0)], "greys": [(0, 0, 0), (1, 1, 1), (2, 2, 2)],
    "colours": [(9, 0, 0), (0, 200, 0)], "white and black": [(255, 255, 255), (0, 0, 0)],
}  # fmt: skip


def bmp(bits: int, table: list[Colour], numbers: npt.NDArray[np.uint8], *, told: int | None = None) -> bytes:
    """Return a BMP of numbers (h, w), w divisible by 32, of 1, 4 or 8 bits; `told` are the colours that it tells of."""
    height, width = numbers.shape
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    packed = (numbers.reshape(height, -1, 8 // bits) << shifts).sum(2).astype(np.uint8)
    rows: bytes = packed[::-1].tobytes()
    begin, told = 54 + 4 * len(table), len(table) if told is None else told
    head = struct.pack("<2sIHHI", b"BM", begin + len(rows), 0, 0, begin)
    head += struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(rows), 0, 0, len(table) if told is None else told, 0
    )
    return head + b"".join(bytes((blue, green, red, 0)) for red, green, blue in table) + rows


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("name", TABLES)
def test_every_pixel_has_the_colour_that_its_number_has_in_the_table(name: str, bits: int) -> None:
    """Line art of black and white in 4 or 8 bits was read as noise, without a word."""
    table = TABLES[name][: 2**bits]
    numbers = np.random.default_rng(1).integers(0, len(table), (8, 32)).astype(np.uint8)
    photo = read_photo(bmp(bits, table, numbers))
    assert np.array_equal(photo.pixels, np.array(table, np.uint8)[numbers])
    assert photo.warnings == []
    if len(table) < 2**bits:
        numbers[3, 5] = len(table)
        photo = read_photo(bmp(bits, table, numbers))
        assert photo.pixels[3, 5].tolist() == [0, 0, 0], "as other decoders have it"
        assert len(photo.warnings) == 1
        assert "false colours" in photo.warnings[0]


@pytest.mark.parametrize("told", [0, 16])
def test_pixels_that_begin_in_the_table_are_doubted_where_they_name_what_is_not_before_them(told: int) -> None:
    table = [(9, 0, 0), (0, 200, 0), (0, 0, 30)]
    numbers = np.random.default_rng(2).integers(0, 3, (16, 32)).astype(np.uint8)
    photo = read_photo(bmp(8, table, numbers, told=told))
    assert np.array_equal(photo.pixels, np.array(table, np.uint8)[numbers])
    assert photo.warnings == []
    numbers[0, 0] = 3
    photo = read_photo(bmp(8, table, numbers, told=told))
    assert photo.pixels[0, 0].tolist() == [0, 0, 0]
    assert "false colours" in photo.warnings[0]


def test_a_table_of_os2_may_be_short_too() -> None:
    numbers = np.random.default_rng(3).integers(0, 2, (4, 32)).astype(np.uint8)
    table = [(0, 0, 0), (255, 255, 255)]
    rows: bytes = numbers[::-1].tobytes()
    head = struct.pack("<2sIHHI", b"BM", 32 + len(rows), 0, 0, 32) + struct.pack("<IHHHH", 12, 32, 4, 1, 8)
    photo = read_photo(head + b"".join(bytes(colour) for colour in table) + rows)
    assert np.array_equal(photo.pixels, np.array(table, np.uint8)[numbers])
    assert photo.warnings == []
