"""A second run does what is left and only that; the journal that it goes by."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from restorer.batch.journal import NAME, Journal
from restorer.pipeline.restorer import Restorer
from tests.support.albums import PLAIN, files, picture
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the photos whose restoring began."""
    names: list[str] = []
    original = Restorer.restore

    def spy(self: Restorer, photo: Any, **rest: Any) -> Any:
        names.append(Path(photo.path).name)
        return original(self, photo, **rest)

    monkeypatch.setattr(Restorer, "restore", spy)
    return names


def statuses(out: str) -> dict[str, str]:
    return {Path(record["input"]).name: record["status"] for record in map(json.loads, out.splitlines())}


def lines(folder: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, NAME).read_text().splitlines()]


def failing(name: str, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    original = Restorer.restore

    def fail(self: Restorer, photo: Any, **rest: Any) -> Any:
        if Path(photo.path).name == name:
            raise error
        return original(self, photo, **rest)

    monkeypatch.setattr(Restorer, "restore", fail)


# ------------------------------------------------------------------------------------------------------- what is done


@pytest.mark.parametrize("more", [(), ("--strip-metadata",)])
def test_a_second_run_does_what_is_left_and_only_that(
    more: tuple[str, ...], capsys: Capsys, restored: list[str]
) -> None:
    for name in ("a.png", "b.bmp", "c.jpg"):
        picture(Path("in", name))
    restore(capsys, "in", "-o", "out", *PLAIN, *more)
    picture(Path("in/d.png"))
    Path("out/c_restored.jpg").unlink()
    before = files(Path("out"))
    restored.clear()
    done = restore(capsys, "in", "-o", "out", *PLAIN, *more, "--json")
    assert statuses(done.out) == {"a.png": "skipped", "b.bmp": "skipped", "c.jpg": "ok", "d.png": "ok"}
    assert restored == ["c.jpg", "d.png"]
    after = files(Path("out"))
    assert {name: after[name] for name in before if name != NAME} == {n: c for n, c in before.items() if n != NAME}


def test_skipped_photos_add_nothing_to_the_journal(capsys: Capsys) -> None:
    picture(Path("in/a.png"))
    picture(Path("in/b.bmp"))
    restore(capsys, "in", "-o", "out", *PLAIN)
    before = Path("out", NAME).read_bytes()
    restore(capsys, "in", "-o", "out", *PLAIN)
    assert Path("out", NAME).read_bytes() == before


def test_a_changed_photo_is_told_by_its_bytes_although_size_and_time_are_the_same(capsys: Capsys) -> None:
    photo = picture(Path("in/a.bmp"), seed=1)
    picture(Path("in/b.png"))
    restore(capsys, "in", "-o", "out", *PLAIN)
    stamp = photo.stat()
    picture(photo, seed=2)
    os.utime(photo, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert photo.stat().st_size == stamp.st_size
    done = restore(capsys, "in", "-o", "out", *PLAIN, code=1)
    assert "not made from this photo" in done.err
    restore(capsys, "in", "-o", "out", *PLAIN, "--overwrite")


def test_other_options_are_other_work(capsys: Capsys) -> None:
    picture(Path("in/a.bmp"))
    picture(Path("in/b.png"))
    restore(capsys, "in", "-o", "out", *PLAIN)
    before = files(Path("out"))
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--scale", "3")
    assert done.err.count("--overwrite") == 1, "once for all photos"
    assert {n: c for n, c in files(Path("out")).items() if n != NAME} == {n: c for n, c in before.items() if n != NAME}
    restore(capsys, "in", "-o", "out", *PLAIN, "--scale", "3", "--overwrite")
    assert Image.open("out/a_restored.bmp").size == (72, 48)


def test_overwrite_makes_everything_anew(capsys: Capsys, restored: list[str]) -> None:
    picture(Path("in/a.png"))
    picture(Path("in/b.png"))
    for _ in range(2):
        restore(capsys, "in", "-o", "out", *PLAIN, "--overwrite")
    assert restored == ["a.png", "b.png"] * 2


def test_without_resume_nothing_is_taken_as_done(capsys: Capsys) -> None:
    picture(Path("in/a.png"))
    Path("in/b.png").write_bytes(b"broken")
    restore(capsys, "in", "-o", "out", *PLAIN, code=1)
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--no-resume", "--json", code=1)
    assert statuses(done.out) == {"a.png": "failed", "b.png": "failed"}
    assert "exists already" in done.err
    assert "earlier run" not in done.err
    again = restore(capsys, "in", "-o", "out", *PLAIN, "--no-resume", "--overwrite", "--json", code=1)
    assert statuses(again.out) == {"a.png": "ok", "b.png": "failed"}


def test_a_foreign_file_is_never_replaced_nor_a_photo_by_a_result(capsys: Capsys) -> None:
    picture(Path("a.png"))
    foreign = picture(Path("a_restored.png"), seed=7).read_bytes()
    restore(capsys, "a.png", *PLAIN, code=1)
    done = restore(capsys, "a.png", "a_restored.png", *PLAIN, "--overwrite", code=1)
    assert "original" in done.err
    assert Path("a_restored.png").read_bytes() == foreign
    os.link("a.png", "in.png")  # another name of the same file
    assert "original" in restore(capsys, "a.png", "-o", "in.png", *PLAIN, "--overwrite", code=1).err


def test_a_result_from_stdin_replaces_nothing_either(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = picture(Path("a.png"))
    Path("out.png").write_bytes(b"mine")
    for more, code in (((), 1), (("--overwrite",), 0)):
        with photo.open() as stream:
            monkeypatch.setattr("sys.stdin", stream)
            restore(capsys, "-", "-o", "out.png", *PLAIN, *more, code=code)
    assert Image.open("out.png").size == (48, 32)


# ----------------------------------------------------------------------------------------------------- what has failed


def test_failed_photos_are_named_again_and_tried_again_when_asked(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch, restored: list[str]
) -> None:
    for name in ("a.png", "b.png", "c.bmp"):
        picture(Path("in", name), seed=ord(name[0]))
    with monkeypatch.context() as patch:
        failing("b.png", patch, RuntimeError("the network exploded"))
        first = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    assert statuses(first.out) == {"a.png": "ok", "b.png": "failed", "c.bmp": "ok"}
    assert "RuntimeError: the network exploded" in first.err
    restored.clear()
    second = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    record = json.loads(second.out.splitlines()[1])
    assert restored == []
    assert record["status"] == "failed"
    assert "the network exploded" in record["error"]["message"]
    assert "--retry-failed" in record["reason"]
    assert "1 failed" in second.err
    assert "b.png" in second.err
    third = restore(capsys, "in", "-o", "out", *PLAIN, "--json", "--retry-failed")
    assert statuses(third.out) == {"a.png": "skipped", "b.png": "ok", "c.bmp": "skipped"}
    assert restored == ["b.png"]
    assert statuses(restore(capsys, "in", "-o", "out", *PLAIN, "--json").out)["b.png"] == "skipped"
    Path("out/b_restored.png").unlink()
    assert statuses(restore(capsys, "in", "-o", "out", *PLAIN, "--json").out)["b.png"] == "ok", "its failure is over"


def test_a_repaired_photo_or_other_options_are_no_failure_of_before(capsys: Capsys) -> None:
    picture(Path("in/a.png"))
    Path("in/b.png").write_bytes(b"broken")
    restore(capsys, "in", "-o", "out", *PLAIN, code=1)
    assert "earlier run" not in restore(capsys, "in", "-o", "out", *PLAIN, "--scale", "3", "--overwrite", code=1).err
    picture(Path("in/b.png"))
    restore(capsys, "in", "-o", "out", *PLAIN, "--scale", "3", "--overwrite")


def test_a_photo_that_could_not_be_read_at_all_is_tried_again(capsys: Capsys) -> None:
    picture(Path("in/a.png"))
    Path("in/b.png").symlink_to("nowhere.png")
    restore(capsys, "in", "-o", "out", *PLAIN, code=1)
    picture(Path("in/nowhere.png"))
    restore(capsys, "in", "-o", "out", *PLAIN)


def test_one_bad_photo_does_not_harm_the_others(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(Path("in", name), seed=ord(name[0]))
    restore(capsys, "in", "-o", "calm", *PLAIN)
    for error in (MemoryError("too large"), ValueError("odd"), OSError(5, "Input/output error")):
        with monkeypatch.context() as patch:
            failing("b.png", patch, error)
            restore(capsys, "in", "-o", "out", *PLAIN, "--no-resume", "--overwrite", code=1)
        good = {name: content for name, content in files(Path("calm")).items() if name[0] in "ac"}
        assert {n: c for n, c in files(Path("out")).items() if n != NAME} == good


def test_verbose_shows_where_an_unexpected_error_happened(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(Path("a.png"))
    failing("a.png", monkeypatch, ValueError("odd"))
    assert "Traceback" not in restore(capsys, "a.png", *PLAIN, code=1).err
    assert "ValueError: odd" in restore(capsys, "a.png", *PLAIN, "-v", code=1).err.partition("Traceback")[2]


# ------------------------------------------------------------------------------------------------------- the journal


def test_a_journal_line_is_the_record_and_what_it_was_made_from(capsys: Capsys) -> None:
    picture(Path("in/deep/a.png"))
    picture(Path("in/b.png"))
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json")
    for record, line in zip(map(json.loads, done.out.splitlines()), lines(), strict=True):
        assert {name: line[name] for name in record} == record
        assert line["result"] in ("deep/a_restored.png", "b_restored.png")
        assert line["source"] == Path(record["input"]).relative_to("in").as_posix()
        assert len(line["fingerprint"]) == len(line["result_sha256"]) == 64


@pytest.mark.parametrize(
    "arguments", [("in/a.png", "-o", "out"), ("in/a.png",), ("in/a.png", "in/b.png"), ("in",), ("in/a.*", "-o", "out")]
)
def test_no_journal_where_the_notes_say_it_all(arguments: tuple[str, ...], capsys: Capsys) -> None:
    picture(Path("in/a.png"))
    picture(Path("in/b.png"))
    restore(capsys, *arguments, *PLAIN)
    assert not list(Path().rglob(NAME))


def test_beside_the_photos_a_journal_keeps_what_would_be_forgotten(capsys: Capsys, restored: list[str]) -> None:
    picture(Path("in/a.png"))
    picture(Path("in/deep/b.bmp"))
    Path("in/c.png").write_bytes(b"broken")
    restore(capsys, "in", *PLAIN, code=1)
    assert {Path(line["source"]).name for line in lines("in") if line["status"] != "writing"} == {"b.bmp", "c.png"}
    restored.clear()
    again = restore(capsys, "in", *PLAIN, code=1)
    assert restored == []
    assert "earlier run" in again.err


def test_what_was_cut_off_is_passed_over_and_nothing_is_lost(capsys: Capsys, restored: list[str]) -> None:
    for name in ("a.bmp", "b.bmp", "c.bmp"):
        picture(Path("in", name), seed=ord(name[0]))
    restore(capsys, "in", "-o", "out", *PLAIN)
    journal = Path("out", NAME)
    whole = journal.read_bytes()
    assert whole.count(b"\n") == 6  # for each photo, that it is being written, and that it is
    for cut in (1, 30, len(whole.splitlines()[-1]) + 1):
        journal.write_bytes(whole[:-cut])
        restored.clear()
        done = restore(capsys, "in", "-o", "out", *PLAIN, "--json")
        assert restored == [], cut
        assert set(statuses(done.out).values()) == {"skipped"}
    journal.write_bytes(b"\0" * 40 + b"\n" + b'{"result": 3}\n[]\n"x"\n\xff\xfe\n' + whole)
    assert statuses(restore(capsys, "in", "-o", "out", *PLAIN, "--json").out)["a.bmp"] == "skipped"


def test_a_file_that_only_looks_like_the_one_being_written_is_foreign(capsys: Capsys) -> None:
    """The run was killed between the announcement and the file, and someone put another file there."""
    picture(Path("in/a.bmp"))
    picture(Path("in/b.bmp"))
    restore(capsys, "in", "-o", "out", *PLAIN)
    journal = Path("out", NAME)
    journal.write_bytes(b"".join(line for line in journal.read_bytes().splitlines(True) if b'"writing"' in line))
    picture(Path("out/a_restored.bmp"), seed=9)
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    assert statuses(done.out) == {"a.bmp": "failed", "b.bmp": "skipped"}


def test_a_name_stays_with_its_photo_when_others_join(capsys: Capsys, restored: list[str]) -> None:
    picture(Path("in/b.jpg"))
    picture(Path("in/x.jpg"))
    rest = ("in", "-o", "out", *PLAIN, "--format", "png")
    restore(capsys, *rest)
    picture(Path("in/b.bmp"))
    restored.clear()
    restore(capsys, *rest)
    assert restored == ["b.bmp"]
    assert sorted(n for n in files(Path("out")) if n != NAME) == [
        "b_bmp_restored.png",
        "b_restored.png",
        "x_restored.png",
    ]


def test_lines_of_many_writers_stay_whole(tmp_path: Path) -> None:
    journals = [Journal(tmp_path / "out") for _ in range(4)]

    def write(journal: Journal, number: int) -> None:
        for i in range(25):
            name = tmp_path / "out" / f"{number}-{i}.png"
            journal.add({"status": "ok", "text": "x" * 3000}, source=name, target=name, fingerprint="f")

    threads = [threading.Thread(target=write, args=(journal, n)) for n, journal in enumerate(journals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines()) == 100
    for journal in journals:
        assert len(journal.results()) == 100, "each sees what the others added"
        journal.close()


def test_a_line_after_one_that_was_cut_off_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out/a.png"
    journal = Journal(tmp_path / "out")
    journal.add({"status": "ok"}, source=target, target=target, fingerprint="f")
    with journal.path.open("ab") as stream:
        stream.write(b'{"input": "b.png", "sta')
    target = tmp_path / "out/c.png"
    journal.add({"status": "ok"}, source=target, target=target, fingerprint="g")
    for each in (journal, Journal(tmp_path / "out")):
        assert each.knows(target, "g")
        assert each.knows(tmp_path / "out/a.png", "f")
        assert each.damaged == 1
    journal.close()


def test_a_journal_that_does_not_fit_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "out")
    target = tmp_path / "out/a.png"
    journal.add({"status": "ok"}, source=target, target=target, fingerprint="f")
    before = journal.path.read_bytes()
    write = os.write

    def full(descriptor: int, data: Any) -> int:
        if len(data) < 60:
            raise OSError(28, "No space left on device")
        return write(descriptor, bytes(data)[:50])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        journal.add({"status": "ok", "more": "x" * 200}, source=target, target=target, fingerprint="f")
    assert journal.path.read_bytes() == before


def test_the_journal_survives_a_move_of_the_album(capsys: Capsys, restored: list[str]) -> None:
    picture(Path("here/in/a.bmp"))
    picture(Path("here/in/b.bmp"))
    restore(capsys, "here/in", "-o", "here/out", *PLAIN)
    Path("here").rename("there")
    restored.clear()
    restore(capsys, "there/in", "-o", "there/out", *PLAIN)
    assert restored == []
