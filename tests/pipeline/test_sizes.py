"""How large a result is: by a long side, by megapixels, for a print; and what is said where it is not as asked."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from restorer import Options, Restorer
from restorer.errors import UsageError
from restorer.options import sizes
from restorer.options.sizes import Paper, Size
from restorer.photo import open_photo, read_photo
from restorer.photo.formats import FORMATS
from tests.support.faces import smooth_photo
from tests.support.in_process import restore

Capture = pytest.CaptureFixture[str]
PLAIN = ("--model", "none", "--background", "lanczos", "--offline")
SIDES = st.integers(1, 20_000)
PHOTOS = st.tuples(SIDES, SIDES)
PAPERS = st.builds(
    lambda wide, high, unit, dpi: f"{wide:g}x{high:g}{unit}@{dpi}",
    st.integers(2, 120), st.integers(2, 120), st.sampled_from(["cm", "in"]), st.integers(30, 1200),
)  # fmt: skip
ASKED = st.one_of(
    st.integers(1, 40_000).map(lambda value: Options(long_side=value)),
    st.floats(0.001, 500).map(lambda value: Options(megapixels=value)),
    PAPERS.map(lambda text: Options(print=text)),
)


# ------------------------------------------------------------------------------------------------- for any photo


@given(ASKED, PHOTOS)
def test_no_photo_becomes_smaller_or_changes_its_shape(options: Options, size: Size) -> None:
    result, scale = sizes.result_size(options, size), sizes.scale_of(options, size)
    assert scale >= 1
    assert result[0] >= size[0]
    assert result[1] >= size[1]
    assert all(abs(after - before * scale) <= 0.5 + 1e-6 * after for before, after in zip(size, result, strict=True))


@given(st.integers(1, 40_000), PHOTOS)
def test_the_long_side_is_as_long_as_asked_and_stays_so(asked: int, size: Size) -> None:
    options = Options(long_side=asked)
    result = sizes.result_size(options, size)
    assert max(result) == max(asked, *size)
    assert sizes.result_size(options, result) == result


@given(st.floats(0.5, 500), st.tuples(st.integers(200, 20_000), st.integers(200, 20_000)))
def test_the_result_has_the_megapixels_asked_for(asked: float, size: Size) -> None:
    wide, high = sizes.result_size(Options(megapixels=asked), size)
    wanted = max(asked * 1e6, size[0] * size[1])
    assert abs(wide * high - wanted) <= 0.51 * (wide + high) + 1


@given(PAPERS, PHOTOS)
def test_a_print_fits_its_paper_and_fills_it_one_way(text: str, size: Size) -> None:
    options = Options(print=text)
    dpi = sizes.dpi_of(options, size)
    assert dpi is not None
    result, paper = sizes.result_size(options, size), Paper.read(text).lying_as(size)
    shares = [pixels / dpi / inches for pixels, inches in zip(result, paper.inches(), strict=True)]
    longer = max(range(2), key=lambda axis: shares[axis])
    assert abs(shares[longer] - 1) * result[longer] <= 0.51 + 1e-6 * result[longer]  # a pixel is the least there is
    assert dpi >= paper.dpi * (1 - 1e-9)
    assert (dpi > paper.dpi) == (result == size and sizes.remarks(options, size) != [] and dpi > paper.dpi)


@given(PAPERS, PHOTOS)
def test_the_paper_is_turned_as_the_photo_is(text: str, size: Size) -> None:
    turned = Options(print=text), size[::-1]
    assert sizes.result_size(*turned)[::-1] == sizes.result_size(Options(print=text), size) or size[0] == size[1]
    assert sizes.dpi_of(*turned) == pytest.approx(sizes.dpi_of(Options(print=text), size)) or size[0] == size[1]


@given(PAPERS)
def test_a_paper_is_written_in_one_way(text: str) -> None:
    assert Options(print=text).print == str(Paper.read(text)) == str(Paper.read(str(Paper.read(text))))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("20x30cm@300", "20x30cm@300"), ("20x30cm", "20x30cm@300"), ("20 x 30 cm @ 240 dpi", "20x30cm@240"),
        ("8x12in", "8x12in@300"), ("8x12 inches", "8x12in@300"),
        ('8"x12"', "8x12in@300"), ("10,5×15CM", "10.5x15cm@300"),
        ("200x300mm@150", "200x300mm@150"), ("A4@200", "21x29.7cm@200"), ("a6", "10.5x14.8cm@300"),
        ("20cmx30cm", "20x30cm@300"),
    ],
)  # fmt: skip
def test_papers_as_people_write_them(text: str, wanted: str) -> None:
    assert Options(print=text).print == wanted


@pytest.mark.parametrize(
    "text",
    ["", "20x30", "20cmx12in", "20x30cm@", "20x30cm@0", "20x30cm@x", "0x30cm", "20x9999cm", "-20x30cm", "a9", "20cm",
     "20x30cm@300@200", "1e3x30cm", "nanx3cm", "20x30x40cm", "٢٠x٣٠cm@300", "20x30cm@99999"],
)  # fmt: skip
def test_what_is_no_paper_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match=r"^print") as error:
        Restorer("none", print=text)
    assert error.value.remedy


# ----------------------------------------------------------------------------------------------------- what is said


@pytest.mark.parametrize(
    ("options", "size", "lines"),
    [
        ({"long_side": 400}, (300, 200), 0), ({"long_side": 300}, (300, 200), 0), ({"long_side": 299}, (300, 200), 1),
        ({"megapixels": 0.06}, (300, 200), 0), ({"megapixels": 0.01}, (300, 200), 1),
        ({"print": "20x30cm"}, (3000, 2000), 0), ({"print": "20x30cm"}, (3400, 1700), 1),
        ({"print": "20x30cm"}, (6000, 4000), 1), ({"print": "20x30cm"}, (6000, 3000), 2), ({"scale": 0.5}, (9, 9), 0),
    ],
)  # fmt: skip
def test_what_is_not_as_asked_is_said(options: dict[str, Any], size: Size, lines: int) -> None:
    assert len(sizes.remarks(Options(**options), size)) == lines


def test_the_words_name_option_paper_and_what_comes_of_it() -> None:
    kept, shape = sizes.remarks(Options(print="20x30cm"), (6000, 3000))
    assert kept == (
        "The photo is larger than --print 20x30cm@300 asks for, and keeps its size: 508 dots per inch."
    )  # 6000 pixels on 30 cm
    assert shape.startswith("The photo has another shape than paper of 30 x 20 cm: whole, it is 30 x 15 cm there")
    (kept,) = sizes.remarks(Options(long_side=600), (1200, 100))
    assert kept.endswith("--long-side 600 asks for, and keeps its size; --scale 0.5 makes it smaller.")


# ------------------------------------------------------------------------------------------------------- in a photo


def test_the_record_tells_the_real_scale_and_why_it_is_not_as_asked() -> None:
    result = Restorer("none", background="lanczos", long_side=90, offline=True).restore(smooth_photo(40, 60))
    assert (result.record.scale, result.record.output_size, result.image.shape) == (1.5, (90, 60), (60, 90, 3))
    assert result.record.warnings == []
    assert result.note.options["scale"] == 1.5
    assert result.note.options["long_side"] == 90
    result = Restorer("none", background="lanczos", long_side=30, offline=True).restore(smooth_photo(40, 60))
    assert (result.record.scale, result.image.shape) == (1.0, (40, 60, 3))
    assert "keeps its size" in result.record.warnings[0]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("strip", [False, True])
def test_the_file_tells_the_resolution_of_the_print(format: str, strip: bool, tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[282], exif[283], exif[296], exif[270] = 72.0, 72.0, 2, "a photo"
    Image.fromarray(smooth_photo(40, 60)).save(source, dpi=(72, 72), exif=exif)
    options = Options(model="none", background="lanczos", print="2x3cm@150", strip_metadata=strip, offline=True)
    result = Restorer(**options.values()).restore(source)
    assert result.image.shape == (118, 177, 3)
    stream = io.BytesIO()
    result.save(stream, format=format)
    found = read_photo(stream.getvalue())
    assert found.dpi == pytest.approx((150, 150), abs=0.02)
    if found.exif is not None and "exif" in FORMATS[format].holds:
        told = Image.Exif()
        told.load(found.exif)
        assert told.get(282, 150) == told.get(283, 150) == 150
        assert (told.get(270) == "a photo") == (not strip)
    assert result.to_pil().info["dpi"] == (150, 150)


def test_a_photo_with_more_pixels_keeps_them_and_is_printed_finer(tmp_path: Path) -> None:
    Image.fromarray(smooth_photo(200, 300)).save(tmp_path / "a.png")
    result = Restorer("none", background="lanczos", print="2x3cm@150", offline=True).restore(tmp_path / "a.png")
    result.save(tmp_path / "b.png")
    assert result.image.shape == (200, 300, 3)
    assert open_photo(tmp_path / "b.png").dpi == pytest.approx((254, 254), abs=0.02)


# ------------------------------------------------------------------------------------------------------ the command


def album(folder: Path) -> None:
    for name, (height, width) in {"a": (40, 60), "b": (60, 40), "c": (100, 120)}.items():
        Image.fromarray(smooth_photo(height, width)).save(folder / f"{name}.png")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    album(tmp_path / "photos")
    return tmp_path


def records(text: str) -> dict[str, dict[str, Any]]:
    return {Path(found["input"]).stem: found for found in map(json.loads, text.splitlines())}


def test_a_folder_a_dry_run_a_second_run_and_another_size(folder: Path, capsys: Capture) -> None:
    words = ("photos", "-o", "out", *PLAIN, "--long-side", "90px", "--json")
    wanted = {"a": ([90, 60], 1.5), "b": ([60, 90], 1.5), "c": ([120, 100], 1.0)}
    for dry in (True, False):
        found = records(restore(capsys, *words, *(["--dry-run"] if dry else [])).out)
        assert {name: (each["output_size"], each["scale"]) for name, each in found.items()} == wanted
        assert {name for name, each in found.items() if each["warnings"]} == {"c"}
    assert Image.open(folder / "out/a_restored.png").size == (90, 60)
    again = records(restore(capsys, *words).out)
    assert all(each["reason"] == "done already" and each["scale"] == wanted[name][1] for name, each in again.items())
    done = restore(capsys, *words[:-2], "80", "--dry-run")
    assert "made with --long-side 90; this run asks for --long-side 80." in done.err
    done = restore(capsys, *words[:-3], "--dry-run")
    assert "made with --long-side 90; this run asks for --scale 2." in done.err


def test_a_plan_is_followed_at_any_size(folder: Path, capsys: Capture) -> None:
    restore(capsys, "plan", "photos", "-o", "plan")
    restore(capsys, "--files-from", "plan", "-o", "out", *PLAIN, "--megapixels", "0.0096MP")
    assert Image.open(folder / "out/a_restored.png").size == (120, 80)
    restore(capsys, "plan", "photos", "-o", "scaled", "--name", "{stem}_{scale}")
    done = restore(capsys, "--files-from", "scaled", "-o", "out", "--name", "{stem}_{scale}", *PLAIN,
                   "--long-side", "90", code=2)  # fmt: skip
    assert "was made with" in done.err


def test_photos_through_a_pipe(folder: Path, capsys: Capture) -> None:
    done = restore(capsys, "photos/a.png", "-o", "b.png", *PLAIN, "--print", "2x3cm@150", "--json")
    assert json.loads(done.out)["scale"] == pytest.approx(177 / 60)
    assert open_photo(folder / "b.png").dpi == pytest.approx((150, 150), abs=0.02)


@pytest.mark.parametrize(
    "words",
    ["--scale 2 --long-side 90", "--scale=4 --megapixels=1", "--long-side 90 --print 20x30cm",
     "--megapixels 1 --scale 2"],
)  # fmt: skip
def test_two_that_say_how_large_are_wrong_usage(words: str, folder: Path, capsys: Capture) -> None:
    done = restore(capsys, "photos", "-o", "out", *PLAIN, *words.split(), code=2)
    assert "both say how large the result is." in done.err
    assert not (folder / "out").exists()


def test_python_refuses_two_too() -> None:
    with pytest.raises(UsageError, match="long_side and megapixels both say"):
        Restorer("none", long_side=90, megapixels=1.0)
    with pytest.raises(UsageError, match="scale and print both say"):
        Restorer("none", scale=4, print="a4")


def test_what_is_typed_counts_more_than_what_a_file_says(folder: Path, capsys: Capture) -> None:
    Path("restore.toml").write_text("long-side = 90\n")
    assert records(restore(capsys, "photos/a.png", *PLAIN, "--json").out)["a"]["scale"] == 1.5
    found = records(restore(capsys, "photos/a.png", "-o", "x.png", *PLAIN, "--json", "--scale", "2").out)
    assert found["a"]["scale"] == 2.0
    Path("restore.toml").write_text("scale = 4\n")
    found = records(restore(capsys, "photos/a.png", "-o", "y.png", *PLAIN, "--json", "--print", "2x3cm@150").out)
    assert found["a"]["output_size"] == [177, 118]
    Path("restore.toml").write_text('scale = 4\nprint = "a4"\n')
    assert "restore.toml sets scale." in restore(capsys, "photos/a.png", *PLAIN, code=2).err


def test_a_name_cannot_hold_what_each_photo_has_its_own_of(folder: Path, capsys: Capture) -> None:
    done = restore(capsys, "photos", *PLAIN, "--long-side", "90", "--name", "{stem}_{scale}", code=2)
    assert "each photo has its own" in done.err


def test_numbers_that_are_no_size_are_wrong_usage(folder: Path, capsys: Capture) -> None:
    for words in (["--long-side", "0"], ["--long-side", "9.5"], ["--megapixels", "0"], ["--megapixels", "nan"],
                  ["--print", "20x30"]):  # fmt: skip
        done = restore(capsys, "photos", *PLAIN, *words, code=2)
        assert words[0] in done.err


def test_the_upscaler_is_the_one_for_the_real_scale() -> None:
    """What `auto` takes for a photo depends on what that photo is enlarged by."""
    components = Restorer("tiny", long_side=600, offline=True).components
    assert components.background_name((600, 400)) == components.background_name((900, 10)) == "lanczos"
    assert components.background_name((300, 200)) == "tiny-upscaler"


def test_nothing_but_pixels_and_resolution_changes_for_a_print() -> None:
    photo = smooth_photo(40, 60)
    by_print = Restorer("none", background="lanczos", print="6x4in@30", offline=True).restore(photo)
    by_scale = Restorer("none", background="lanczos", scale=3, offline=True).restore(photo)
    assert np.array_equal(by_print.image, by_scale.image)
