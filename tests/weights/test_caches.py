"""Caches that will not take a download, and proxies that are none: the file comes, or words say why not and what to do.

The cases are those of `python -m restorer.bench survive --parts downloads`; those that take longer are left to it.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from restorer import weights
from restorer.bench.survive import caches, downloads, proxies
from restorer.bench.survive.asking import Case
from restorer.bench.survive.badhub import bad_hub
from restorer.bench.survive.counting import Tally
from restorer.errors import NotEnoughDiskError, WeightsUnavailableError
from restorer.storage import digest
from restorer.storage.folders import cache_folder, hub_cache
from restorer.weights import mirror
from tests.support.weights_tools import SMALL, hub_of_this_process, table

pytestmark = pytest.mark.skipif(os.name == "nt", reason="it forks processes")
_QUICK_PROXIES = ("by http", "password", "99999", "word", "[::1", "socks5", "no_proxy", "nonsense", "://ü")


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Path, int, int]]:
    """A folder that other users may enter, and the ports of a server and of a proxy before it."""
    # Not one of pytest's: each of its runs closes those of all to other users.
    with tempfile.TemporaryDirectory() as name, bad_hub() as hub, proxies.proxy(hub.port) as proxy:
        folder = Path(name)
        folder.chmod(0o711)
        downloads.warm(folder / "warm", hub.port)
        yield folder, hub.port, proxy.port


def tried(cases: list[Case], folder: Path) -> Tally:
    tally = Tally("downloads")
    for number, case in enumerate(cases):
        downloads.try_case(case, folder / f"{number}", tally)
    return tally


def test_caches_of_every_kind(place: tuple[Path, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of another user's, a full one, and one with damaged notes ended in a traceback."""
    closed = tmp_path / "token"  # as the Hub's client knows it where it was imported for another purpose before
    closed.touch(0o600)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(closed))
    folder, port, _ = place
    tally = tried(list(caches.cases(port)), folder / "caches")
    assert tally.words == []
    assert tally.cases > 30


def test_proxies_of_every_kind(place: tuple[Path, int, int]) -> None:
    folder, _, port = place
    cases = [case for case in proxies.cases(port) if any(word in case.name for word in _QUICK_PROXIES)]
    tally = tried([case for case in cases if case.kind.endswith("Hub")], folder / "proxies")
    assert tally.words == []
    assert tally.cases > 15


def test_a_file_that_lies_damaged_in_the_hubs_cache_is_fetched_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client took what lay there for the file, as it had the right name."""
    with hub_of_this_process(monkeypatch) as hub:
        thing = table(hub.add("owner/repo", "thing.pth", SMALL))
        path = weights.fetch(thing)
        path.resolve().write_bytes(SMALL[::-1])
        path.unlink()  # the entry alone: the content stays
        assert weights.fetch(thing).read_bytes() == SMALL


@pytest.mark.parametrize("number", [28, 122])
def test_a_disk_that_fills_up_on_the_last_write(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stream has kept back is written as it is closed, and a full disk says so there."""

    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with hub_of_this_process(monkeypatch) as hub:
        address = hub.add_mirror("thing.pth", SMALL)
        with monkeypatch.context() as patch:
            patch.setattr("restorer.weights.mirror.os.fsync", full)
            with pytest.raises(NotEnoughDiskError, match="filled up"):
                weights.fetch(table(address))
        assert weights.fetch(table(address)).read_bytes() == SMALL


def test_what_lies_where_the_file_belongs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_of_this_process(monkeypatch) as hub:
        thing = table(hub.add_mirror("thing.pth", SMALL))
        (source,) = thing.parsed_sources()
        mirror.place(thing, source).mkdir(parents=True)  # type: ignore[arg-type]
        with pytest.raises(WeightsUnavailableError, match=r"thing\.pth cannot be written"):
            weights.fetch(thing)


def test_notes_that_cannot_be_kept_are_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with hub_of_this_process(monkeypatch) as hub, caplog.at_level(logging.INFO, logger="restorer"):
        cache_folder().mkdir(parents=True, exist_ok=True)
        (cache_folder() / "downloaded").write_text("no folder")
        path = weights.fetch(table(hub.add("owner/repo", "thing.pth", SMALL)))
        assert path.read_bytes() == SMALL
        assert "cannot be written down" in caplog.text
        monkeypatch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError("closed")))
        digest.forget(path)
        assert "cannot be deleted" in caplog.text


def test_notes_of_the_hub_that_are_none(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with hub_of_this_process(monkeypatch) as hub:
        thing = table(hub.add("owner/repo", "thing.pth", SMALL))
        weights.fetch(thing)
        (note,) = hub_cache().rglob("refs/main")
        note.write_bytes(b"\xff\xfe")
        assert weights.cached(thing) is None
        assert "The Hub's cache cannot be read" in caplog.text
