"""Properties that hold for pictures of any size, depth and kind, and for any bytes at all."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from restorer.bench.survive.samples import png, saved, scene
from restorer.errors import RestorerError, UnreadablePhotoError
from restorer.photo import Note, photo_from_array, read_photo, xmp
from restorer.photo.channels import to_bits
from restorer.photo.decoding import upright
from tests.support.photo_files import NOTE, XMP, again, exif_block, written

SIDES = st.integers(1, 20)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Any, Any]:
    """Return pixels, (h, w) or (h, w, 3), and alpha or None."""
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    shape = (draw(SIDES), draw(SIDES))
    colour = draw(st.booleans())
    values = arrays.arrays(dtype, (*shape, 3) if colour else shape)
    alpha = draw(arrays.arrays(dtype, shape)) if draw(st.booleans()) else None
    return draw(values), alpha


@QUICK
@given(pictures(), st.sampled_from(["PNG", "TIFF"]))
def test_lossless_round_trip(picture: tuple[Any, Any], format: str) -> None:
    photo = photo_from_array(*picture)
    result = again(photo, format, note=NOTE)
    assert result.pixels.dtype == photo.pixels.dtype
    assert np.array_equal(result.pixels, photo.pixels)
    assert (result.alpha is None) == (photo.alpha is None)
    if photo.alpha is not None and result.alpha is not None:
        assert np.array_equal(result.alpha, photo.alpha)


@QUICK
@given(pictures(), st.sampled_from(["JPEG", "WEBP", "BMP", "HEIF"]), st.integers(1, 100))
def test_every_picture_can_be_written_in_every_format(picture: tuple[Any, Any], format: str, quality: int) -> None:
    photo = photo_from_array(*picture)
    data, warnings = written(photo, format, quality=quality, note=NOTE)
    result = read_photo(data)
    assert result.size == photo.size
    assert (photo.bits == 16) == any("rounded" in warning for warning in warnings)
    if photo.alpha is not None and format in ("JPEG", "BMP"):
        assert any("transparency" in warning for warning in warnings)
    if format == "BMP" and photo.alpha is None:
        assert np.array_equal(result.pixels, np.rint(photo.pixels / (257 if photo.bits == 16 else 1)))


@QUICK
@given(st.integers(1, 8), SIDES, SIDES, st.sampled_from([2, 6]), st.booleans())
def test_orientations_of_any_size(orientation: int, height: int, width: int, colour: int, deep: bool) -> None:
    pixels = scene(height, width, deep=deep)
    channels = pixels if colour == 2 else np.dstack([pixels, pixels[..., 0]])
    photo = read_photo(png(channels, colour, (b"eXIf", exif_block(orientation))))
    expected = upright(pixels, orientation)
    assert photo.size == ((height, width) if orientation > 4 else (width, height))
    assert np.array_equal(photo.pixels, expected)
    assert photo.alpha is None or np.array_equal(photo.alpha, expected[..., 0])
    result = again(photo, "PNG")
    assert np.array_equal(result.pixels, expected)  # a second reading turns nothing any more


@given(st.integers(1, 8))
def test_turning_agrees_with_where_the_corners_go(orientation: int) -> None:
    """The table of the EXIF standard: where the stored first row and first column are in the upright picture."""
    stored = np.array([[1, 2], [3, 4]])
    edges = {1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left"}
    edges |= {5: "left top", 6: "right top", 7: "right bottom", 8: "left bottom"}
    turned = upright(stored, orientation)
    sides = {"top": turned[0], "bottom": turned[-1], "left": turned[:, 0], "right": turned[:, -1]}
    row, column = edges[orientation].split()
    assert set(sides[row]) == {1, 2}
    assert set(sides[column]) == {1, 3}


@given(arrays.arrays(np.uint16, (50,)), st.sampled_from([8, 10, 12]))
def test_fewer_bits_are_rounded_to_the_nearest(values: Any, bits: int) -> None:
    top = (1 << bits) - 1
    assert np.array_equal(to_bits(values, bits), np.floor(values / 65535 * top + 0.5))


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM", b"GIF89a"])
)
def test_any_bytes_are_a_photo_or_a_clear_error(tail: bytes, head: bytes) -> None:
    try:
        read_photo(head + tail)
    except UnreadablePhotoError as error:
        refusal: UnreadablePhotoError | None = error
    else:
        refusal = None
    assert refusal is None or (refusal.message.endswith(".") and refusal.remedy)


_SOURCES = {
    kind: saved(Image.fromarray(scene()), kind, **({"exif": b"Exif\0\0" + exif_block(6)} if kind != "BMP" else {}))
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
}
_SOURCES["png16"] = png(scene(deep=True), 2, (b"eXIf", exif_block(6)))
_SOURCES["note"] = written(photo_from_array(scene(deep=True)), "TIFF", note=NOTE)[0]


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(_SOURCES)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8))
def test_damaged_files_are_read_or_refused_and_can_then_be_written(name: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(_SOURCES[name])
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    try:
        photo = read_photo(bytes(data))
    except UnreadablePhotoError:
        return
    photo.pixels, photo.alpha = photo.pixels[:9, :9], None if photo.alpha is None else photo.alpha[:9, :9]
    for format in ("JPEG", "PNG", "TIFF", "WEBP"):
        result = again(photo, format, note=NOTE)
        assert xmp.note_of(result.xmp or b"") == NOTE


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="￾￿"), max_size=20)


@given(
    NAMES,
    NAMES,
    NAMES,
    st.text("0123456789abcdef", min_size=1),
    st.dictionaries(st.text(max_size=8), PLAIN, max_size=5),
)
def test_notes_come_back_as_they_went(tool: str, version: str, model: str, mark: str, options: dict[str, Any]) -> None:
    note = Note(tool, version, model, mark, options)
    for packet in (None, XMP):
        finished = xmp.finished(packet, (5, 10), (10, 20), note)
        assert finished is not None
        assert xmp.note_of(finished) == note
        assert xmp.finished(finished, (10, 20), (10, 20), note) == xmp.finished(finished, (10, 20), (10, 20), note)


@given(st.integers(300, 5000), st.lists(st.integers(1, 3000), min_size=1, max_size=8))
def test_packets_are_divided_without_loss(limit: int, lengths: list[int]) -> None:
    packet = xmp.Packet(XMP)
    names = {f"dc:p{number}": "y" * length for number, length in enumerate(lengths)}
    packet.add({"dc": "http://purl.org/dc/elements/1.1/"}, names)
    main, extension = xmp.split(packet.tobytes(), limit + 800)
    assert len(main) <= limit + 800
    whole = xmp.Packet(main if extension is None else xmp.merged(main, extension))
    for number, length in enumerate(lengths):
        assert whole.get("http://purl.org/dc/elements/1.1/", f"p{number}") == "y" * length
    assert whole.get("http://purl.org/dc/elements/1.1/", "source") == "line one\nline two"


@QUICK
@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from(["f", "i", "u4", "u1", "u2"]))
def test_arrays_are_taken_or_refused(height: int, width: int, kind: str) -> None:
    array = np.zeros((height, width, 3), kind)
    try:
        photo = photo_from_array(array)
    except RestorerError:
        assert kind not in ("u1", "u2") or 0 in array.shape
    else:
        assert photo.size == (width, height)
        stream = io.BytesIO()
        Image.fromarray(photo.pixels[:1, :1].astype(np.uint8)).save(stream, "PNG")
