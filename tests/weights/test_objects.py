"""Weights from a store of one's own: verified as any, nothing left of what is wrong, and words for what is missing."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from restorer import weights
from restorer.errors import HashMismatchError, WeightsUnavailableError
from restorer.storage.folders import cache_folder
from restorer.weights.progress import Progress
from tests.support.s3 import allow, s3_server

DATA = bytes(range(256)) * 400
BUCKET = f"weights-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("s3fs", reason="the extra `cluster` is not installed")
    yield from s3_server()


@pytest.fixture
def toml(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights.toml whose tables lie in a store."""
    import fsspec

    allow(monkeypatch, server)
    system = fsspec.filesystem("s3", skip_instance_cache=True)
    if not system.exists(BUCKET):
        system.mkdir(BUCKET)
    system.pipe_file(f"{BUCKET}/deep/mine.pth", DATA)
    path = tmp_path / "weights.toml"
    tables = {
        "mine": ("deep/mine.pth", hashlib.sha256(DATA).hexdigest(), len(DATA)),
        "other": ("deep/mine.pth", "0" * 64, len(DATA)),
        "longer": ("deep/mine.pth", "1" * 64, len(DATA) + 1),
        "gone": ("deep/gone.pth", "2" * 64, len(DATA)),
    }
    lines = []
    for name, (place, digest, size) in tables.items():
        lines += [f'["{name}"]', 'architecture = "gfpgan"', f'sources = ["s3://{BUCKET}/{place}"]']
        lines += [f'sha256 = "{digest}"', f"size = {size}"]
    path.write_text("\n".join(lines))
    monkeypatch.setenv("RESTORER_WEIGHTS", str(path))
    monkeypatch.setenv("RESTORER_CACHE", str(tmp_path / "cache"))
    return path


def left() -> list[Path]:
    return [path for path in (cache_folder() / "weights").rglob("*") if path.is_file()]


def test_they_are_fetched_verified_and_found_again_without_the_store(toml: Path) -> None:
    heard: list[Progress] = []
    table = weights.resolve("mine")
    assert weights.missing([table]) == {}
    path = weights.fetch(table, on_progress=heard.append)
    assert path.read_bytes() == DATA
    assert [path] == left()
    assert (heard[0].stage, heard[-1].stage) == ("start", "done")
    assert heard[0].source == f"s3://{BUCKET}"
    assert weights.fetch(table, offline=True) == path


def test_another_file_is_refused_and_deleted(toml: Path) -> None:
    with pytest.raises(HashMismatchError):
        weights.fetch(weights.resolve("other"))
    assert left() == []


@pytest.mark.parametrize(("name", "words"), [("gone", "no such object"), ("longer", "another file")])
def test_what_the_store_does_not_have_is_said(toml: Path, name: str, words: str) -> None:
    with pytest.raises(WeightsUnavailableError, match=words):
        weights.fetch(weights.resolve(name))
    assert left() == []


def test_no_store_is_asked_offline(toml: Path) -> None:
    table = weights.resolve("mine")
    assert weights.missing([table], offline=True)["mine"].kind == "offline"
    with pytest.raises(WeightsUnavailableError, match="offline"):
        weights.fetch(table, offline=True)


def test_without_its_client_it_is_said_what_to_install(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_given: object, **_named: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", absent)
    with pytest.raises(WeightsUnavailableError, match="it needs s3fs, which is not installed"):
        weights.fetch(weights.resolve("mine"))


@pytest.mark.parametrize("source", ["s3://", "s3://bucket", "s3:///key", "gs://bucket/"])
def test_what_names_no_object_is_refused(source: str) -> None:
    from restorer.weights.sources import parse

    with pytest.raises(ValueError, match="an object in a store is written"):
        parse(source, Path())
