"""Numbers in metadata that count pixels or belong to one axis follow the picture: enlarged, reduced, turned upright."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from restorer.bench.survive.samples import scene
from restorer.photo import Photo, exif, exif_pixels, ifd, photo_from_array, read_photo, write_photo, xmp, xmp_pixels
from restorer.photo.decoding import upright
from restorer.photo.exif_pixels import turned_point
from tests.support.photo_files import again, jpeg, tags

RDF = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    "{}</rdf:RDF></x:xmpmeta>"
)
FORMATS = ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"]


def packet(inside: str, attributes: str = "") -> bytes:
    return RDF.format(f'<rdf:Description rdf:about="" {attributes}>{inside}</rdf:Description>').encode()


def block(**more: ifd.Value) -> bytes:
    """Return EXIF of a 48 x 32 photo with a subject and a sensor."""
    tree: ifd.Tree = {
        282: ifd.rational(300, 1),
        283: ifd.rational(150, 1),
        296: ifd.shorts(2),
        ifd.EXIF: {
            0x9214: ifd.shorts(12, 8, 6, 4),
            0xA002: ifd.shorts(48),
            0xA003: ifd.shorts(32),
            0xA20E: ifd.rational(4000, 3),
            0xA20F: ifd.rational(2000, 1),
            0xA214: ifd.shorts(12, 8),
            ifd.INTEROP: {4097: ifd.shorts(48), 4098: ifd.longs(32)},
        },
    }
    if "orientation" in more:
        tree[274] = more["orientation"]
    return ifd.pack_tree(tree)


def below(photo: Photo) -> ifd.Tree:
    found = tags(photo.exif)[ifd.EXIF]
    assert isinstance(found, dict)
    return found


def doubled(photo: Photo, format: str, factor: int = 2) -> Photo:
    """Return the photo, `factor` times as large, written and read."""
    stream = io.BytesIO()
    larger = photo.pixels.repeat(factor, 0).repeat(factor, 1)
    write_photo(stream, larger, like=photo, format=format)
    return read_photo(stream.getvalue())


@pytest.mark.parametrize("format", FORMATS)
def test_exif_follows_a_picture_that_is_enlarged(format: str) -> None:
    result = doubled(read_photo(jpeg(block=block())), format)
    found = below(result)
    assert found[0x9214] == ifd.shorts(24, 16, 12, 8)
    assert found[0xA214] == ifd.shorts(24, 16)
    assert found[0xA20E] == ifd.rational(8000, 3)
    assert found[0xA20F] == ifd.rational(4000, 1)
    assert found[0xA002] == ifd.shorts(96)
    assert found[ifd.INTEROP] == {4097: ifd.shorts(96), 4098: ifd.longs(64)}


@pytest.mark.parametrize("format", FORMATS)
def test_exif_follows_a_picture_that_is_turned(format: str) -> None:
    photo = read_photo(jpeg(block=block(orientation=ifd.shorts(6)), dpi=(300, 150)))
    result = again(photo, format)
    found = below(result)
    assert result.size == (32, 48)
    assert found[0x9214] == ifd.shorts(32 - 8, 12, 4, 6)
    assert found[0xA214] == ifd.shorts(32 - 8, 12)
    assert (found[0xA20E], found[0xA20F]) == (ifd.rational(2000, 1), ifd.rational(4000, 3))
    assert result.dpi == pytest.approx((150, 300), rel=1e-3)
    assert (tags(result.exif)[282], tags(result.exif)[283]) == (ifd.rational(150, 1), ifd.rational(300, 1))


def test_exif_follows_a_picture_that_its_decoder_has_turned() -> None:
    stream = io.BytesIO()
    lying = Image.fromarray(scene())
    exif_of_it = b"Exif\0\0" + block(orientation=ifd.shorts(6))
    pillow_heif.from_pillow(lying).save(stream, exif=exif_of_it)
    photo = read_photo(stream.getvalue())
    assert photo.size == (32, 48)
    assert below(photo)[0x9214] == ifd.shorts(32 - 8, 12, 4, 6)


def test_a_subject_that_does_not_fit_its_type_any_more_goes() -> None:
    data = ifd.pack_tree({ifd.EXIF: {0x9214: ifd.shorts(40_000, 8), 0xA002: ifd.shorts(48), 0xA40A: ifd.shorts(1)}})
    found = tags(exif_pixels.resized(data, (48, 32), (96, 64)))[ifd.EXIF]
    assert found == {0xA002: ifd.shorts(96), 0xA40A: ifd.shorts(1)}


def test_a_scan_of_a_map_keeps_its_place() -> None:
    scale, tie = struct.pack("<3d", 0.5, 0.5, 0), struct.pack("<6d", 10, 20, 0, 5e5, 6e6, 0)
    data = ifd.pack_tree({33550: ifd.Value(12, scale), 33922: ifd.Value(12, tie)})
    found = tags(exif_pixels.resized(data, (48, 32), (96, 64)))
    assert found[33550] == ifd.Value(12, struct.pack("<3d", 0.25, 0.25, 0))
    assert found[33922] == ifd.Value(12, struct.pack("<6d", 20, 40, 0, 5e5, 6e6, 0))


@given(st.integers(1, 8), st.integers(1, 60), st.integers(1, 60), st.data())
def test_points_go_where_the_pixels_go(orientation: int, width: int, height: int, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    grid = np.zeros((height, width), np.uint8)
    grid[y, x] = 1
    (row,), (column,) = np.nonzero(upright(grid, orientation))
    assert turned_point(x + 0.5, y + 0.5, orientation, (width, height)) == (column + 0.5, row + 0.5)


@given(st.binary(min_size=8, max_size=200), st.integers(0, 200), st.binary(max_size=4))
def test_whatever_clean_keeps_can_be_turned_resized_and_laid_out_anew(noise: bytes, at: int, other: bytes) -> None:
    whole = bytearray(block())
    whole[at : at + len(other)] = other
    for data in (b"II*\0\x08\0\0\0" + noise, bytes(whole), bytes(whole[: at + 20])):
        kept = exif.clean(data).data
        if kept is None:
            continue
        for orientation in (3, 6):
            kept = exif_pixels.turned(kept, orientation, (48, 32))
        kept = exif_pixels.resized(kept, (48, 32), (96, 64))
        assert exif.to_tiff(kept)[1] == []
        exif.with_resolution(kept, (300, 300))


@pytest.mark.parametrize("cut", range(60, 130, 3))
@pytest.mark.parametrize("format", FORMATS)
def test_exif_that_is_cut_off_anywhere_stops_no_format(cut: int, format: str) -> None:
    photo = read_photo(jpeg(block=block(orientation=ifd.shorts(6))[:cut]))
    assert any("EXIF" in warning for warning in photo.warnings)
    assert doubled(photo, format).size[0] in (64, 96)


def test_directories_that_lead_into_each_other_end() -> None:
    data = bytearray(ifd.pack_tree({ifd.EXIF: {ifd.EXIF: ifd.longs(8), ifd.INTEROP: ifd.longs(26)}}))
    photo = read_photo(jpeg(block=bytes(data)))
    for format in FORMATS:
        again(photo, format)


# --------------------------------------------------------------------------------------------------------------- XMP

GPANO = "http://ns.google.com/photos/1.0/panorama/"
PANORAMA = (
    f'xmlns:GPano="{GPANO}" GPano:ProjectionType="equirectangular" GPano:FullPanoWidthPixels="160"'
    ' GPano:FullPanoHeightPixels="80" GPano:CroppedAreaImageWidthPixels="48" GPano:CroppedAreaImageHeightPixels="32"'
    ' GPano:CroppedAreaLeftPixels="40" GPano:CroppedAreaTopPixels="10" GPano:PoseHeadingDegrees="90"'
)


@pytest.mark.parametrize("format", FORMATS)
def test_a_panorama_tells_the_results_pixels(format: str) -> None:
    result = xmp.Packet(doubled(read_photo(jpeg(packet=packet("", PANORAMA))), format).xmp)
    names = ("FullPanoWidthPixels", "FullPanoHeightPixels", "CroppedAreaImageWidthPixels", "CroppedAreaLeftPixels")
    told = [result.get(GPANO, name) for name in (*names, "CroppedAreaTopPixels", "PoseHeadingDegrees")]
    assert told == ["320", "160", "96", "80", "20", "90"]


def test_a_panorama_as_elements() -> None:
    inside = f'<g:FullPanoWidthPixels xmlns:g="{GPANO}">160</g:FullPanoWidthPixels>'
    result = xmp.finished(packet(inside), (48, 32), (96, 64), None)
    assert xmp.Packet(result).get(GPANO, "FullPanoWidthPixels") == "320"


def test_what_was_told_of_a_panorama_goes_when_the_photo_is_turned() -> None:
    turned = ' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"'
    photo = read_photo(jpeg(packet=packet("", PANORAMA + turned)))
    assert not xmp.Packet(photo.xmp).has(GPANO)
    assert any("panorama" in warning for warning in photo.warnings)


REGIONS = """<mwg-rs:Regions xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#" xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
 rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="48" stDim:h="32" stDim:unit="pixel"/>
<mwg-rs:RegionList><rdf:Bag><rdf:li><rdf:Description mwg-rs:Name="Anna">
<mwg-rs:Area stArea:x="0.5" stArea:y="0.25" stArea:w="0.1" stArea:h="0.2" stArea:unit="normalized"/></rdf:Description>
</rdf:li>
<rdf:li rdf:parseType="Resource"><mwg-rs:Area rdf:parseType="Resource"><stArea:x>12</stArea:x><stArea:y>8</stArea:y>
<stArea:unit>pixel</stArea:unit></mwg-rs:Area></rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"""


def test_regions_keep_their_shares_and_follow_in_pixels() -> None:
    text = (xmp.finished(packet(REGIONS), (48, 32), (96, 64), None) or b"").decode()
    assert 'stDim:w="96" stDim:h="64"' in text
    assert 'stArea:x="0.5" stArea:y="0.25" stArea:w="0.1" stArea:h="0.2"' in text
    assert "<stArea:x>24</stArea:x><stArea:y>16</stArea:y>" in text.replace("\n", "")


def test_other_things_that_count_pixels() -> None:
    inside = """<crs:CropWidth>40</crs:CropWidth><crs:CropUnits>0</crs:CropUnits><crs:CropLeft>0.1</crs:CropLeft>
<i:ImageRegion><rdf:Bag><rdf:li rdf:parseType="Resource"><i:RegionBoundary
 rdf:parseType="Resource"><i:rbUnit>pixel</i:rbUnit>
<i:rbVertices><rdf:Seq><rdf:li rdf:parseType="Resource"><i:rbX>5</i:rbX><i:rbY>6</i:rbY></rdf:li></rdf:Seq>
</i:rbVertices></i:RegionBoundary></rdf:li></rdf:Bag></i:ImageRegion>
<exif:SubjectArea><rdf:Seq><rdf:li>12</rdf:li><rdf:li>8</rdf:li></rdf:Seq></exif:SubjectArea>"""
    names = (
        'xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
        ' xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:d="http://www.dji.com/drone-dji/1.0/"'
        ' exif:FocalPlaneXResolution="4000/3" d:CalibratedFocalLength="3666.66" exif:PixelXDimension="48"'
    )
    text = (xmp.finished(packet(inside, names), (48, 32), (96, 64), None) or b"").decode()
    for expected in (
        "<crs:CropWidth>80<", "<crs:CropLeft>0.1<", "<i:rbX>10<", "<i:rbY>12<", "<rdf:li>24</rdf:li><rdf:li>16<",
        'FocalPlaneXResolution="8000/3"', 'CalibratedFocalLength="7333.32"', 'PixelXDimension="96"',
    ):  # fmt: skip
        assert expected in text, expected
    relative = text.replace("pixel", "relative").replace("CropUnits>0", "CropUnits>1").encode()
    assert b"<i:rbX>10<" in (xmp.finished(relative, (48, 32), (96, 64), None) or b"")
    assert b"<crs:CropWidth>80<" in (xmp.finished(relative, (48, 32), (96, 64), None) or b"")


def test_xmp_of_a_picture_of_the_same_size_stays_byte_for_byte() -> None:
    for data in (packet("", PANORAMA), packet(REGIONS)):
        assert xmp.finished(data, (48, 32), (48, 32), None) == data


@given(st.text(max_size=30), st.fractions(min_value="0.01", max_value=16))
def test_scaling_takes_any_text(text: str, factor: Fraction) -> None:
    assert isinstance(xmp_pixels.scaled(text, factor), str)
    assert xmp_pixels.scaled("12", Fraction(2)) == "24"
    assert xmp_pixels.scaled("12.5", Fraction(2)) == "25.00"
    assert xmp_pixels.scaled("x12", Fraction(2)) == "x12"


def test_an_array_has_nothing_to_follow() -> None:
    assert photo_from_array(scene()).exif is None
