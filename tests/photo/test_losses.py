"""Whatever is dropped is said, sound files of rarer kinds are read, colours keep their meaning without a profile."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from restorer.bench.survive.samples import IPTC, png, saved, scene
from restorer.errors import UnreadablePhotoError
from restorer.photo import Photo, color, ifd, isobmff, photo_from_array, read_photo, write_photo
from restorer.photo.header import read_header
from restorer.photo.png_chunks import png_chunk
from tests.support.photo_files import XMP, Array, again, exif_block, jpeg, ramp_alpha, written

RGB = scene()
ALPHA = ramp_alpha()


def box(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", 8 + len(payload)) + name + payload


# --------------------------------------------------------------------------------------------------------------- PNG


@pytest.mark.parametrize(
    ("kind", "word"),
    [(b"caBX", "Content Credentials"), (b"gdAT", "gain map"), (b"vpAg", "'vpAg'"), (b"prVW", "'prVW'")],
)
def test_a_png_chunk_that_is_not_known_is_named(kind: bytes, word: str) -> None:
    photo = read_photo(png(RGB, 2, (kind, b"some data")))
    assert len(photo.warnings) == 1
    assert word in photo.warnings[0]


def test_png_chunks_that_say_nothing_of_the_picture_are_no_loss() -> None:
    chunks = [(b"tIME", struct.pack(">HBBBBB", 1931, 5, 1, 12, 0, 0)), (b"bKGD", bytes(6)), (b"sBIT", b"\x08\x08\x08")]
    assert read_photo(png(RGB, 2, *chunks)).warnings == []


def test_what_lies_behind_a_png_is_named_and_pixels_that_are_not_square_too() -> None:
    assert any("1,000 bytes" in w for w in read_photo(png(RGB, 2) + b"x" * 1000).warnings)
    assert read_photo(png(RGB, 2) + bytes(9)).warnings == []
    assert any("not square" in w for w in read_photo(png(RGB, 2, (b"pHYs", struct.pack(">IIB", 2, 1, 0)))).warnings)


def apple(array: Array, *, cut: int = 0) -> bytes:
    """Return a PNG as Apple's tools optimise it: blue first, alpha multiplied in, bare Deflate."""
    height, width = array.shape[:2]
    mixed = array.astype(int).copy()
    if array.shape[2] == 4:
        mixed[..., :3] = (mixed[..., :3] * mixed[..., 3:] + 127) // 255
        mixed = mixed[..., [2, 1, 0, 3]]
    else:
        mixed = mixed[..., ::-1]
    bare = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = bare.compress(b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in mixed)) + bare.flush()
    packed = packed[: len(packed) - cut]
    head = struct.pack(">IIBBBBB", width, height, 8, 6 if array.shape[2] == 4 else 2, 0, 0, 0)
    half = len(packed) // 2
    parts = [
        (b"CgBI", b"\x50\0\x20\2"),
        (b"IHDR", head),
        (b"IDAT", packed[:half]),
        (b"IDAT", packed[half:]),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, payload) for kind, payload in parts)


def test_apples_png_is_read() -> None:
    assert np.array_equal(read_photo(apple(RGB)).pixels, RGB)
    opaque = read_photo(apple(np.dstack([RGB, np.full_like(ALPHA, 255)])))
    assert np.array_equal(opaque.pixels, RGB)
    assert (opaque.alpha, opaque.warnings) == (None, [])
    clear = read_photo(apple(np.dstack([RGB, ALPHA])))
    assert clear.alpha is not None
    assert np.array_equal(clear.alpha, ALPHA)
    seen = ALPHA > 100
    assert np.abs(clear.pixels.astype(int) - RGB)[seen].max() <= 3
    with pytest.raises(UnreadablePhotoError, match="cut off"):
        read_photo(apple(RGB, cut=200))


# ------------------------------------------------------------------------------------------------------ GIF, WebP, BMP


def gif(*extensions: bytes) -> bytes:
    data = saved(Image.fromarray(RGB).quantize(64), "GIF")
    at = 13 + (3 << ((data[10] & 7) + 1))
    return data[:at] + b"".join(extensions) + data[at:]


def extension(label: int, *blocks: bytes) -> bytes:
    return bytes((0x21, label)) + b"".join(bytes((len(block),)) + block for block in blocks) + b"\0"


@pytest.mark.parametrize("text", [b"Anna, 1931", "Åse".encode("latin-1"), "Åse, 1931".encode(), b"x" * 700])
def test_a_gifs_comment_is_kept(text: bytes) -> None:
    blocks = [text[at : at + 255] for at in range(0, len(text), 255)]
    photo = read_photo(gif(extension(0xFE, *blocks)))
    assert photo.format_specific == (("GIF comment", text),)
    content, lost = written(photo, "PNG")
    assert lost == []
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.info["Comment"] in (text.decode("latin-1"), text.decode("utf-8", "replace"))
    assert again(photo, "JPEG").format_specific == (("JPEG comment", text),)
    assert "GIF comment" in written(photo, "WEBP")[1][0]


def test_a_comment_beyond_one_jpeg_segment_is_continued() -> None:
    text = bytes(range(1, 128)) * 700
    photo = read_photo(gif(extension(0xFE, *[text[at : at + 255] for at in range(0, len(text), 255)])))
    parts = [payload for _, payload in again(photo, "JPEG").format_specific]
    assert len(parts) == 2
    assert b"".join(parts) == text


def test_the_rest_of_a_gif() -> None:
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
    magic = b"\x01" + bytes(range(255, -1, -1))
    xmp = bytes((0x21, 0xFF, 11)) + b"XMP DataXMP" + packet + magic + b"\0"
    profile = color.srgb_profile()
    icc = extension(0xFF, b"ICCRGBG1012", *[profile[at : at + 255] for at in range(0, len(profile), 255)])
    photo = read_photo(gif(xmp, icc, extension(0xFF, b"NETSCAPE2.0", b"\1\0\0")))
    assert (photo.xmp, photo.icc_profile, photo.warnings) == (packet, profile, [])
    assert any("'ACME'" in w for w in read_photo(gif(extension(0xFF, b"ACME    1.0", b"data"))).warnings)
    assert any("text" in w for w in read_photo(gif(extension(0x01, bytes(12), b"words"))).warnings)
    assert any("77 bytes" in w for w in read_photo(gif() + b"y" * 77).warnings)


def test_webp_chunks_that_are_not_known() -> None:
    data = bytearray(saved(Image.fromarray(RGB), "WEBP", exif=b"Exif\0\0" + exif_block()))
    data += b"C2PA" + struct.pack("<I", 4) + b"abcd"
    data[4:8] = struct.pack("<I", len(data) - 8)
    assert any("'C2PA'" in w for w in read_photo(bytes(data)).warnings)
    assert any("50 bytes" in w for w in read_photo(saved(Image.fromarray(RGB), "WEBP") + b"z" * 50).warnings)


def bmp5(kind: bytes, profile: bytes = b"", primaries: bytes = bytes(48)) -> bytes:
    rows = b"".join(row[:, ::-1].tobytes() for row in RGB[::-1])
    head = (
        struct.pack("<IiiHHIIiiII", 124, 48, 32, 1, 24, 0, len(rows), 2835, 2835, 0, 0) + bytes(16) + kind + primaries
    )
    head += struct.pack("<IIII", 4, 124 + len(rows), len(profile), 0)
    whole = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", whole + len(rows) + len(profile), 0, 0, whole) + head + rows + profile


def test_bmp_profiles() -> None:
    profile = color.adobe_rgb_profile()
    photo = read_photo(bmp5(b"DEBM", profile))
    assert np.array_equal(photo.pixels, RGB)
    assert (photo.icc_profile, photo.warnings) == (profile, [])
    assert any("names a file" in w for w in read_photo(bmp5(b"KNIL")).warnings)
    assert any("primaries" in w for w in read_photo(bmp5(bytes(4), primaries=b"\1" * 48)).warnings)
    assert read_photo(bmp5(b"BGRs")).warnings == []


# -------------------------------------------------------------------------------------------------------- HEIC, AVIF


def avif(primaries: int, transfer: int) -> bytes:
    data = saved(Image.fromarray(RGB), "AVIF")
    at = data.find(b"nclx")
    return data[:at] + b"nclx" + struct.pack(">HHHB", primaries, transfer, 9, 0x80) + data[at + 11 :]


@pytest.mark.parametrize(("primaries", "transfer"), [(9, 16), (9, 18), (12, 13), (1, 16)])
def test_colours_that_only_a_box_names_are_carried_on(primaries: int, transfer: int) -> None:
    photo = read_photo(avif(primaries, transfer))
    assert photo.format_specific[0] == ("PNG cICP", bytes((primaries, transfer, 0, 1)))
    assert again(photo, "PNG").format_specific == photo.format_specific
    assert written(photo, "PNG", strip_metadata=True)[0].count(b"cICP") == 1
    for format in ("JPEG", "WEBP", "TIFF"):
        assert "colour space" in written(photo, format)[1][0]
    assert again(photo, "HEIF").format_specific[0] == photo.format_specific[0]


@pytest.mark.parametrize(("primaries", "transfer"), [(1, 13), (2, 2), (1, 1), (6, 6)])
def test_colours_that_every_reader_takes_for_granted_need_no_word(primaries: int, transfer: int) -> None:
    photo = read_photo(avif(primaries, transfer))
    assert (photo.format_specific, written(photo, "JPEG")[1]) == ((), [])


def heic_with(urn: str) -> bytes:
    """Return a HEIC with an auxiliary picture of this kind."""
    meta = box(b"pitm", bytes(4) + struct.pack(">H", 1))
    entries = [box(b"infe", b"\2\0\0\0" + struct.pack(">HH", item, 0) + b"hvc1\0") for item in (1, 2)]
    meta += box(b"iinf", bytes(4) + struct.pack(">H", 2) + b"".join(entries))
    meta += box(b"iref", bytes(4) + box(b"auxl", struct.pack(">HHH", 2, 1, 1)))
    properties = box(b"ipco", box(b"auxC", bytes(4) + urn.encode() + b"\0"))
    owners = box(b"ipma", bytes(4) + struct.pack(">I", 1) + struct.pack(">HB", 2, 1) + b"\x81")
    meta += box(b"iprp", properties + owners)
    return box(b"ftyp", b"heic\0\0\0\0heicmif1") + box(b"meta", bytes(4) + meta) + box(b"mdat", b"pixels")


@pytest.mark.parametrize(
    ("urn", "word"),
    [
        ("urn:mpeg:hevc:2015:auxid:1", None),
        ("urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", None),
        ("urn:mpeg:hevc:2015:auxid:2", "depth map"),
        ("urn:com:apple:photo:2020:aux:hdrgainmap", "gain map"),
        ("urn:com:apple:photo:2018:aux:portraiteffectsmatte", "mattes"),
        ("urn:com:apple:photo:2023:aux:styledeltamap", "styledeltamap"),
    ],
)
def test_auxiliary_pictures_are_named(urn: str, word: str | None) -> None:
    lost = isobmff.contents(heic_with(urn)).lost
    assert lost == [] if word is None else word in lost[0]


def test_boxes_behind_the_picture_are_named() -> None:
    stream = io.BytesIO()
    pillow_heif.from_bytes("RGB", (48, 32), RGB.tobytes()).save(stream)
    data = stream.getvalue()
    assert read_photo(data).warnings == []
    film = box(b"mpvd", box(b"ftyp", b"mp42") + bytes(50))
    assert any("short video" in w for w in read_photo(data + film).warnings)
    credentials = box(b"uuid", bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + bytes(30))
    assert any("Content Credentials" in w for w in read_photo(data + credentials).warnings)
    assert any("'sefd'" in w for w in read_photo(data + box(b"sefd", bytes(30))).warnings)
    assert read_photo(data + box(b"free", bytes(30))).warnings == []


def test_damaged_boxes_are_the_decoders_business() -> None:
    whole = heic_with("urn:mpeg:hevc:2015:auxid:2")
    rng = np.random.default_rng(5)
    for _ in range(2000):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(256)
        isobmff.contents(bytes(data[: rng.integers(20, len(data))]))


# --------------------------------------------------------------------------------------------------------------- TIFF


def tiff(*pages: tuple[Array, ifd.Tree]) -> bytes:
    """Return a TIFF of uncompressed pages with tags beyond the plain ones."""
    out = bytearray(b"II*\0" + bytes(4))
    link = 4
    for values, more in pages:
        samples = 1 if values.ndim == 2 else values.shape[2]
        start, data = len(out), values.tobytes()
        out += data + bytes(len(data) % 2)
        tree: ifd.Tree = {
            256: ifd.longs(values.shape[1]),
            257: ifd.longs(values.shape[0]),
            258: ifd.shorts(*[8 * values.itemsize] * samples),
            259: ifd.shorts(1),
            262: ifd.shorts(1 if samples == 1 else 2),
            273: ifd.longs(start),
            277: ifd.shorts(samples),
            278: ifd.longs(values.shape[0]),
            279: ifd.longs(len(data)),
        }
        empty = bytes(out) + struct.pack("<HI", 0, 0)
        whole = ifd.append_directory(empty, ifd.read_directory(empty, len(out), "<"), {**tree, **more})
        (at,) = struct.unpack_from("<I", whole, 4)
        grown = bytearray(whole)
        grown[4:8] = out[4:8]
        struct.pack_into("<I", grown, link, at)
        out = grown
        (count,) = struct.unpack_from("<H", out, at)
        link = at + 2 + 12 * count
    return bytes(out)


SMALL = np.ascontiguousarray(RGB[::4, ::4])
MASK = np.zeros(RGB.shape[:2], np.uint8)


@pytest.mark.parametrize(
    ("pages", "warned"),
    [
        ([(SMALL, {254: ifd.longs(1)}), (RGB, {254: ifd.longs(0)})], None),
        ([(SMALL, {255: ifd.shorts(2)}), (RGB, {255: ifd.shorts(1)})], None),
        ([(SMALL, {254: ifd.longs(1)}), (MASK, {254: ifd.longs(4)}), (RGB, {})], "mask"),
        ([(MASK, {262: ifd.shorts(4), 254: ifd.longs(4)}), (RGB, {254: ifd.longs(0)})], "mask"),
        ([(RGB, {}), (SMALL, {254: ifd.longs(1)})], None),
        ([(SMALL, {254: ifd.longs(1)}), (RGB, {254: ifd.longs(1)})], None),
        ([(RGB, {254: ifd.longs(2)}), (SMALL, {254: ifd.longs(2)})], "2 pages; only the first"),
        ([(SMALL, {254: ifd.longs(1)}), (RGB, {}), (SMALL, {})], "2 pages; only the first that is no thumbnail"),
    ],
)
def test_the_page_that_is_the_photo(pages: list[tuple[Array, ifd.Tree]], warned: str | None, tmp_path: Path) -> None:
    (file := tmp_path / "a.tif").write_bytes(tiff(*pages))
    photo = read_photo(file)
    assert np.array_equal(photo.pixels, RGB)
    assert read_header(file).size == (48, 32)
    assert [w for w in photo.warnings if warned is None or warned not in w] == []
    assert bool(photo.warnings) == (warned is not None)


@pytest.mark.parametrize("factor", [1, 257, 256])
def test_a_palette_of_8_bit_values(factor: int) -> None:
    index = np.arange(48 * 32, dtype=np.uint8).reshape(32, 48)
    table = [value * factor for value in (*range(256), *range(255, -1, -1), *[40] * 256)]
    photo = read_photo(tiff((index, {262: ifd.shorts(3), 320: ifd.shorts(*table)})))
    assert np.array_equal(photo.pixels, np.dstack([index, 255 - index, np.full_like(index, 40)]))


@pytest.mark.parametrize("compression", ["zstd", "lzma", "tiff_lzw", "tiff_adobe_deflate", "packbits", "raw"])
def test_16_bit_tiffs_by_either_library(compression: str) -> None:
    deep = scene(deep=True)[..., 0]
    photo = read_photo(saved(Image.fromarray(deep), "TIFF", compression=compression))
    assert np.array_equal(photo.pixels[..., 0], deep)
    assert photo.bits == 16


def test_16_bit_colour_compressed_by_zstandard() -> None:
    deep = scene(deep=True)
    wide = deep.reshape(32, 144)
    data = saved(Image.fromarray(wide), "TIFF", compression="zstd", tiffinfo={278: 32})
    first = ifd.read_directory(data, ifd.header(data)[2], "<")
    changes: ifd.Tree = {256: ifd.longs(48), 258: ifd.shorts(16, 16, 16), 262: ifd.shorts(2), 277: ifd.shorts(3)}
    assert np.array_equal(read_photo(ifd.append_directory(data, first, changes)).pixels, deep)


def test_a_compression_that_cannot_be_read_is_named() -> None:
    data = tiff((RGB, {259: ifd.shorts(50002)}))
    with pytest.raises(UnreadablePhotoError, match="JPEG XL"):
        read_photo(data)
    with pytest.raises(UnreadablePhotoError, match="number 12345"):
        read_photo(tiff((RGB, {259: ifd.shorts(12345)})))


@pytest.mark.parametrize("deep", [False, True])
def test_a_strip_that_claims_more_than_it_needs_is_read(deep: bool) -> None:
    pixels = scene(deep=deep)
    assert np.array_equal(read_photo(tiff((pixels, {279: ifd.longs(pixels.nbytes + 9000)}))).pixels, pixels)
    with pytest.raises(UnreadablePhotoError, match="cut off"):
        read_photo(tiff((pixels, {279: ifd.longs(pixels.nbytes + 9000), 257: ifd.longs(2000), 278: ifd.longs(2000)})))


def test_values_without_a_meaning_are_refused_whatever_compresses_them() -> None:
    grey = np.ascontiguousarray(RGB[..., 0])
    with pytest.raises(UnreadablePhotoError, match="sign"):
        read_photo(tiff((grey, {339: ifd.shorts(2)})))
    whole = saved(Image.fromarray(grey.astype(np.int32) * 1000), "TIFF", compression="zstd")
    with pytest.raises(UnreadablePhotoError, match="32 bits a channel of a kind"):
        read_photo(whole)


def test_tiffs_credentials_and_inner_pictures() -> None:
    photo = read_photo(tiff((RGB, {52545: ifd.Value(7, b"jumb data")})))
    assert any("Content Credentials" in w for w in photo.warnings)
    assert photo.exif is None
    assert any("inside the TIFF's page" in w for w in read_photo(tiff((RGB, {330: ifd.longs(8)}))).warnings)


def test_directories_that_share_their_values_take_no_more_memory_than_the_file() -> None:
    count = 3000
    blob = bytes(200_000)
    entries = b"".join(struct.pack("<HHII", tag, 7, len(blob), 8) for tag in range(40_000, 40_000 + count))
    data = b"II*\0" + struct.pack("<I", 8 + len(blob)) + blob + struct.pack("<H", count) + entries + bytes(4)
    directory = ifd.read_directory(data, 8 + len(blob), "<")
    assert sum(len(entry.raw) for entry in directory.entries.values()) <= 2 * len(data) + 2**20
    assert len(directory.damaged) > count - 20


# ------------------------------------------------------------------------------------------------------------ colours


def test_adobe_rgb_that_only_exif_names_becomes_a_profile_without_exif() -> None:
    told: list[ifd.Tree] = [
        {ifd.EXIF: {0xA001: ifd.shorts(65535), ifd.INTEROP: {1: ifd.Value(2, b"R03\0")}}},
        {ifd.EXIF: {0xA001: ifd.shorts(2)}},
    ]
    for tree in told:
        photo = read_photo(jpeg(block=ifd.pack_tree(tree)))
        assert again(photo, "JPEG").icc_profile is None  # EXIF still says it
        for format in ("JPEG", "PNG", "WEBP", "TIFF", "HEIF"):
            content, said = written(photo, format, strip_metadata=True)
            assert read_photo(content).icc_profile == color.adobe_rgb_profile(), format
            assert any("Adobe RGB" in w for w in said)
        assert any("ICC profile" in w for w in written(photo, "BMP", strip_metadata=True)[1])
    plain = read_photo(
        jpeg(block=ifd.pack_tree({ifd.EXIF: {0xA001: ifd.shorts(1), ifd.INTEROP: {1: ifd.Value(2, b"R98\0")}}}))
    )
    assert written(plain, "JPEG", strip_metadata=True)[1] == []


def test_the_adobe_rgb_profile_is_one() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(color.adobe_rgb_profile()))
    brown = Image.new("RGB", (1, 1), (200, 100, 50))
    turned = ImageCms.profileToProfile(
        brown, profile, ImageCms.createProfile("sRGB"), renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    assert turned is not None
    assert np.abs(np.array(turned.getpixel((0, 0)), int) - (227, 100, 42)).max() <= 3
    assert color.adobe_rgb_profile() == color.adobe_rgb_profile()


# ------------------------------------------------------------------------------------------------------ damaged data

CODINGS: dict[str, dict[str, object]] = {
    "WEBP": {"quality": 90}, "WEBP lossless": {"lossless": True}, "AVIF": {"quality": 90}, "HEIF": {},
    **{f"TIFF {name}": {"compression": name} for name in ("tiff_adobe_deflate", "packbits", "jpeg", "zstd")},
    "PNG": {}, "GIF": {},
}  # fmt: skip


def coded(coding: str, picture: Image.Image) -> bytes:
    if coding == "HEIF":
        stream = io.BytesIO()
        pillow_heif.from_pillow(picture).save(stream, quality=90)
        return stream.getvalue()
    return saved(picture, coding.split()[0], **CODINGS[coding])


@pytest.mark.parametrize("coding", CODINGS)
def test_zeros_in_the_middle_of_a_picture_are_a_warning_or_a_refusal(coding: str) -> None:
    y, x = np.mgrid[:240, :320]
    planes = [
        128 + 90 * np.sin(x / a) * np.cos(y / b) + 25 * np.sin(x * y / c)
        for a, b, c in ((7, 5, 90), (9, 4, 70), (5, 8, 50))
    ]
    whole = coded(coding, Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)))
    assert read_photo(whole).warnings == []
    for place in (0.4, 0.6, 0.8):
        data = bytearray(whole)
        at = int(len(data) * place)
        data[at : at + 512] = bytes(512)
        try:
            assert any("damaged" in w for w in read_photo(bytes(data)).warnings), place
        except UnreadablePhotoError as error:
            assert "damaged" in str(error) or "decoded" in str(error)  # noqa: PT017


@pytest.mark.parametrize("coding", CODINGS)
def test_flat_pictures_are_not_called_damaged(coding: str) -> None:
    stripes = np.zeros((300, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    for picture in (
        np.zeros((600, 800, 3), np.uint8),
        np.full((600, 800, 3), 255, np.uint8),
        stripes,
        stripes.swapaxes(0, 1),
    ):
        assert read_photo(coded(coding, Image.fromarray(np.ascontiguousarray(picture)))).warnings == []


# ---------------------------------------------------------------------------------------------- libraries' own warnings


def test_no_warning_of_a_library_reaches_the_screen(tmp_path: Path) -> None:
    block = bytearray(exif_block(6))
    block[15] = 1  # the first tag claims 256 letters more
    (file := tmp_path / "a.jpg").write_bytes(jpeg(block=bytes(block[:140])))
    script = "import sys; from restorer.photo import read_photo; from restorer.photo.header import read_header;"
    script += "read_header(__import__('pathlib').Path(sys.argv[1])); read_photo(sys.argv[1])"
    for extra in ([], ["-W", "error"]):
        done = subprocess.run([sys.executable, *extra, "-c", script, str(file)], capture_output=True, check=True)
        assert done.stderr == b""
    filters = list(warnings.filters)
    read_photo(file)
    assert list(warnings.filters) == filters


@pytest.mark.parametrize("make", [lambda: photo_from_array(RGB), lambda: read_photo(jpeg())])
def test_nothing_is_said_where_nothing_is_lost(make: Callable[[], Photo]) -> None:
    assert make().warnings == []


# ---------------------------------------------------------------------------------------------- Photoshop's resources


def resource(number: int, content: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)


def test_what_only_photoshops_resources_tell_is_taken() -> None:
    profile = color.adobe_rgb_profile()
    photo = read_photo(
        jpeg(resources=resource(0x040F, profile) + resource(0x0422, exif_block()) + resource(0x0424, XMP))
    )
    assert (photo.icc_profile, photo.exif, photo.xmp) == (profile, exif_block(), XMP)
    both = read_photo(jpeg(profile=color.srgb_profile(), resources=resource(0x040F, profile)))
    assert both.icc_profile == color.srgb_profile()


def test_photoshops_resolution_turns_with_the_picture_and_its_paths_go() -> None:
    told = struct.pack(">IHH", 300 << 16, 1, 1), struct.pack(">IHH", 150 << 16, 1, 1)
    resources = resource(0x03ED, b"".join(told)) + resource(2000, bytes(26)) + resource(0x0404, IPTC)
    upright = read_photo(jpeg(resources=resources))
    assert upright.photoshop == resources
    assert any("paths" in w for w in written(upright, "PNG")[1])
    turned = read_photo(jpeg(resources=resources, block=exif_block(6)))
    assert turned.photoshop == resource(0x03ED, b"".join(reversed(told))) + resource(0x0404, IPTC)
    assert any("paths" in w for w in turned.warnings)


def test_guides_follow_the_picture() -> None:
    guides = struct.pack(">IIII", 1, 576, 576, 2) + struct.pack(">IBIB", 320, 0, 640, 1)
    photo = read_photo(jpeg(resources=resource(0x0408, guides)))
    assert photo.warnings == []
    stream = io.BytesIO()
    write_photo(stream, photo.pixels.repeat(2, 0).repeat(3, 1), like=photo, format="JPEG")
    larger = struct.pack(">IIII", 1, 576, 576, 2) + struct.pack(">IBIB", 960, 0, 1280, 1)
    assert read_photo(stream.getvalue()).photoshop == resource(0x0408, larger)
    turned = read_photo(jpeg(resources=resource(0x0408, guides), block=exif_block(6)))
    assert any("guides" in w for w in turned.warnings)


def test_damaged_resources_are_named() -> None:
    cut = read_photo(jpeg(resources=resource(0x0404, IPTC) + resource(0x040A, b"\1")[:-3]))
    assert any("damaged" in w for w in cut.warnings)
    assert cut.photoshop == resource(0x0404, IPTC)


# ------------------------------------------------------------------------------------------------------- cut-off ends


def test_an_end_marker_that_is_missing_is_named_where_all_pixels_are_there() -> None:
    for array, colour in ((RGB, 2), (scene(deep=True), 2)):
        photo = read_photo(png(array, colour)[:-12])
        assert np.array_equal(photo.pixels, array)
        assert photo.warnings == ["The PNG's end marker is missing; all its pixels are there."]
    whole = gif()
    photo = read_photo(whole[:-1])
    assert np.array_equal(photo.pixels, read_photo(whole).pixels)
    assert any("end marker" in w for w in photo.warnings)
    with pytest.raises(UnreadablePhotoError, match="cut off"):
        read_photo(whole[:-200])


@pytest.mark.parametrize("damage", ["a byte", "a chunk"])
def test_a_damaged_16_bit_png_is_refused_without_a_line_of_the_library(
    damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(png(scene(deep=True), 2))
    at = data.find(b"IDAT") + 30
    if damage == "a byte":
        data[at] ^= 255
    else:
        del data[at:]
    with pytest.raises(UnreadablePhotoError, match=r"damaged|cut off"):
        read_photo(bytes(data))
    assert capfd.readouterr().err == ""


def test_primaries_in_exif_are_named_when_they_go() -> None:
    photo = read_photo(jpeg(block=ifd.pack_tree({318: ifd.Value(5, bytes(16)), 271: ifd.Value(2, b"A\0")})))
    assert any("primaries" in w for w in written(photo, "JPEG", strip_metadata=True)[1])
    assert written(photo, "JPEG")[1] == []
