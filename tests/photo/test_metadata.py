"""EXIF, XMP, ICC, IPTC, resolution and the note: what comes in goes out, set right, in every format that holds it."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from restorer.bench.survive.samples import IPTC, png, saved, scene
from restorer.photo import FORMATS, exif, exif_pixels, ifd, photoshop, read_photo, write_photo, xmp
from restorer.photo.color import srgb_profile
from tests.support.photo_files import NOTE, XMP, again, exif_block, full, grey_profile, jpeg, tags, written

RGB = scene()
RICH = ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"]
PREFIX = b"Exif\0\0"


# --------------------------------------------------------------------------------------------------------------- EXIF


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_comes_in_upright_without_thumbnail_and_else_as_it_was(order: ifd.Order) -> None:
    plain, source = exif_block(6, order=order), exif_block(6, order=order, thumbnail=True)
    photo = read_photo(jpeg(block=source))
    assert photo.size == (32, 48)
    assert photo.exif is not None
    assert len(photo.exif) == len(plain) + len(plain) % 2
    assert sum(a != b for a, b in zip(photo.exif, plain, strict=False)) == 1  # the orientation's one byte
    expected = tags(plain) | {274: ifd.shorts(1)}
    assert tags(photo.exif) == expected
    assert b"JFIF" not in photo.exif


def test_a_thumbnail_in_the_middle_is_blanked() -> None:
    source = exif_block(1, thumbnail=True)
    photo = read_photo(jpeg(block=source + b"trailing data that something may point to"))
    assert photo.exif is not None
    assert photo.exif.endswith(b"trailing data that something may point to")
    assert b"JFIF" not in photo.exif
    assert tags(photo.exif) == tags(exif_block(1))


@pytest.mark.parametrize("format", RICH)
def test_exif_goes_into_every_format_that_holds_it(format: str) -> None:
    photo = full(orientation=8)
    result = again(photo, format)
    found, source = tags(result.exif), tags(exif_block(1))
    below, below_source = found[ifd.EXIF], source[ifd.EXIF]
    assert isinstance(below, dict)
    assert isinstance(below_source, dict)
    assert found[ifd.GPS] == source[ifd.GPS]
    assert found[315] == source[315]
    assert found.get(274, ifd.shorts(1)) == ifd.shorts(1)
    assert below[36867] == below_source[36867]
    assert below[37500] == below_source[37500]  # the maker note, byte for byte
    assert below[40962] == ifd.shorts(32)
    assert below[40963] == ifd.longs(48)
    assert result.size == photo.size == (32, 48)


def test_dimensions_follow_the_result() -> None:
    photo = full()
    stream = io.BytesIO()
    large = np.repeat(np.repeat(photo.pixels, 2, axis=0), 3, axis=1)
    write_photo(stream, large, like=photo, format="PNG", note=NOTE)
    result = read_photo(stream.getvalue())
    below = tags(result.exif)[ifd.EXIF]
    assert isinstance(below, dict)
    assert (below[40962], below[40963]) == (ifd.shorts(144), ifd.longs(64))
    packet = xmp.Packet(result.xmp)
    assert packet.get(xmp.EXIF, "PixelXDimension") == "144"
    assert packet.get(xmp.TIFF, "ImageLength") == "64"


def test_pillow_reads_the_exif_that_was_written() -> None:
    for format in ("JPEG", "PNG", "WEBP", "TIFF"):
        image = Image.open(io.BytesIO(written(full(3), format)[0]))
        found = image.getexif()
        assert found[315] == "Emil Larsen", format
        assert found.get_ifd(ifd.EXIF)[36867] == "1931:05:01 12:00:00", format
        assert found.get_ifd(ifd.GPS)[2] == (59.0, 54.0, 30.0), format
        assert found.get_ifd(ifd.EXIF)[37500] == b"MAKER\0\1\2" * 8, format


@pytest.mark.parametrize(
    ("block", "kept"),
    [
        (b"no exif at all", False),
        (b"II*\0" + struct.pack("<I", 4000), False),
        (exif_block(1)[:120], True),
        (b"II*\0" + struct.pack("<IH", 8, 60000), False),
    ],
    ids=["nonsense", "outside", "cut off", "too many tags"],
)
def test_damaged_exif_is_a_warning_and_no_failure(block: bytes, kept: bool) -> None:
    photo = read_photo(jpeg(block=block))
    assert np.abs(photo.pixels.astype(int) - RGB).mean() < 3
    assert (photo.exif is not None) == kept
    assert any("EXIF" in warning and "damaged" in warning for warning in photo.warnings)
    for format in RICH:
        result = again(photo, format)
        assert (result.exif is not None) == kept, format
        assert result.warnings == [], format  # the damage was left behind


@pytest.mark.parametrize(("value", "warned"), [(0, False), (9, True), (200, True)])
def test_an_orientation_without_meaning_turns_nothing(value: int, warned: bool) -> None:
    photo = read_photo(jpeg(block=exif_block(value)))
    assert photo.size == (48, 32)
    assert bool(photo.warnings) == warned
    assert tags(photo.exif)[274] == ifd.shorts(1)


def test_exif_beyond_one_jpeg_segment_loses_the_maker_note_first() -> None:
    tree = tags(exif_block(1))
    below = tree[ifd.EXIF]
    assert isinstance(below, dict)
    below[37500] = ifd.Value(7, bytes(70_000))
    photo = full()
    photo.exif = ifd.pack_tree(tree)
    data, warnings = written(photo, "JPEG")
    result = tags(read_photo(data).exif)
    assert any("maker note" in warning for warning in warnings)
    assert result[315] == tree[315]
    assert again(photo, "PNG").exif == photo.exif
    photo.exif = ifd.pack_tree({315: ifd.Value(2, b"a" * 70_000 + b"\0")})
    data, warnings = written(photo, "JPEG")
    assert any("EXIF is larger" in warning for warning in warnings)
    assert read_photo(data).exif is None


# -------------------------------------------------------------------------------------------------------- orientation


def test_exif_goes_before_xmp_and_xmp_counts_where_exif_is_silent() -> None:
    turned = XMP.replace(b'tiff:Orientation="1"', b'tiff:Orientation="6"')
    assert read_photo(jpeg(packet=turned)).size == (32, 48)
    assert read_photo(jpeg(packet=turned, block=exif_block())).size == (32, 48)
    both = read_photo(jpeg(packet=turned, block=exif_block(1)))
    assert both.size == (48, 32)
    assert xmp.orientation(both.xmp or b"") == 1
    element = XMP.replace(b"<tiff:ImageLength>", b"<tiff:Orientation>8</tiff:Orientation><tiff:ImageLength>")
    element = element.replace(b' tiff:Orientation="1"', b"")
    photo = read_photo(jpeg(packet=element))
    assert photo.size == (32, 48)
    assert xmp.orientation(photo.xmp or b"") == 1
    assert again(again(photo, "JPEG"), "WEBP").size == (32, 48)


def test_face_regions_of_a_turned_photo_are_a_warning() -> None:
    regions = b' xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" mwg-rs:Regions="x"'
    packet = XMP.replace(b" tiff:Orientation", regions + b" tiff:Orientation")
    assert any("faces" in warning for warning in read_photo(jpeg(packet=packet, block=exif_block(6))).warnings)
    assert read_photo(jpeg(packet=packet, block=exif_block(1))).warnings == []


# ------------------------------------------------------------------------------------- profile, resolution, IPTC, text


@pytest.mark.parametrize("format", RICH)
def test_profile_is_written_byte_for_byte(format: str) -> None:
    profile = srgb_profile() + bytes(range(256)) * 600  # long enough for three JPEG segments
    profile = struct.pack(">I", len(profile)) + profile[4:]
    photo = full()
    photo.icc_profile = profile
    assert again(photo, format).icc_profile == profile


def test_a_missing_part_of_a_jpeg_profile_is_a_warning() -> None:
    profile = srgb_profile() + bytes(70_000)
    data = jpeg(profile=profile)
    second = data.index(b"ICC_PROFILE\0\2\2") - 4
    (length,) = struct.unpack(">H", data[second + 2 : second + 4])
    photo = read_photo(data[:second] + data[second + 2 + length :])
    assert photo.icc_profile is None
    assert any("ICC profile are missing" in warning for warning in photo.warnings)


def test_a_grey_photo_that_gained_colour_gets_a_colour_profile() -> None:
    photo = read_photo(saved(Image.fromarray(RGB[..., 0]), "PNG", icc_profile=grey_profile()))
    grey = again(photo, "PNG")
    assert grey.grey
    assert grey.icc_profile == grey_profile()
    assert np.array_equal(grey.pixels, photo.pixels)
    photo.pixels = photo.pixels.copy()
    photo.pixels[0, 0] = (200, 180, 160)
    data, warnings = written(photo, "PNG")
    colour = read_photo(data)
    assert not colour.grey
    assert colour.icc_profile == srgb_profile()
    assert "grey" in warnings[0]
    # 128 under a gamma of 1.8 is a linear 0.289, which sRGB writes as 147.
    level = photo.pixels[5, 27, 0]
    linear = (level / 255) ** 1.8
    assert abs(colour.pixels[5, 27, 0] - 255 * (1.055 * linear ** (1 / 2.4) - 0.055)) < 2


@pytest.mark.parametrize("format", [*RICH, "BMP"])
@pytest.mark.parametrize("dpi", [(300, 300), (72, 96), (1200, 600)])
def test_resolution_is_kept(format: str, dpi: tuple[float, float]) -> None:
    for source in (jpeg(dpi=dpi), jpeg(dpi=dpi, block=ifd.pack_tree({315: ifd.Value(2, b"Emil\0")}))):
        photo = read_photo(source)
        assert photo.dpi == dpi
        assert again(photo, format).dpi == pytest.approx(dpi, rel=1e-3)


def test_dots_per_centimetre_stay_exact_in_jpeg() -> None:
    photo = full()
    photo.dpi = (77 * 2.54, 77 * 2.54)
    assert again(photo, "JPEG").dpi == pytest.approx(photo.dpi, abs=1e-9)
    metric = png(RGB, 2, (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)))
    again_metric = written(read_photo(metric), "PNG")[0]
    assert b"pHYs" + struct.pack(">IIB", 2835, 2835, 1) in again_metric


def test_iptc_goes_between_jpeg_and_tiff_and_is_missed_elsewhere() -> None:
    photo = full()
    assert b"thumb." not in (photo.photoshop or b"")
    for format in ("JPEG", "TIFF"):
        data, warnings = written(photo, format)
        assert photoshop.iptc_of(read_photo(data).photoshop or b"") == IPTC
        assert not any("IPTC" in warning for warning in warnings)
    tiff = read_photo(written(photo, "TIFF")[0])
    assert photoshop.iptc_of(again(tiff, "JPEG").photoshop or b"") == IPTC
    for format in ("PNG", "WEBP", "HEIF"):
        assert any("IPTC" in warning for warning in written(photo, format)[1]), format
    image = Image.open(io.BytesIO(written(photo, "TIFF")[0]))
    assert image.tag_v2[33723] == IPTC  # type: ignore[attr-defined]


def test_iptc_alone_in_a_tiff() -> None:
    data = saved(Image.fromarray(RGB), "TIFF")
    data = ifd.append_directory(data, next(ifd.pages(data)), {33723: ifd.Value(7, IPTC)})
    assert photoshop.iptc_of(again(read_photo(data), "JPEG").photoshop or b"") == IPTC


def test_comments_and_texts_stay_in_their_own_format_and_are_named_elsewhere() -> None:
    photo = full()
    assert again(photo, "JPEG").format_specific == (("JPEG comment", b"scanned by Emil"),)
    assert any("comment" in warning for warning in written(photo, "PNG")[1])
    text = read_photo(png(RGB, 2, (b"tEXt", b"Author\0Emil"), (b"gAMA", struct.pack(">I", 45455))))
    assert again(text, "PNG").format_specific == text.format_specific
    assert text.format_specific[0] == ("PNG tEXt", b"Author\0Emil")
    warnings = written(text, "JPEG")[1]
    assert "Author" in warnings[0]
    assert "gamma" not in warnings[0]  # this one is sRGB's own
    linear = read_photo(png(RGB, 2, (b"gAMA", struct.pack(">I", 100000))))
    assert "gamma" in written(linear, "JPEG")[1][0]


def test_old_raw_profiles_in_png_texts_are_understood() -> None:
    block = PREFIX + exif_block(6)
    rows = block.hex()
    lines = "\n".join(rows[at : at + 72] for at in range(0, len(rows), 72))
    text = f"Raw profile type exif\0\0\nexif\n{len(block):8}\n{lines}\n".encode()
    data = png(RGB, 2, (b"tEXt", text.replace(b"exif\0\0", b"exif\0")))
    photo = read_photo(data)
    assert photo.size == (32, 48)
    assert tags(photo.exif)[315] == ifd.Value(2, b"Emil Larsen\0")
    assert again(photo, "PNG").size == (32, 48)


def test_damaged_chunks_are_named_and_the_picture_is_read() -> None:
    data = png(RGB, 2, (b"iCCP", b"x\0\0not deflate"), (b"pHYs", b"12"), (b"zTXt", b"a\0\0zz"))
    sum_wrong = bytearray(png(RGB, 2, (b"tEXt", b"Author\0Emil")))
    sum_wrong[sum_wrong.index(b"Emil")] ^= 1
    for content, count in ((data, 3), (bytes(sum_wrong), 1)):
        photo = read_photo(content)
        assert np.array_equal(photo.pixels, RGB)
        assert len(photo.warnings) == count
        assert all("damaged" in warning for warning in photo.warnings)


# ------------------------------------------------------------------------------------------------------ all or nothing


@pytest.mark.parametrize("format", [*RICH, "BMP"])
def test_stripping_leaves_the_profile_alone(format: str) -> None:
    photo = full(6)
    data, warnings = written(photo, format, note=NOTE, strip_metadata=True)
    result = read_photo(data)
    assert result.exif is None
    assert result.xmp is None
    assert result.photoshop is None
    assert result.format_specific == ()
    assert result.dpi is None
    assert result.icc_profile == (photo.icc_profile if format != "BMP" else None)
    assert result.size == (32, 48)
    for secret in (b"Emil", b"Grandmother", b"restorer", b"Leica"):
        assert secret not in data
    assert bool(warnings) == (format == "BMP")


def test_what_bmp_cannot_hold_is_named() -> None:
    warning = written(full(), "BMP", note=NOTE)[1][-1]
    for name in ("ICC profile", "EXIF", "XMP (with the note of what was done)", "IPTC", "comment"):
        assert name in warning
    assert "resolution" not in warning


def test_nothing_is_lost_without_a_word() -> None:
    """Whatever a photo carries is either there again or named in a warning, in every format."""
    photo = full(6)
    for name, entry in FORMATS.items():
        if not entry.writable:
            continue
        data, warnings = written(photo, name)
        result, words = read_photo(data), " ".join(warnings)
        assert result.icc_profile is not None or "ICC" in words, name
        assert result.exif is not None or "EXIF" in words, name
        assert result.xmp is not None or "XMP" in words, name
        assert photoshop.iptc_of(result.photoshop or b"") is not None or "IPTC" in words, name
        assert result.dpi is not None or "resolution" in words, name
        assert result.format_specific or "comment" in words, name


def test_resolution_finds_a_place_in_an_exif_block_that_has_none() -> None:
    block = ifd.pack_tree({315: ifd.Value(2, b"Emil Larsen\0")})
    wider = exif.with_resolution(block, (96.0, 96.0))
    assert exif.resolution(wider) == (96.0, 96.0)
    assert tags(wider)[315] == ifd.Value(2, b"Emil Larsen\0")
    assert exif.with_resolution(wider, (300.0, 300.0)) == wider


def laid_on(block: bytes, tag: int, place: int) -> bytes:
    """Return a block with the value of a tag of its EXIF directory lying elsewhere, on whatever is there."""
    below = ifd.read_directory(block, ifd.read_directory(block, 8, "<").integers(ifd.EXIF)[0], "<")
    entry = below.entries[tag]
    return block[: entry.position + 8] + struct.pack("<I", place) + block[entry.position + 12 :]


def test_values_on_top_of_something_else_change_nothing_but_themselves() -> None:
    """A rational that lay on a directory was multiplied there, and the photo could not be written (campaign)."""
    tree: ifd.Tree = {ifd.EXIF: {
        41486: ifd.rational(1000, 1), 41487: ifd.rational(1000, 1), 37510: ifd.Value(7, b"ASCII\0\0\0Anna"),
    }}  # fmt: skip
    block = ifd.pack_tree(tree)
    below = ifd.read_directory(block, ifd.read_directory(block, 8, "<").integers(ifd.EXIF)[0], "<")
    spots = {tag: entry.value_position for tag, entry in below.entries.items()}
    for place in (8, below.position, spots[37510], spots[41487]):
        given = laid_on(block, 41486, place)
        before = read_photo(jpeg(block=given))
        assert before.exif is not None
        after = exif_pixels.resized(before.exif, (10, 10), (20, 20))
        told, was = (ifd.read_tree(each, ifd.read_directory(each, 8, "<")).tree for each in (after, before.exif))
        told, was = told[ifd.EXIF], was[ifd.EXIF]  # type: ignore[assignment]
        assert told[37510] == was[37510]
        assert told[41487] == ifd.rational(2000, 1)
        if place == spots[41487]:
            assert told[41486] == ifd.rational(2000, 1), "once, though both were one value"
    assert exif.clean(block).data == block
    one = ifd.pack_tree({282: ifd.rational(300, 1), 283: ifd.rational(300, 1)})
    first = ifd.read_directory(one, 8, "<")
    shared = bytearray(one)
    struct.pack_into("<I", shared, first.entries[283].position + 8, first.entries[282].value_position)
    assert exif.clean(bytes(shared)).data == bytes(shared), "which some cameras write"
