"""The bench of a GPU: its plan, its clock and its parts, on a machine that has none."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from restorer.bench import gpu
from restorer.bench.tools import on_gpu


def test_the_plan_has_each_network_in_its_precisions_and_batches() -> None:
    steps = gpu.plan("cuda")
    assert len(set(steps)) == len(steps)
    eager = Counter((step.network, step.precision) for step in steps if step.way == "eager")
    for name in ("gfpgan-1.4", "glean-128"):
        assert {each: eager[name, each] for each in ("fp32", "bf16", "fp16")} == {"fp32": 3, "bf16": 3, "fp16": 3}
    assert {precision for name, precision in eager if name == "codeformer"} == {"fp32"}  # its own rule
    for way in ("graph", "compiled"):
        assert {step.network for step in steps if step.way == way} == set(gpu.NETWORKS)
    first = next(place for place, step in enumerate(steps) if step.way == "compiled")
    assert all(step.way == "compiled" for step in steps[first:])  # what takes longest comes last


def test_without_a_gpu_nothing_is_asked_that_only_one_has() -> None:
    for short in (False, True):
        steps = gpu.plan("cpu", short=short)
        assert {step.way for step in steps} == {"eager"}
        assert {step.precision for step in steps} == {"fp32", "bf16"}


def test_all_parts_fit_into_eight_minutes() -> None:
    assert sum(gpu.PARTS.values()) <= gpu.SECONDS <= 480


def test_what_a_part_leaves_the_next_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = gpu.Clock(100, {"a": 30, "b": 50, "c": 20})
    assert clock.begin("a") == 30
    now += 10
    clock.end()
    assert clock.begin("b") == 70
    now += 75  # it was late
    clock.end()
    assert clock.begin("c") == 15  # all that is left
    now += 20
    clock.end()
    assert clock.left() < 0


def _python(text: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", text]


def test_what_a_part_says_is_kept_line_by_line() -> None:
    text = "print('loading'); print('{\"a\": 1}'); print('{\"a\": 2}'); raise SystemExit('no such device')"
    rows = list(gpu.rows_of("faces", _python(text), 600))
    assert rows == [
        {"part": "faces", "a": 1},
        {"part": "faces", "a": 2},
        {"part": "faces", "ended": "code 1: no such device"},
    ]


def test_a_part_whose_time_is_up_is_ended_and_said() -> None:
    assert list(gpu.rows_of("faces", _python("import time; time.sleep(600)"), 0)) == [
        {"part": "faces", "ended": "its 0 seconds were up"}
    ]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no groups of processes here")
def test_what_a_part_started_ends_with_it() -> None:
    text = (
        "import os, sys, time, json\n"
        "words = [sys.executable, '-I', '-S', '-c', 'import time; time.sleep(600)']\n"
        "child = os.posix_spawn(sys.executable, words, {})\n"
        "print(json.dumps({'child': child}), flush=True)\n"
        "time.sleep(600)"
    )
    rows = gpu.rows_of("folder", _python(text), 600)
    child = next(rows)["child"]
    rows.close()  # type: ignore[attr-defined]
    for _ in range(6000):  # a killed process is there until somebody asks after it
        stat = Path(f"/proc/{child}/stat")
        if not _runs(child) or (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"):
            return
        time.sleep(0.01)
    pytest.fail("it still runs")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


ROWS: list[dict[str, Any]] = [
    {"part": "rates", "precision": "bf16", "flops": 4e12, "convolution": 2e12, "bytes": 1e11},
    {"part": "networks", "network": "a", "precision": "fp32", "batch": 4, "way": "eager", "seconds": 8.0, "flops": 4e12,
     "mib": 10},
    {"part": "networks", "network": "a", "precision": "bf16", "batch": 4, "way": "graph", "seconds": 2.0, "flops": 4e12,
     "mib": 10},
    {"part": "networks", "network": "a", "precision": "bf16", "batch": 4, "way": "compiled", "error": "no compiler"},
    {"part": "faces", "face": "125 px", "where": "cuda:0", "cut_ms": 1.0, "paste_ms": 2.0, "apart": 1},
    {"part": "upscalers", "network": "b", "precision": "fp16", "megapixels_a_second": 3.0, "mib": 1},
    {"part": "upscalers", "network": "b", "precision": "bf16", "error": "there was no time left"},
    {"part": "folder", "model": "a", "photos": 2, "faces": 6, "seconds": 3.0, "faces_a_second": 2.0},
    {"part": "folder", "ended": "its 110 seconds were up"},
]  # fmt: skip


def test_figures_follow_from_what_was_measured() -> None:
    rows = [dict(row) for row in ROWS]
    gpu.compared(rows)
    assert (rows[2]["faces_a_second"], rows[2]["of_matrix_bound"], rows[2]["against_fp32"]) == (2.0, 0.5, 4.0)
    assert "of_matrix_bound" not in rows[1]  # fp32's rate was not measured
    text = gpu.table(rows)
    for line in (
        "bf16: 4.00 TFLOP/s on a matrix product, 2.00 on a convolution; 100 GB/s on a copy.",
        "| a | bf16 | 4 | graph | 2.00 | 50% | 4.00 | 10 |",
        "| a | bf16 | 4 | compiled | no compiler | | | |",
        "| 125 px | cuda:0 | 1.0 | 2.0 | 1 |",
        "| b | fp16 | 3.00 | 1 |",
        "| a | 2 | 6 | 3.0 | 2.00 |",
        "upscalers b: there was no time left",
        "folder : its 110 seconds were up",
    ):
        assert line in text.splitlines()


def test_each_part_runs_on_a_processor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RESTORER_WEIGHTS", "")  # parts set their own: so that it is put back
    device = on_gpu.Device("cpu", math.inf, short=True)

    def said() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    on_gpu.rates(device)
    assert {row["precision"] for row in said() if min(row["flops"], row["convolution"], row["bytes"]) > 0} == {
        "fp32", "bf16",
    }  # fmt: skip
    on_gpu.networks(device)
    rows = said()
    assert len(rows) == len(gpu.plan("cpu", short=True))
    assert all(row["seconds"] > 0 and row["flops"] > 1e9 * row["batch"] for row in rows)
    on_gpu.faces(device)
    rows = said()
    assert len(rows) == 6
    assert max(row["apart"] for row in rows) <= 1
    on_gpu.upscalers(device)
    assert [row["network"] for row in said()] == ["tiny-upscaler"]


def test_what_fails_is_a_row_with_its_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [gpu.Step("tiny", "fp32", 1, "graph"), gpu.Step("tiny", "fp32", 1)]
    monkeypatch.setattr(on_gpu, "plan", lambda kind, short: steps)
    on_gpu.networks(on_gpu.Device("cpu", math.inf, short=True))
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert "error" in first  # a graph needs a GPU
    assert "seconds" not in first
    assert second["seconds"] > 0
    on_gpu.networks(on_gpu.Device("cpu", 0, short=False))
    assert capsys.readouterr().out.count("there was no time left") == 2


@pytest.mark.slow
def test_all_of_it_runs_on_a_processor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "gpu.json"
    assert gpu.main(["--device", "cpu", "--short", "--json", str(found)]) == 0
    rows = json.loads(found.read_text())["rows"]
    assert {row["part"] for row in rows} == set(gpu.PARTS)
    assert not [row for row in rows if "error" in row or "ended" in row]
    folder = [row for row in rows if row["part"] == "folder"]
    assert [(row["photos"], row["faces"], row["device"]) for row in folder] == [(2, 6, "cpu")]
    assert "| tiny | bf16 | 2 | eager |" in capsys.readouterr().out
