"""The bench of engines: its figures follow what was measured, and each engine's output is compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from restorer.bench import engines
from restorer.bench.engines import Row, described, interval, ratio, table


def test_the_interval_of_a_median_is_that_of_the_binomial() -> None:
    assert interval(range(1, 16)) == (4, 12)  # of 15: 96.5 %, and one step nearer 88 %
    assert interval(range(1, 10)) == (2, 8)
    assert interval([3, 1, 2]) == (1, 3)


def test_ours_stands_beside_the_quickest_other_engine_of_the_same_kind() -> None:
    rows = [
        Row("a", "torch", "fp32", 0, [1.0, 2.0, 3.0]),
        Row("a", "onnxruntime", "fp32", 0, [2.0, 2.0, 2.0]),
        Row("a", "openvino", "fp32", 0, [4.0, 4.0, 4.0]),
        Row("a", "torch-direct", "fp32", 0, [0.1, 0.1, 0.1]),
        Row("a", "openvino", "bf16", 0, [0.1, 0.1, 0.1]),
        Row("a", "openvino", "fp32", 1, [0.1, 0.1, 0.1]),
    ]
    first, *others = described(rows)
    assert (first["quickest"], first["of_quickest"]) == ("onnxruntime", (1.0, 0.5, 1.5))
    assert all("quickest" not in each for each in others)
    assert "| 1.00 (onnxruntime) | 0.50 to 1.50 |" in table([first])
    assert ratio([1, 1], [2, 4]) == (0.375, 0.25, 0.5)


def test_engines_run_one_network_in_turns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORER_WEIGHTS", "")  # the bench sets its own: so that it is put back
    found, plot = tmp_path / "engines.json", tmp_path / "engines.svg"
    words = ["tiny-upscaler", "--engines", "torch,onnxruntime", "--rounds", "2", "--threads", "1", "--company", "1"]
    words += ["--precision", "fp32", "--work", str(tmp_path / "work"), "--json", str(found), "--plot", str(plot)]
    assert engines.main(words) == 0
    rows = json.loads(found.read_text())["rows"]
    assert [(row["engine"], row["busy"]) for row in rows] == [("torch", 1), ("onnxruntime", 1)]
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 and row["difference"] < 1e-3 for row in rows)
    assert "onnxruntime" in plot.read_text()
    assert capsys.readouterr().out.count("| tiny-upscaler |") == 2
