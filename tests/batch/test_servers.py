"""What those need who let it run at night: time, threads, exit codes, one error for one cause, summaries."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from restorer.batch.journal import NAME, Journal
from restorer.batch.lines import journals_in
from restorer.batch.parts import Part, digest_of
from restorer.engine import device
from restorer.pipeline.restorer import Restorer
from tests.support.albums import PLAIN, files, picture
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def album(count: int) -> None:
    for number in range(count):
        picture(Path(f"in/{number}.png"), seed=number)


def test_a_run_ends_when_its_time_is_up_and_goes_on(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is set forward with the second photo: what is in hand is finished, and no other begun."""
    album(6)
    now, original = [0.0], Restorer.restore

    def slow(self: Restorer, photo: Any, **rest: Any) -> Any:
        now[0] += 40.0
        return original(self, photo, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(Restorer, "restore", slow)
        patch.setattr("restorer.batch.run.time.monotonic", lambda: now[0])
        done = restore(capsys, "in", "-o", "out", *PLAIN, "--max-time", "1m", code=124)
    assert "2 photos restored" in done.err
    assert "4 not reached" in done.err
    assert "--max-time is up" in done.err
    assert len(files(Path("out"))) == 3
    assert "4 photos restored" in restore(capsys, "in", "-o", "out", *PLAIN, "--max-time", "9h").err
    assert "no duration" in restore(capsys, "in", "-o", "out", *PLAIN, "--max-time", "soon", code=2).err


def test_no_photos_can_be_an_error(capsys: Capsys) -> None:
    Path("in").mkdir()
    restore(capsys, "in", "-o", "out", *PLAIN)
    assert "No photos" in restore(capsys, "in", "-o", "out", *PLAIN, "--require-photos", code=4).err
    album(1)
    restore(capsys, "in", "-o", "out", *PLAIN, "--require-photos")


def test_threads(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    album(1)
    monkeypatch.setattr(device, "_threads", [])
    restore(capsys, "in", "-o", "out", *PLAIN, "--threads", "3")
    assert device._threads == [3]
    assert "--threads" in restore(capsys, "in", "-o", "out", *PLAIN, "--threads", "0", code=2).err


def test_a_folder_that_cannot_be_made_is_said_once(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    album(7)
    mkdir, restored = Path.mkdir, []

    def refuse(self: Path, *how: Any, **more: Any) -> None:
        if self.name == "out":
            raise PermissionError(13, "Permission denied", str(self))
        mkdir(self, *how, **more)

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Restorer, "restore", lambda *_, **__: restored.append(1))
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    assert done.err.count("Failed:") == 1
    assert "7 photos: the folder out cannot be made" in done.err
    assert [json.loads(line)["error"]["kind"] for line in done.out.splitlines()] == ["UnwritableOutput"] * 7
    assert not restored


def test_known_failures_are_told_from_new_ones(capsys: Capsys) -> None:
    album(2)
    Path("in/old.png").write_bytes(b"broken")
    assert "1 failed," in restore(capsys, "in", "-o", "out", *PLAIN, code=1).err
    assert "1 failed (in an earlier run; none is new)" in restore(capsys, "in", "-o", "out", *PLAIN, code=1).err
    Path("in/new.png").write_bytes(b"broken too")
    said = restore(capsys, "in", "-o", "out", *PLAIN, code=1).err
    assert "2 failed (1 new, 1 in an earlier run)" in said
    assert said.index("in/new.png: damaged") < said.index("in/old.png: damaged")


@pytest.mark.parametrize("more", [(), ("-q",)])
def test_a_dry_run_of_many_is_a_summary(more: tuple[str, ...], capsys: Capsys) -> None:
    album(8)
    picture(Path("in/wide.jpg"), (2200, 1000))
    Path("in/broken.jpg").write_bytes(b"no picture")
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--dry-run", *more, code=1)
    assert "Kinds: PNG 8, JPEG 1, no picture 1." in done.err
    assert "Sizes: up to 1 megapixel: 8; up to 4: 1." in done.err
    assert "To be done: 9 photos" in done.err
    assert "9 photos would be restored, 1 failed" in done.err
    assert done.out == ""
    assert not Path("out").exists()


# ---------------------------------------------------------------------------------------------- a journal for each part


def test_each_part_has_its_journal_and_all_are_read_as_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    parts = [Journal(out, f"{number}-of-2") for number in (1, 2)]
    for number, journal in enumerate(parts):
        target = out / f"{number}.bmp"
        journal.add({"status": "ok"}, source=target, target=target, fingerprint=f"f{number}")
    assert len(journals_in(out)) == 2
    assert all(Journal(out).knows(out / f"{number}.bmp", f"f{number}") for number in (0, 1))
    parts[0].end()
    assert {path.name for path in journals_in(out)} == {NAME, ".restorer-journal-2-of-2.jsonl"}
    parts[1].close()  # it was killed
    whole = Journal(out)
    whole.add({"status": "ok"}, source=out / "x", target=out / "x", fingerprint="x")
    whole.end()
    assert [path.name for path in journals_in(out)] == [NAME]
    again = Journal(out)
    assert again.results() == {Path(os.path.realpath(out), name) for name in ("0.bmp", "1.bmp", "x")}


def test_where_journals_differ_the_file_decides(tmp_path: Path) -> None:
    out, target = tmp_path / "out", tmp_path / "out/a.bmp"
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    for worker, sha256 in (("1-of-2", digest), ("2-of-3", "0" * 64)):
        journal = Journal(out, worker)
        journal.add({"status": "ok"}, source=target, target=target, fingerprint=worker, result_sha256=sha256)
        journal.close()
    target.write_bytes(b"hello")
    assert not Journal(out).made(target, "2-of-3"), "that was another file"


def test_parts_by_name_share_everything_out_once() -> None:
    digests = [digest_of(f"deep/{number}.jpg") for number in range(500)]
    parts = [Part(number, 7) for number in range(1, 8)]
    assert all(sum(part.has(digest) for part in parts) == 1 for digest in digests)
    assert Part.read("2/7").worker == "2-of-7"


# ------------------------------------------------------------------------------------------------------------- a plan


def test_parts_of_a_plan_make_one_whole_run(capsys: Capsys) -> None:
    for name in ("a/x.jpg", "a/x.png", "a/X.bmp", "b/x.jpg", "b/deep/y.jpg"):
        picture(Path("in", name), seed=len(name))
    Path("in/b/broken.jpg").write_bytes(b"no picture")
    restore(capsys, "in", *PLAIN, "-o", "whole", "--format", "png", code=1)
    said = restore(capsys, "plan", "in", "--out", "plan.jsonl", "--format", "png").err
    assert "6 photos" in said
    rest = ("--files-from", "plan.jsonl", *PLAIN, "--format", "png", "-o", "parts")
    codes = [restore(capsys, *rest, "--shard", f"{part}/3", code=None).code for part in (2, 1, 3)]
    assert sorted(codes) == [0, 0, 1]
    whole, parts = files(Path("whole")), files(Path("parts"))
    assert len(whole.pop(NAME).splitlines()) == len(parts.pop(NAME).splitlines()) == 6
    assert whole == parts
    again = restore(capsys, *rest, "--json", code=1)
    assert [json.loads(line)["status"] for line in again.out.splitlines()].count("skipped") == 5


def test_a_part_opens_no_photo_of_another(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    album(12)
    restore(capsys, "plan", "in", "-o", "plan.jsonl")
    mine = {line["source"] for line in lines_of("plan.jsonl") if int(line["part"], 16) % 4 == 0}
    for number in range(12):
        if f"in/{number}.png" not in mine:
            Path(f"in/{number}.png").unlink()
    done = restore(capsys, "--files-from", "plan.jsonl", "-o", "out", *PLAIN, "--shard", "1/4", "--json")
    assert {json.loads(line)["input"] for line in done.out.splitlines()} == mine


def lines_of(plan: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(plan).read_text().splitlines()[1:]]


@pytest.mark.parametrize("more", [("--name", "{stem}_x"), ("--format", "jpg")])
def test_a_run_that_would_name_results_otherwise_is_refused(more: tuple[str, str], capsys: Capsys) -> None:
    album(1)
    restore(capsys, "plan", "in", "-o", "plan.jsonl")
    said = restore(capsys, "--files-from", "plan.jsonl", "-o", "out", *PLAIN, *more, code=2).err
    assert "was made with --name {stem}_restored --format keep" in said
    restore(capsys, "--files-from", "plan.jsonl", "-o", "out", *PLAIN, "--scale", "3")


def test_by_a_plan_nothing_foreign_is_replaced(capsys: Capsys) -> None:
    album(2)
    restore(capsys, "plan", "in", "-o", "plan.jsonl")
    rest = ("--files-from", "plan.jsonl", "-o", "out", *PLAIN, "--overwrite")
    restore(capsys, *rest)
    foreign = picture(Path("out/0_restored.png"), seed=9).read_bytes()
    Path("out", NAME).unlink()
    restore(capsys, *rest, code=1)
    assert Path("out/0_restored.png").read_bytes() == foreign


@pytest.mark.parametrize("damage", [b"nonsense\n", b'{"part": "00000000", "source": 3}\n'])
def test_a_damaged_plan_is_named_with_its_line(damage: bytes, capsys: Capsys) -> None:
    album(1)
    restore(capsys, "plan", "in", "-o", "plan.jsonl")
    with Path("plan.jsonl").open("ab") as stream:
        stream.write(damage)
    assert "at line 3" in restore(capsys, "--files-from", "plan.jsonl", "-o", "out", *PLAIN, code=2).err
    assert "{model}" in restore(capsys, "plan", "in", "-o", "p", "--name", "{stem}_{model}", code=2).err
    assert "no folder" in restore(capsys, "plan", "in/0.png", "-o", "p", code=2).err
