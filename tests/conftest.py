"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from restorer.engine.device import allowed_cores

# The same examples at each run, so that a test that passed yesterday fails today only for a change of the code.
# New ones are looked for by `pytest -m hypothesis --hypothesis-profile=explore`.
settings.register_profile("same", derandomize=True, deadline=None)  # seconds are nobody's fault on a busy machine
settings.register_profile("explore", print_blob=True, deadline=None)
settings.load_profile("same")

# Tests side by side (pytest -n) share the cores: each process, and each command that it starts, takes its part.
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _workers > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, allowed_cores() // _workers)))

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

Restore = Callable[..., subprocess.CompletedProcess[str]]
"""Runs `restore` with some arguments, an expected exit code, and more environment."""


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


@pytest.fixture
def restore(tmp_path: Path) -> Restore:
    """Run `restore` in an empty folder and return the finished process."""
    root = Path(__file__).resolve().parents[1]

    def run(*arguments: str, code: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-m", "restorer", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200", **environment},
            timeout=240,
            check=False,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    return run
