"""The measurement of several photos at once, on photos that are enlarged only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from restorer.bench.jobs import main
from tests.support.albums import picture


def test_ways_take_turns_and_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [str(picture(tmp_path / f"{name}.png", seed=ord(name))) for name in "ab"]
    told = tmp_path / "x.json"
    more = ("--ways", "1x1", "2x1", "--rounds", "1", "--copies", "2", "--model", "none", "--json", str(told))
    assert main([*photos, *more]) == 0
    assert capsys.readouterr().out.count("4 photos, the same bytes") == 2
    figures = json.loads(told.read_text())
    assert [(each["jobs"], each["threads"], each["same_bytes"]) for each in figures] == [(1, 1, True), (2, 1, True)]
    with pytest.raises(SystemExit):
        main([*photos, "--ways", "2"])
