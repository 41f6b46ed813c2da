"""Metadata never stops a photo, and never a run: nested without end, swelling, absurd in its counts."""

from __future__ import annotations

import contextlib
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from restorer.bench.survive.samples import saved, scene
from restorer.photo import png_chunks, read_note, read_photo, xmp
from tests.support.in_process import restore
from tests.support.photo_files import again, jpeg

HEAD = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
TAIL = b"</rdf:RDF></x:xmpmeta>"


def packet(inside: bytes) -> bytes:
    """Return XMP with this inside its one description."""
    description = b'<rdf:Description rdf:about="" xmlns:d="urn:d">' + inside + b"</rdf:Description>"
    return HEAD + description + TAIL


HOSTILE = {
    "deep elements": packet(b"<d:b>" * 1200 + b"x" + b"</d:b>" * 1200),
    "deeper elements": packet(b"<d:b>" * 5500 + b"</d:b>" * 5500),
    "deep RDF": HEAD + b"<rdf:li>" * 3000 + b"</rdf:li>" * 3000 + TAIL,
    "entities": b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb">]>' + packet(b"<d:b>&b;</d:b>"),
    "entities in UTF-16": (b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb">]>' + packet(b"<d:b>&b;</d:b>"))
    .decode()
    .encode("utf-16"),
    "no RDF": b"<a/>",
    "no XML": b"\xff\xfe\xfd" * 40,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_hostile_xmp_is_dropped_with_a_warning_and_the_photo_is_read(
    hostile: bytes, format: str, tmp_path: Path
) -> None:
    picture = Image.fromarray(scene())
    if format == "JPEG":
        data = jpeg(packet=hostile)
    elif format == "PNG":
        data = png_chunks.join_png(saved(picture, "PNG"), [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + hostile)])
    elif format == "WEBP":
        data = saved(picture, "WEBP", xmp=hostile)
    else:
        data = saved(picture, "TIFF", tiffinfo={700: hostile})
    (file := tmp_path / "a").write_bytes(data)
    photo = read_photo(file)
    assert photo.xmp is None
    assert any("XMP is damaged" in warning for warning in photo.warnings), photo.warnings
    assert read_note(file) is None
    assert again(photo, "PNG").size == (48, 32)


def test_a_note_whose_options_nest_without_end_is_none() -> None:
    text = b"<r:fingerprint>00</r:fingerprint><r:options>" + b"[" * 20_000 + b"</r:options>"
    inside = text.replace(b"<r:", b"<d:").replace(b"</r:", b"</d:")
    assert xmp.note_of(packet(inside).replace(b"urn:d", xmp.NOTE.encode())) is None


def test_too_many_elements_are_refused_before_a_tree_is_made() -> None:
    with pytest.raises(xmp.DamagedXmpError, match="elements"):
        xmp.Packet(packet(b"<d:b/>" * 300_000))
    with pytest.raises(xmp.DamagedXmpError, match="attributes"):
        xmp.Packet(packet(b"<d:b " + b" ".join(b'd:a%d="1"' % number for number in range(300_000)) + b"/>"))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2000))
def test_no_bytes_in_the_place_of_xmp_raise_anything_else(noise: bytes, depth: int) -> None:
    for data in (noise, packet(noise), packet(b"<d:b>" * depth + noise)):
        with contextlib.suppress(xmp.DamagedXmpError):
            xmp.Packet(data)
        assert xmp.note_of(data) is None


def test_one_files_metadata_ends_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for name, hostile in HOSTILE.items():
        (album / f"{name}.jpg").write_bytes(jpeg(packet=hostile))
    (album / "good.jpg").write_bytes(jpeg())
    arguments = ["--offline", "--model", "none", "--background", "lanczos", "-o", str(tmp_path / "out")]
    done = restore(capsys, str(album), *arguments)
    assert "Traceback" not in done.out + done.err
    assert len(list((tmp_path / "out").glob("*.jpg"))) == len(HOSTILE) + 1


def test_texts_that_swell_are_dropped_and_the_picture_is_read() -> None:
    bomb = zlib.compress(bytes(2**26), 9)
    chunks = [(b"zTXt", b"Comment\0\0" + bomb), (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)] * 8
    photo = read_photo(png_chunks.join_png(saved(Image.fromarray(scene()), "PNG"), chunks))
    assert (photo.size, photo.xmp, photo.format_specific) == ((48, 32), None, ())
    assert any("too large" in warning for warning in photo.warnings)
