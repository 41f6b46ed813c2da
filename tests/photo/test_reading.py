"""Photos of every format, depth and mode come in with their own pixels, upright, and say what was lost."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from restorer.bench.survive.samples import png, saved, scene
from restorer.errors import MissingSupportError, UnreadablePhotoError
from restorer.formatting import install_line
from restorer.photo import decoding, ifd, isobmff, photo_from_array, read_photo
from restorer.photo.color import srgb_profile
from restorer.photo.formats import heif
from restorer.photo.header import read_header
from tests.support.photo_files import Array, cmyk_profile, exif_block, grey_profile, ramp_alpha, three

RGB = scene()
GREY = scene()[..., 0]
ALPHA = ramp_alpha()
DEEP = scene(deep=True)
DEEP_ALPHA = ramp_alpha(deep=True)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_rgb_is_read_bit_exact(kind: str) -> None:
    photo = read_photo(saved(Image.fromarray(RGB), kind))
    assert photo.format == kind
    assert photo.size == (48, 32)
    assert np.array_equal(photo.pixels, RGB)
    assert (photo.alpha, photo.grey, photo.path, photo.warnings) == (None, False, None, [])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "JPEG"])
def test_grey_is_known_as_grey(kind: str) -> None:
    photo = read_photo(saved(Image.fromarray(GREY), kind))
    assert photo.grey
    assert photo.pixels.shape == (32, 48, 3)
    assert np.abs(photo.pixels.astype(int) - three(GREY)).max() <= (3 if kind == "JPEG" else 0)


def test_jpeg_and_webp_are_close() -> None:
    for kind in ("JPEG", "WEBP"):
        photo = read_photo(saved(Image.fromarray(RGB), kind, quality=95))
        assert photo.format == kind
        assert np.abs(photo.pixels.astype(int) - RGB).mean() < 3


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("metadata", [{}, {"exif": b"Exif\0\0" + exif_block()}])
def test_lossless_webp_is_told_from_lossy(lossless: bool, metadata: dict[str, bytes]) -> None:
    photo = read_photo(saved(Image.fromarray(RGB), "WEBP", lossless=lossless, **metadata))
    assert photo.lossless is lossless


def test_two_levels_are_grey() -> None:
    bits = GREY > 100
    photo = read_photo(saved(Image.fromarray(bits), "PNG", bits=1))
    assert photo.grey
    assert np.array_equal(photo.pixels[..., 0], np.where(bits, 255, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_split_off(kind: str) -> None:
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    photo = read_photo(saved(Image.fromarray(np.dstack([RGB, ALPHA])), kind, **options))
    assert np.array_equal(photo.pixels, RGB)
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, ALPHA)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_with_alpha(kind: str) -> None:
    photo = read_photo(saved(Image.fromarray(np.dstack([GREY, ALPHA])), kind))
    assert photo.grey
    assert photo.alpha is not None
    assert np.array_equal(photo.pixels, three(GREY))
    assert np.array_equal(photo.alpha, ALPHA)


def test_palette_with_transparency() -> None:
    indexed = Image.fromarray(np.tile(np.arange(4, dtype=np.uint8), (3, 1)), mode="P")
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    photo = read_photo(saved(indexed, "PNG", transparency=bytes((0, 128, 255, 255))))
    assert photo.pixels[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]
    assert photo.alpha is not None
    assert photo.alpha[0].tolist() == [0, 128, 255, 255]


def test_palette_of_greys_is_grey() -> None:
    indexed = Image.fromarray(GREY // 64, mode="P")
    indexed.putpalette([v for level in (0, 80, 160, 240) for v in (level, level, level)])
    photo = read_photo(saved(indexed, "PNG"))
    assert photo.grey
    assert photo.alpha is None
    assert np.array_equal(photo.pixels, three(GREY // 64 * 80))


def test_transparent_colour_becomes_alpha() -> None:
    key = tuple(int(value) for value in RGB[7, 9])
    photo = read_photo(saved(Image.fromarray(RGB), "PNG", transparency=key))
    assert photo.alpha is not None
    assert photo.alpha[7, 9] == 0
    assert np.array_equal(photo.alpha == 0, (np.array(key) == RGB).all(-1))
    assert np.array_equal(photo.pixels, RGB)


def test_transparent_grey_becomes_alpha() -> None:
    photo = read_photo(saved(Image.fromarray(GREY), "PNG", transparency=int(GREY[3, 5])))
    assert photo.grey
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha == 0, GREY[3, 5] == GREY)


# ------------------------------------------------------------------------------------------------------------ 16 bit


@pytest.mark.parametrize(
    ("colour", "channels"),
    [(0, DEEP[..., 0]), (2, DEEP), (4, np.dstack([DEEP[..., 0], DEEP_ALPHA])), (6, np.dstack([DEEP, DEEP_ALPHA]))],
    ids=["grey", "rgb", "grey-alpha", "rgba"],
)
def test_16_bit_png_of_every_kind(colour: int, channels: Array) -> None:
    photo = read_photo(png(channels, colour))
    assert photo.pixels.dtype == np.uint16
    assert (photo.bits, photo.grey) == (16, colour in (0, 4))
    assert np.array_equal(photo.pixels, three(DEEP[..., 0]) if colour in (0, 4) else DEEP)
    if colour in (4, 6):
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, DEEP_ALPHA)
    else:
        assert photo.alpha is None


def test_16_bit_png_with_a_transparent_level() -> None:
    key = DEEP[4, 4, :1].astype(">u2").tobytes()
    photo = read_photo(png(DEEP[..., 0], 0, (b"tRNS", key)))
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha == 0, DEEP[..., 0] == DEEP[4, 4, 0])
    assert photo.alpha.max() == 65535
    colour = read_photo(png(DEEP, 2, (b"tRNS", DEEP[4, 4].astype(">u2").tobytes())))
    assert colour.alpha is not None
    assert np.array_equal(colour.alpha == 0, (DEEP[4, 4] == DEEP).all(-1))


def test_gamma_chunk_changes_no_value() -> None:
    photo = read_photo(png(DEEP, 2, (b"gAMA", (100000).to_bytes(4, "big"))))
    assert np.array_equal(photo.pixels, DEEP)


# ------------------------------------------------------------------------------------------------------- other colours


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile_and_gets_srgb(kind: str) -> None:
    image = Image.fromarray(RGB).convert("CMYK")
    plain = read_photo(saved(image, kind))
    through = read_photo(saved(image, kind, icc_profile=cmyk_profile()))
    assert "plain formula" in plain.warnings[0]
    assert "through its own profile" in through.warnings[0]
    assert plain.icc_profile == through.icc_profile == srgb_profile()
    assert np.abs(plain.pixels.astype(int) - RGB).mean() < 6
    # This profile's black ink is a dark grey of L* 20 and its paper white; sRGB says 48 and 255 for those.
    dark, light = through.pixels[0, 0].astype(int), through.pixels[-1, -1].astype(int)
    assert np.ptp(dark) < 12
    assert 40 < dark.mean() < 120
    assert light.mean() > 215
    assert not np.array_equal(plain.pixels, through.pixels)


def test_lab_is_converted_with_a_warning() -> None:
    from PIL import ImageCms

    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.fromarray(RGB), transform)
    assert lab is not None
    photo = read_photo(saved(lab, "TIFF"))
    assert "Lab" in photo.warnings[0]
    assert photo.icc_profile == srgb_profile()
    assert np.abs(photo.pixels.astype(int) - RGB).mean() < 3


def test_a_profile_of_another_colour_space_is_dropped_with_a_warning() -> None:
    photo = read_photo(saved(Image.fromarray(RGB), "PNG", icc_profile=cmyk_profile()))
    assert photo.icc_profile is None
    assert "CMYK" in photo.warnings[0]
    photo = read_photo(saved(Image.fromarray(RGB), "PNG", icc_profile=b"no profile"))
    assert photo.icc_profile is None
    assert "no ICC profile" in photo.warnings[0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_profiles_are_kept_byte_for_byte_and_touch_no_value(kind: str) -> None:
    wide = bytearray(srgb_profile())
    wide[100:104] = b"mine"
    with_profile = read_photo(saved(Image.fromarray(RGB), kind, icc_profile=bytes(wide)))
    without = read_photo(saved(Image.fromarray(RGB), kind))
    assert with_profile.icc_profile == bytes(wide)
    assert np.array_equal(with_profile.pixels, without.pixels)


def test_grey_profile_is_kept() -> None:
    photo = read_photo(saved(Image.fromarray(GREY), "PNG", icc_profile=grey_profile()))
    assert photo.icc_profile == grey_profile()


# -------------------------------------------------------------------------------------------------------- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_exactly_once(kind: str, orientation: int) -> None:
    """Against Pillow's own transposition of the pixels as they lie in the file."""
    tag = Image.Exif()
    tag[274] = orientation
    image = Image.fromarray(RGB)
    lying = read_photo(saved(image, kind, quality=95)).pixels
    image = Image.fromarray(lying)
    image.getexif()[274] = orientation
    photo = read_photo(saved(Image.fromarray(RGB), kind, exif=tag, quality=95))
    assert np.array_equal(photo.pixels, np.asarray(ImageOps.exif_transpose(image)))
    if photo.exif is not None:
        first = ifd.read_directory(photo.exif, *_start(photo.exif))
        assert first.integer(274, 1) == 1


def _start(block: bytes) -> tuple[int, ifd.Order]:
    order, _, position = ifd.header(block)
    return position, order


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bit_files_and_of_alpha(orientation: int) -> None:
    channels = np.dstack([DEEP, DEEP_ALPHA])
    photo = read_photo(png(channels, 6, (b"eXIf", exif_block(orientation))))
    upright = read_photo(png(channels, 6))
    assert upright.alpha is not None
    assert photo.alpha is not None
    turns = {1: 0, 3: 2, 6: -1, 8: 1}
    if orientation in turns:
        assert np.array_equal(photo.pixels, np.rot90(DEEP, turns[orientation]))
        assert np.array_equal(photo.alpha, np.rot90(DEEP_ALPHA, turns[orientation]))
    else:
        mirrored = {2: np.fliplr(DEEP), 4: np.flipud(DEEP), 5: DEEP.swapaxes(0, 1), 7: np.rot90(DEEP, 2).swapaxes(0, 1)}
        assert np.array_equal(photo.pixels, mirrored[orientation])


def test_resolution_turns_with_the_picture() -> None:
    data = saved(Image.fromarray(RGB), "JPEG", exif=b"Exif\0\0" + exif_block(6), dpi=(100, 200))
    assert read_photo(data).dpi == (200.0, 100.0)


def test_heic_is_not_turned_a_second_time() -> None:
    image = Image.fromarray(RGB)
    tag = Image.Exif()
    tag[274] = 6
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=-1, chroma=444, exif=tag.tobytes())
    photo = read_photo(stream.getvalue())
    assert photo.format == "HEIF"
    assert photo.size == (32, 48)
    assert np.abs(photo.pixels.astype(int) - np.rot90(RGB, -1)).max() <= 3


# --------------------------------------------------------------------------------------------------------------- HEIC


def _heic(mode: str, array: Array, **options: object) -> bytes:
    stream = io.BytesIO()
    heif = pillow_heif.from_bytes(mode, (array.shape[1], array.shape[0]), np.ascontiguousarray(array).tobytes())
    heif.save(stream, quality=-1, chroma=444, **options)
    return stream.getvalue()


def test_heic_with_alpha_and_grey() -> None:
    photo = read_photo(_heic("RGBA", np.dstack([RGB, ALPHA])))
    assert photo.alpha is not None
    assert np.abs(photo.alpha.astype(int) - ALPHA).max() <= 2
    assert np.abs(photo.pixels.astype(int) - RGB).max() <= 3
    grey = read_photo(_heic("L", GREY))
    assert grey.grey
    assert np.abs(grey.pixels[..., 0].astype(int) - GREY).max() <= 2


def test_10_bit_heic_reaches_full_white() -> None:
    white = np.full((16, 16, 3), 65535, np.uint16)
    photo = read_photo(_heic("RGB;16", white))
    assert photo.bits == 10
    assert photo.pixels.dtype == np.uint16
    assert photo.pixels.min() == 65535
    ramp = read_photo(_heic("RGB;16", DEEP))
    assert np.abs(ramp.pixels.astype(int) - DEEP).max() <= 4 * 64


def test_heic_is_read_by_the_dependency_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As after a plain install: nothing of pillow-heif is there, or is touched."""
    file = tmp_path / "a.heic"
    file.write_bytes(_heic("RGB", RGB))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert heif.reader() == "pi_heif"
    assert np.abs(read_photo(file).pixels.astype(int) - RGB).mean() < 3
    assert read_header(file).size == (RGB.shape[1], RGB.shape[0])


@pytest.mark.parametrize("kind", [b"Exif", b"hvc1", b"application/rdf+xml"])
def test_a_heic_whose_kinds_are_no_text_is_damaged_and_ends_nothing(
    kind: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pi-heif 1.4 makes texts of them unseen, and would take the process along."""
    exif = Image.Exif()
    exif[0x0110] = "a phone"
    whole = bytearray(_heic("RGB", RGB, exif=exif.tobytes(), xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"))
    assert not isobmff.has_unreadable_kinds(bytes(whole))
    at = whole.find(kind, whole.find(b"iinf"))
    assert at > 0
    whole[at + 2] = 0xD1
    assert isobmff.has_unreadable_kinds(bytes(whole))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(whole)
    with pytest.raises(UnreadablePhotoError):
        read_photo(tmp_path / "a.heic")


def test_heic_without_any_library_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "a.heic"
    file.write_bytes(_heic("RGB", RGB))
    monkeypatch.setattr(heif, "READERS", ())
    with pytest.raises(MissingSupportError) as caught:
        read_photo(file)
    assert caught.value.remedy == f"Type: {install_line('pi-heif')}"
    assert "a.heic" in caught.value.message


# ------------------------------------------------------------------------------------------- more pictures than one


def test_first_picture_of_animations_with_a_warning() -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    for kind, options in (("PNG", {}), ("GIF", {}), ("WEBP", {"lossless": True})):
        photo = read_photo(saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, **options))
        assert "2 frames" in photo.warnings[0], kind
        assert np.abs(photo.pixels.astype(int) - RGB).mean() < 12, kind


def test_first_page_and_first_picture_with_a_warning() -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    tiff = read_photo(saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert "2 pages" in tiff.warnings[0]
    assert np.array_equal(tiff.pixels, RGB)
    mpo = read_photo(saved(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=95))
    assert mpo.format == "MPO"
    assert "2 pictures" in mpo.warnings[0]
    assert np.abs(mpo.pixels.astype(int) - RGB).mean() < 3


def test_avif_is_read() -> None:
    photo = read_photo(saved(Image.fromarray(RGB), "AVIF", quality=95))
    assert photo.format == "AVIF"
    assert photo.warnings == []
    assert np.abs(photo.pixels.astype(int) - RGB).mean() < 4


# -------------------------------------------------------------------------------------------------------------- errors


def test_a_single_pixel_is_a_photo() -> None:
    photo = read_photo(saved(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"))
    assert photo.size == (1, 1)
    assert photo.pixels.tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"Dear Emil,\nthe photo is lost.", "it holds text"),
        (bytes(1000), "nothing but zeros"),
        (b"8BPS\0\1" + bytes(100), "a Photoshop document"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\x80\x81\x82\x83" * 9, "no picture format this tool knows"),
        (b"\xff\xd8\xff", "read as JPEG"),
    ],
    ids=["empty", "text", "zeros", "psd", "pdf", "noise", "jpeg-head"],
)
def test_what_is_no_photo_says_what_it_is(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "letter.jpg"
    file.write_bytes(content)
    with pytest.raises(UnreadablePhotoError, match=reason) as caught:
        read_photo(file)
    assert "letter.jpg" in caught.value.message
    assert caught.value.path == file
    assert caught.value.remedy


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "AVIF", "png16", "HEIF"])
def test_files_that_are_cut_off_are_refused_or_say_so(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    match kind:
        case "png16":
            data = png(noise.astype(np.uint16) * 257, 2)
        case "HEIF":
            data = _heic("RGB", noise)
        case _:
            data = saved(Image.fromarray(noise), kind)
    read_photo(data)
    part = data[: int(len(data) * share)]
    if (kind == "JPEG" and share > 0.4) or kind in ("PNG", "png16", "TIFF"):  # whose upper rows are there
        assert any("is cut off" in warning for warning in read_photo(part).warnings)
        return
    with pytest.raises(UnreadablePhotoError, match=r"cut off|damaged"):
        read_photo(part)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePhotoError, match="no file"):
        read_photo(tmp_path / "absent.jpg")
    with pytest.raises(UnreadablePhotoError, match="is a folder"):
        read_photo(tmp_path)


def test_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    file = tmp_path / "picture.jpg"
    file.write_bytes(saved(Image.fromarray(RGB), "PNG"))
    assert read_photo(file).format == "PNG"


def test_sha256_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    data = saved(Image.fromarray(RGB), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    photo = read_photo(tmp_path / "a.png")
    assert photo.sha256 == hashlib.sha256(data).hexdigest() == read_photo(data).sha256
    assert photo.path == tmp_path / "a.png"


def test_large_photos_are_read_and_pillows_guard_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # this picture is beyond twice the guard, as 200 megapixels are
    data = saved(Image.fromarray(RGB), "WEBP")
    photos = []
    threads = [threading.Thread(target=lambda: photos.append(read_photo(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [photo.size for photo in photos] == [(48, 32)] * 8
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "AVIF", "HEIF"])
def test_the_largest_size_holds_for_every_format(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _heic("RGB", RGB) if kind == "HEIF" else saved(Image.fromarray(RGB), kind)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 48 * 32)
    assert read_photo(data).size == (48, 32)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 48 * 32 - 1)
    with pytest.raises(UnreadablePhotoError, match="48 x 32 pixels"):
        read_photo(data)


def test_more_pixels_than_memory_holds_are_refused_before_decoding() -> None:
    header = png(np.zeros((1, 1, 3), np.uint8), 2)
    huge = header[:16] + (50_000).to_bytes(4, "big") * 2 + header[24:]
    with pytest.raises(UnreadablePhotoError, match="50,000 x 50,000"):
        read_photo(huge)


def test_arrays_become_photos() -> None:
    photo = photo_from_array(np.dstack([DEEP, DEEP_ALPHA]))
    assert photo.bits == 16
    assert photo.alpha is not None
    assert np.array_equal(photo.pixels, DEEP)
    assert np.array_equal(photo.alpha, DEEP_ALPHA)
    assert photo_from_array(GREY).grey
    assert photo_from_array(RGB).sha256 != photo_from_array(RGB[::-1]).sha256
    assert photo_from_array(RGB).sha256 == photo_from_array(RGB.copy()).sha256


def test_numbers_without_a_white_are_told_how_to_be_exported(tmp_path: Path) -> None:
    """The file is whole, so that another copy of it would help nobody."""
    tifffile = pytest.importorskip("tifffile")
    for values in (np.linspace(0, 10, 300), np.linspace(-1, 1, 300), np.full(300, np.nan)):
        tifffile.imwrite(tmp_path / "hdr.tif", values.astype(np.float32).reshape(10, 10, 3))
        with pytest.raises(UnreadablePhotoError, match="floating-point values") as error:
            read_photo(tmp_path / "hdr.tif")
        assert error.value.remedy == "Export it with 16-bit whole numbers, as TIFF or PNG."
