"""Photos and results in object stores: the same bytes as on a disk, nothing half-written, nothing done twice."""

from __future__ import annotations

import gc
import json
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from restorer.batch.journal import NAME
from restorer.cluster import run as module
from restorer.cluster import stores
from restorer.cluster.remote import header_of
from tests.support.albums import Album, files, picture
from tests.support.cluster import HereLink
from tests.support.in_process import Done, restore
from tests.support.s3 import allow, s3_server

pytest.importorskip("ray", reason="the extra `cluster` is not installed")
fsspec = pytest.importorskip("fsspec", reason="the extra `cluster` is not installed")

PLAIN = ("--model", "none", "--background", "lanczos", "--offline", "--cluster", "local")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What was brought from a store goes with the run: journals there name photos."""
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield
    gc.collect()
    assert not list(temporary.glob("restorer-*"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let blocks be worked on in this process, and a store that fails be asked again at once."""
    monkeypatch.setattr(module, "SessionLink", HereLink)
    monkeypatch.setattr("restorer.cluster.stores.time.sleep", lambda _seconds: None)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tree(tmp_path: Path) -> Album:
    """An album whose names any store takes: the stand-in of S3 knows no lines within names."""
    made = Album(tmp_path / "album")
    for number, name in enumerate(
        ("a.jpg", "b.png", "deep/er/a.jpg", "deep/c d.tif", "deep/ü.webp", "e.PNG", "f.bmp", "g.jpg")
    ):
        picture(made.folder / name, seed=number)
        made.good.append(Path(name))
    for name in ("deep/broken.png", "empty.jpg"):
        (made.folder / name).write_bytes(b"" if "empty" in name else b"This is a letter.")
        made.broken.append(Path(name))
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    yield from s3_server()


@pytest.fixture(params=["memory", "s3", "file"])
def store(
    request: pytest.FixtureRequest, tree: Album, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The address of a store with the album in its folder `album`."""
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"  # the stand-in keeps all until its process ends
    address = {"memory": "memory://m", "s3": f"s3://{bucket}", "file": f"file://{tmp_path}/disk"}[request.param]
    if request.param == "s3":
        allow(monkeypatch, request.getfixturevalue("server"))
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir(bucket)
    system, path = stores.opened(f"{address}/album")
    for photo in (*tree.good, *tree.broken):
        system.makedirs(f"{path}/{photo.as_posix()}".rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{path}/{photo.as_posix()}", (tree.folder / photo).read_bytes())
    yield address
    if request.param == "memory":
        system.rm("/m", recursive=True)
    type(system).clear_instance_cache()


def inside(address: str) -> dict[str, bytes]:
    """Return the files of a store's folder, by their places there."""
    system, path = stores.opened(address)
    return {name.rpartition(path.strip("/") + "/")[2]: system.cat_file(name) for name in system.find(path)}


def made(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in found.items() if not name.endswith(".jsonl")}


def run(capsys: Capture, *words: str, code: int = 1) -> Done:
    return restore(capsys, *words, *PLAIN, code=code)


def test_from_store_to_store_and_again(store: str, tree: Album, capsys: Capture) -> None:
    restore(capsys, "album", "-o", "one", *PLAIN[:-2], code=1)
    done = run(capsys, f"{store}/album", "-o", f"{store}/out", "--json")
    ours, theirs = files(Path("one")), inside(f"{store}/out")
    assert made(theirs) == made(ours)
    assert [name for name in theirs if name.endswith(".jsonl")] == [NAME]
    lines = [json.loads(line) for line in theirs[NAME].splitlines()]
    assert {line["result"] for line in lines} == {json.loads(line)["result"] for line in ours[NAME].splitlines()}
    told = [json.loads(line) for line in done.out.splitlines()]
    assert all(each["input"].startswith(f"{store}/album/") for each in told)
    assert {each["output"] for each in told if each["output"]} == {f"{store}/out/{name}" for name in made(theirs)}
    assert "restorer-stage" not in done.out + done.err
    again = run(capsys, f"{store}/album", "-o", f"{store}/out")
    assert "8 done already" in again.err
    assert "2 failed (all in an earlier run" in again.err
    assert made(inside(f"{store}/out")) == made(ours)


def test_a_plan_of_photos_on_a_disk_whose_results_go_into_a_store(store: str, tree: Album, capsys: Capture) -> None:
    restore(capsys, "album", "-o", "one", *PLAIN[:-2], code=1)
    restore(capsys, "plan", "album", "-o", "plan.jsonl")
    words = ("--files-from", "plan.jsonl", "-o", f"{store}/planned")
    run(capsys, *words)
    found = inside(f"{store}/planned")
    assert made(found) == made(files(Path("one")))
    assert [name for name in found if name.endswith(".jsonl")] == [NAME]
    again = run(capsys, *words)
    assert "8 done already" in again.err
    assert "2 failed (all in an earlier run" in again.err


def test_only_one_side_in_a_store_and_results_without_notes(store: str, tree: Album, capsys: Capture) -> None:
    run(capsys, f"{store}/album", "-o", "here", "--strip-metadata")
    run(capsys, "album", "-o", f"{store}/there", "--strip-metadata")
    assert made(files(Path("here"))) == made(inside(f"{store}/there"))
    system, path = stores.opened(f"{store}/there")
    gone = sorted(made(inside(f"{store}/there")))[0]
    system.rm_file(f"{path}/{gone}")
    again = run(capsys, "album", "-o", f"{store}/there", "--strip-metadata")
    assert "1 photo restored" in again.err
    assert "7 done already" in again.err


def test_results_beside_their_photos_are_no_photos(store: str, capsys: Capture) -> None:
    run(capsys, f"{store}/album")
    count = len(made(inside(f"{store}/album")))
    again = run(capsys, f"{store}/album")
    assert "8 done already" in again.err
    assert len(made(inside(f"{store}/album"))) == count == 18


def test_a_foreign_file_stays_and_a_photo_that_vanished_fails_alone(store: str, tree: Album, capsys: Capture) -> None:
    system, path = stores.opened(f"{store}/out")
    name = "a_restored.jpg"
    stores.write_bytes(f"{store}/out/{name}", b"somebody else's", replace=False)
    refused = run(capsys, f"{store}/album", "-o", f"{store}/out")
    assert f"{store}/out/{name} exists already" in refused.err
    assert system.cat_file(f"{path}/{name}") == b"somebody else's"
    good = tree.good[0].as_posix()
    Path("list.txt").write_bytes(f"{store}/album/{good}\0{store}/album/nowhere.jpg\0".encode())
    listed = run(capsys, "--files-from", "list.txt", "-o", f"{store}/listed")
    assert f"There is no file {store}/album/nowhere.jpg" in listed.err
    assert len(made(inside(f"{store}/listed"))) == 1


class Failing:
    """Lets a store's answers fail: the first so many of each file, or all.

    Args:
        system: what is to fail.
        times: how often each file's.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.asked: dict[str, int] = {}
        self._guard = threading.Lock()
        opened = stores.opened

        def failing(place: Any) -> tuple[Any, str]:
            system, path = opened(place)
            return Throttled(system, self, times), path

        for name in ("restorer.cluster.stores", "restorer.cluster.staging", "restorer.cluster.remote"):
            monkeypatch.setattr(f"{name}.opened", failing)

    def count(self, name: str) -> int:
        with self._guard:
            self.asked[name] = self.asked.get(name, 0) + 1
            return self.asked[name]


class Throttled:
    """A store that answers 503 for a while."""

    def __init__(self, system: Any, failing: Failing, times: int) -> None:
        self._system, self._failing, self._times = system, failing, times

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._system, name)
        if not callable(found) or name not in ("cat_file", "pipe_file", "exists", "mv"):
            return found

        def asked(*given: Any, **more: Any) -> Any:
            if self._failing.count(f"{name} {given[0]}") <= self._times:
                raise OSError("503 SlowDown: please reduce your request rate")
            return found(*given, **more)

        return asked


def test_a_store_that_throttles_costs_time_and_nothing_else(
    store: str, tree: Album, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore(capsys, "album", "-o", "one", *PLAIN[:-2], code=1)
    fair = stores.opened
    Failing(monkeypatch, stores.TRIES - 1)
    run(capsys, f"{store}/album", "-o", f"{store}/out")
    monkeypatch.setattr(stores, "opened", fair)
    assert made(inside(f"{store}/out")) == made(files(Path("one")))


def test_a_store_that_fails_for_good_fails_photos_by_name_and_a_rerun_does_them(
    tree: Album, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = f"file://{tmp_path}/disk"
    run(capsys, "album", "-o", f"{address}/calm")
    with monkeypatch.context() as broken:
        write = stores.write_bytes

        def write_bytes(place: Any, data: bytes, *, replace: bool) -> None:
            if "/a_restored" in str(place) or "/e_restored" in str(place):
                raise OSError("503 SlowDown")
            write(place, data, replace=replace)

        broken.setattr("restorer.cluster.staging.write_bytes", write_bytes)
        done = run(capsys, "album", "-o", f"{address}/out")
    assert done.err.count("cannot be reached: 503") == 3
    assert "its store does not answer" in done.err
    again = run(capsys, "album", "-o", f"{address}/out")
    assert "3 photos restored" in again.err
    assert made(inside(f"{address}/out")) == made(inside(f"{address}/calm"))


def test_put_if_absent(store: str) -> None:
    place = f"{store}/new/a.bin"
    stores.write_bytes(place, b"one", replace=False)
    stores.write_bytes(place, b"one", replace=False)  # the same bytes: whoever put them, they are there
    with pytest.raises(FileExistsError):
        stores.write_bytes(place, b"two", replace=False)
    assert stores.read_bytes(place) == b"one"
    stores.write_bytes(place, b"two", replace=True)
    assert stores.read_bytes(place) == b"two"
    assert list(inside(f"{store}/new")) == ["a.bin"]


def test_two_workers_put_one_object_and_one_of_them_wins(store: str) -> None:
    """Only where a store puts objects as a whole is that certain; `file` asks first."""
    if store.startswith("file"):
        pytest.skip("a disk behind fsspec has no exclusive rename")
    outcomes: list[str] = []

    def put(data: bytes) -> None:
        try:
            stores.write_bytes(f"{store}/race/x", data, replace=False)
            outcomes.append("put")
        except FileExistsError:
            outcomes.append("refused")

    threads = [threading.Thread(target=put, args=(bytes([n]),)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(outcomes) == ["put", "refused", "refused", "refused"]


def test_urls_and_paths() -> None:
    assert stores.is_store("s3://b/a.jpg")
    assert stores.is_store(Path("s3://b/a.jpg"))
    assert stores.url(Path("s3://b/x/a.jpg")) == "s3://b/x/a.jpg"
    assert not any(map(stores.is_store, ("a.jpg", "/a/b:/c", "C:/photos", "./s3:", "b:/x")))
    header = header_of(Path("s3://b/a.jpeg"), 4_000_000)
    assert header.format == "JPEG"
    assert header.size is not None
    assert 1 < header.size[0] * header.size[1] / 1e6 < 40
    assert header_of(Path("s3://b/a.txt"), 3).size is None


def test_without_a_cluster_a_store_is_refused_in_words(capsys: Capture) -> None:
    said = restore(capsys, "s3://b/a.jpg", "--model", "none", "--offline", code=2).err
    assert "s3://b/a.jpg is in a store" in said
    said = restore(capsys, "s3://b/a", "--report", *PLAIN, code=2).err
    assert "--report reads photos again" in said
