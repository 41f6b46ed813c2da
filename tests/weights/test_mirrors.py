"""Downloads from plain web servers, which misbehave in all the ways that servers do."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from collections.abc import Iterator

import pytest

from restorer import weights
from restorer.errors import HashMismatchError, WeightsUnavailableError
from restorer.weights import archive, mirror
from restorer.weights.sources import UrlSource
from tests.support.hub import Hub
from tests.support.weights_tools import SMALL, hub_of_this_process, leftovers, table


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in of the Hub."""
    with hub_of_this_process(monkeypatch) as stand_in:
        yield stand_in


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repetitions come at once."""
    monkeypatch.setattr(mirror, "_PAUSE", 0.0)
    monkeypatch.setattr(archive, "_PAUSE", 0.0)


@pytest.mark.parametrize("misbehaviour", ["", "without_head", "without_length", "without_ranges", "without_etags"])
@pytest.mark.parametrize("cut", [False, True])
def test_mirrors_of_any_kind_serve_even_when_cut(hub: Hub, misbehaviour: str, cut: bool) -> None:
    if misbehaviour:
        setattr(hub, misbehaviour, True)
    if cut:
        hub.cut_after(30_000, file="thing.pth")
    thing = table(hub.add_mirror("thing.pth", SMALL), size=len(SMALL))
    path = weights.fetch(thing)
    assert path.read_bytes() == SMALL
    ranges = hub.ranges("thing.pth")
    assert ranges == ([None, "bytes=30000-"] if cut else [None])
    assert [entry.name for entry in path.parent.iterdir()] == ["thing.pth"], "no part, no note"
    hub.requests.clear()
    assert weights.fetch(thing) == path
    assert hub.requests == []


def test_a_later_run_goes_on_where_the_last_one_gave_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_TRIES", 1)
    thing = table(hub.add_mirror("thing.pth", SMALL))
    hub.cut_after(20_000)
    hub.cut_after(0)
    with pytest.raises(WeightsUnavailableError, match="what came is kept"):
        weights.fetch(thing)
    assert weights.cached(thing) is None
    events: list[weights.Progress] = []
    assert weights.fetch(thing, on_progress=events.append).read_bytes() == SMALL
    assert hub.ranges("thing.pth") == [None, "bytes=20000-", "bytes=20000-"]
    assert (events[0].stage, events[0].received, events[0].total) == ("start", 20_000, len(SMALL))


def test_a_part_of_an_older_version_is_not_mixed_with_the_new(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_TRIES", 1)
    thing = table(hub.add_mirror("thing.pth", SMALL[::-1]))
    hub.cut_after(20_000)
    hub.cut_after(0)
    with pytest.raises(WeightsUnavailableError):
        weights.fetch(thing)
    hub.add_mirror("thing.pth", SMALL)
    hub.requests.clear()
    assert weights.fetch(thing).read_bytes() == SMALL, "the ETag is another, so the server sends it all"
    assert [(each.range, each.status) for each in hub.requests if each.sent] == [("bytes=20000-", 200)], "at once"


def test_a_part_that_turns_out_wrong_is_fetched_once_more_from_the_start(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_TRIES", 1)
    hub.without_etags = True  # nothing tells the versions apart but the hash
    thing = table(hub.add_mirror("thing.pth", SMALL[::-1]))
    hub.cut_after(20_000)
    hub.cut_after(0)
    with pytest.raises(WeightsUnavailableError):
        weights.fetch(thing)
    hub.add_mirror("thing.pth", SMALL)
    assert weights.fetch(thing).read_bytes() == SMALL
    assert hub.ranges("thing.pth")[-2:] == ["bytes=20000-", None]


@pytest.mark.parametrize("have", [len(SMALL), len(SMALL) + 7])
def test_a_complete_or_overlong_part_is_sorted_out(hub: Hub, have: int) -> None:
    address = hub.add_mirror("thing.pth", SMALL)
    thing = table(address)
    part = mirror.part_of(mirror.place(thing, UrlSource(address)))
    part.parent.mkdir(parents=True)
    part.write_bytes((SMALL + b"surplus")[:have])
    mirror._note(part).write_text(f'{{"url": "{address}", "validator": ""}}')
    assert weights.fetch(thing).read_bytes() == SMALL


def test_a_changed_byte_from_a_mirror_is_refused(hub: Hub) -> None:
    hub.change_byte("thing.pth")
    with pytest.raises(HashMismatchError) as caught:
        weights.fetch(table(hub.add_mirror("thing.pth", SMALL)))
    assert hashlib.sha256(SMALL).hexdigest() == caught.value.expected != caught.value.actual
    assert leftovers() == []


def test_another_size_is_refused_before_the_download(hub: Hub) -> None:
    with pytest.raises(WeightsUnavailableError, match="another file"):
        weights.fetch(table(hub.add_mirror("thing.pth", b"<html>Please log in</html>" * 1000), size=len(SMALL)))
    assert leftovers() == []


def test_a_prefix_of_the_hash_is_enough(hub: Hub) -> None:
    prefix = hashlib.sha256(SMALL).hexdigest()[:8]
    source = hub.add_mirror("thing.pth", SMALL)
    assert weights.fetch(table(source, sha256=None, sha256_prefix=prefix)).read_bytes() == SMALL
    other = "0" * 8
    with pytest.raises(HashMismatchError, match=other):
        weights.fetch(table(source, sha256=None, sha256_prefix=other))


def test_a_redirect_is_followed(hub: Hub) -> None:
    hub.add("owner/repo", "thing.pth", SMALL)
    assert weights.fetch(table(f"{hub.url}/owner/repo/resolve/main/thing.pth")).read_bytes() == SMALL


# ------------------------------------------------------------------------------------------------ one file of a zip


def zipped(kind: int) -> bytes:
    """Return an archive in which the wanted file is a small part."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as made:
        made.writestr("checkpoints/large.bin", random.Random(0).randbytes(6_000_000))
        made.writestr("checkpoints/detection/small.pt", SMALL)
        made.writestr("checkpoints/other.bin", random.Random(1).randbytes(3_000_000))
    return stream.getvalue()


def member_of(hub: Hub, data: bytes, name: str = "checkpoints/detection/small.pt") -> weights.Table:
    """Return a table whose file is one of an archive's."""
    address = hub.add_mirror("all.zip", data)
    return table(f"{address}#{name}", sha256=hashlib.sha256(SMALL).hexdigest())


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("misbehaviour", ["", "without_etags", "cut"])
def test_one_file_of_an_archive_comes_without_the_others(hub: Hub, kind: int, misbehaviour: str) -> None:
    data = zipped(kind)
    thing = member_of(hub, data)
    if misbehaviour == "cut":
        hub.cut_after(3, file="all.zip")
        hub.cut_after(40_000, file="all.zip")
    elif misbehaviour:
        setattr(hub, misbehaviour, True)
    events: list[weights.Progress] = []
    path = weights.fetch(thing, on_progress=events.append)
    assert path.read_bytes() == SMALL
    assert [entry.name for entry in path.parent.iterdir()] == ["small.pt"]
    assert len(hub.ranges("all.zip")) <= 8
    assert (events[0].stage, events[0].total) == ("start", len(SMALL))
    hub.requests.clear()
    assert weights.fetch(thing) == path
    assert hub.requests == []


def test_what_an_archive_does_not_give_is_said(hub: Hub) -> None:
    data = zipped(zipfile.ZIP_STORED)
    with pytest.raises(WeightsUnavailableError, match=r"holds no checkpoints/gone\.pt"):
        weights.fetch(member_of(hub, data, "checkpoints/gone.pt"))
    with pytest.raises(WeightsUnavailableError, match="cannot be read"):
        weights.fetch(member_of(hub, SMALL))
    other = member_of(hub, data, "checkpoints/other.bin")
    with pytest.raises(HashMismatchError):
        weights.fetch(other)
    assert not leftovers()
    hub.without_ranges = True
    with pytest.raises(WeightsUnavailableError, match="whole files only"):
        weights.fetch(member_of(hub, data))
