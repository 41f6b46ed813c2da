"""A run on a cluster is the run on one machine: names, bytes, records, journal, summary, codes, and a rerun."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restorer.batch.journal import NAME
from restorer.cluster import run as module
from restorer.cluster.worker import RestorePhotos, Wish
from tests.support.albums import album, files
from tests.support.cluster import HereLink, LostLink
from tests.support.in_process import Done, restore

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

PLAIN = ("--model", "none", "--background", "lanczos", "--offline")
Capture = pytest.CaptureFixture[str]
Call = Callable[..., Done]


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> list[HereLink]:
    """The links of the runs of a test, which work in this process."""
    made: list[HereLink] = []

    def connect(order: Any) -> HereLink:
        made.append(HereLink(order))
        return made[-1]

    monkeypatch.setattr(module, "SessionLink", connect)
    return made


@pytest.fixture
def call(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run the command in a folder with an album of ten photos, of which two are broken."""
    album(tmp_path / "album", 8, 2)
    monkeypatch.chdir(tmp_path)
    return lambda *words, code=0: restore(capsys, *words, *PLAIN, code=code)


def records(done: Done) -> dict[str, dict[str, Any]]:
    """Return the records of `--json` by their photos, without what differs from run to run."""
    found = {}
    for line in done.out.splitlines():
        record = json.loads(line)
        record["output"] = record["output"] and Path(*Path(record["output"]).parts[1:]).as_posix()
        for name in ("seconds", "device", "earlier"):
            record.pop(name)
        found[record["input"]] = record
    return found


def last(done: Done) -> list[str]:
    """Return what was said in the end: counts without the time, and failures."""
    lines = done.err.splitlines()
    begin = next(n for n, line in enumerate(lines) if "restored (" in line or "done already" in line)
    return [line.rpartition(", in ")[0] or line for line in lines[begin:]]


def test_the_same_files_records_summary_and_journal(call: Call, links: list[HereLink]) -> None:
    one = call("album", "-o", "one", "--json", code=1)
    many = call("album", "-o", "many", "--json", "--cluster", "local", code=1)
    assert records(one) == records(many)
    assert last(one) == last(many)
    ours, theirs = files(Path("one")), files(Path("many"))
    assert [each.keys() for each in lines(ours.pop(NAME))] == [each.keys() for each in lines(theirs.pop(NAME))]
    assert ours == theirs
    assert links[0].ended
    assert not any("journal-" in name for name in theirs)


def lines(journal: bytes) -> list[dict[str, Any]]:
    return sorted((json.loads(line) for line in journal.splitlines()), key=lambda each: str(each["result"]))


@pytest.mark.parametrize("first", ["one machine", "the cluster"])
@pytest.mark.parametrize("stripped", [(), ("--strip-metadata",)], ids=["noted", "only the journal knows"])
def test_a_rerun_goes_on_from_either_side(
    call: Call, links: list[HereLink], first: str, stripped: tuple[str, ...]
) -> None:
    here, there = ("album", "-o", "out", *stripped), ("album", "-o", "out", *stripped, "--cluster", "local")
    begun, again = (here, there) if first == "one machine" else (there, here)
    call(*begun, code=1)
    before = files(Path("out"))
    gone = next(name for name in before if not name.endswith(NAME))
    (Path("out") / gone).unlink()
    done = call(*again, code=1)
    assert "1 photo restored" in done.err
    assert "7 done already" in done.err
    assert "2 failed (all in an earlier run" in done.err
    after = files(Path("out"))
    del before[NAME], after[NAME]
    assert after == before


def test_photos_named_one_by_one_and_single_ones(call: Call, links: list[HereLink]) -> None:
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save("p.png")
    call("p.png", "-o", "a.png")
    call("p.png", "-o", "b.png", "--cluster", "local")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    call("p.png", "--cluster", "local")
    assert Path("p_restored.png").is_file()
    call("p.png", "--cluster", "local", code=0)
    foreign = call("p.png", "-o", "album", "--name", "p", "--cluster", "local")
    assert foreign.code == 0
    Image.fromarray(np.ones((40, 60, 3), np.uint8)).save("q.png")
    Image.fromarray(np.ones((4, 6, 3), np.uint8)).save("q_restored.png")
    refused = call("q.png", "--cluster", "local", code=1)
    assert "exists already" in refused.err


def test_an_original_is_never_overwritten(call: Call, links: list[HereLink], tmp_path: Path) -> None:
    for name in ("x.png", "x_restored.png"):
        Image.fromarray(np.full((20, 30, 3), len(name), np.uint8)).save(name)
    before = Path("x_restored.png").read_bytes()
    done = call("x.png", "x_restored.png", "--overwrite", "--cluster", "local", code=1)
    assert "one of the photos themselves" in done.err
    assert Path("x_restored.png").read_bytes() == before


def test_dry_run_retry_and_time(call: Call, links: list[HereLink]) -> None:
    done = call("album", "-o", "out", "--dry-run", "--cluster", "local", code=1)
    assert "8 photos would be restored" in done.err
    assert not Path("out").exists()
    call("album", "-o", "out", "--cluster", "local", code=1)
    assert "2 failed, in" in call("album", "-o", "out", "--retry-failed", "--cluster", "local", code=1).err
    done = call("album", "-o", "late", "--max-time", "0.000001s", "--cluster", "local", code=124)
    assert "The time of --max-time is up" in done.err


def test_a_plan_is_followed(call: Call, links: list[HereLink], capsys: Capture) -> None:
    call("album", "-o", "one", code=1)
    restore(capsys, "plan", "album", "-o", "plan.jsonl")
    call("--files-from", "plan.jsonl", "-o", "many", "--cluster", "local", code=1)
    ours, theirs = files(Path("one")), files(Path("many"))
    assert set(ours) == set(theirs)
    del ours[NAME], theirs[NAME]
    assert ours == theirs


def test_ctrl_c_finishes_what_is_in_hand_and_the_same_command_goes_on(
    call: Call, links: list[HereLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(link: HereLink) -> None:
        if len(link.left) == len(link.blocks) - 1 and not link.interrupted:
            link.interrupted = True
            raise KeyboardInterrupt

    monkeypatch.setattr("restorer.cluster.blocks.MOST_PHOTOS", 3)
    monkeypatch.setattr(HereLink, "on_block", staticmethod(interrupt))
    done = call("album", "-o", "out", "--cluster", "local", code=130)
    assert "The same command goes on" in done.err
    assert "not reached" in done.err
    monkeypatch.setattr(HereLink, "on_block", staticmethod(lambda _link: None))
    again = call("album", "-o", "out", "--cluster", "local", code=1)
    assert "done already" in again.err
    assert len([name for name in files(Path("out")) if name != NAME]) == 8


def test_when_the_head_dies_the_run_ends_in_words_and_a_rerun_does_the_rest(
    call: Call, links: list[HereLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restorer.cluster.blocks.MOST_PHOTOS", 3)
    monkeypatch.setattr(module, "SessionLink", LostLink)
    done = call("album", "-o", "out", "--cluster", "10.0.0.1:6379", code=1)
    assert "its head does not answer any more" in done.err
    assert "not reached" in done.err
    assert 0 < len([name for name in files(Path("out")) if name != NAME]) < 8
    assert not list(Path("out").glob(".restorer-journal-*"))
    again = call("album", "-o", "out", code=1)
    assert "done already" in again.err
    assert len([name for name in files(Path("out")) if name != NAME]) == 8


def test_missing_weights_end_the_run_as_on_one_machine(call: Call, links: list[HereLink], capsys: Capture) -> None:
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save("p.png")
    words = ("p.png", "-o", "out", "--model", "gfpgan-1.4", "--offline")
    one = restore(capsys, *words, code=3)
    many = restore(capsys, *words, "--cluster", "local", code=3)
    assert one.err.splitlines()[-1] == many.err.splitlines()[-1]


def test_a_photo_that_kills_its_process_twice_is_failed_by_name_and_others_go_on(
    call: Call, links: list[HereLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death is an exception here that nothing catches; the block is then handed to another worker, as Ray does it."""
    from restorer.batch.discovery import Job
    from restorer.batch.one import OnePhoto
    from restorer.record import Record

    class Death(BaseException):
        pass

    deaths: list[str] = []
    take = OnePhoto.take

    def deadly(self: OnePhoto, job: Job) -> Record:
        if job.source.name == poison:
            deaths.append(job.source.name)
            raise Death
        return take(self, job)

    def hear(self: HereLink) -> Any:
        block = self.left[0] if self.left else None
        for _ in range(5):
            try:
                return plain(self)
            except Death:
                self.left.insert(0, block)
                self._worker = RestorePhotos(self.wish, self.ledger)
        raise AssertionError("a photo went on killing")

    plain = HereLink.hear
    poison = sorted(path.name for path in Path("album").rglob("*") if path.is_file() and "broken" not in path.name)[3]
    monkeypatch.setattr(OnePhoto, "take", deadly)
    monkeypatch.setattr(HereLink, "hear", hear)
    done = call("album", "-o", "out", "--cluster", "local", "--json", code=1)
    assert deaths == [poison, poison]
    assert f"{poison} killed the process that restored it" in done.err
    told = records(done)
    assert len(told) == 10
    assert [r["error"]["kind"] for r in told.values() if r["error"]].count("ProcessKilled") == 1
    assert len([name for name in files(Path("out")) if name != NAME]) == 7
    monkeypatch.setattr(OnePhoto, "take", take)
    assert "3 failed (all in an earlier run" in call("album", "-o", "out", code=1).err


def test_a_worker_with_another_version_or_without_the_folder_says_so(tmp_path: Path) -> None:
    from restorer.errors import UsageError
    from restorer.options import Options

    with pytest.raises(UsageError, match=r"has version .* came with 0\.0\.1"):
        Wish(Options(model="none"), version="0.0.1").apply()
    with pytest.raises(UsageError, match="does not see the folder"):
        Wish(Options(model="none"), folder=str(tmp_path / "nowhere")).apply()


def test_the_drivers_weights_toml_reaches_machines_that_do_not_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    from restorer.batch.results import Rules
    from restorer.options import Options
    from restorer.weights import tables

    toml = tmp_path / "weights.toml"
    toml.write_text(
        '["mine"]\narchitecture = "gfpgan"\nsources = ["https://store.example/a.pth"]\nsha256 = "' + "0" * 64 + '"\n'
    )
    monkeypatch.setenv("RESTORER_WEIGHTS", str(toml))
    wish = Wish.here(Options(model="none"), Rules())
    toml.unlink()
    wish.apply()
    assert os.environ["RESTORER_WEIGHTS"] != str(toml)
    assert tables()["mine"].sources == ("https://store.example/a.pth",)


def test_workers_choose_arithmetic_and_engines_as_their_driver_would() -> None:
    """What each network is computed by does not depend on the machine that a photo comes to."""
    from restorer.batch.results import Rules
    from restorer.engine.arithmetic import capability
    from restorer.engine.hardware import Hardware, hardware, settle
    from restorer.options import Options

    wish = Wish.here(Options(model="none"), Rules())
    assert wish.hardware == hardware()
    try:
        theirs = replace(wish, hardware=Hardware("of the driver", True, (("openvino", "2026.4.1"),)))
        pickle.loads(pickle.dumps(theirs)).apply()  # noqa: S301 - as it travels
        assert hardware() == theirs.hardware
        assert capability() == "of the driver"
    finally:
        settle(None)
