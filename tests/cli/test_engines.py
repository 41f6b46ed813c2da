"""`restore doctor --measure`: each engine runs a model's networks in turns, and what they make is compared."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from restorer.cli import diagnosis
from restorer.cli.diagnosis import engines
from restorer.cli.diagnosis.engines import QUICKER, ROUNDS, Engines
from restorer.engine import hardware, kept
from restorer.weights import FileHeader
from restorer.weights.native_file import write
from tests.models.test_exporter import drawn
from tests.support.in_process import restore

for _package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(_package, reason=f"{_package} is not installed")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _onnxruntime_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where nothing else is installed."""
    monkeypatch.setattr(hardware, "versions", lambda: {"onnxruntime": "1"})


def _small(folder: Path) -> str:
    loaded = drawn("faceunet", size=16, widths=[8, 8], blocks=[1, 1])
    path = folder / "small.safetensors"
    write(loaded.network.state_dict(), path, FileHeader(architecture="faceunet", arguments=loaded.arguments))
    return str(path)


def test_the_command_measures_a_models_networks(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "examine", lambda *, offline: iter(()))
    model = _small(tmp_path)
    told = json.loads(restore(capsys, "doctor", "--measure", "--model", model, "--offline", "--json").out)
    checks = {each["name"]: each for each in told["checks"] if each["group"] == "Engines"}
    network, detector = checks["small"], checks["tiny-detector-free"]
    assert "any size" in detector["detail"]
    facts = network["facts"]
    assert set(facts) == {"torch", "onnxruntime:cpu", "refused"}
    assert facts["torch"]["of_torch"] == 1
    assert facts["torch"]["rms"] == 0
    for name in ("torch", "onnxruntime:cpu"):
        assert 3 <= len(facts[name]["seconds"]) <= ROUNDS
    assert 0 < facts["onnxruntime:cpu"]["rms"] < 1e-3
    quicker = facts["onnxruntime:cpu"]["of_torch"] <= QUICKER
    assert network["status"] == ("note" if quicker else "ok")
    assert ("--engine onnxruntime:cpu" in (network["remedy"] or "")) == quicker
    plain = restore(capsys, "doctor", "--offline").out
    assert "Engines" not in plain
    assert "onnxruntime:cpu fp32" in restore(capsys, "doctor", "--measure", "--model", model, "--offline").out
    freed = restore(capsys, "models", "remove", model, "--yes").err
    assert "Deleted small" in freed
    assert kept.of_table("small") == []
    assert Path(model).exists()


def _ticks(*steps: float) -> Iterator[float]:
    """A clock's answers: each time it is asked, the next step later."""
    return itertools.accumulate(itertools.chain([0.0], itertools.cycle(steps)))


class _Runs:
    def __init__(self, value: float) -> None:
        self.value, self.precision, self.facts = value, "fp32", {"engine": "torch"}

    def __call__(self, pictures: Any, **controls: Any) -> Any:
        return pictures * self.value


@pytest.mark.parametrize(("theirs", "status"), [(0.8, "note"), (0.95, "ok"), (2.0, "ok")])
def test_what_is_quicker_by_a_tenth_is_told(theirs: float, status: str) -> None:
    import numpy as np

    looks = Engines("tiny", True)
    running: Any = {"torch": _Runs(1.0), "other:cpu": _Runs(1.0)}
    example = [np.ones((1, 3, 4, 4), np.float32) * np.arange(4, dtype=np.float32)]
    seconds: dict[str, list[float]] = {"torch": [1.0, 1.0, 1.0], "other:cpu": [theirs, theirs, 9.0]}
    _, found = looks._in_turns(running, example, ())
    check = looks._told("small", running, {"npu": "it sleeps"}, seconds, found)
    assert check.status == status
    assert "other:cpu fp32" in check.detail
    assert "npu not: it sleeps" in check.detail
    assert check.facts["other:cpu"]["of_torch"] == theirs


def test_no_further_round_begins_when_the_time_is_over() -> None:
    import numpy as np

    times = _ticks(engines.SECONDS / 4)
    looks = Engines("tiny", True, clock=lambda: next(times))
    running: Any = {"torch": _Runs(1.0)}
    seconds, _ = looks._in_turns(running, [np.ones((1, 3, 4, 4), np.float32)], ())
    assert len(seconds["torch"]) == 3


def test_what_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def only(checks: Iterable[Any]) -> Any:
        (check,) = checks
        return check

    here = {check.name: check for check in Engines("gfpgan", True).look()}
    assert here["gfpgan-1.4"].status == here["parsenet"].status == "skipped"
    assert "restore models pull" in str(here["gfpgan-1.4"].remedy)
    found = only(Engines("nobody", True).look())
    assert (found.status, found.name) == ("broken", "nobody")
    assert found.remedy
    monkeypatch.setattr(hardware, "versions", dict)
    found = only(Engines("tiny", True).look())
    assert (found.status, found.facts) == ("note", {})
    assert 'pip install "restorer[openvino]"' in found.remedy
