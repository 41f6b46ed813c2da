"""The measurement of plans, at a size that a test has time for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from restorer.bench import planning


def test_plans_parts_and_reruns_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    sizes = ("--photos", "12", "--finished", "3", "--parts", "2", "--json", str(figures))
    assert planning.main(sizes) == 0
    printed = capsys.readouterr().out
    assert [line.split("  ")[0] for line in printed.splitlines()] == list(json.loads(figures.read_text()))
    assert all(each["peak_mib"] > 0 for each in json.loads(figures.read_text()).values())
