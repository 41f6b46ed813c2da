"""Which engine runs a network is decided by what is known of the machine before, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from restorer.engine import choice
from restorer.engine import hardware as facts
from restorer.engine.arithmetic import capability
from restorer.engine.choice import MEASURED, Measured, candidates, check, quicker
from restorer.engine.hardware import Hardware, hardware, settle, versions
from restorer.errors import DeviceUnavailableError, RestorerError, UsageError
from restorer.models import REGISTRY
from restorer.options import Options
from restorer.pipeline.components import Components

HERE = Hardware("AVX512", True, (("onnxruntime", "1.20.0"), ("openvino", "2026.4.1")))
ENTRY = Measured("openvino:cpu", "gfpgan", "bf16", "AVX512", True, (2026, 4), 0.7, "a command")


def test_another_engine_is_taken_only_where_it_was_measured() -> None:
    table = (ENTRY, replace(ENTRY, engine="onnxruntime:cpu", least=(1, 20), ratio=0.8))
    assert quicker("gfpgan", "bf16", HERE, table) == "openvino:cpu"
    assert quicker("gfpgan", "bf16", HERE, table[::-1]) == "openvino:cpu"
    older = replace(HERE, engines=(("onnxruntime", "1.20"), ("openvino", "2026.3.9")))
    assert quicker("gfpgan", "bf16", older, table) == "onnxruntime:cpu"
    for other in (replace(HERE, instructions="AVX2"), replace(HERE, amx=False), replace(HERE, engines=())):
        assert quicker("gfpgan", "bf16", other, table) is None
    assert quicker("gfpgan", "fp32", HERE, table) is None
    assert quicker("glean", "bf16", HERE, table) is None
    assert quicker("gfpgan", "bf16", replace(HERE, engines=(("openvino", "unknown"),)), table) is None


def test_what_is_shipped_names_what_there_is_and_was_measured_well_enough() -> None:
    for each in MEASURED:
        name, _, unit = each.engine.partition(":")
        assert unit in choice.UNITS[name]
        assert each.architecture in REGISTRY
        assert each.ratio <= 0.9
        assert "restorer.bench engines" in each.by


def test_nothing_is_asked_of_the_machine_where_nothing_could_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "is_installed", lambda name: False)
    monkeypatch.setattr(facts, "is_installed", lambda name: False)
    assert not candidates("gfpgan", (ENTRY,))
    assert versions() == {}
    monkeypatch.setattr(choice, "is_installed", lambda name: name == "openvino")
    assert candidates("gfpgan", (ENTRY,))
    assert not candidates("glean", (ENTRY,))


@pytest.mark.parametrize(
    ("asked", "device", "wanted"),
    [
        ("auto", "cuda", "auto"), ("torch", "mps", "torch"), ("openvino", "auto", "openvino"),
        ("openvino", "cpu", "openvino:cpu"), ("openvino:gpu", "auto", "openvino:gpu"),
        ("onnxruntime", "cuda:0", "onnxruntime:cuda"), ("onnxruntime", "mps", "onnxruntime:coreml"),
        ("onnxruntime:cpu", "cpu", "onnxruntime:cpu"), ("own", "cpu", "own"),
    ],
)  # fmt: skip
def test_a_device_names_the_unit(asked: str, device: str, wanted: str) -> None:
    assert check(asked, device, lambda: ["torch", "own"]) == wanted


@pytest.mark.parametrize(
    ("asked", "device", "error", "remedy"),
    [
        ("openvion", "auto", UsageError, "openvino"), ("openvino:directml", "auto", UsageError, ""),
        ("torch:cpu", "auto", UsageError, "torch"), ("own:gpu", "auto", UsageError, ""),
        ("openvino", "cuda:0", DeviceUnavailableError, "torch"),
        ("openvino:gpu", "cpu", DeviceUnavailableError, "device"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_a_remedy(
    asked: str, device: str, error: type[RestorerError], remedy: str
) -> None:
    with pytest.raises(error, match=f"engine.*{asked}") as found:
        check(asked, device, lambda: ["torch", "own"])
    assert remedy in str(found.value.remedy)
    with pytest.raises(error):
        Components(Options(model="tiny", engine=asked, device=device))


def test_choices_are_made_for_the_hardware_that_was_settled() -> None:
    own = hardware()
    try:
        settle(replace(own, instructions="of the driver"))
        assert capability() == "of the driver"
        settle(None)
        assert (hardware(), capability()) == (own, own.instructions)
    finally:
        settle(None)


def test_auto_follows_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint says what it came to; where that is torch, it is as it was before there was a choice."""
    from restorer import Restorer
    from restorer.pipeline import running

    options = {"model": "tiny", "detector": "tiny-detector", "background": "lanczos", "precision": "fp32"}
    plain = Restorer(**options, device="cpu").note("0" * 64).fingerprint  # type: ignore[arg-type]
    entry = replace(ENTRY, architecture="lightglean", precision="fp32", instructions="here", amx=False)
    monkeypatch.setattr(choice, "MEASURED", (entry,))
    monkeypatch.setattr(choice, "is_installed", lambda name: True)
    settle(Hardware("here", False, (("openvino", "2030.1"),)))
    try:
        restorer = Restorer(**options, device="cpu")  # type: ignore[arg-type]
        assert running.engine_of(restorer.components, restorer.components.model_table()) == "openvino:cpu"
        assert running.engine_of(restorer.components, restorer.components.detector_table()) == "torch"
        chosen = restorer.note("0" * 64).fingerprint
        named = Restorer(**options, device="cpu", engine="openvino").note("0" * 64).fingerprint  # type: ignore[arg-type]
        avoided = Restorer(**options, device="cpu", engine="torch").note("0" * 64).fingerprint  # type: ignore[arg-type]
        assert chosen == named != plain == avoided
        settle(Hardware("elsewhere", False, (("openvino", "2030.1"),)))
        assert Restorer(**options, device="cpu").note("0" * 64).fingerprint == plain  # type: ignore[arg-type]
    finally:
        settle(None)
