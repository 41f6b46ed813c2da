"""`restore doctor`: that each thing it looks at is found when it breaks, with a remedy, and exit code 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import pytest

from restorer.cli import diagnosis
from restorer.cli import doctor as command
from restorer.cli.diagnosis import devices, packages
from restorer.cli.diagnosis.base import Check, Status
from restorer.cli.diagnosis.devices import Devices
from restorer.cli.diagnosis.folders import Folders
from restorer.cli.diagnosis.network import Network
from restorer.cli.diagnosis.packages import Packages
from restorer.cli.diagnosis.weights import Weights
from restorer.evaluation import basicsr_compat
from tests.support import standins
from tests.support.basicsr import needs_basicsr
from tests.support.hub import Hub
from tests.support.in_process import restore

ROOT = Path(__file__).resolve().parents[2]


def only(checks: Iterable[Check]) -> Check:
    (check,) = checks
    return check


# -------------------------------------------------------------------------------------------------- as it is here


@pytest.fixture(scope="module")
def here() -> list[Check]:
    """All checks of this machine, without the network."""
    return list(diagnosis.examine(offline=True))


def test_a_machine_that_runs_the_tests_is_sound(here: list[Check]) -> None:
    assert [check for check in here if check.status == "broken"] == []
    names = {(check.group, check.name) for check in here}
    assert {("Versions", each) for each in ("python", "torch", "opencv-python", "basicsr", "facexlib")} <= names
    assert {("Devices", "cpu"), ("Devices", "threads"), ("Folders", "cache"), ("Folders", "hub cache")} <= names
    assert {("Weights", "here"), ("Weights", "defaults"), ("Network", "hub")} <= names


def test_versions_are_those_of_the_modules(here: list[Check]) -> None:
    import cv2
    import torch

    versions = {check.name: check.facts.get("version") for check in here if check.group == "Versions"}
    assert versions["torch"] == torch.__version__
    assert versions["opencv-python"] == cv2.__version__


def test_devices_compute(here: list[Check]) -> None:
    from restorer.engine.device import allowed_cores, choose

    cpu = next(check for check in here if check.name == "cpu")
    for precision in ("fp32", "bf16"):
        assert 0 <= cpu.facts[precision]["error"] < devices.TOLERANCE[precision]
        assert cpu.facts[precision]["seconds"] > 0
    assert cpu.facts["bf16"]["error"] > cpu.facts["fp32"]["error"]  # it did compute in bf16
    assert cpu.facts["precision"] == choose("cpu").precision
    assert next(check for check in here if check.name == "threads").facts["allowed"] == allowed_cores()


def test_the_command_prints_checks_and_remedies(
    here: list[Check], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(diagnosis, "examine", lambda *, offline: iter(here))
    done = restore(capsys, "doctor")
    assert "Nothing is broken." in done.out
    assert done.out.count("Versions\n") == done.out.count("Devices\n") == 1
    found = json.loads(restore(capsys, "doctor", "--json").out)
    assert found["ok"] is True
    assert [check["name"] for check in found["checks"]] == [*(check.name for check in here), "restore.toml"]

    broken = Check("Devices", "cuda:0", "broken", "does not compute: [x]", "Update the driver.")
    monkeypatch.setattr(diagnosis, "examine", lambda *, offline: iter([*here, broken]))
    done = restore(capsys, "doctor", code=1)
    assert "BROKEN  cuda:0: does not compute: [x]" in done.out
    assert "Update the driver." in done.out
    assert json.loads(restore(capsys, "doctor", "--json", code=1).out)["ok"] is False


def test_offline_reaches_the_checks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[bool] = []

    def examine(*, offline: bool) -> Iterable[Check]:
        asked.append(offline)
        return iter(())

    monkeypatch.setattr(diagnosis, "examine", examine)
    restore(capsys, "doctor", "--offline")
    restore(capsys, "doctor")
    assert asked == [True, False]


def test_every_status_has_its_mark() -> None:
    assert set(command.MARKS) == set(get_args(Status))


# ------------------------------------------------------------------------------------------------------- packages


def package(monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> Check:
    """Check a stand-in of OpenCV."""
    module = types.ModuleType("cv2")
    module.__dict__.update(attributes)
    monkeypatch.setitem(sys.modules, "cv2", module)
    return Packages().package("opencv-python", "cv2")


def test_opencv_4_shifts_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    assert package(monkeypatch, __version__="5.1.0").status == "ok"
    old = package(monkeypatch, __version__="4.11.0")
    assert old.status == "broken"
    assert 'pip install --upgrade "opencv-python>=5.0"' in str(old.remedy)


def test_packages_that_cannot_be_imported_in_a_process_of_their_own(tmp_path: Path) -> None:
    """The whole command with a broken torchvision and OpenCV: it names both, and goes on to the end."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    done = subprocess.run(
        [sys.executable, "-m", "restorer", "doctor", "--json", "--offline"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert "libGL.so.1" in checks["opencv-python"]["detail"]
    assert "opencv-python-headless" in checks["opencv-python"]["remedy"]
    assert "nms" in checks["torchvision"]["detail"]
    assert "pip install --upgrade torch torchvision" in checks["torchvision"]["remedy"]
    assert checks["basicsr"]["status"] == ("broken" if basicsr_compat.folders() else "note")
    assert checks["cpu"]["status"] == checks["restore.toml"]["status"] == "ok"


def test_a_package_that_is_not_there() -> None:
    check = Packages().package("no-such-thing", "no_such_thing")
    assert check.status == "broken"
    assert "pip install no_such_thing" in str(check.remedy)


def test_two_opencvs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "installed", lambda name: "5.0.0")
    check = only(Packages().several_opencvs())
    assert check.status == "note"
    assert "pip uninstall" in str(check.remedy)


@pytest.mark.parametrize(("version", "status"), [((3, 12, 9), "broken"), ((3, 13, 0), "note")])
def test_basicsr_is_not_missed_where_it_cannot_be(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], status: str
) -> None:
    """Under a Python for which there is none, a tool without it is sound."""
    monkeypatch.setattr(
        "restorer.cli.diagnosis.packages.sys", types.SimpleNamespace(version_info=version, modules=sys.modules)
    )
    monkeypatch.setattr(packages, "installed", lambda name: None if name == "basicsr" else "0.3.0")
    check = next(check for check in Packages().compatibility() if check.name == "basicsr")
    assert check.status == status
    assert "evaluate" in check.detail or status == "broken"


@needs_basicsr
def test_basicsr_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torchvision.transforms.functional_tensor'")

    monkeypatch.setattr("restorer.evaluation.basicsr_compat.import_basicsr", fail)
    checks = {check.name: check for check in Packages().compatibility()}
    assert checks["basicsr"].status == "broken"
    assert "functional_tensor" in checks["basicsr"].detail
    assert checks["facexlib"].status == "ok"


# -------------------------------------------------------------------------------------------------------- devices


def test_a_device_that_computes_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "compute", lambda name, precision: (0.5 if precision == "bf16" else 0.0, 0.1))
    check = Devices().device("cpu", "cpu")
    assert check.status == "broken"
    assert "bf16" in check.detail


def test_not_a_number_is_wrong_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "compute", lambda name, precision: (float("nan"), 0.1))
    assert Devices().device("cpu", "cpu").status == "broken"


def test_a_device_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, precision: str) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nmore")

    monkeypatch.setattr(devices, "compute", fail)
    check = Devices().device("cpu", "cpu")
    assert check.status == "broken"
    assert check.detail == "does not compute: CUDA error: no kernel image is available"
    assert "--device cpu" in str(check.remedy)


def test_a_gpu_that_torch_does_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers run on the CPU without a word."""
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert list(Devices().unused_gpu(True, "13.0")) == []
    without = only(Devices().unused_gpu(False, None))
    assert without.status == "broken"
    assert "built without CUDA" in without.detail
    assert "driver" in str(only(Devices().unused_gpu(False, "13.0")).remedy)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert only(Devices().unused_gpu(False, "13.0")).status == "note"


def test_looking_leaves_torchs_threads_alone() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        list(Devices().look())
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


# ------------------------------------------------------------------------------------------------ folders and disk


def test_folders_are_written_to_and_made_by_nobody(tmp_path: Path) -> None:
    check = Folders().folder("cache", tmp_path / "deep/er", "RESTORER_CACHE")
    assert check.status == "ok"
    assert check.facts["free"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check = Folders().folder("cache", tmp_path / "file/cache", "RESTORER_CACHE")
    assert check.status == "broken"
    assert str(tmp_path / "file/cache") in check.detail
    assert "RESTORER_CACHE" in str(check.remedy)
    assert Folders().folder("settings", tmp_path / "file/x", "RESTORER_CONFIG", needed=False).status == "note"


def test_little_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = types.SimpleNamespace(free=400_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    check = Folders().folder("hub cache", tmp_path, "HF_HOME")
    assert check.status == "note"
    assert "0.4 GB free" in check.detail
    missing = {check.name: check for check in Weights().look()}["defaults"]
    assert missing.status == "broken"
    assert "400 MB are free" in missing.detail


# -------------------------------------------------------------------------------------------------------- weights


def test_weights_are_verified_and_wrong_ones_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("good", "bad"):
        (tmp_path / f"{name}.pth").write_bytes(name.encode() * 1000)
    tables = "".join(standins.table(name, "gfpgan", tmp_path / f"{name}.pth") for name in ("good", "bad"))
    (tmp_path / "weights.toml").write_text(tables)
    (tmp_path / "bad.pth").write_bytes(b"bat" * 1000)
    monkeypatch.setenv("RESTORER_WEIGHTS", str(tmp_path / "weights.toml"))
    checks = {check.name: check for check in Weights().look()}
    assert "good" in checks["here"].facts["verified"]
    assert "bad" not in checks["here"].facts["verified"]
    assert checks["bad"].status == "broken"
    assert str(tmp_path / "bad.pth") in checks["bad"].detail


def test_what_a_plain_run_would_download(here: list[Check]) -> None:
    check = next(check for check in here if check.name == "defaults")
    assert check.status == "note"
    assert {"gfpgan-1.4", "retinaface-r50", "parsenet"} <= set(check.facts["missing"])
    assert "349 MB" in check.detail
    assert "restore models pull gfpgan-1.4" in str(check.remedy)


def test_a_broken_weights_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORER_WEIGHTS", str(tmp_path / "missing.toml"))
    check = only(Weights().look())
    assert check.status == "broken"
    assert "missing.toml" in check.detail


def test_a_broken_restore_toml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(diagnosis, "examine", lambda *, offline: iter(()))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "restore.toml").write_text("skale = 2")
    done = restore(capsys, "doctor", code=1)
    assert "skale" in done.out
    assert "Did you mean scale" in done.out


# -------------------------------------------------------------------------------------------------------- network


def network(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Check:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return only(Network(False).look())


def test_a_hub_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as hub:
        check = network(monkeypatch, hub.url)
        assert hub.requests
    assert check.status == "ok"
    assert check.facts["endpoint"] == hub.url


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is no fault of the machine: the built-in models restore photos without one."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    checks = list(Network(False).look())
    assert {check.status for check in checks} == {"note"}
    assert "--offline" in str(checks[0].remedy)
    told = " ".join(check.detail for check in checks[1:])
    for name in ("gfpgan-1.4", "glean-128", "retinaface-r50", "parsenet"):
        assert name in told
    assert "the built-in models take over" in told


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda: types.SimpleNamespace(status_code=503), "503"),
        (lambda: (_ for _ in ()).throw(OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")), "CERTIFICATE"),
    ],
)
def test_a_hub_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], object], word: str) -> None:
    session = types.SimpleNamespace(head=lambda url, timeout: answer())
    monkeypatch.setattr("huggingface_hub.get_session", lambda: session)
    with Hub() as hub:
        check = network(monkeypatch, hub.url)
    assert check.status == "note"
    assert word in check.detail
    if word == "CERTIFICATE":
        assert "SSL_CERT_FILE" in str(check.remedy)


def test_nobody_is_asked_when_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert [check.status for check in Network(True).look()] == ["skipped", "note"]
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert [check.status for check in Network(False).look()] == ["skipped", "note"]
        assert hub.requests == []
