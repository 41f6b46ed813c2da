"""Power may fail at any moment: content reaches the disk before its name does.

No power is cut here. What is flushed and what is renamed is written down in its order, and that order is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from restorer import weights
from restorer.batch.journal import NAME
from restorer.storage.atomic import write_whole
from tests.support.albums import PLAIN, picture
from tests.support.in_process import restore
from tests.support.weights_tools import SMALL, hub_of_this_process, table

POSIX = pytest.mark.skipif(os.name == "nt", reason="folders cannot be flushed there")


class Disk:
    """What happened, in order: ("flush", which file, how large it was) and ("rename", which file, its new name)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, int, Any]] = []
        fsync = os.fsync

        def noted_fsync(descriptor: int) -> None:
            fsync(descriptor)
            known = os.fstat(descriptor)
            self.events.append(("flush", known.st_ino, known.st_size))

        monkeypatch.setattr(os, "fsync", noted_fsync)
        for owner, name in ((os, "replace"), (os, "rename"), (os, "link"), (Path, "replace"), (Path, "rename")):
            monkeypatch.setattr(owner, name, self._noted(getattr(owner, name)))

    def _noted(self, rename: Any) -> Any:
        def noted(source: Any, target: Any, **rest: Any) -> Any:
            inode = Path(source).stat().st_ino
            result = rename(source, target, **rest)
            self.events.append(("rename", inode, Path(target)))
            return result

        return noted

    def renamed(self, target: Path) -> int:
        """Return the place among the events at which a file got its name; the last time, where there were several."""
        return max(place for place, event in enumerate(self.events) if event[0] == "rename" and event[2] == target)

    def flushes(self, path: Path) -> Iterator[int]:
        """Yield the places at which a file or folder was flushed."""
        inode = path.stat().st_ino
        for place, event in enumerate(self.events):
            if event[:2] == ("flush", inode):
                yield place

    def check(self, target: Path) -> None:
        """Fail unless a file was flushed, with all that it holds, and only then renamed."""
        place = self.renamed(target)
        whole = [at for at in self.flushes(target) if at < place and self.events[at][2] == target.stat().st_size]
        assert whole, f"{target} got its name before its content was on the disk"


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@POSIX
def test_a_whole_file_is_flushed_then_renamed_then_its_folder_is_flushed(disk: Disk, tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"content" * 1000)
    disk.check(tmp_path / "a")
    assert any(place > disk.renamed(tmp_path / "a") for place in disk.flushes(tmp_path))


@POSIX
def test_a_result_is_on_the_disk_when_the_run_ends(
    disk: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("in/a.png"))
    restore(capsys, "in", "-o", "out", *PLAIN)
    target = Path("out/a_restored.png")
    disk.check(target)
    assert any(place > disk.renamed(target) for place in disk.flushes(Path("out")))


@POSIX
@pytest.mark.parametrize("how", [(".bmp", ()), (".png", ("--strip-metadata",))])
def test_a_result_without_a_note_is_announced_on_the_disk_before_it_is_there(
    how: tuple[str, tuple[str, ...]],
    disk: Disk,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a power cut between the two the run must know its own file."""
    suffix, options = how
    monkeypatch.chdir(tmp_path)
    picture(Path(f"in/a{suffix}"))
    restore(capsys, "in", "-o", "out", *PLAIN, *options)
    place = disk.renamed(Path(f"out/a_restored{suffix}"))
    assert any(disk.events[at][2] > 0 for at in disk.flushes(Path("out", NAME)) if at < place)


def test_weights_that_are_written_are_flushed_first(disk: Disk, tmp_path: Path) -> None:
    weights.write({"a": torch.zeros(1000)}, tmp_path / "own.safetensors", weights.FileHeader("srvggnet"))
    disk.check(tmp_path / "own.safetensors")


def test_weights_that_are_downloaded_are_flushed_first(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_of_this_process(monkeypatch) as hub:
        disk.check(weights.fetch(table(hub.add_mirror("thing.pth", SMALL))))
