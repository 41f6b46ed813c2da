"""What a result promises: it never writes to the photo, replaces nothing unasked, and is handy in Python."""

from __future__ import annotations

import io
import os
import pickle
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer import Options, Restorer, Result
from restorer import photo as photo_module
from restorer.errors import OutputExistsError, UnwritableOutputError
from restorer.photo import read_note
from restorer.pipeline import result as module
from restorer.storage import atomic
from tests.support.parts import Colour, Detector, Everything, face_at

PLAIN: dict[str, Any] = {"background": "lanczos", "device": "cpu"}
RGB = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small photo in a folder of its own."""
    path = tmp_path / "album" / "photo.jpg"
    path.parent.mkdir()
    Image.fromarray(RGB).save(path, quality=95)
    return path


def restored(source: Any, **options: Any) -> Result:
    return Restorer("none", **{**PLAIN, "scale": 2, **options}).restore(source)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------- never the original


@pytest.mark.parametrize(
    "way",
    ["the same", "a string", "relative", "dots", "link", "hard link", "linked folder", "case", "in a chain of links"],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_photo_itself_is_never_written_to(
    way: str, overwrite: bool, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target: Path | str = photo
    if way == "a string":
        target = str(photo)
    elif way == "relative":
        monkeypatch.chdir(photo.parent)
        target = "photo.jpg"
    elif way == "dots":
        target = photo.parent / ".." / "album" / "photo.jpg"
    elif way == "link":
        (target := tmp_path / "link.jpg").symlink_to(photo)
    elif way == "hard link":
        os.link(photo, target := tmp_path / "hard.jpg")
    elif way == "linked folder":
        (tmp_path / "there").symlink_to(photo.parent)
        target = tmp_path / "there" / "photo.jpg"
    elif way == "case":
        target = photo.with_name("PHOTO.Jpg")
    elif way == "in a chain of links":
        (tmp_path / "a.jpg").symlink_to(photo)
        (target := tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    result, before = restored(photo), snapshot(tmp_path)
    with pytest.raises(OutputExistsError, match="original is never overwritten") as error:
        result.save(target, overwrite=overwrite)
    assert "--" not in f"{error.value} {error.value.remedy}"
    assert snapshot(tmp_path) == before


def test_names_that_only_differ_in_how_accents_are_stored_are_one(tmp_path: Path) -> None:
    composed = tmp_path / unicodedata.normalize("NFC", "Großmütter.png")
    Image.fromarray(RGB).save(composed)
    with pytest.raises(OutputExistsError, match="never overwritten"):
        restored(composed).save(tmp_path / unicodedata.normalize("NFD", "Großmütter.png"), overwrite=True)


@pytest.mark.parametrize("way", ["file object", "Pillow", "bytes", "relative, and elsewhere by then", "moved"])
def test_the_photo_is_known_however_it_was_given(way: str, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = photo
    if way == "file object":
        with photo.open("rb") as stream:
            result = restored(stream)
    elif way == "Pillow":
        with Image.open(photo) as image:
            result = restored(image)
    elif way == "bytes":
        result = restored(photo.read_bytes())
    elif way == "relative, and elsewhere by then":
        monkeypatch.chdir(photo.parent)
        result = restored("photo.jpg")
        monkeypatch.chdir(photo.parent.parent)
    else:
        result = restored(photo)
    if way == "moved":
        target = photo.rename(photo.with_name("elsewhere.jpg"))
    before = target.read_bytes()
    with pytest.raises(OutputExistsError, match="never overwritten"):
        result.save(target, overwrite=True)
    assert target.read_bytes() == before


def test_a_stream_that_leads_into_the_photo_is_refused(photo: Path) -> None:
    result, before = restored(photo), photo.read_bytes()
    with photo.open("r+b") as stream, pytest.raises(OutputExistsError, match="never overwritten"):
        result.save(stream)
    assert photo.read_bytes() == before


def test_once_the_photo_is_gone_its_place_and_its_number_are_free(photo: Path, tmp_path: Path) -> None:
    """A disk gives the number of a file that is gone to the next one."""
    result = restored(photo)
    photo.unlink()
    for overwrite in (False, True):
        result.save(tmp_path / "other.png", overwrite=overwrite)
    result.save(photo)
    assert Image.open(photo).size == (64, 48)


# ------------------------------------------------------------------------------------------------ nothing else unasked


def test_what_is_there_is_replaced_only_when_asked(photo: Path, tmp_path: Path) -> None:
    result, target = restored(photo), tmp_path / "out.png"
    target.write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=r"exists already\.$") as error:
        result.save(target)
    assert error.value.remedy == "Use overwrite=True to replace it, or another name."
    assert target.read_bytes() == b"mine"
    result.save(target, overwrite=True)
    assert Image.open(target).size == (64, 48)


def test_a_link_that_leads_nowhere_is_something_too(photo: Path, tmp_path: Path) -> None:
    (target := tmp_path / "out.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(OutputExistsError):
        restored(photo).save(target)
    assert target.is_symlink()
    assert not target.exists()


@pytest.mark.parametrize("links", [True, False])
def test_who_comes_first_keeps_the_name(
    links: bool, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that appears while the result is encoded stays as it is, on disks with and without hard links."""
    result, target = restored(photo), tmp_path / "out.png"
    encode = photo_module.write_photo

    def late(*arguments: Any, **options: Any) -> list[str]:
        target.write_bytes(b"quicker")
        return encode(*arguments, **options)

    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr(module, "write_photo", late)
    with pytest.raises(OutputExistsError, match="exists already"):
        result.save(target)
    assert target.read_bytes() == b"quicker"
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]
    target.unlink()
    atomic.write_whole(target, b"free", replace=False)
    assert target.read_bytes() == b"free"


def test_a_folder_in_the_way_is_no_file_to_replace(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    with pytest.raises(UnwritableOutputError):
        restored(photo).save(tmp_path / "out.png", overwrite=True)
    with pytest.raises(OutputExistsError):
        restored(photo).save(tmp_path / "out.png")


def test_a_file_from_file_keeps_the_same_promises(photo: Path, tmp_path: Path) -> None:
    run, before = Restorer("none", scale=2, **PLAIN), photo.read_bytes()
    assert run.restore_file(photo, photo, "JPEG", overwrite=True).error["kind"] == "OutputExists"  # type: ignore[index]
    assert photo.read_bytes() == before
    assert run.restore_file(photo, tmp_path / "b.png", "PNG").status == "ok"
    assert run.restore_file(photo, tmp_path / "b.png", "PNG").status == "failed"
    assert run.restore_file(photo, tmp_path / "b.png", "PNG", overwrite=True).status == "ok"


# -------------------------------------------------------------------------------------------------------- in Python


def test_the_record_has_types_and_can_still_be_read_by_name(photo: Path) -> None:
    result = Restorer(
        Colour(), detector=Detector([face_at((16, 12), 6)]), mask=Everything(), faces="2", **PLAIN
    ).restore(photo)
    assert (result.record.model, result.record.input) == ("colour", str(photo))
    assert result.warnings == result.record.warnings == ["faces asks for face 2, but 1 were found."]
    assert result.record["warnings"] == result.warnings
    assert dict(result.record) == result.record.as_dict() == {**result.record}
    with pytest.raises(KeyError):
        result.record["no such thing"]


def test_what_is_printed_is_short(photo: Path) -> None:
    run = Restorer(Colour(), detector=Detector([face_at((16, 12), 6)]), mask=Everything(), scale=2, **PLAIN)
    result = run.restore(photo)
    result.record.seconds["total"] = 25.0
    assert repr(result) == "Result(64 x 48, 1 face by colour, 25 s)"
    result.faces[0].restored = False
    assert repr(result) == "Result(64 x 48, 0 of 1 face by colour, 25 s)"
    assert repr(run) == "Restorer(colour, detector=given, mask=everything, background='lanczos', device='cpu')"
    assert repr(Restorer("gfpgan", scale=4)) == "Restorer('gfpgan', scale=4)"
    assert repr(restored(photo)).startswith("Result(64 x 48, lanczos, ")
    assert repr(Options()) == "Options()"
    assert repr(Options(scale=4, faces="2,5")) == "Options(scale=4, faces='2,5')"
    assert eval(repr(Options(scale=4))) == Options(scale=4)  # noqa: S307 - our own words
    for each in (result, result.record, result.faces[0], result.photo, run):
        assert len(repr(each)) < 160 + len(str(photo))
        assert "array" not in repr(each)


@pytest.mark.parametrize(
    ("pixels", "mode"),
    [
        (RGB, "RGB"), (np.dstack([RGB, RGB[..., 0]]), "RGBA"), (RGB[..., 0], "L"), (RGB.astype(np.uint16) * 257, "RGB"),
        (RGB[..., 0].astype(np.uint16) * 257, "L"),
    ],
)  # fmt: skip
def test_to_pil_gives_the_picture(pixels: np.ndarray, mode: str) -> None:
    result = restored(pixels, scale=1)
    image = result.to_pil()
    assert (image.mode, image.size) == (mode, (32, 24))
    eight = pixels if pixels.dtype == np.uint8 else (pixels / 257).round().astype(np.uint8)
    assert np.array_equal(np.asarray(image), eight)
    image.putpixel((0, 0), 0 if mode == "L" else (0,) * len(mode))  # its memory is its own


def test_to_pil_brings_what_the_photo_carried(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8298] = "somebody"
    profile = (Path(__file__).parents[1] / "support").name.encode()  # any bytes that are no profile are dropped
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300), icc_profile=profile)
    image = restored(tmp_path / "a.jpg").to_pil()
    assert image.getexif()[0x8298] == "somebody"
    assert image.info["dpi"] == (300, 300)
    assert "icc_profile" not in image.info
    assert b"restorer" in image.info["xmp"]
    image.save(tmp_path / "b.jpg", xmp=image.info["xmp"])
    assert read_note(tmp_path / "b.jpg") is not None


def test_a_notebook_shows_the_picture(photo: Path) -> None:
    shown = Image.open(io.BytesIO(restored(photo)._repr_png_()))
    assert (shown.format, shown.size) == ("PNG", (64, 48))
    large = restored(np.zeros((30, 900, 3), np.uint8))._repr_png_()
    assert Image.open(io.BytesIO(large)).size == (1024, 34)


def test_a_result_can_be_sent_to_another_process(photo: Path, tmp_path: Path) -> None:
    result = restored(photo)
    other = pickle.loads(pickle.dumps(result))  # noqa: S301 - our own
    assert np.array_equal(other.image, result.image)
    assert other.record == result.record
    other.save(tmp_path / "a.png")
    result.save(tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
