"""Folders that are being filled: each photo is restored once, when it is whole, whatever else happens there."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer import Restorer
from restorer.batch.discovery import find_photos
from restorer.batch.inbox import Inbox
from restorer.batch.run import Batch
from restorer.batch.settling import EVERY, PATIENCE, SETTLED, Settling, has_end
from restorer.errors import UsageError
from restorer.record import Record
from tests.server.conftest import picture


class Over(BaseException):
    """Ends a watch."""


class Clock:
    """Time that goes on only where somebody waits; then a scenario does its next step."""

    def __init__(self, steps: Iterator[None]) -> None:
        self.now = 0.0
        self._steps = steps

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        try:
            next(self._steps)
        except StopIteration:
            raise Over from None


def watch(folder: Path, out: Path | None, steps: Iterator[None], *, overwrite: bool = False) -> list[Record]:
    """Watch a folder while a scenario goes on, and a little longer; return what became of the photos."""

    def and_then() -> Iterator[None]:
        yield from steps
        for _ in range(round(SETTLED / EVERY) + 2):
            yield

    clock, records = Clock(and_then()), list[Record]()
    restorer = Restorer("none", background="lanczos", offline=True)
    inbox = Inbox([str(folder)], out, lambda: Batch(restorer, overwrite=overwrite))
    settling = Settling([folder], out, clock)
    follow(inbox, settling, clock, records)
    return records


def follow(inbox: Inbox, settling: Settling, clock: Clock, records: list[Record]) -> None:
    """Take what settles until the scenario is over."""
    with suppress(Over):
        for settled in settling.looks(clock.sleep):
            if settled:
                inbox.take(settled, on_record=records.append)


def test_two_hundred_files_that_come_in_every_way_are_done_once(tmp_path: Path) -> None:
    folder, out, outside = tmp_path / "in", tmp_path / "out", tmp_path / "outside"
    for each in (folder / "deep", outside):
        each.mkdir(parents=True)
    chance = random.Random(7)
    contents = {f"{number:03}.{'jpg' if number % 2 else 'png'}": number for number in range(200)}
    data = {
        name: picture((24, 16), seed=number, format="JPEG" if number % 2 else "PNG")
        for name, number in contents.items()
    }
    kept, gone_late, gone_early = set[str](), set[str](), set[str]()

    def place(name: str) -> Path:
        return folder / "deep" / name if contents[name] % 5 == 0 else folder / name

    def come(name: str) -> Iterator[None]:
        way = contents[name] % 4
        if way == 0:  # written in three parts, with pauses, one of them longer than what counts as settled
            third = len(data[name]) // 3
            for part, pause in (
                (data[name][:third], 1),
                (data[name][third : 2 * third], 5),
                (data[name][2 * third :], 0),
            ):
                with place(name).open("ab") as file:
                    file.write(part)
                for _ in range(pause):
                    yield
        elif way == 1:  # renamed in, whole, from another folder of the same disk
            (outside / name).write_bytes(data[name])
            yield
            (outside / name).rename(place(name))
        elif way == 2:  # written under a hidden name, then renamed, as rsync does
            hidden = place(name).with_name(f".{name}.tmp")
            hidden.write_bytes(data[name][:30])
            yield
            hidden.write_bytes(data[name])
            yield
            hidden.rename(place(name))
        else:  # room for it is reserved first, as SMB does, and its time stays the same
            place(name).write_bytes(bytes(len(data[name])))
            times = place(name).stat()
            for _ in range(6):
                yield
            place(name).write_bytes(data[name])
            os.utime(place(name), ns=(times.st_atime_ns, times.st_mtime_ns))

    def scenario() -> Iterator[None]:
        left, under_way = list(data), dict[str, Iterator[None]]()
        chance.shuffle(left)
        while left or under_way:
            for name in [left.pop() for _ in range(min(9, len(left)))]:
                under_way[name] = come(name)
            for name, steps in list(under_way.items()):
                if next(steps, "over") == "over":
                    del under_way[name]
                    if contents[name] % 23 == 3:
                        gone_early.add(name)
                        place(name).unlink()  # before anybody has looked at it
                    else:
                        kept.add(name)
            yield
        for _ in range(8):
            yield
        for name in sorted(kept)[::11]:
            gone_late.add(name)
            place(name).unlink()
        yield

    records = watch(folder, out, scenario())
    assert len(gone_early) > 5
    assert len(gone_late) > 10
    assert [(record.input, record.error) for record in records if record.status != "ok"] == []
    assert [line for record in records for line in record.warnings if "cut off" in line] == []
    times = Counter(Path(record.input).name for record in records)
    assert times == Counter(kept)
    assert len(kept) + len(gone_early) == 200
    made = {path.name for path in out.rglob("*_restored.*")}
    assert made == {name.replace(".", "_restored.") for name in kept}
    for record in records[::17]:  # what was restored is the whole file
        assert record.output is not None
        again = Restorer("none", background="lanczos", offline=True).restore(data[Path(record.input).name])
        with Image.open(record.output) as result:
            difference = np.asarray(result.convert("RGB")).astype(int) - again.image
        assert np.abs(difference).mean() < 4
    assert list(out.rglob(".*.tmp*")) == []
    # whoever watches again finds all done
    again_records = watch(folder, out, iter(()))
    assert {record.status for record in again_records} == {"skipped"}
    assert len(again_records) == len(kept - gone_late)


def test_names_that_were_given_are_not_given_again(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture((24, 16)))

    def scenario() -> Iterator[None]:
        for _ in range(6):
            yield
        (folder / "a.bmp").write_bytes(picture((24, 16), seed=1, format="BMP"))
        for _ in range(6):
            yield
        (folder / "notes.txt").write_text("no photo")
        (folder / "a.png").write_bytes(picture((24, 16), seed=2))  # another photo in the place of the first

    restorer = Restorer("none", background="lanczos", offline=True, format="png")
    records: list[Record] = []
    clock = Clock(scenario())
    inbox = Inbox([str(folder)], None, lambda: Batch(restorer))
    follow(inbox, Settling([folder], None, clock), clock, records)
    assert [Path(record.output or "").name for record in records] == ["a_restored.png", "a_bmp_restored.png"]


def test_a_file_that_changed_after_it_was_done_is_told_apart_from_its_result(tmp_path: Path) -> None:
    def scenario(folder: Path) -> Callable[[], Iterator[None]]:
        def steps() -> Iterator[None]:
            (folder / "a.png").write_bytes(picture((24, 16)))
            for _ in range(6):
                yield
            (folder / "a.png").write_bytes(picture((24, 16), seed=2))
            yield

        return steps

    for overwrite, statuses in ((False, ["ok", "failed"]), (True, ["ok", "ok"])):
        folder, out = tmp_path / f"in{overwrite}", tmp_path / f"out{overwrite}"
        folder.mkdir()
        records = watch(folder, out, scenario(folder)(), overwrite=overwrite)
        assert [record.status for record in records] == statuses
        assert records[-1].error is None or records[-1].error["kind"] == "OutputExists"


def test_a_photo_that_stays_cut_off_comes_in_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture((64, 48), format="JPEG")[:-40])
    now = 0.0
    settling = Settling([tmp_path], None, lambda: now)
    told = []
    while now <= PATIENCE + 1:
        told += [(now, path.name) for path in settling.look()]
        now += 1.0
    assert told == [(PATIENCE, "a.jpg")]


def test_a_folder_that_is_away_for_a_while_is_not_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture((24, 16)))

    def scenario() -> Iterator[None]:
        for _ in range(6):
            yield
        folder.rename(tmp_path / "away")
        for _ in range(4):
            yield
        (tmp_path / "away").rename(folder)
        for _ in range(6):
            yield

    assert [record.status for record in watch(folder, tmp_path / "out", scenario())] == ["ok"]


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (picture(format="JPEG"), True),
        (picture(format="JPEG") + b"trailer of a phone" * 100, True),
        (picture(format="JPEG")[:-30], False),
        (picture(), True),
        (picture()[:-30], False),
        (picture(format="WEBP"), True),
        (picture(format="WEBP")[:-30], False),
        (picture(format="BMP"), True),
        (bytes(5000), False),
        (b"", False),
    ],
)
def test_what_lacks_its_end_is_seen(tmp_path: Path, content: bytes, whole: bool) -> None:
    (tmp_path / "a").write_bytes(content)
    assert has_end(tmp_path / "a") == whole
    assert not has_end(tmp_path / "none")


def test_only_folders_are_watched(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(UsageError, match="no folder"):
        Inbox([str(tmp_path / "a.png")], None, lambda: Batch(Restorer("none")))


def test_an_interrupt_at_the_very_end_is_no_second_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was never interrupted finishes what it writes; only whoever asks twice is in a hurry."""
    from restorer.batch import run

    plain, asked = run._Course.end, list[int]()

    def end(course: run._Course) -> None:
        asked.append(1)
        if len(asked) == 1:
            raise KeyboardInterrupt
        plain(course)

    monkeypatch.setattr(run._Course, "end", end)
    (tmp_path / "a.png").write_bytes(picture((24, 16)))
    batch = Batch(Restorer("none", background="lanczos", offline=True))
    jobs = batch.plan(find_photos([str(tmp_path / "a.png")], tmp_path / "out").jobs)
    with pytest.raises(KeyboardInterrupt):
        batch.run(jobs)
    assert len(asked) == 2
    assert batch.summary.interrupted
    assert not batch.summary.abandoned
    assert (tmp_path / "out" / "a_restored.png").exists()
