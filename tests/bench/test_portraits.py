"""Faces of whole photographs: found, measured beside the plain enlargement, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from restorer.bench import portraits
from restorer.bench.portraits import Row
from restorer.evaluation.ageing import photograph


def test_each_face_of_a_photograph_is_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(photograph()).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"not asked for")
    assert portraits.main([str(tmp_path), "--match", "a*", "--scale", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["photo"] == "a.png"
    assert row["side"] > 30
    assert row["detail"] == 1 if not row["restored"] else row["detail"] != 1


def test_who_loses_detail_is_counted() -> None:
    good = [Row("a", 1, 90, False, 1.0), Row("a", 1, 40, True, 1.3)]
    bad = [Row("b", 2, 90, True, 0.9)]
    assert [row.enough for row in good + bad] == [True, True, False]
    lines = portraits.table(good + bad).splitlines()
    assert lines[1].endswith("2 of 2")
    assert lines[2].endswith("0 of 1")
    assert lines[3].split()[:3] == ["all", "3", "2"]
    assert portraits.table([]).endswith("no faces")
