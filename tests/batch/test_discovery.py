"""Which photos a command line names, and where their results go."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restorer.batch.discovery import Job, find_photos, shard
from restorer.batch.lists import read_list
from restorer.errors import UsageError
from tests.support.albums import PLAIN, files, picture
from tests.support.in_process import restore


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def places(*arguments: str, out: str | None = "out", listed: tuple[str, ...] = ()) -> list[str]:
    found = find_photos(arguments, Path(out) if out else None, listed=[Path(name) for name in listed])
    return [(job.folder / job.source.name).as_posix() for job in found.jobs]


def test_a_folder_is_mirrored_and_side_files_make_no_noise(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/x.jpg", "a/deep/er/x.png", "a/.hidden/x.png", "a/.x.png"):
        picture(Path(name))
    for name in ("Thumbs.db", "MANIFEST.csv", ".DS_Store", "letter.txt"):
        Path("a", name).write_bytes(b"no picture")
    assert places("a") == ["out/x.jpg", "out/deep/er/x.png"]
    assert places("a", out=None) == ["a/x.jpg", "a/deep/er/x.png"]
    done = restore(capsys, "a", "-o", "out", *PLAIN)
    assert not any(word in done.err + done.out for word in ("Thumbs", "MANIFEST", "DS_Store", "letter"))


def test_several_folders_keep_their_names() -> None:
    for name in ("a/x.jpg", "b/x.jpg", "p/c/x.jpg", "q/c/x.jpg"):
        picture(Path(name))
    assert places("a", "b") == ["out/a/x.jpg", "out/b/x.jpg"]
    assert places("p/c", "q/c") == ["out/p/c/x.jpg", "out/q/c/x.jpg"]
    assert places("a", "a", "./a") == ["out/x.jpg"]
    assert places("?", "p") == ["out/a/x.jpg", "out/b/x.jpg", "out/p/c/x.jpg", "out/q/c/x.jpg"]


def test_each_photo_is_taken_once_whatever_leads_to_it() -> None:
    picture(Path("a/b/x.jpg"))
    assert places("a", "a/b", "a/b/x.jpg", "a/b/../b/x.jpg", "a/*/x.jpg") == ["out/a/b/x.jpg"]


def test_globs() -> None:
    for name in ("a/x.tif", "a/b/x.tif", "a/b/y.TIF", "a/b/x.png"):
        picture(Path(name))
    Path("a/notes.txt").write_text("no picture")
    assert places("a/*.tif") == ["out/x.tif"]
    assert places("a/**/*.tif") == ["out/b/x.tif", "out/x.tif"]
    assert places("a/**") == ["out/b/x.png", "out/b/x.tif", "out/b/y.TIF", "out/x.tif"]
    picture(Path("[1].png"))
    assert places("[1].png") == ["out/[1].png"], "a file of that name is no glob"
    with pytest.raises(UsageError, match="no such"):
        find_photos(["*.gif"], None)


def test_the_output_folder_inside_the_input_is_passed_over() -> None:
    picture(Path("a/x.jpg"))
    picture(Path("a/out/y.jpg"))
    assert places("a", out="a/out") == ["a/out/x.jpg"]
    assert places("a", out="a/./out/") == ["a/out/x.jpg"]


def test_own_results_are_passed_over_with_note_or_without(capsys: pytest.CaptureFixture[str]) -> None:
    picture(Path("a/x.bmp"))  # holds no note: only the journal knows
    picture(Path("a/y.png"))
    for _ in range(2):
        restore(capsys, "a", *PLAIN)
    assert sorted(name for name in files(Path("a"))) == [
        ".restorer-journal.jsonl", "x.bmp", "x_restored.bmp", "y.png", "y_restored.png",
    ]  # fmt: skip
    again = restore(capsys, "a/y.png", "a/y_restored.png", *PLAIN)  # as the shell makes of a/y*.png
    assert "y_restored_restored.png" not in files(Path("a"))
    assert "done already" in again.out
    assert "No photos were found (2 results of this tool" in restore(capsys, "a/*_restored.*", *PLAIN).err


def test_a_result_that_is_named_is_a_photo_like_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    picture(Path("y.png"))
    restore(capsys, "y.png", *PLAIN)
    restore(capsys, "y_restored.png", *PLAIN)
    assert Path("y_restored_restored.png").exists()


def test_pictures_of_kinds_that_are_not_read_are_counted_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    picture(Path("a/x.jpg"))
    for name in ("1.xcf", "2.XCF", "3.psd"):
        Path("a", name).write_bytes(b"raw")
    done = restore(capsys, "a", "-o", "out", *PLAIN)
    assert ".psd (1), .xcf (2)" in done.err


def test_a_folder_that_cannot_be_listed_is_a_failure_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    picture(Path("a/x.jpg"))
    picture(Path("a/locked/y.jpg"))
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    jobs = find_photos(["a"], Path("out")).jobs
    assert [job.source.name for job in jobs] == ["x.jpg", "locked"]
    assert "Permission denied" in str(jobs[1].problem)


@pytest.mark.skipif(os.name == "nt", reason="needs pipes in the file system")
def test_pipes_in_a_folder_are_not_waited_for() -> None:
    picture(Path("a/x.jpg"))
    os.mkfifo("a/y.jpg")
    assert places("a") == ["out/x.jpg"]


# ------------------------------------------------------------------------------------------------------------ lists


@given(st.lists(st.binary(min_size=1).filter(lambda name: not {0, 10, 13} & set(name)), max_size=6))
@example([b"\xfe\xff"])
@example([b"\xff\xfe", b"ab"])
def test_lists_are_read_in_both_forms(names: list[bytes]) -> None:
    expected = [Path(os.fsdecode(name)) for name in names]
    for separator in (b"\n", b"\0", b"\r\n"):
        data = separator.join(names) + (separator if names else b"")
        marked = data.startswith(b"\xef\xbb\xbf") or (data[:2] in (b"\xff\xfe", b"\xfe\xff") and len(data) % 2 == 0)
        if not marked:  # a mark says what the bytes are, where they can be that
            assert read_list(data) == expected
    assert read_list(b"\xef\xbb\xbfa.jpg\n\nb.jpg") == [Path("a.jpg"), Path("b.jpg")]
    assert read_list(b"two\nlines.jpg\0b.jpg\0") == [Path("two\nlines.jpg"), Path("b.jpg")]


def test_a_list_is_mirrored() -> None:
    for name in ("a/x.jpg", "b/c/x.jpg", "b/c/d/y.jpg"):
        picture(Path(name))
    assert places(listed=("a/x.jpg", "b/c/x.jpg")) == ["out/a/x.jpg", "out/b/c/x.jpg"]
    assert places(listed=("b/c",)) == ["out/b/c/x.jpg", "out/b/c/d/y.jpg"]
    absolute = tuple(str(Path(name).absolute()) for name in ("b/c/x.jpg", "b/c/d/y.jpg"))
    assert places(listed=absolute) == ["out/x.jpg", "out/d/y.jpg"]
    assert places(listed=("../" + Path.cwd().name + "/a/x.jpg",)) == ["out/x.jpg"]


def test_files_from_a_list_and_from_stdin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/x.png", "b/two\nlines.png", "b/[1].png"):
        picture(Path(name))
    Path("list").write_bytes(b"a/x.png\0b/two\nlines.png\0b/[1].png\0gone.png\0")
    done = restore(capsys, "--files-from", "list", "-o", "out", *PLAIN, "--json", code=1)
    records = {record["input"]: record for record in map(json.loads, done.out.splitlines())}
    assert records["gone.png"]["error"]["kind"] == "UnreadablePhoto"
    assert [record["status"] for record in records.values()].count("ok") == 3
    assert Path("out/b/two\nlines_restored.png").exists()
    assert Path("out/b/[1]_restored.png").exists()

    read, write = os.pipe()
    os.write(write, b"a/x.png\n")
    os.close(write)
    with os.fdopen(read) as stream:
        monkeypatch.setattr("sys.stdin", stream)
        restore(capsys, "--files-from", "-", "-o", "other", *PLAIN)
    assert Path("other/a/x_restored.png").exists()
    assert "cannot be read" in restore(capsys, "--files-from", "nowhere", *PLAIN, code=2).err


# ----------------------------------------------------------------------------------------------------------- shards


@given(st.lists(st.text(min_size=1), unique=True, max_size=30), st.integers(1, 7), st.randoms())
def test_shards_share_every_photo_out_once_in_whatever_order_it_is_found(
    names: list[str], count: int, rng: object
) -> None:
    jobs = [Job(Path("in"), Path("out"), place=name) for name in names]
    parts = [shard(jobs, f"{i}/{count}") for i in range(1, count + 1)]
    assert sorted(job.place for part in parts for job in part) == sorted(names)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    rng.shuffle(jobs)  # type: ignore[attr-defined]
    assert shard(jobs, f"1/{count}") == parts[0]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "/", "-1/2", "1/2/3"])
def test_a_shard_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    picture(Path("a.png"))
    assert "--shard 1/4" in restore(capsys, "a.png", "--shard", text, *PLAIN, code=2).err


def test_shards_agree_on_names_and_together_make_one_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/x.jpg", "a/x.png", "a/X.bmp", "b/x.jpg", "a/y.jpg"):
        picture(Path("in", name), seed=len(name))
    rest = ("in", *PLAIN, "--format", "png")
    restore(capsys, *rest, "-o", "whole")
    for part in ("2/3", "1/3", "3/3"):
        restore(capsys, *rest, "-o", "parts", "--shard", part)
    whole, parts = files(Path("whole")), files(Path("parts"))
    journal = ".restorer-journal.jsonl"
    assert len(whole.pop(journal).splitlines()) == len(parts.pop(journal).splitlines()) == 5
    assert whole == parts
    assert len(whole) == 5


def test_no_photo_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--files-from" in restore(capsys, *PLAIN, code=2).err
    Path("list").write_text("a.png")
    assert "stdin" in restore(capsys, "-", "--files-from", "list", *PLAIN, code=2).err
