"""What somebody else may have put among photos: links that lead away, journals that are none of ours."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from restorer.batch.journal import NAME, Journal
from tests.support.albums import PLAIN, files, picture
from tests.support.in_process import restore

Capsys = pytest.CaptureFixture[str]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs links")


def test_a_result_beside_its_photo_never_lands_where_a_link_leads(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("elsewhere/private.png"))
    picture(Path("elsewhere/deep/more.png"))
    picture(Path("album/own.png"))
    picture(Path("album/deep/own.png"))
    Path("album/linked").symlink_to("../elsewhere")
    Path("album/again").symlink_to("deep")  # leads to where the walk goes anyway
    before = files(Path("elsewhere"))
    done = restore(capsys, "album", *PLAIN, "--json", code=1)
    records = {record["input"]: record for record in map(json.loads, done.out.splitlines())}
    assert files(Path("elsewhere")) == before
    assert {name for name, each in records.items() if each["status"] == "ok"} == {"album/own.png", "album/deep/own.png"}
    failed = records["album/linked/private.png"]["error"]
    assert failed["kind"] == "UnwritableOutput"
    assert "-o" in failed["remedy"]
    restore(capsys, "album", *PLAIN, "-o", "out")  # followed, and the results lie where they were asked for
    assert files(Path("elsewhere")) == before
    assert len([name for name in files(Path("out")) if name.endswith(".png")]) == 4


def test_a_link_between_two_folders_that_are_both_named_is_no_harm(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("one/a.png"))
    picture(Path("two/b.png"))
    Path("one/link").symlink_to("../two")
    restore(capsys, "one", "two", *PLAIN)
    assert {"one/a_restored.png", "two/b_restored.png"} <= set(files(tmp_path))


@pytest.mark.parametrize("beside", [True, False])
def test_no_line_goes_where_a_journal_that_is_a_link_leads(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    """An album with `.restorer-journal.jsonl -> ../.profile` had lines of JSON put at the end of that file."""
    monkeypatch.chdir(tmp_path)
    Path("profile").write_text("export A=1\n")
    picture(Path("album/good.png"))
    picture(Path("album/plain.bmp"))  # its result holds no note, so that only a journal would know of it
    Path("album/broken.jpg").write_bytes(b"\xff\xd8\xff")
    Path("out").mkdir()
    for folder in ("album", "out"):
        Path(folder, NAME).symlink_to("../profile")
        Path(folder, ".restorer-journal-x.jsonl").symlink_to("../profile")
    where = () if beside else ("-o", "out")
    done = restore(capsys, "album", *PLAIN, *where, "--json", code=2)
    assert "cannot be read: it is a link to another file" in done.err
    for folder in ("album", "out"):
        Path(folder, NAME).unlink()
    assert "it is a link to another file" in restore(capsys, "album", *PLAIN, *where, "--json", code=2).err
    assert Path("profile").read_text() == "export A=1\n"
    for folder in ("album", "out"):
        Path(folder, ".restorer-journal-x.jsonl").unlink()
    restore(capsys, "album", *PLAIN, *where, code=1)
    assert Path("profile").read_text() == "export A=1\n"
    assert not any(b"export A=1" in content for name, content in files(tmp_path).items() if name != "profile")


def test_a_journal_that_becomes_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("export A=1\n")
    (tmp_path / NAME).symlink_to("profile")
    journal = Journal(tmp_path)
    with pytest.raises(OSError, match="link to another file"), journal.alone():
        pytest.fail("opened")
    assert (tmp_path / "profile").read_text() == "export A=1\n"
