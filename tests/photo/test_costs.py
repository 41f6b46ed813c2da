"""What a file costs is bounded by what it is: counts, lists and texts that lie take no hours and no gigabytes.

Each of these took more than five minutes, or memory many times the file's size, before it was found by
`python -m restorer.bench survive`.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.bench.survive import bombs
from restorer.bench.survive.samples import exif_block, samples, saved, scene
from restorer.errors import MissingSupportError, UnreadablePhotoError
from restorer.photo import decoding, exif, ifd, isobmff, jpeg_scan, png_chunks, read_photo, riff, tiff_page, xmp
from restorer.photo.header import read_header

pytestmark = pytest.mark.timeout(300)  # of what once took longer, and takes seconds


def test_prefixes_of_exif_are_passed_over_at_once() -> None:
    found = exif.clean(b"Exif\0\0" * 4_000_000 + exif_block())
    assert (found.orientation, found.problems) == (6, [])
    assert found.data is not None
    assert found.data.startswith(b"II*\0")


def test_a_thumbnail_in_very_many_pieces_is_cut_off() -> None:
    block = bombs.exif_with_spread_thumbnail(400_000)
    found = exif.clean(block)
    assert found.problems == []
    assert found.data is not None
    assert ifd.read_directory(found.data, 8, "<").next == 0


def test_a_thumbnail_is_blanked_around_what_is_kept() -> None:
    """What lies between the pieces of another thing stays."""
    block = bytearray(exif_block())
    first = ifd.read_directory(bytes(block), 8, "<")
    second = ifd.read_directory(bytes(block), first.next, "<")
    artist, start = first.entries[315], second.integer(513, 0)
    at = artist.value_position
    length = second.entries[514]
    ifd.overwrite(block, second.entries[513], (at - 4).to_bytes(4, "little"))  # it claims to lie across the artist
    ifd.overwrite(block, length, (len(artist.raw) + 8).to_bytes(4, "little"))
    found = exif.clean(bytes(block)).data
    assert found is not None
    assert b"Emil Larsen" in found
    assert start > at


def test_a_raw_profile_of_spaces_is_refused_at_once() -> None:
    for text in (b"\nx 9 " + b" " * 2_000_000 + b"!", b"\nx 9" + b"1" * 2_000_000, b" " * 2_000_000):
        with pytest.raises(ValueError, match="cut off"):
            png_chunks.raw_profile(text)
    assert png_chunks.raw_profile(b"\nxmp\n       4\n 0a0B\n 0c0d\n") == b"\n\x0b\x0c\r"


@pytest.mark.parametrize("attributes", [True, False])
def test_xmp_of_very_many_properties(attributes: bool) -> None:
    packet = bombs.xmp_of_properties(50_000, attributes=attributes)
    finished = xmp.finished(packet, (48, 32), (96, 64), None)
    assert finished is not None
    main, extension = xmp.split(finished, 60_000)
    if not attributes:  # elements alone can be moved
        assert len(main) <= 60_000
        assert extension is not None
        assert set(_properties(main) + _properties(extension)) == set(_properties(packet))


def _properties(packet: bytes) -> list[bytes]:
    return [piece.split(b">")[0] for piece in packet.split(b"<d:")[1:]]


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
def test_boxes_that_lie_about_their_counts(kind: str) -> None:
    base = samples(kind)
    if not base:
        pytest.skip(f"no {kind} is made here")
    for extra in (bombs.items_without_size(60_000), bombs.many_owners(60_000, 400_000)):
        isobmff.contents(base[0] + extra)
    found = isobmff.contents(base[0] + b"".join(bombs.box(b"%04d" % number, b"") for number in range(9_000)))
    assert len(found.lost) < 12
    assert found.lost[-1] == "and 8992 more"


def test_a_coded_picture_in_pieces_that_overlap_without_end() -> None:
    kinds = bombs.box(b"infe", b"\2\0\0\0\0\1\0\0hvc1\0")
    items = bombs.box(b"iinf", bytes(4) + b"\0\1" + kinds)
    table = bytes(4) + bytes((0x44, 0)) + b"\0\1" + b"\0\1\0\0" + (65_535).to_bytes(2, "big")
    table += (b"\0\0\0\0" + (2**24).to_bytes(4, "big")) * 65_535
    meta = bombs.box(b"meta", bytes(4) + items + bombs.box(b"iloc", table))
    assert isobmff.contents(meta + bombs.box(b"mdat", b"x" * 2**22)).blanked


def test_what_could_be_chunks_of_webp_fits_into_memory() -> None:
    assert len(riff.chunks(samples("WEBP")[0] + bytes(8 * 200_000))) == riff.MOST_CHUNKS


def test_restart_markers_beyond_the_pictures_units() -> None:
    found = jpeg_scan.coded(bombs.jpeg_of_restarts(500_000))
    assert found.disordered
    assert len(found.parts) < 200
    assert any("Look at it" in warning for warning in read_photo(bombs.jpeg_of_restarts(500_000)).warnings)


def test_scans_without_end_over_many_pixels_are_refused() -> None:
    with pytest.raises(UnreadablePhotoError, match="scans over 10,000 x 10,000 pixels"):
        read_photo(bombs.many_scans(20_000, 10_000))
    assert read_photo(bombs.many_scans(150, 64)).size == (64, 64)  # odd, and no harm


def test_texts_and_profiles_of_a_png_share_what_they_may_unpack_to() -> None:
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**24 - 1), 9))
    photo = read_photo(bombs.png_with(*[text] * 300))
    assert len(photo.format_specific) == 8
    assert any("with the others it is too large" in warning for warning in photo.warnings)


def test_pages_that_share_a_long_value_do_not_each_copy_it() -> None:
    data = bombs.tiff_of_pages(2_000, 8)
    held = sum(len(entry.raw) for page in ifd.pages(data) for entry in page.entries.values())
    assert held < len(data)
    assert len(tiff_page.photo_pages(data)) == 2_000
    assert len(tiff_page.chosen_page(data).entries[700].raw) == len(data)


def test_strips_that_are_the_same_bytes_are_not_unpacked_again_and_again() -> None:
    photo = read_photo(bombs.tiff_of_one_strip_many_times(60_000))
    assert any("Look at it" in warning for warning in photo.warnings)


def test_a_cut_tiff_that_claims_more_rows_than_fit_into_memory_is_refused() -> None:
    with pytest.raises(UnreadablePhotoError, match="20,000 x 200,000 pixels"):
        read_photo(bombs.tall_cut_tiff(20_000, 200_000, 10_100))


def test_the_rest_of_a_cut_png_is_not_filled_up_before_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = saved(Image.fromarray(scene()), "PNG")
    monkeypatch.setattr("restorer.photo.png_salvage._rows_of", lambda *_: pytest.fail("gigabytes of zeros"))
    with pytest.raises(UnreadablePhotoError, match="next to none"):
        read_photo(bombs.claims(whole, 48, 20_000_000)[:-12])


def test_zeros_that_are_a_picture_are_read() -> None:
    photo = read_photo(bombs.zeros_png(2_000, 1_000))
    assert photo.size == (2_000, 1_000)
    assert not np.any(photo.pixels)


def test_a_second_page_beyond_all_memory_is_passed_over() -> None:
    """A position of 64 bits that no memory has raised what nobody caught, and the first page was refused with it."""
    data = bytearray(samples("BigTIFF")[0])
    directory = ifd.read_directory(bytes(data), ifd.header(bytes(data))[2], "<", True)
    data[directory.next_position : directory.next_position + 8] = (2**63 + 8).to_bytes(8, "little")
    photo = read_photo(bytes(data))
    assert photo.size == (48, 32)
    assert any("further pages are damaged" in warning for warning in photo.warnings)


@pytest.mark.parametrize(("channels", "side"), [(59_904, 32), (65, 8), (40, 20_000)])
def test_channels_that_no_photo_has_are_refused_before_a_decoder_sees_them(
    channels: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV took 302 MiB for 48 x 32 pixels of 59,904 channels before it refused them."""
    for name in ("from_opencv", "opened"):
        monkeypatch.setattr(decoding, name, lambda *_: pytest.fail("a decoder was asked"))
    short = {256: side, 257: side, 258: 16, 259: 1, 262: 2, 273: 8, 277: channels, 278: side, 279: 4}
    entries = [(tag, 3, 1, value.to_bytes(2, "little")) for tag, value in short.items()]
    with pytest.raises(UnreadablePhotoError, match=f"it claims {channels:,} channels"):
        read_photo(bombs.tiff(entries, bytes(4)))


def test_many_channels_that_a_scanner_may_have_are_read() -> None:
    pixels = np.arange(8 * 8 * 7, dtype="<u2").reshape(8, 8, 7)
    short = {256: 8, 257: 8, 258: 16, 259: 1, 262: 2, 273: 8, 277: 7, 278: 8, 279: pixels.nbytes}
    photo = read_photo(bombs.tiff([(tag, 3, 1, v.to_bytes(2, "little")) for tag, v in short.items()], pixels.tobytes()))
    assert np.array_equal(photo.pixels, pixels[..., :3])
    assert any("extra channels" in warning for warning in photo.warnings)


@pytest.mark.parametrize(
    "head", [b"IIRO", b"IIU\x00", b"FUJIFILMCCD-RAW ", b"II*\0\x10\0\0\0CR\x02\0", b"\0\0\0\x18ftypcrx "]
)
def test_a_camera_raw_file_that_is_none_has_no_size(head: bytes, tmp_path: Path) -> None:
    """LibRaw's own error, which is none of Python's, ended the run; found by files chosen by what they reach."""
    (tmp_path / "a.nef").write_bytes(head + bytes(300))
    assert read_header(tmp_path / "a.nef").size is None
    with pytest.raises((UnreadablePhotoError, MissingSupportError)):
        read_photo(tmp_path / "a.nef")
