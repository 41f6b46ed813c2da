"""A photo that the machine's memory cannot hold fails alone, before it is read; the others of its run go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from restorer.batch import room
from restorer.bench.survive.bombs import zeros_png
from restorer.engine import memory
from restorer.engine.memory import free_memory
from restorer.errors import NotEnoughMemoryError
from tests.support.albums import PLAIN, picture
from tests.support.in_process import restore


def test_a_file_of_a_few_kilobytes_that_is_a_gigapixel_ends_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read, and the system ended the process: nothing was said, and no photo behind it was restored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("restorer.batch.room.free_memory", lambda: 4_000_000_000)
    for name in ("a.png", "c.png"):
        picture(Path("in", name))
    Path("in/bomb.png").write_bytes(zeros_png(30_000, 30_000, 1))
    done = restore(capsys, "in", "-o", "out", *PLAIN, "--json", code=1)
    records = {Path(record["input"]).name: record for record in map(json.loads, done.out.splitlines())}
    assert [records[name]["status"] for name in ("a.png", "bomb.png", "c.png")] == ["ok", "failed", "ok"]
    error = records["bomb.png"]["error"]
    assert error["kind"] == "NotEnoughMemory"
    assert "30,000 x 30,000 pixels: it takes 43.2 GB of memory or more, and 4.0 GB are free" in error["message"]
    assert "--scale" in error["remedy"]
    monkeypatch.setattr("restorer.batch.room.free_memory", lambda: None)
    monkeypatch.setattr("restorer.batch.reading.read_photo", lambda *_, **__: pytest.fail("it is read again"))
    with pytest.raises(pytest.fail.Exception):  # with another machine's memory it is tried without being asked
        restore(capsys, "in/bomb.png", "-o", "out", *PLAIN, "--json")


def test_small_photos_ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restorer.batch.room.free_memory", lambda: pytest.fail("asked"))
    room.check_room(Path("a.png"), (4_000, 2_000), (8_000, 4_000))


def test_a_large_photo_that_fits_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restorer.batch.room.free_memory", lambda: 2_000_000_000)
    room.check_room(Path("a.png"), (6_000, 4_000), (12_000, 8_000))
    with pytest.raises(NotEnoughMemoryError):
        room.check_room(Path("a.png"), (6_000, 4_000), (48_000, 32_000))


def test_what_is_free_is_told_or_nobody_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free = free_memory()
    assert free is None or 0 <= free < 2**50
    monkeypatch.setattr("restorer.engine.memory._of_the_machine", lambda: 500)
    monkeypatch.setattr("restorer.engine.memory._of_the_group", lambda: None)
    assert free_memory() == 500
    monkeypatch.setattr("restorer.engine.memory._of_the_group", lambda: 300)
    assert free_memory() == 300


def test_the_limits_of_all_groups_around_count(tmp_path: Path) -> None:
    def limit(folder: Path, most: str, used: int, kept: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(most)
        (folder / "memory.current").write_text(str(used))
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {kept}\n")

    told = tmp_path / "told"
    told.write_text("0::/a.slice/b.service\n")
    assert memory._of_the_group(tmp_path, told) is None
    limit(tmp_path / "a.slice/b.service", "max", 100, 50)
    assert memory._of_the_group(tmp_path, told) is None
    limit(tmp_path / "a.slice", "1000", 300, 50)
    assert memory._of_the_group(tmp_path, told) == 750
    limit(tmp_path / "a.slice/b.service", "200", 100, 50)
    assert memory._of_the_group(tmp_path, told) == 150
    limit(tmp_path / "a.slice/b.service", "200", 500, 50)
    assert memory._of_the_group(tmp_path, told) == 0

    older = tmp_path / "memory/x"
    older.mkdir(parents=True)
    told.write_text("7:memory:/x\n")
    for name, text in (("limit_in_bytes", str(1 << 62)), ("usage_in_bytes", "10"), ("stat", "total_inactive_file 1\n")):
        (older / f"memory.{name}").write_text(text)
    assert memory._of_the_group(tmp_path, told) is None
    (older / "memory.limit_in_bytes").write_text("100")
    assert memory._of_the_group(tmp_path, told) == 91
