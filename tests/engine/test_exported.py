"""Networks that another engine runs: the same picture as torch's, compared before it counts, kept, and said."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from restorer import weights
from restorer.engine import exported, kept
from restorer.engine.device import Device
from restorer.engine.exported import ExportedEngine, ExportedNetwork, exceeds
from restorer.engine.network import Network
from restorer.engine.pool import Pool, engines
from restorer.errors import DeviceUnavailableError, MissingPackageError, UsageError
from restorer.models import REGISTRY
from restorer.models.base import FaceArchitecture, Precision
from restorer.models.exporter import Draft
from restorer.models.exporter.difference import Difference, Run, apart
from restorer.storage.folders import cache_folder
from restorer.weights import FileHeader, Table
from restorer.weights.native_file import write
from tests.models.test_exporter import drawn
from tests.support.in_process import restore

for _package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(_package, reason=f"{_package} is not installed")
FP32, BF16 = Device("cpu", "fp32"), Device("cpu", "bf16")
SIDE = 16


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The file of a small face restorer, and a cache in which it is exported already: that takes some seconds."""
    folder = tmp_path_factory.mktemp("exported")
    loaded = drawn("faceunet", size=SIDE, widths=[8, 8], blocks=[1, 1])
    path = folder / "small.safetensors"
    write(loaded.network.state_dict(), path, FileHeader(architecture="faceunet", arguments=loaded.arguments))
    before = os.environ.get("RESTORER_CACHE")
    os.environ["RESTORER_CACHE"] = str(folder / "cache")
    try:
        table = weights.resolve(str(path))
        assert kept.find(table, path) is None
        assert kept.prepare(table, path).reason is None
    finally:
        os.environ.pop("RESTORER_CACHE")
        if before is not None:
            os.environ["RESTORER_CACHE"] = before
    return path, folder / "cache"


@pytest.fixture
def small(made: tuple[Path, Path], _own_folders: None) -> Table:
    """The table of the small restorer, whose export is in this test's own cache."""
    shutil.copytree(made[1], cache_folder())
    return weights.resolve(str(made[0]))


class Abacus(ExportedEngine):
    """Runs a file by ONNX Runtime, with two units, the first of which may be off."""

    name = "onnxruntime"  # what it needs is installed

    def __init__(self, unit: str = "", off: float = 0.0, halves: bool = False) -> None:
        super().__init__(unit)
        self.off, self.halves = off, halves
        self.opened: list[tuple[str, Precision]] = []

    def version(self) -> str:
        return "1"

    def units(self) -> Sequence[str]:
        return ["left", "right"]

    def describe(self, unit: str) -> str:
        return f"the {unit} one"

    def precision(self, unit: str, wanted: Precision, bears: Sequence[Precision]) -> Precision | None:
        return wanted if self.halves and wanted in bears else "fp32"

    def open(self, model: Path, unit: str, precision: Precision, count: int) -> Run:
        self.opened.append((unit, precision))
        run = engines()["onnxruntime"].open(model, "cpu", "fp32", count)  # type: ignore[attr-defined]
        if unit == "left":
            return lambda inputs: [each + np.float32(self.off * each.std()) for each in run(inputs)]
        return run  # type: ignore[no-any-return]


def _load(engine: ExportedEngine, table: Table, device: Device = FP32) -> Network:
    return engine.load(table, weights.fetch(table, offline=True), device)


def _faces(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4)) * 2 - 1


def _by_torch(table: Table, faces: torch.Tensor, **more: Any) -> torch.Tensor:
    found: torch.Tensor = Pool().get(table, FP32, offline=True)(faces, **more)
    return found


def _apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.std())


# --------------------------------------------------------------------------------------------------- the real engines


@pytest.mark.parametrize("engine", ["onnxruntime", "onnxruntime:cpu", "openvino:cpu"])
def test_an_engine_makes_torchs_picture_and_says_what_it_is(small: Table, engine: str) -> None:
    name = engine.partition(":")[0]
    pytest.importorskip(name, reason=f"{name} is not installed")
    network = Pool().get(small, FP32, engine=engine, offline=True)
    assert isinstance(network, ExportedNetwork)
    faces = _faces()
    found = network(faces)
    assert _apart(found, _by_torch(small, faces)) < 1e-3
    assert torch.equal(network(faces), found)
    facts = network.facts
    assert (facts["engine"], facts["unit"], facts["precision"]) == (name, "cpu", "fp32")
    assert facts["version"]
    assert 0 <= facts["rms"] <= facts["largest"] < 1e-3
    assert json.dumps(facts)
    assert not network.notes


def test_openvino_in_bf16_is_compared_by_its_own_measure(small: Table) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    network = Pool().get(small, BF16, engine="openvino:cpu", offline=True)
    assert network.precision == "bf16"
    assert network.facts.get("reason") or network.facts["rms"] < exported.HALF_TOLERANCE
    faces = _faces()
    assert _apart(network(faces, precision="fp32"), _by_torch(small, faces)) < 1e-3


# ------------------------------------------------------------------------------------- what is compared, and with what


def test_a_unit_that_makes_another_picture_is_not_used(small: Table) -> None:
    engine = Abacus(off=0.01)
    network = _load(engine, small)
    assert network.facts["unit"] == "right"
    assert "another one than torch's: 0.01" in network.facts["refused"]["left"]
    assert [unit for unit, _ in engine.opened] == ["left", "right"]
    engine.opened.clear()
    assert _load(engine, small).facts["unit"] == "right"  # known by now
    assert [unit for unit, _ in engine.opened] == ["right"]
    assert _load(Abacus(off=0.0001), small).facts["unit"] == "right"  # ... of this unit, this version
    one = Abacus("left", off=0.01)
    alone = _load(one, small)
    assert alone.facts["engine"] == "torch"
    assert "another one" in alone.facts["reason"]
    faces = _faces()
    assert torch.equal(alone(faces), _by_torch(small, faces))


def test_a_unit_that_is_right_is_compared_once(small: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _load(Abacus(), small).facts["unit"] == "left"

    def unexpected(*_: object) -> Difference:
        raise AssertionError("compared twice")

    monkeypatch.setattr(kept.Kept, "compared", unexpected)
    assert _load(Abacus(), small).facts["unit"] == "left"
    newer = Abacus()
    monkeypatch.setattr(newer, "version", lambda: "2", raising=False)
    assert "compared twice" in str(_load(newer, small).facts["reason"])


def test_a_unit_that_does_not_start_is_said_and_tried_again(small: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Abacus("left")

    def broken(*_: object) -> Run:
        raise RuntimeError("no driver\nat line 3")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "open", broken)
        assert _load(engine, small).facts["reason"] == "onnxruntime: left: it does not run: no driver"
    assert _load(engine, small).facts["engine"] == "onnxruntime"


def test_differences_are_told_in_deviations_of_the_wanted_output() -> None:
    wanted = [np.array([0.0, 2.0]), np.array([0.0, 20.0])]  # deviations 1 and 10
    assert apart([np.array([0.5, 2.0]), np.array([0.0, 20.0])], wanted) == Difference(0.5, 0.125**0.5)
    assert apart([np.array([0.0, 2.0]), np.array([0.0, 21.0])], wanted).largest == pytest.approx(0.1)
    for wrong in ([np.array([0.0, 2.0])], [np.array([0.0, np.nan]), wanted[1]]):
        assert apart(wrong, wanted).largest == float("inf")
    assert exceeds(Difference(1e-3, 1e-4), "fp32") is None
    assert "0.002" in str(exceeds(Difference(2e-3, 1e-4), "fp32"))
    assert exceeds(Difference(1.0, 0.05), "bf16") is None
    assert "0.06" in str(exceeds(Difference(1.0, 0.06), "bf16"))
    assert exceeds(Difference(float("nan"), float("nan")), "bf16") is not None


# ------------------------------------------------------------------------------------------- what stays with torch


def test_what_an_engine_cannot_run_stays_with_torch_and_says_why() -> None:
    network = Pool().get(weights.resolve("tiny-detector"), FP32, engine="onnxruntime", offline=True)
    assert network.facts["engine"] == "torch"
    assert "any size" in network.facts["reason"]
    assert not (cache_folder() / "engines").exists()
    assert "reason" not in Pool().get(weights.resolve("tiny-detector"), FP32, offline=True).facts


def test_what_a_file_does_not_take_torch_runs_in_its_place(small: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    network = _load(Abacus(), small)
    larger = torch.rand(1, 3, 2 * SIDE, 2 * SIDE) * 2 - 1
    assert torch.equal(network(larger), _by_torch(small, larger))
    (note,) = network.notes
    assert "one size; torch took the place" in note
    assert network._unfit((_faces(),), None, {"seed": 3}) == "seed is not as it was exported"  # type: ignore[attr-defined]
    assert network._unfit((_faces(),), "fp16", {}) == "fp16 was asked for"  # type: ignore[attr-defined]

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(network, "_run", full)
    faces = _faces()
    assert torch.equal(network(faces), _by_torch(small, faces))
    assert any("memory" in each for each in network.notes)


def test_what_half_precision_breaks_is_computed_again(small: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    network = _load(Abacus(halves=True), small, BF16)
    assert network.precision == "bf16"
    run: Run = network._run  # type: ignore[attr-defined]
    calls: list[int] = []

    def breaks(inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        calls.append(1)
        return [each * np.float32("nan") if len(calls) == 2 else each for each in run(inputs)]

    monkeypatch.setattr(network, "_run", breaks)
    faces = _faces()
    assert _apart(network(faces), _by_torch(small, faces)) < 1e-3


def test_a_network_that_cannot_be_exported_is_remembered(small: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    from restorer.errors import ExportError

    shutil.rmtree(cache_folder())
    tries: list[int] = []

    def refused(*_: object) -> None:
        tries.append(1)
        raise ExportError("it has a loop")

    monkeypatch.setattr(Draft, "of", refused)
    for _ in range(2):
        assert _load(Abacus(), small).facts["reason"] == "onnxruntime: it has a loop"
    assert tries == [1]


def test_a_cache_that_cannot_be_written_leaves_the_network_with_torch(
    small: Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESTORER_CACHE", str(tmp_path / "file" / "cache"))
    path = Path(small.sources[0].removeprefix("file:"))
    network = Abacus().load(small, path, FP32)
    assert "it cannot be kept" in network.facts["reason"]
    assert network.facts["engine"] == "torch"


def test_a_package_or_a_unit_that_is_not_there_is_an_error_with_a_remedy(
    small: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeviceUnavailableError, match="no middle on this machine: it has left, right"):
        _load(Abacus("middle"), small)
    with pytest.raises(UsageError, match="torch has no units"):
        Pool().get(small, FP32, engine="torch:gpu", offline=True)
    monkeypatch.setattr(exported, "WRITERS", ("no_such_package",))
    with pytest.raises(MissingPackageError) as found:
        Pool().get(small, FP32, engine="onnxruntime", offline=True)
    assert found.value.remedy == 'Type: pip install "restorer[onnxruntime]"'


def test_a_fork_says_that_it_cannot_use_it(small: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    network = _load(Abacus(), small)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(DeviceUnavailableError, match="forked"):
        network(_faces())


# ------------------------------------------------------------------------------------------------------- what is kept


def test_half_a_file_does_not_count_and_other_versions_go(
    small: Table, monkeypatch: pytest.MonkeyPatch, made: tuple[Path, Path]
) -> None:
    path = made[0]
    found = kept.find(small, path)
    assert found is not None
    assert found.shape == (1, 3, SIDE, SIDE)
    assert sum(size for _, size in kept.of_table(small.name)) > found.about["size"]
    whole = found.model.read_bytes()
    found.model.write_bytes(whole[:-1])
    assert kept.find(small, path) is None
    found.model.write_bytes(whole)
    (found.folder / "about.json").write_text('{"name": "sma')
    assert kept.find(small, path) is None
    (found.folder / "about.json").write_text(json.dumps(found.about))

    monkeypatch.setattr(kept, "_code", lambda: "of tomorrow")
    assert kept.find(small, path) is None
    made_anew = kept.prepare(small, path)
    assert made_anew.folder != found.folder
    assert not found.folder.exists()
    assert kept.find(small, path) == made_anew
    assert kept.drop("another") == 0
    assert kept.drop(small.name) > len(whole)
    assert kept.of_table(small.name) == []


def test_an_export_is_of_the_weights_and_the_versions(
    small: Table, monkeypatch: pytest.MonkeyPatch, made: tuple[Path, Path]
) -> None:
    path = made[0]
    first = kept._folder(small, path)
    changes: dict[str, Any] = {
        "_version": lambda name: "9", "OPSET": 99, "fingerprint": lambda *_: "other weights", "_code": lambda: "other",
    }  # fmt: skip
    for name, value in changes.items():
        with monkeypatch.context() as patch:
            patch.setattr(kept, name, value)
            assert kept._folder(small, path) != first
        assert kept._folder(small, path) == first


# --------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def portrait(tmp_path: Path) -> str:
    from PIL import Image

    from restorer.evaluation.ageing import photograph

    Image.fromarray(photograph()).resize((96, 96)).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def test_the_command_says_which_engine_ran_what(
    small: Table, portrait: str, made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, out = {}, tmp_path / "out.png"
    for engine in ("torch", "onnxruntime"):
        words = ("--model", str(made[0]), "--aligned", "--background", "lanczos", "--always", "--device", "cpu")
        more = ("--precision", "fp32", "--offline", "--json", "-o", str(out), "--overwrite")
        records[engine] = json.loads(restore(capsys, portrait, *words, *more, "--engine", engine).out)
    by_torch, by_other = records["torch"], records["onnxruntime"]
    assert (by_torch["engine"], by_other["engine"]) == ("torch", "onnxruntime")
    (ours,), (theirs,) = by_torch["networks"].values(), by_other["networks"].values()
    assert (ours["engine"], ours["device"], ours["precision"]) == ("torch", "cpu", "fp32")
    assert ours["convolutions"] in ("direct", "packed", "winograd")
    assert ours["instructions"]
    assert (theirs["engine"], theirs["unit"], theirs["precision"]) == ("onnxruntime", "cpu", "fp32")
    assert not by_other["warnings"]
    found = kept.find(small, made[0])
    assert found is not None
    (outcome,) = found.folder.glob("onnxruntime-cpu-*.json")
    outcome.write_text(json.dumps({"reason": "it sleeps", "difference": None}))
    gc.collect()  # the network of that run goes
    done = restore(capsys, portrait, *words, *more, "--engine", "onnxruntime")
    assert json.loads(done.out)["engine"] == "torch"
    assert any(
        "since onnxruntime does not: onnxruntime: cpu: it sleeps" in each for each in json.loads(done.out)["warnings"]
    )
    done = restore(capsys, portrait, *words, "--offline", "--engine", "abacus", code=2)
    assert "--engine abacus is not known" in done.err


def test_every_face_restorer_is_exported_or_says_why_not() -> None:
    for name, architecture in REGISTRY.items():
        if isinstance(architecture, FaceArchitecture):
            assert (exported.unsuited(architecture) is None) == (architecture.unexportable is None), name
