"""XMP packets are kept, set right, and given the note, which is found again without decoding a pixel."""

from __future__ import annotations

from pathlib import Path
from xml.dom import minidom

import pytest
from PIL import Image

from restorer.bench.survive.samples import saved, scene
from restorer.photo import Note, jpeg_segments, read_note, read_photo, write_photo, xmp
from tests.support.photo_files import NOTE, XMP, again, full, jpeg, written

RGB = scene()
RICH = ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"]


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
    minidom.parseString(text.encode())


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
    assert all(end - start <= 65_533 for _, start, end in jpeg_segments.jpeg_segments(data))
    main = jpeg_segments.split_jpeg(data).xmp or b""
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
