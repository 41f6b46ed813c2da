"""Lists, folders, links, globs and journals as people really have them: none ends a run, nothing is dropped unsaid."""

from __future__ import annotations

import codecs
import io
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restorer.batch.discovery import find_photos
from restorer.batch.journal import NAME, Journal
from restorer.batch.lists import read_list
from restorer.batch.patterns import matches
from restorer.batch.walking import FolderPath
from restorer.errors import UsageError
from restorer.photo.formats import heif
from tests.support.albums import PLAIN, files, picture
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]

NAMES = st.text(st.characters(codec="utf-16", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12).filter(
    lambda name: name != "." and not name.startswith("\ufeff")
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*arguments: str, out: str | None = "out", listed: tuple[str, ...] = ()) -> list[str]:
    jobs = find_photos(arguments, Path(out) if out else None, listed=[Path(name) for name in listed]).jobs
    return [(job.folder / job.source.name).as_posix() for job in jobs if job.problem is None]


# ------------------------------------------------------------------------------------------------------------ lists


@given(st.lists(NAMES, min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_list_in_utf_16_or_32_is_read_by_its_mark(names: list[str], end: str, last: bool) -> None:
    text = end.join(names) + (end if last else "")
    for mark, encoding in (
        (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    ):  # fmt: skip
        assert read_list(mark + text.encode(encoding)) == [Path(name) for name in names]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text", ["x.jpg", "x.jpg\r\n", "album/x\n", "a\nb.jpg", "\u7956\u6bcd.jpg\r\n1.jpg\r\n", "x\r\n"]
)
def test_a_list_in_utf_16_without_a_mark_is_known_by_what_else_it_would_be(encoding: str, text: str) -> None:
    assert read_list(text.encode(encoding)) == [Path(name) for name in text.split()]


@given(
    st.lists(st.binary(min_size=2, max_size=9).filter(lambda name: not {0, 10, 13} & set(name)), min_size=1, max_size=5)
)
def test_names_between_nul_bytes_stay_names(names: list[bytes]) -> None:
    assert read_list(b"".join(name + b"\0" for name in names)) == [Path(os.fsdecode(name)) for name in names] or names[
        0
    ].startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"))


@given(st.lists(st.tuples(st.sampled_from(["a.jpg", "b c.png", "d"]), st.sampled_from([b"\n", b"\r\n"])), max_size=6))
def test_lines_may_end_each_in_their_own_way(lines: list[tuple[str, bytes]]) -> None:
    assert read_list(b"".join(name.encode() + end for name, end in lines)) == [Path(name) for name, _ in lines]
    assert read_list(b"a.jpg\rb.jpg\r") == [Path("a.jpg"), Path("b.jpg")]


@given(st.binary(max_size=60))
def test_any_bytes_make_a_list_that_ends_no_run(data: bytes) -> None:
    folder = Path.cwd()
    jobs = find_photos([], folder / "out", listed=read_list(data)).jobs
    assert all(job.problem is not None for job in jobs if job.source.is_dir())


def test_a_powershell_list_restores_what_it_names_alone(capsys: Capsys) -> None:
    picture(Path("x.jpg"))
    picture(Path("not-listed.jpg"))
    for encoded in (codecs.BOM_UTF16_LE + "x.jpg\r\n".encode("utf-16-le"), "x.jpg".encode("utf-16-le")):
        Path("list.txt").write_bytes(encoded)
        restore(capsys, "--files-from", "list.txt", "-o", "out", *PLAIN)
        assert [name for name in files(Path("out")) if name != NAME] == ["x_restored.jpg"]


@pytest.mark.parametrize("entry", ["/", ".", "./", "..", "../..", "x/.."])
def test_a_list_never_walks_the_working_folder_or_what_holds_it(entry: str, capsys: Capsys) -> None:
    picture(Path("x/y.jpg"))
    picture(Path("z.jpg"))
    Path("list.txt").write_text(f"{entry}\nz.jpg\n")
    done = restore(capsys, "--files-from", "list.txt", "-o", "out", *PLAIN, "--json", code=1)
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["status"] for record in records] == ["failed", "ok"]
    assert "holds the working folder" in done.err
    assert "Take it out of the list" in done.err


def test_a_file_that_is_no_list_ends_no_run(capsys: Capsys) -> None:
    photo = picture(Path("a.png"))
    assert "is a picture, not a list" in restore(capsys, "--files-from", "a.png", *PLAIN, code=2).err
    noise = bytes(random.Random(0).randbytes(20_000))
    for content in (
        noise,
        noise.replace(b"\0", b""),
        b"x" * 5000 + b"/y\n" + b"z" * 300 + b"\n",
        photo.read_bytes()[8:],
    ):
        Path("list").write_bytes(content)
        for more in ((), ("-o", "out")):
            done = restore(capsys, "--files-from", "list", *PLAIN, *more, "--json", code=1)
            assert {json.loads(line)["status"] for line in done.out.splitlines()} == {"failed"}


# ---------------------------------------------------------------------------------------------------------- folders


def test_pictures_are_known_by_content_where_the_name_says_nothing(capsys: Capsys) -> None:
    photo = picture(Path("in/one.jpg")).read_bytes()
    for name in ("two.mpo", "three", "holiday.1987", "Mr. Smith", "four.bak", "five.thm", "six.thm", "._one.jpg"):
        Path("in", name).write_bytes(photo)
    Path("in/layers").write_bytes(b"8BPS" + bytes(60))
    Path("in/layers.xcf").write_bytes(b"layers")
    for name, content in (("notes", b"text"), ("a.zip", b"PK\3\4"), ("b.pdf", b"%PDF-1"), ("empty", b"")):
        Path("in", name).write_bytes(content)
    assert found("in") == ["out/Mr. Smith", "out/holiday.1987", "out/one.jpg", "out/three", "out/two.mpo"]
    done = restore(capsys, "in", "-o", "out", *PLAIN)
    assert ".bak (1), .thm (2)" in done.err
    assert "(no suffix) (1), .xcf (1)" in done.err
    assert "notes" not in done.err + done.out
    made = sorted(name for name in files(Path("out")) if name != NAME)
    assert made == [
        "Mr_restored.jpg",
        "holiday_restored.jpg",
        "one_restored.jpg",
        "three_restored.jpg",
        "two_restored.jpg",
    ]


SYSTEM = ("@eaDir", "#recycle", "#snapshot", ".Trash", "$RECYCLE.BIN", "System Volume Information", "__MACOSX",
          "Library Previews.lrdata", "lost+found", "@Recycle")  # fmt: skip


@pytest.mark.parametrize("name", SYSTEM)
def test_folders_that_systems_keep_for_themselves_are_passed_over(name: str) -> None:
    picture(Path("in/a.jpg"))
    picture(Path("in", name, "b.jpg", "thumb.jpg"))
    picture(Path("in", name, "thumb.jpg"))
    assert found("in") == ["out/a.jpg"]
    assert found("in/**/*.jpg") == ["out/a.jpg"]
    assert found("in/*") == ["out/a.jpg"]
    assert found(f"in/{name}") == ["out/thumb.jpg", "out/b.jpg/thumb.jpg"], "it is taken where it is named"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_linked_folders_are_followed_once_and_without_loops(capsys: Capsys) -> None:
    picture(Path("album/a.jpg"))
    picture(Path("album/z/z.jpg"))
    picture(Path("elsewhere/deep/b.jpg"))
    for link, target in (
        ("album/linked", "../elsewhere"), ("album/again", "../elsewhere"), ("album/early", "z"), ("album/self", "."),
        ("album/up", ".."), ("elsewhere/back", "../album"), ("elsewhere/deep/loop", ".."), ("album/nowhere", "gone"),
    ):  # fmt: skip
        Path(link).symlink_to(target)
    expected = ["out/a.jpg", "out/z/z.jpg", "out/again/deep/b.jpg"]
    assert found("album") == expected
    assert sorted(found("album/**/*.jpg")) == sorted(expected)
    assert found(listed=("album",)) == [name.replace("out", "out/album", 1) for name in expected]
    assert found("album", "elsewhere") == ["out/album/a.jpg", "out/album/z/z.jpg", "out/elsewhere/deep/b.jpg"]
    done = restore(capsys, "album", "-o", "out", *PLAIN)
    assert "album/nowhere" in done.err
    assert "album/up" in done.err
    assert "album/self" not in done.err


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_into_the_output_folder_is_not_followed() -> None:
    picture(Path("album/a.jpg"))
    picture(Path("out/deep/b.jpg"))
    Path("album/results").symlink_to(Path("out/deep").absolute())
    assert found("album") == ["out/a.jpg"]


def test_results_that_are_passed_over_are_counted_also_when_photos_are_left(capsys: Capsys) -> None:
    picture(Path("in/a.png"))
    restore(capsys, "in/a.png", *PLAIN)
    shutil.move("in/a_restored.png", "in/cropped.png")
    assert "1 result of this tool passed over" in restore(capsys, "in", "-o", "out", *PLAIN).err
    restore(capsys, "in/cropped.png", "-o", "out", *PLAIN)
    assert Path("out/cropped_restored.png").exists()
    picture(Path("b.png"))
    restore(capsys, "b.png", *PLAIN)
    assert "1 result of this tool passed over" in restore(capsys, "b.png", "b_restored.png", *PLAIN).err


# ------------------------------------------------------------------------------------------------------------ globs


def test_parts_of_a_glob_that_exist_are_no_patterns() -> None:
    for name in (
        "album [1985]/a.jpg",
        "album [1985]/b.png",
        "album 1/c.jpg",
        "x/[old]/d.jpg",
        "x/o/e.jpg",
        "what?/f.jpg",
    ):
        picture(Path(name))
    assert found("album [1985]/*.jpg") == ["out/a.jpg"]
    assert found("*/[[]old]/*.jpg") == found("x/[old]/*.jpg") == found("*/[old]/*.jpg") == ["out/d.jpg"]
    assert found("album [0-9]/*.jpg") == ["out/c.jpg"]
    assert found("what?/*") == ["out/f.jpg"]
    assert found(str(Path.cwd() / "album [[]1985]" / "*.jpg")) == ["out/a.jpg"]
    assert [path.name for path in matches("*/")] == ["album 1", "album [1985]", "what?", "x"]
    with pytest.raises(UsageError, match="no such"):
        find_photos(["album [1985]/*.gif"], None)


# ------------------------------------------------------------------------------------------------------------ output


def test_an_output_folder_that_is_a_file_is_said(capsys: Capsys) -> None:
    for name in ("a.jpg", "b.jpg"):
        picture(Path(name))
    Path("plain").write_text("mine")
    for photos in (("a.jpg", "b.jpg"), ("a.jpg",)):
        for out in ("plain", "plain/deep/er"):
            done = restore(capsys, *photos, "-o", out, *PLAIN, code=2)
            assert "plain is a file, not a folder" in done.err
    assert Path("plain").read_text() == "mine"


@pytest.mark.parametrize("suffix", [".jxl", ".psd", ".cr2", ".tga", ".svg", ".avif", ".gif", ".mpo"])
def test_an_output_of_a_kind_that_is_not_written_is_said(suffix: str, capsys: Capsys) -> None:
    picture(Path("a.jpg"))
    assert "cannot be written" in restore(capsys, "a.jpg", "-o", f"out{suffix}", *PLAIN, code=2).err
    restore(capsys, "a.jpg", "-o", f"out{suffix}/", *PLAIN)
    assert Path(f"out{suffix}/a_restored.jpg").exists()
    restore(capsys, "a.jpg", "-o", f"out{suffix}", *PLAIN)  # the folder is there now
    assert find_photos(["a.jpg"], FolderPath("x.jpg/")).jobs[0].folder == Path("x.jpg")


# ---------------------------------------------------------------------------------------------------------- journals

BROKEN = {
    "folder": lambda path: path.mkdir(),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 20),
    "nested": lambda path: path.write_bytes(b'{"result": ' + b"[" * 100_000 + b"\n"),
    "foreign": lambda path: path.write_text('[1]\n"x"\n3\nnull\n{"result": "a.jpg"}\n{"result":1,"status":2}\n'),
    "half": lambda path: path.write_text(
        '{"result": "a_restored.jpg", "status": "failed", "fingerprint": {}, "source": [], "error": null}\n'
        '{"result": "a_restored.jpg", "status": "failed", "fingerprint": "x", "source": "a", "error": {"kind": 1}}\n'
    ),
    "link": lambda path: path.symlink_to(path.name),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_journal_among_the_photos_ends_no_run(how: str, capsys: Capsys) -> None:
    for name in ("in/a.jpg", "in/deep/b.jpg"):
        picture(Path(name))
    for folder in ("in", "in/deep"):
        BROKEN[how](Path(folder, NAME))
    done = restore(capsys, "in", "-o", "out", *PLAIN)
    assert "2 photos restored" in done.err
    assert ("The journal" in done.err) == (how in ("folder", "link"))


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_journal_of_the_output_is_said_or_passed_over(how: str, capsys: Capsys) -> None:
    picture(Path("in/a.jpg"))
    Path("out").mkdir()
    BROKEN[how](Path("out", NAME))
    unreadable = how in ("folder", "link")
    done = restore(capsys, "in", "-o", "out", *PLAIN, code=2 if unreadable else 0)
    assert ("move it away" in done.err) == unreadable


@given(st.binary(max_size=80))
def test_any_line_in_a_journal_is_read_or_counted(line: bytes) -> None:
    Path(NAME).write_bytes(line.replace(b"\n", b"") + b"\n")
    journal = Journal(Path())
    assert journal.failure(Path("x")) is None
    assert journal.damaged == bool(line.replace(b"\n", b"").strip())


# ------------------------------------------------------------------------------------------------- what is in the way


def test_what_is_in_the_way_is_told_by_what_differs(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(Path("a.jpg"))
    restore(capsys, "a.jpg", "-o", "out/", *PLAIN)
    again = restore(capsys, "a.jpg", "-o", "out/", *PLAIN, "--scale", "4").err
    assert "made with --scale 2; this run asks for --scale 4" in again
    again = restore(capsys, "a.jpg", "-o", "out/", *PLAIN, "--strength", "0.5").err
    assert "made with --strength 1; this run asks for --strength 0.5" in again
    with monkeypatch.context() as patch:
        patch.setattr("restorer.pipeline.fingerprint.__version__", "9.9")
        assert "this run asks for version 9.9" in restore(capsys, "a.jpg", "-o", "out/", *PLAIN).err
    picture(Path("a.jpg"), seed=5)
    assert "another photo" in restore(capsys, "a.jpg", "-o", "out/", *PLAIN, code=1).err


# ------------------------------------------------------------------------------------------------- what is expected


def test_a_header_that_lies_counts_for_nothing_in_the_estimate(capsys: Capsys) -> None:
    for number in range(5):
        picture(Path("in", f"{number}.jpg"))
    plain = restore(capsys, "in", "-o", "out", *PLAIN, "--dry-run").err.split("about")[-1]
    lying = bytearray(picture(Path("in/lying.jpg")).read_bytes())
    at = next(at for at in range(len(lying)) if lying[at] == 0xFF and lying[at + 1] in (0xC0, 0xC2))
    lying[at + 5 : at + 9] = (65_000).to_bytes(2, "big") * 2
    Path("in/lying.jpg").write_bytes(lying)
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--dry-run", code=1).err
    assert f"on disk{plain.split('on disk')[1]}".split("\n")[0] in done
    assert "GB" not in done


# ------------------------------------------------------------------------------------------------------------- HEIC


def test_an_album_from_a_phone_is_done_by_a_plain_installation(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """HEIC is read without the extra that writes it; the results are JPEG, which is said once for all photos."""
    for name in ("IMG_1.HEIC", "IMG_2.heic"):
        stream = io.BytesIO()
        pillow_heif.from_bytes("RGB", (64, 48), np.full((48, 64, 3), 90, np.uint8).tobytes()).save(stream)
        Path("al").mkdir(exist_ok=True)
        Path("al", name).write_bytes(stream.getvalue())
    monkeypatch.setattr(heif, "has_writer", lambda: False)
    done = restore(capsys, "al", "-o", "out", *PLAIN)
    assert sorted(path.name for path in Path("out").glob("IMG*")) == ["IMG_1_restored.jpg", "IMG_2_restored.jpg"]
    assert " ".join(done.err.split()).count("The result is a JPEG.") == 1
    done = restore(capsys, "al", "-o", "out2", "--json", *PLAIN)
    assert all("The result is a JPEG." in json.loads(line)["warnings"][-1] for line in done.out.splitlines())
    asked = restore(capsys, "al", "-o", "out3", "--format", "jpg", *PLAIN)
    assert "The result is a JPEG." not in " ".join(asked.err.split())
