"""The measurement of a server under many uploads, at a size that a test has time for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from restorer.bench import uploads
from tests.support.albums import picture


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read as Linux tells it")
def test_all_are_answered_in_turns(tmp_path: Path) -> None:
    data = picture(tmp_path / "a.jpg", (64, 48)).read_bytes()
    found = uploads.measured(12, 3, [data])
    assert found["answered"] == {"done": 12}
    assert found["MiB at most"] >= found["MiB before"] > 0
    assert found["photos that a client was ahead of another at most"] <= 12
