"""From a table to a verified file, against a stand-in of the Hub that the real client talks to."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

import restorer.options  # noqa: F401 - errors name options as Python does, once these are declared
from restorer import weights
from restorer.errors import HashMismatchError, NotEnoughDiskError, WeightsUnavailableError
from restorer.storage.folders import hub_cache
from restorer.weights import ledger, mirror, reach
from restorer.weights.fetching import located
from tests.support.hub import Hub
from tests.support.weights_tools import SMALL, hub_of_this_process, leftovers, table


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in of the Hub."""
    with hub_of_this_process(monkeypatch) as stand_in:
        yield stand_in


# ------------------------------------------------------------------------------------------------------ the Hub


def test_first_run_downloads_and_second_does_not_ask(hub: Hub) -> None:
    thing = table(hub.add("owner/repo", "folder/thing.pth", SMALL), size=len(SMALL))
    assert weights.cached(thing) is None
    path = weights.fetch(thing)
    assert path.read_bytes() == SMALL
    assert hub.downloads("thing.pth") == 1
    assert hub_cache() in path.parents, "the Hub's own cache, which other tools share"
    hub.requests.clear()
    assert weights.fetch(thing) == weights.cached(thing) == path
    assert hub.requests == []


def test_a_pinned_revision_is_asked_for(hub: Hub) -> None:
    commit = "e881fbc251fdf2a4f133ad8277dd5dadbd1c541a"
    hub.add("owner/repo", "thing.pth", SMALL[::-1])
    source = hub.add("owner/repo", "thing.pth", SMALL, revision=commit)
    assert weights.fetch(table(source)).read_bytes() == SMALL
    assert all(f"/{commit}/" in request.path for request in hub.requests if "resolve" in request.path)


def test_a_cut_connection_goes_on_where_it_broke(hub: Hub) -> None:
    data = os.urandom(24_000_000)  # more than the client keeps in memory at a time
    thing = table(hub.add("owner/repo", "thing.pth", data), data=data)
    hub.cut_after(15_000_000, file="thing.pth")
    assert weights.fetch(thing).read_bytes() == data
    first, second = hub.ranges("thing.pth")[-2:]
    assert first is None
    assert second is not None
    assert int(second.removeprefix("bytes=").rstrip("-")) >= 10_000_000


def test_a_corrupt_fresh_download_is_refused_and_nothing_of_it_stays(hub: Hub) -> None:
    thing = table(hub.add("owner/repo", "folder/thing.pth", SMALL))
    hub.change_byte("folder/thing.pth", 1000)
    changed = bytearray(SMALL)
    changed[1000] ^= 1
    with pytest.raises(HashMismatchError) as caught:
        weights.fetch(thing)
    error = caught.value
    assert error.exit_code == 3
    assert error.expected == hashlib.sha256(SMALL).hexdigest()
    assert error.actual == hashlib.sha256(changed).hexdigest()
    assert error.expected in error.message
    assert error.actual in error.message
    assert "restore models pull thing" in str(error.remedy)
    assert leftovers() == []
    assert not list(hub_cache().glob("models--*")), "not even its entry"
    assert weights.cached(thing) is None
    hub.serve_truly("folder/thing.pth")
    assert weights.fetch(thing).read_bytes() == SMALL, "a source that is right again is taken"


def test_deleting_a_bad_download_leaves_what_other_revisions_share(hub: Hub) -> None:
    from huggingface_hub import hf_hub_download

    for revision in ("a" * 40, "b" * 40):
        hub.add("owner/repo", "thing.pth", SMALL, revision=revision)
    hub.add("owner/repo", "other.txt", b"other", revision="b" * 40)
    places = {}
    for revision in ("a" * 40, "b" * 40):
        places[revision] = Path(
            hf_hub_download("owner/repo", "thing.pth", revision=revision, cache_dir=hub_cache(), endpoint=hub.url)
        )
    hf_hub_download("owner/repo", "other.txt", revision="b" * 40, cache_dir=hub_cache(), endpoint=hub.url)
    from restorer.weights.hub import discard

    discard(places["b" * 40])
    assert not places["b" * 40].is_symlink()
    assert places["a" * 40].read_bytes() == SMALL
    assert (places["b" * 40].parent / "other.txt").read_text() == "other"
    discard(places["a" * 40])
    assert leftovers() == []
    assert (places["b" * 40].parent / "other.txt").read_text() == "other"


def test_a_damaged_cache_is_replaced_when_online_and_refused_offline(hub: Hub) -> None:
    thing = table(hub.add("owner/repo", "thing.pth", SMALL))
    path = weights.fetch(thing)
    damaged = bytearray(SMALL)
    damaged[5] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(HashMismatchError) as caught:
        weights.fetch(thing, offline=True)
    assert caught.value.actual == hashlib.sha256(damaged).hexdigest()
    assert weights.fetch(thing).read_bytes() == SMALL


def test_the_lookalike_detector_is_refused(hub: Hub, shared: Path) -> None:
    real = weights.resolve("retinaface-mobilenet0.25")
    lookalike = (shared / "weights" / "lookalike_retinaface_mobilenet0.25.pth").read_bytes()
    assert len(lookalike) == real.size, "only the hash tells them apart"
    file = "facedetection/detection_mobilenet0.25_Final.pth"
    hub.add("fofr/comfyui", file, lookalike)
    with pytest.raises(HashMismatchError) as caught:
        weights.fetch(real)
    assert caught.value.actual == hashlib.sha256(lookalike).hexdigest()
    assert caught.value.expected == real.sha256
    assert leftovers() == []
    # The same behind a server that announces no hash of its own.
    mirrored = hub.add_mirror("detection_mobilenet0.25_Final.pth", lookalike)
    with pytest.raises(HashMismatchError):
        weights.fetch(table(mirrored, sha256=real.sha256, size=real.size))
    assert leftovers() == []


@pytest.mark.parametrize(
    ("repo", "file", "reason"),
    [("owner/absent", "thing.pth", "no such repository"), ("owner/repo", "absent.pth", "no such file")],
)
def test_what_the_hub_does_not_have_is_said(hub: Hub, repo: str, file: str, reason: str) -> None:
    hub.add("owner/repo", "thing.pth", SMALL)
    with pytest.raises(WeightsUnavailableError, match=reason) as caught:
        weights.fetch(table(f"hf://{repo}/{file}@main"))
    assert caught.value.attempts[0][0] == f"hf://{repo}/{file}@main"


def test_the_next_source_is_tried(hub: Hub) -> None:
    absent = "hf://owner/absent/thing.pth@main"
    wrong = hub.add("owner/wrong", "thing.pth", SMALL[::-1])
    gone = f"{hub.url}/files/gone.pth"
    right = hub.add_mirror("thing.pth", SMALL)
    assert weights.fetch(table(absent, wrong, gone, right)).read_bytes() == SMALL


# ----------------------------------------------------------------------------------------------------- own files


def test_a_file_source_is_verified_and_never_deleted(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    file.write_bytes(SMALL)
    relative = table("file:mine.pth", origin=tmp_path / "weights.toml")
    assert weights.fetch(relative) == file
    wrong = table(f"file:{file}", data=b"something else")
    assert weights.cached(wrong) is None
    with pytest.raises(HashMismatchError) as caught:
        weights.fetch(wrong)
    assert caught.value.actual == hashlib.sha256(SMALL).hexdigest()
    assert file.read_bytes() == SMALL
    with pytest.raises(ValueError, match="no download"):
        ledger.remove(*located(wrong)[0])
    with pytest.raises(WeightsUnavailableError, match="there is no such file"):
        weights.fetch(table(f"file:{tmp_path / 'absent.pth'}"))


def test_a_file_of_another_tool_in_the_hubs_cache_is_used_but_not_deleted(hub: Hub) -> None:
    from huggingface_hub import hf_hub_download

    thing = table(hub.add("owner/repo", "thing.pth", SMALL))
    theirs = Path(hf_hub_download("owner/repo", "thing.pth", cache_dir=hub_cache(), endpoint=hub.url))
    hub.requests.clear()
    assert weights.fetch(thing) == theirs
    assert hub.requests == []
    ((source, path),) = located(thing)
    assert not ledger.is_ours(source, path)
    with pytest.raises(ValueError, match="no download"):
        ledger.remove(source, path)
    assert theirs.exists()


@pytest.mark.parametrize("kind", ["hub", "mirror"])
def test_a_download_of_ours_may_be_deleted(hub: Hub, kind: str) -> None:
    add = hub.add_mirror("thing.pth", SMALL) if kind == "mirror" else hub.add("owner/repo", "thing.pth", SMALL)
    thing = table(add)
    path = weights.fetch(thing)
    ledger.remove(*located(thing)[0])
    assert not path.exists()
    assert leftovers() == []
    assert weights.cached(thing) is None


# ------------------------------------------------------------------------------------------- hashing only once


def test_an_unchanged_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from restorer.storage import digest

    file = tmp_path / "mine.pth"
    file.write_bytes(SMALL)
    thing = table(f"file:{file}")
    hashed = []

    def count(path: Path, start: int = 0) -> str:
        hashed.append(path)
        return hashlib.sha256(path.read_bytes()[start:]).hexdigest()

    monkeypatch.setattr(digest, "sha256_of", count)
    assert weights.cached(thing) == weights.cached(thing) == file
    assert len(hashed) == 1
    before = file.stat()
    changed = bytearray(SMALL)
    changed[7] ^= 1
    file.write_bytes(changed)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same date: only the time of change tells
    assert weights.cached(thing) is None
    assert len(hashed) == 2


def test_a_file_may_change_right_after_it_was_hashed(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    for round_ in range(5):  # a file system's clock ticks slowly; a change within a tick must not go unseen
        data = SMALL + bytes([round_])
        file.write_bytes(data)
        thing = table(f"file:{file}", data=data)
        assert weights.cached(thing) == file
        file.write_bytes(SMALL + b"\xff")
        assert weights.cached(thing) is None


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, where a folder should be")
    monkeypatch.setenv("RESTORER_CACHE", str(blocked))
    file = tmp_path / "mine.pth"
    file.write_bytes(SMALL)
    assert weights.fetch(table(f"file:{file}")) == file


# -------------------------------------------------------------------------------------------- before a download


@pytest.mark.parametrize("kind", ["hub", "mirror"])
def test_size_is_said_before_the_first_byte(hub: Hub, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    add = hub.add_mirror("thing.pth", SMALL) if kind == "mirror" else hub.add("owner/repo", "thing.pth", SMALL)
    events: list[weights.Progress] = []
    counted: list[int] = []

    def listen(step: weights.Progress) -> None:
        events.append(step)
        counted.append(hub.downloads() if kind == "hub" else step.received)

    weights.fetch(table(add), on_progress=listen)
    assert events[0] == weights.Progress("thing", "127.0.0.1", "start", 0, len(SMALL))
    assert counted[0] == 0
    assert events[-1].stage == "done"
    received = [step.received for step in events if step.stage == "receive"]
    assert received == sorted(received)
    assert received[-1] == len(SMALL)
    assert "0.1 MB" in weights.announcement(events[0])
    assert "50 Mbit/s" in weights.announcement(events[0])
    with caplog.at_level(logging.WARNING):
        other = hub.add_mirror("other.pth", SMALL + b"2")
        weights.fetch(table(other, data=SMALL + b"2"))
    assert "0.1 MB" in caplog.text, "without a listener it is logged"


@pytest.mark.parametrize("kind", ["hub", "mirror"])
def test_a_full_disk_is_said_before_the_download(hub: Hub, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add = hub.add_mirror("thing.pth", SMALL) if kind == "mirror" else hub.add("owner/repo", "thing.pth", SMALL)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=mirror._RESERVE + len(SMALL) - 1))
    with pytest.raises(NotEnoughDiskError) as caught:
        weights.fetch(table(add))
    assert caught.value.needed == len(SMALL)
    assert caught.value.exit_code == 3
    assert leftovers() == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=mirror._RESERVE + len(SMALL)))
    assert weights.fetch(table(add)).read_bytes() == SMALL


@pytest.mark.parametrize("by", ["option", "variable"])
def test_offline_asks_nobody(hub: Hub, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    thing = table(hub.add("owner/repo", "thing.pth", SMALL), hub.add_mirror("thing.pth", SMALL))
    asked_for = "offline=True" if by == "option" else "HF_HUB_OFFLINE"
    with pytest.raises(WeightsUnavailableError, match=f"^thing is not on this machine, and {asked_for} ") as caught:
        weights.fetch(thing, offline=by == "option")
    assert hub.requests == []
    assert "restore models pull thing" in str(caught.value.remedy)


def test_a_table_without_sources_says_what_to_do() -> None:
    with pytest.raises(WeightsUnavailableError) as caught:
        weights.fetch(weights.resolve("gpen-1024"))
    assert "restore models import FILE --name gpen-1024" in str(caught.value.remedy)
    assert caught.value.exit_code == 3


def test_without_a_licence_nothing_is_downloaded_before_it_is_accepted(hub: Hub) -> None:
    from restorer.weights import terms

    thing = table(hub.add("owner/repo", "thing.pth", SMALL), acknowledge="Nobody allowed this.")
    with pytest.raises(WeightsUnavailableError, match="Nobody allowed this") as caught:
        weights.fetch(thing)
    assert hub.requests == []
    assert "--accept-license" in str(caught.value.remedy)
    terms.accept_license(thing)
    assert weights.fetch(thing).read_bytes() == SMALL
    changed = table(*thing.sources, acknowledge="Other terms.")
    assert not terms.acknowledged(changed)


# ---------------------------------------------------------------------------------------------------- no network


@contextmanager
def silent_host() -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a host that takes connections and then says nothing, and what it was asked, once each.

    It is the slowest kind of no network.
    """
    asked: list[str] = []
    open_ones: list[socket.socket] = []

    def listen() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return  # closed
            open_ones.append(connection)
            asked.append(connection.recv(1000).decode().split("\r\n")[0])

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        server.shutdown(socket.SHUT_RDWR)
    for connection in open_ones:
        connection.close()


def test_a_silent_host_is_asked_once_however_many_files_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds for all, instead of the minutes that patient clients take for each."""
    assert reach.PATIENCE <= 3
    monkeypatch.setattr("restorer.weights.fetching.unreachable", partial(reach.unreachable, patience=0.5))
    with silent_host() as (address, asked), pytest.raises(WeightsUnavailableError, match="answer") as caught:
        weights.fetch(table("hf://owner/repo/thing.pth@main", *(f"{address}/{n}.pth" for n in range(3))))
    assert asked == ["HEAD / HTTP/1.1"]
    assert len(caught.value.attempts) == 4
    assert "HF_ENDPOINT" in str(caught.value.remedy)
    assert 'model="none"' in str(caught.value.remedy)


def test_the_command_says_so_too(tmp_path: Path) -> None:
    with silent_host() as (address, asked):
        environment = {
            **os.environ, "HF_HOME": str(tmp_path), "RESTORER_CACHE": str(tmp_path), "HF_ENDPOINT": address,
            "HTTPS_PROXY": "http://127.0.0.1:9",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "restorer", "models", "pull", "gfpgan"],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert asked == ["HEAD / HTTP/1.1"]
    assert done.returncode == 3
    assert "gfpgan-1.4 (349 MB)" in done.stderr
    assert "restore models pull gfpgan-1.4" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_that_answers_is_told_from_one_that_does_not(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = "http://127.0.0.1:9/x"
    assert set(reach.unreachable([f"{hub.url}/x", closed, "https://nowhere.invalid/x"])) == {
        closed,
        "https://nowhere.invalid/x",
    }
    monkeypatch.setenv("http_proxy", hub.url)
    monkeypatch.setenv("no_proxy", "")
    assert reach.unreachable(["http://nowhere.invalid/x"]) == {}, "the proxy is asked in its place"


# -------------------------------------------------------------------------------------------------- two processes


@pytest.mark.parametrize("kind", ["hub", "mirror"])
def test_two_processes_share_one_download(hub: Hub, tmp_path: Path, kind: str) -> None:
    hub.delay = 1.0
    add = hub.add_mirror("thing.pth", SMALL) if kind == "mirror" else hub.add("owner/repo", "thing.pth", SMALL)
    toml = tmp_path / "own.toml"
    digits = hashlib.sha256(SMALL).hexdigest()
    toml.write_text(f'[thing]\narchitecture = "gfpgan"\nsources = ["{add}"]\nsha256 = "{digits}"\n')
    command = [sys.executable, "-m", "restorer", "models", "pull", "thing"]
    environment = {**os.environ, "RESTORER_WEIGHTS": str(toml)}
    runs = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    texts = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], texts
    assert hub.downloads("thing.pth") == 1
    assert any("waiting" in text or "here already" in text for text in texts)
