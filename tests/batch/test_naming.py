"""Names of results: by the template, short enough, and never two alike."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restorer.batch.discovery import Job
from restorer.batch.naming import LONGEST, NameTemplate, assign
from restorer.errors import UsageError
from restorer.photo.header import Header
from restorer.storage.identity import key
from tests.support.albums import PLAIN, files, picture
from tests.support.in_process import restore

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=80).filter(
    lambda name: not name.startswith(".") and len(name.encode()) <= 240
)


def job(source: str, place: str | None = None, header: str = "PNG", out: str = "out") -> Job:
    where = Path(place or source)
    return Job(Path(source), Path(out) / where.parent, place=where.as_posix(), header=Header(header, (4, 4), 100))


def named(jobs: list[Job], text: str = "{stem}_restored", requested: str = "keep") -> list[str]:
    return [str(each.target) for each in assign(jobs, NameTemplate(text, "none", 2), requested=requested)]


def test_photos_of_one_stem_are_told_apart_by_their_suffix() -> None:
    jobs = [job("a.jpg", header="JPEG"), job("a.png"), job("b.png")]
    assert named(jobs) == ["out/a_restored.jpg", "out/a_restored.png", "out/b_restored.png"]
    told = ["out/a_jpg_restored.png", "out/a_png_restored.png", "out/b_restored.png"]
    assert named(jobs, requested="png") == told
    assert named(jobs[::-1], requested="png") == told[::-1], "names do not depend on who comes first"


def test_the_same_name_in_two_folders_goes_into_one() -> None:
    assert named([job("p/a.png", "a.png"), job("q/a.png", "a.png")]) == [
        "out/p_a_png_restored.png",
        "out/q_a_png_restored.png",
    ]
    three = named([job(f"{folder}/p/a.png", "a.png") for folder in "xyz"])
    assert len({key(Path(name)) for name in three}) == 3


def test_disks_that_mind_no_case_or_store_accents_otherwise() -> None:
    composed, decomposed = "\u00f6l.png", "o\u0308l.png"
    names = named(
        [job("IMG.png"), job("img.png"), job(composed), job(decomposed), job("Straße.png"), job("STRASSE.png")]
    )
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == 6


def test_names_that_look_like_those_that_are_made() -> None:
    names = named(
        [job("a.jpg", header="JPEG"), job("a.png"), job("a_jpg.png"), job("a_png.tif", header="TIFF")], requested="png"
    )
    assert len({key(Path(name)) for name in names}) == 4
    assert "out/a_jpg_restored.png" not in names or names.count("out/a_jpg_restored.png") == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "a", "A", "b/a"]), NAMES, st.sampled_from([".png", ".jpg", ".PNG", ""])),
        max_size=8,
    )
)
@settings(deadline=None, max_examples=80)
def test_no_two_results_of_any_photos_share_a_name(parts: list[tuple[str, str, str]]) -> None:
    sources = dict.fromkeys(f"in/{folder}/{stem}{suffix}" for folder, stem, suffix in parts)
    for text in ("{stem}_restored", "{model}", "{stem}"):
        names = named([job(source, Path(source).name) for source in sources], text, "png")
        assert len({key(Path(name)) for name in names}) == len(sources)
        assert all(len(os.fsencode(Path(name).name)) <= LONGEST for name in names)
        assert all(Path(name).suffix.lower() == ".png" for name in names)


def test_a_photo_that_has_the_name_from_an_earlier_run_keeps_it() -> None:
    jobs = [job("a.bmp", header="BMP"), job("a.jpg", header="JPEG")]
    planned = assign(
        jobs, NameTemplate("{stem}", "none", 2), requested="png", owned=lambda each, _: each.source.name == "a.jpg"
    )
    assert [str(each.target) for each in planned] == ["out/a_bmp.png", "out/a.png"]


def test_content_decides_the_suffix() -> None:
    assert named([job("a.jpg", header="PNG"), job("b.JPEG", header="JPEG"), job("c.gif", header="GIF")]) == [
        "out/a_restored.png", "out/b_restored.JPEG", "out/c_restored.png",
    ]  # fmt: skip


@pytest.mark.parametrize("stem", ["x" * 251, "ö" * 125, "👩" * 62, "y" * 200])
def test_long_names_fit_and_stay_apart(
    stem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("in", stem + ".png"))
    picture(Path("in", stem[:-1] + "z.png"))
    for _ in range(2):
        restore(capsys, "in", "-o", "out", *PLAIN)
    names = [name for name in files(Path("out")) if name.endswith(".png")]
    assert len(names) == 2
    assert all(name.startswith(stem[:40]) and name.endswith("_restored.png") for name in names)


def test_the_template_and_what_it_may_not_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("a b.png"))
    picture(Path("c.png"))
    restore(capsys, "a b.png", *PLAIN, "--name", "{stem}_{model}_{scale}x", "--scale", "1.5")
    assert Path("a b_none_1.5x.png").exists()
    restore(capsys, "a b.png", "c.png", *PLAIN, "--name", "same", "-o", "out")
    assert sorted(name for name in files(Path("out")) if name.endswith("png")) == ["same_a b_png.png", "same_c_png.png"]
    for text in ("{year}", "../{stem}", "", "{", "{stem.__class__}", "{0}", "x" * 300):
        assert "--name" in restore(capsys, "c.png", *PLAIN, "--name", text, code=2).err, text


def test_a_template_without_a_photo_is_checked_too() -> None:
    with pytest.raises(UsageError, match="year"):
        NameTemplate("{year}", "none", 2)
