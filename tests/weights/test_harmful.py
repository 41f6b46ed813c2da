"""Checkpoints and servers that are made to harm: they are refused in words, and nothing hangs or swells.

Found by `python -m restorer.bench survive --parts weights`, or by reading with its eyes.
"""

from __future__ import annotations

import itertools
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import get_session

from restorer import weights
from restorer.bench.survive import weights as bad
from restorer.errors import CheckpointLayoutError, RestorerError, UnsafeCheckpointError, WeightsUnavailableError
from restorer.models import REGISTRY
from restorer.storage.folders import cache_folder
from restorer.weights import mirror, native_file, reach
from restorer.weights.checkpoint import open_checkpoint
from tests.support.weights_tools import SMALL, hub_of_this_process, table

pytestmark = [
    pytest.mark.timeout(300),  # some of them once took for ever
    pytest.mark.filterwarnings("ignore:Detected pickle protocol"),
]


def crafted(folder: Path) -> dict[str, Callable[[], bytes]]:
    made = bad.crafted(folder)
    del made["zip bomb"]  # a gigabyte to pack; a smaller one has a test of its own
    return made


@pytest.mark.parametrize("name", crafted(Path("nowhere")))
def test_what_is_made_to_harm_is_opened_or_refused_in_words(name: str, tmp_path: Path) -> None:
    """Two that hold themselves, or the same things 2**60 times, hung; headers nested without end raised."""
    path = tmp_path / "file.pth"
    path.write_bytes(crafted(tmp_path)[name]())
    wanted = weights.Table("thing", "srvggnet", arguments=bad.ARGUMENTS, sources=(f"file:{path}",))
    told: RestorerError | None = None
    try:
        REGISTRY.load(wanted, path)
    except RestorerError as error:
        told = error
    assert told is None or (told.message and told.remedy)
    assert not (tmp_path / "executed").exists()


def test_calls_are_refused_unrun(tmp_path: Path) -> None:
    for name in ("runs a program", "runs a program, old format", "runs a program, bare pickle"):
        (tmp_path / "a.pth").write_bytes(crafted(tmp_path)[name]())
        with pytest.raises(UnsafeCheckpointError, match="system"):
            open_checkpoint(tmp_path / "a.pth", "a")
        assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["tensors without content", "complex numbers", "sparse tensors"])
def test_tensors_that_are_no_plain_arrays_are_refused(name: str, tmp_path: Path) -> None:
    """Complex ones lost their imaginary part without a word; the others ended in a traceback."""
    (tmp_path / "a.pth").write_bytes(crafted(tmp_path)[name]())
    with pytest.raises(CheckpointLayoutError, match="no plain array of numbers"):
        open_checkpoint(tmp_path / "a.pth", "a")


@pytest.mark.parametrize("name", ["holds itself", "a billion lists", "a billion mappings"])
def test_what_no_walk_would_end_in_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(crafted(tmp_path)[name]())
    with pytest.raises(CheckpointLayoutError, match="nested without end"):
        open_checkpoint(tmp_path / "a.pth", "a")


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"N" * 2**27)
    with pytest.raises(CheckpointLayoutError, match="far more than its own size"):
        open_checkpoint(tmp_path / "a.pth", "a")


@pytest.mark.parametrize("kind", ["own", "safetensors", "zip", "old"])
def test_changed_bytes_are_opened_or_refused_in_words(kind: str, tmp_path: Path) -> None:
    """The directory of an archive that was changed raised `BadZipFile`."""
    from restorer.bench.survive.sandbox import Job, Marker

    trial = bad.FileTrial(tmp_path, bad.sources(tmp_path), {})
    tally = trial(Job(kind, 3, 0, 60), Marker())
    assert tally.words == []
    assert tally.cases == 60


def test_a_directory_of_an_archive_that_is_damaged(tmp_path: Path) -> None:
    data = bytearray(bad.packed(bad.state()))
    at = data.rindex(b"PK\1\2")
    data[at : at + 4] = b"PK\7\7"
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(CheckpointLayoutError, match="archive is incomplete or damaged"):
        open_checkpoint(tmp_path / "a.pth", "a")


def test_headers_that_are_no_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for text in (b'{"a":' + b"[" * 200_000, b"[1]", json.dumps({"__metadata__": {"layout": "restorer"}}).encode()):
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        assert native_file.read(path) is None
    for metadata in ({"architecture": ["x"], "payload_sha256": "0"}, {"architecture": "x", "payload_sha256": 7},
                     {"architecture": "x", "payload_sha256": "0", "arguments": 7}):  # fmt: skip
        text = json.dumps({"__metadata__": {"layout": "restorer", **metadata}}).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        assert native_file.read(path) is None


# ---------------------------------------------------------------------------------------------------------- servers


def ask_more_than_comes(patch: pytest.MonkeyPatch) -> None:
    """Let any line be one that brings next to nothing."""
    patch.setattr(reach, "_SPAN", 1e-9)
    patch.setattr(reach, "_LEAST_RATE", 10**18)


def test_a_server_that_sends_next_to_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_of_this_process(monkeypatch) as hub:
        address = hub.add_mirror("thing.pth", SMALL)
        with monkeypatch.context() as patch:
            ask_more_than_comes(patch)
            patch.setattr(mirror, "_CHUNK", 16)
            with pytest.raises(WeightsUnavailableError, match="bytes a second; what came is kept") as caught:
                weights.fetch(table(address))
        assert "HF_ENDPOINT names a mirror" in (caught.value.remedy or "")
        assert weights.fetch(table(address)).read_bytes() == SMALL, "and goes on from there"
        assert hub.ranges("thing.pth")[-1] is not None


def test_the_hub_that_sends_next_to_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client waited for a byte a second for as long as it came."""
    with hub_of_this_process(monkeypatch) as hub:
        source = hub.add("owner/repo", "thing.pth", SMALL)
        with monkeypatch.context() as patch:
            ask_more_than_comes(patch)
            with pytest.raises(WeightsUnavailableError, match=r"less than \d+ bytes a second") as caught:
                weights.fetch(table(source))
        assert "HF_ENDPOINT names a mirror" in (caught.value.remedy or "")
        assert weights.fetch(table(source)).read_bytes() == SMALL
        others = get_session().event_hooks["response"]
        assert others == [], "what watches goes with the download"


def test_the_hub_that_sends_more_than_it_announced_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client took whatever came, until the disk was full."""
    with hub_of_this_process(monkeypatch) as hub:
        source = hub.add("owner/repo", "thing.pth", SMALL)
        hub.serve_instead("thing.pth", SMALL + bytes(2_000_000))
        with pytest.raises(WeightsUnavailableError, match="more than the 102,400 bytes"):
            weights.fetch(table(source))
        hub.serve_truly("thing.pth")
        assert weights.fetch(table(source)).read_bytes() == SMALL


def test_a_line_is_judged_by_what_a_span_of_time_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(step=10.0)
    monkeypatch.setattr(reach, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    slow = reach.Slowness("!")
    for _ in range(9):
        slow.check(2001)
    slow.check(1999)
    slow.check(1999)
    with pytest.raises(reach.SourceError, match="less than 200 bytes a second!"):
        slow.check(1999)


def test_a_server_that_sends_more_than_there_is_does_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_of_this_process(monkeypatch) as hub:
        hub.without_length = True
        address = hub.add_mirror("thing.pth", SMALL + bytes(2_000_000))
        with pytest.raises(WeightsUnavailableError, match="more than the 102,400 bytes"):
            weights.fetch(table(address, size=len(SMALL)))
        sent = [path.stat().st_size for path in cache_folder().rglob("*.part")]
        assert max(sent, default=0) < 500_000


def test_a_disk_is_looked_at_while_nobody_says_how_much_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    from restorer.errors import NotEnoughDiskError

    class Full:
        free = 1 << 20

    with hub_of_this_process(monkeypatch) as hub:
        hub.without_length = True
        address = hub.add_mirror("thing.pth", SMALL)
        monkeypatch.setattr("restorer.weights.mirror.shutil.disk_usage", lambda _: Full)
        with pytest.raises(NotEnoughDiskError):
            weights.fetch(table(address))


@pytest.mark.parametrize(
    "wrong",
    [{"ups86le": 2}, {"num_conv": 10**9}, {"num_feat": -8}, {"upscale": "x"}, {"act_type": [1]}, {"num_conv": None}],
)
def test_arguments_that_a_file_tells_of_itself_may_be_anything(wrong: dict[str, object], tmp_path: Path) -> None:
    """A flipped bit in the name of one ended in a traceback; a large one would have built layers without end."""
    network = REGISTRY["srvggnet"].build(bad.ARGUMENTS)
    path = tmp_path / "own.safetensors"
    native_file.write(network.state_dict(), path, native_file.FileHeader("srvggnet", {**bad.ARGUMENTS, **wrong}, ""))
    with pytest.raises(CheckpointLayoutError) as caught:
        REGISTRY.load(weights.Table("thing", "srvggnet", sources=(f"file:{path}",)), path)
    assert caught.value.remedy
