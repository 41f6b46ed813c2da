"""`--pages`: each page of a TIFF is a photo of its own, with a result of its own name, also the second time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from restorer.batch.discovery import Job
from restorer.batch.pages import on_pages
from restorer.bench.survive.samples import scene
from restorer.errors import UsageError
from restorer.photo import read_photo
from tests.support.in_process import restore

PLAIN = ("--model", "none", "--background", "lanczos", "--scale", "1")


def album(path: Path) -> list[np.ndarray]:
    """Write a TIFF of three pages, with a thumbnail between them; return the pages."""
    pages = [np.roll(scene(20 + n, 30), n, axis=2) for n in range(3)]
    pages = [np.ascontiguousarray(page) for page in pages]
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pages[0], photometric="rgb")
        tiff.write(np.ascontiguousarray(pages[0][:5, :6]), photometric="rgb", subfiletype=1)
        tiff.write(pages[1], photometric="rgb", compression="zlib")
        tiff.write(pages[2], photometric="rgb")
    return pages


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_each_page_is_a_result_of_its_own(tmp_path: Path, capsys: Any) -> None:
    pages = album(tmp_path / "scans.tif")
    out = tmp_path / "out"
    arguments = (str(tmp_path / "scans.tif"), "-o", str(out) + "/", "--pages", "all", *PLAIN)
    done = restore(capsys, *arguments)
    assert names(out) == [f"scans_p{n}_restored.tif" for n in (1, 2, 3)]
    for n, page in enumerate(pages, 1):
        assert (read_photo(out / f"scans_p{n}_restored.tif").pixels == page).all()
    assert "only the first" not in (done.out + done.err)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    again = restore(capsys, *arguments)
    assert again.out.count("done already") == 3
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    (out / "scans_p2_restored.tif").unlink()
    assert restore(capsys, *arguments).out.count("done already") == 2
    assert (read_photo(out / "scans_p2_restored.tif").pixels == pages[1]).all()


def test_numbers_choose_pages_and_one_that_is_not_there_fails_alone(tmp_path: Path, capsys: Any) -> None:
    pages = album(tmp_path / "scans.tif")
    done = restore(capsys, str(tmp_path / "scans.tif"), "-o", f"{tmp_path}/out/", "--pages", "2-3,7", *PLAIN, code=1)
    assert names(tmp_path / "out") == ["scans_p2_restored.tif", "scans_p3_restored.tif"]
    assert "there is no page 7" in (done.out + done.err).replace("\n", " ")
    restore(capsys, str(tmp_path / "scans.tif"), "-o", f"{tmp_path}/one.png", "--pages", "2", *PLAIN)
    assert (read_photo(tmp_path / "one.png").pixels == pages[1]).all()


def test_in_a_folder_only_files_with_pages_get_numbers(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    album(folder / "scans.tif")
    tifffile.imwrite(folder / "one.tif", scene(), photometric="rgb")
    restore(capsys, str(folder), "-o", str(tmp_path / "out"), "--pages", "all", *PLAIN)
    assert names(tmp_path / "out") == ["one_restored.tif", *(f"scans_p{n}_restored.tif" for n in (1, 2, 3))]


def test_without_the_option_the_first_is_taken_and_the_way_to_the_others_told(tmp_path: Path) -> None:
    pages = album(tmp_path / "scans.tif")
    photo = read_photo(tmp_path / "scans.tif")
    assert (photo.pixels == pages[0]).all()
    assert any("3 pages" in line and "--pages all" in line for line in photo.warnings)
    hashes = {read_photo(tmp_path / "scans.tif", page=page).sha256 for page in (None, 1, 2, 3)}
    assert len(hashes) == 4


def test_one_name_for_several_pages_is_wrong_usage(tmp_path: Path) -> None:
    album(tmp_path / "scans.tif")
    job = Job(tmp_path / "scans.tif", tmp_path, target=tmp_path / "a.tif")
    with pytest.raises(UsageError, match="3 pages"):
        on_pages([job], "all")


@pytest.mark.parametrize("text", ["", "0", "3-1", "a", "1,,2", "-2", "all,2", "1000000"])
def test_what_is_no_page_is_wrong_usage(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pages"):
        on_pages([Job(tmp_path / "a.jpg", tmp_path)], text)
