"""The bench of pipelines: ours stand beside each of the others, and the one on ONNX Runtime does its work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from restorer.bench import speed
from restorer.bench.tools import onnx_peer

SIDE = 640
ANCHORS = 2 * sum((SIDE // stride) ** 2 for stride in onnx_peer.STRIDES)


def _model(path: Path, output: np.ndarray | None, side: int) -> Path:
    """Write a network of one picture that gives it back, or always the same numbers."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    shape = [1, 3, side, side]
    if output is None:
        node, out = helper.make_node("Identity", ["pictures"], ["output"]), shape
    else:
        value = onnx.numpy_helper.from_array(output)
        node, out = helper.make_node("Constant", [], ["output"], value=value), list(output.shape)
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info("pictures", kind, shape)],
        [helper.make_tensor_value_info("output", kind, out)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    return path


def _photo(path: Path) -> np.ndarray:
    """Write a smooth picture of 600 by 400 pixels."""
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (12, 18, 3)).astype(np.uint8), (600, 400), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), picture)
    return picture


def test_a_face_that_the_network_gives_back_as_it_was_lies_where_it_was(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    # One face of 150 pixels, upright, at an anchor of the coarsest stride; its landmarks are the template's, reduced.
    rows = np.zeros((1, ANCHORS, 15), np.float32)
    middle, side = np.array([9.5, 6.5]) * 32, 256
    number = ANCHORS - 2 * (SIDE // 32) ** 2 + 2 * (6 * (SIDE // 32) + 9)
    points = (np.array(onnx_peer.TEMPLATE) - 256) * 0.4 + middle
    rows[0, number, 4], rows[0, number, 5:] = 1, ((points - middle) / (0.1 * side)).reshape(-1)
    rows[0, number + 1, 4] = 0.95  # the same place again: its overlap takes it away
    rows[0, number + 1, 2:4] = np.log(0.5) / 0.2
    detector = _model(tmp_path / "detector.onnx", rows, SIDE)
    model = _model(tmp_path / "model.onnx", None, 512)
    photo = _photo(tmp_path / "photo.png")
    words = [str(tmp_path / "photo.png"), str(tmp_path / "out.png"), "--model", str(model), "--detector", str(detector)]
    told = subprocess.run(
        [sys.executable, onnx_peer.__file__, *words], check=True, capture_output=True, text=True
    ).stdout
    found = json.loads(told)
    assert found["faces"] == 1
    assert {"import", "load", "read", "detect", "align", "restore", "mask", "paste", "write"} <= set(found["stages"])
    made = cv2.imread(str(tmp_path / "out.png"))
    assert made is not None
    out = made.astype(int)
    wanted = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC).astype(int)
    assert out.shape == (800, 1200, 3)
    apart = abs(out - wanted).max(axis=2)
    assert apart.max() <= 6  # two bilinear warps of what is smooth; half a pixel beside it is 12
    assert apart[:, 1000:].max() == 0  # where no face was


def _row(tool: str, seconds: float, peak: float, stages: dict[str, float]) -> dict[str, Any]:
    return {
        "photo": "a.png", "tool": tool, "faces": 1, "seconds": seconds, "processor_seconds": seconds, "peak_mib": peak,
        "stages": stages, "rounds": [[seconds, seconds, peak]],
        **({} if tool in speed.PEERS else {"boxes": [[0, 0, 4, 4]]}),
    }  # fmt: skip


def test_each_of_ours_stands_beside_each_of_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = {}
    for tool, level in (("fp32", 100), ("peer", 110), ("onnxruntime", 101)):
        pixels = np.full((8, 8, 3), level, np.uint8)
        pixels[4:] = 0
        pictures["a.png", tool] = tmp_path / f"{tool}.png"
        cv2.imwrite(str(pictures["a.png", tool]), pixels)
    staged = {"import": 1.0, "read": 0.5, "restore": 0.5}
    rows = [_row("fp32", 2, 10, staged), _row("peer", 6, 20, {}), _row("onnxruntime", 3, 40, {})]
    speed.again(rows[0], _row("fp32", 4, 30, staged))
    speed.again(rows[0], _row("fp32", 3, 20, staged))
    assert (rows[0]["seconds"], rows[0]["peak_mib"], len(rows[0]["rounds"])) == (3, 20, 3)
    speed.compare(rows, pictures)
    assert rows[0]["rest"] == 0.25
    assert rows[1]["beside"] == {}
    assert {name: to["faster"] for name, to in rows[2]["beside"].items()} == {"peer": 2}
    beside = rows[0]["beside"]
    assert (beside["peer"]["faster"], beside["peer"]["memory"]) == (2, 1)
    assert (beside["onnxruntime"]["faster"], beside["onnxruntime"]["memory"]) == (1, 0.5)
    assert beside["onnxruntime"]["psnr_in_faces"] == pytest.approx(20 * np.log10(255))
    assert beside["onnxruntime"]["psnr"] == pytest.approx(20 * np.log10(255) + 10 * np.log10(2))
    report = {"rows": rows, "stand_ins": ["a"], "psnr_bf16_to_fp32": {}}
    text = speed.tables(report)
    assert "| a.png | fp32 | 1 | 3.0 | 2.00 | 1.00 | 1.00 | 0.50 | 3.0 | 20 | 25.0% |" in text
    table = text.splitlines()[:5]
    assert len({line.count("|") for line in table}) == 1
    speed.show(report)
    assert "onnxruntime 1.00x 0.50 51.1 (faces 48.1)" in capsys.readouterr().out
