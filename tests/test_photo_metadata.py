"""EXIF, XMP, ICC, IPTC, resolution and the note: what comes in goes out, set right, in every format that holds it."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from xml.dom import minidom

import numpy as np
import pytest
from PIL import Image

from restorer.photo import FORMATS, Note, Photo, containers, exif, ifd, read_note, read_photo, write_photo, xmp
from restorer.photo.color import srgb_profile
from tests.photo_files import IPTC, NOTE, XMP, again, exif_block, grey_profile, png, saved, scene, written

RGB = scene()
RICH = ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"]
PREFIX = b"Exif\0\0"


def jpeg(
    *,
    block: bytes | None = None,
    packet: bytes | None = None,
    profile: bytes | None = None,
    resources: bytes | None = None,
    comment: bytes | None = None,
    dpi: tuple[int, int] = (300, 300),
) -> bytes:
    """Return a JPEG with this metadata."""
    picture = saved(Image.fromarray(RGB), "JPEG", quality=95, dpi=dpi)
    comments = [comment] if comment else []
    return containers.join_jpeg(
        picture, exif=block, xmp=packet, icc_profile=profile, photoshop=resources, comments=comments
    )


def full(orientation: int | None = None) -> Photo:
    """Return a JPEG photo that carries all there is."""
    resources = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 6) + b"thumb." + containers.iptc_resource(IPTC)
    return read_photo(
        jpeg(
            block=exif_block(orientation, thumbnail=True),
            packet=XMP,
            profile=srgb_profile(),
            resources=resources,
            comment=b"scanned by Emil",
        )
    )


def tags(block: bytes | None) -> ifd.Tree:
    """Return the tags of an EXIF block."""
    assert block is not None
    order, _, position = ifd.header(block)
    reading = ifd.read_tree(block, ifd.read_directory(block, position, order))
    assert reading.problems == []
    return reading.tree


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


# ---------------------------------------------------------------------------------------------------------------- XMP


@pytest.mark.parametrize("format", RICH)
def test_xmp_is_kept_and_gets_the_note(format: str, tmp_path: Path) -> None:
    photo = full()
    assert photo.xmp == XMP  # nothing had to be set right, so not a byte changed
    file = tmp_path / "a"
    write_photo(file, photo.pixels, like=photo, format=format, note=NOTE)
    assert read_note(file) == NOTE
    result = read_photo(file)
    packet = xmp.Packet(result.xmp)
    assert packet.get(xmp.IPTC_EXTENSION, "DigitalSourceType") == xmp.COMPOSITE_WITH_AI
    assert packet.get("http://purl.org/dc/elements/1.1/", "source") == "line one\nline two"
    text = (result.xmp or b"").decode()
    assert "Grandmother &amp; Emil, 1931" in text
    assert text.count("uuid:1") == 2  # all descriptions speak of the same thing
    minidom.parseString(text.encode())  # noqa: S318 - our own output


def test_a_note_without_any_metadata_of_the_photo(tmp_path: Path) -> None:
    photo = read_photo(saved(Image.fromarray(RGB), "PNG"))
    for format in RICH:
        file = tmp_path / format
        assert write_photo(file, photo.pixels, like=photo, format=format, note=NOTE) == []
        assert read_note(file) == NOTE


def test_the_note_replaces_an_older_one_and_an_older_source_type() -> None:
    photo = full()
    packet = xmp.Packet(photo.xmp)
    packet.add({"Iptc4xmpExt": xmp.IPTC_EXTENSION}, {"Iptc4xmpExt:DigitalSourceType": "http://x/digitalCapture"})
    photo.xmp = packet.tobytes()
    once = again(photo, "PNG", note=NOTE)
    newer = Note("restorer", "0.2.0", "glean-128", "77" * 32, {"scale": 8.0})
    twice = again(once, "PNG", note=newer)
    assert xmp.note_of(twice.xmp or b"") == newer
    text = (twice.xmp or b"").decode()
    assert text.count("restorer:fingerprint>") == 2
    assert text.count("DigitalSourceType>") == 2
    assert "digitalCapture" not in text
    assert again(twice, "PNG").xmp == twice.xmp  # written without a note: nothing is added


def test_notes_hold_any_plain_options(tmp_path: Path) -> None:
    options = {"text": 'quote " < & \n \0 é \ud800', "list": [1, 2.5, None, True], "nested": {"a": "]]>"}}
    note = Note("restorer & co", "0.1.0+x", "/models/<emil>.safetensors", "ab", options)
    photo = full()
    for format in RICH:
        write_photo(tmp_path / format, photo.pixels, like=photo, format=format, note=note)
        assert read_note(tmp_path / format) == note, format


def test_no_note_where_there_is_none(tmp_path: Path) -> None:
    assert read_note(tmp_path / "absent.jpg") is None
    for name, content in {
        "empty": b"",
        "text": b"hello",
        "jpeg": jpeg(packet=XMP),
        "png": saved(Image.fromarray(RGB), "PNG"),
        "broken": jpeg(packet=b"<broken"),
        "cut": jpeg(packet=XMP)[:400],
        "tiff": b"II*\0" + bytes(4),
        "gif": saved(Image.fromarray(RGB), "GIF"),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert read_note(tmp_path / name) is None, name


def test_a_note_is_found_without_decoding_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = full()
    for format in ("JPEG", "PNG", "WEBP", "TIFF"):
        write_photo(tmp_path / format, photo.pixels, like=photo, format=format, note=NOTE)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr(Image, "open", refuse)
    monkeypatch.setattr("cv2.imdecode", refuse)
    for format in ("JPEG", "PNG", "WEBP", "TIFF"):
        assert read_note(tmp_path / format) == NOTE


@pytest.mark.parametrize(
    "packet",
    [b"<not xml", b"<a/>", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"\xff\xfe\0"],
    ids=["broken", "no rdf", "entities", "encoding"],
)
def test_damaged_xmp_is_a_warning_and_the_note_is_written_all_the_same(packet: bytes) -> None:
    photo = read_photo(jpeg(packet=packet))
    assert photo.xmp is None
    assert any("XMP is damaged" in warning for warning in photo.warnings)
    assert xmp.note_of(again(photo, "JPEG", note=NOTE).xmp or b"") == NOTE


def test_xmp_beyond_one_jpeg_segment_is_extended_and_comes_back_whole() -> None:
    large = "".join(f"<dc:relation{n}>{'x' * 30_000}</dc:relation{n}>" for n in range(4)).encode()
    packet = XMP.replace(b"<dc:title>", large + b"<dc:title>")
    photo = full()
    photo.xmp = packet
    data, warnings = written(photo, "JPEG", note=NOTE)
    assert warnings == []
    assert all(end - start <= 65_533 for _, start, end in containers.jpeg_segments(data))
    main = containers.split_jpeg(data).xmp or b""
    assert xmp.note_of(main) == NOTE  # stays where every reader looks
    result = xmp.Packet(read_photo(data).xmp)
    for number in range(4):
        assert result.get("http://purl.org/dc/elements/1.1/", f"relation{number}") == "x" * 30_000
    assert b"Grandmother" in (read_photo(data).xmp or b"")
    twice = again(read_photo(data), "JPEG", note=NOTE)
    assert xmp.Packet(twice.xmp).get("http://purl.org/dc/elements/1.1/", "relation3") == "x" * 30_000


def test_thumbnails_and_gain_maps_are_taken_out_of_xmp() -> None:
    extra = (
        b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
        b' xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1"'
        b' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="camera"'
    )
    packet = XMP.replace(b" tiff:Orientation", extra + b" tiff:Orientation")
    packet = packet.replace(b"<dc:title>", b"<xmp:Thumbnails>big</xmp:Thumbnails><dc:title>")
    photo = read_photo(jpeg(packet=packet))
    assert any("gain map" in warning for warning in photo.warnings)
    assert any("video" in warning for warning in photo.warnings)
    found = xmp.Packet(photo.xmp)
    assert not found.has("http://ns.adobe.com/hdr-gain-map/1.0/")
    assert not found.has("http://ns.adobe.com/xap/1.0/", "Thumbnails")
    assert found.get("http://ns.adobe.com/xap/1.0/", "CreatorTool") == "camera"


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
def test_resolution_is_kept(format: str, dpi: tuple[int, int]) -> None:
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
        assert containers.iptc_of(read_photo(data).photoshop or b"") == IPTC
        assert not any("IPTC" in warning for warning in warnings)
    tiff = read_photo(written(photo, "TIFF")[0])
    assert containers.iptc_of(again(tiff, "JPEG").photoshop or b"") == IPTC
    for format in ("PNG", "WEBP", "HEIF"):
        assert any("IPTC" in warning for warning in written(photo, format)[1]), format
    image = Image.open(io.BytesIO(written(photo, "TIFF")[0]))
    assert image.tag_v2[33723] == IPTC  # type: ignore[attr-defined]


def test_iptc_alone_in_a_tiff() -> None:
    data = saved(Image.fromarray(RGB), "TIFF")
    data = ifd.append_directory(data, next(ifd.pages(data)), {33723: ifd.Value(7, IPTC)})
    assert containers.iptc_of(again(read_photo(data), "JPEG").photoshop or b"") == IPTC


def test_comments_and_texts_stay_in_their_own_format_and_are_named_elsewhere() -> None:
    photo = full()
    assert again(photo, "JPEG").native == (("JPEG comment", b"scanned by Emil"),)
    assert any("comment" in warning for warning in written(photo, "PNG")[1])
    text = read_photo(png(RGB, 2, (b"tEXt", b"Author\0Emil"), (b"gAMA", struct.pack(">I", 45455))))
    assert again(text, "PNG").native == text.native
    assert text.native[0] == ("PNG tEXt", b"Author\0Emil")
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
    assert result.native == ()
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
        assert containers.iptc_of(result.photoshop or b"") is not None or "IPTC" in words, name
        assert result.dpi is not None or "resolution" in words, name
        assert result.native or "comment" in words, name


def test_resolution_finds_a_place_in_an_exif_block_that_has_none() -> None:
    block = ifd.pack_tree({315: ifd.Value(2, b"Emil Larsen\0")})
    wider = exif.with_resolution(block, (96.0, 96.0))
    assert exif.resolution(wider) == (96.0, 96.0)
    assert tags(wider)[315] == ifd.Value(2, b"Emil Larsen\0")
    assert exif.with_resolution(wider, (300.0, 300.0)) == wider
