"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _shared_folder() -> Path:
    """Return the folder of the reference data: `$RESTORER_SHARED`, or `shared` beside the repository."""
    given = os.environ.get("RESTORER_SHARED")
    return Path(given) if given else Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data (photos, golden records, small weights), which is not part of the repository."""
    folder = _shared_folder()
    if not (folder / "golden").is_dir():
        pytest.skip(f"the reference data is not at {folder}; $RESTORER_SHARED may name it")
    return folder


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the user's own caches, settings and weights, and from the network."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.setenv("RESTORER_CACHE", str(home / "cache"))
    monkeypatch.setenv("RESTORER_CONFIG", str(home / "config"))
    monkeypatch.delenv("RESTORER_WEIGHTS", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
