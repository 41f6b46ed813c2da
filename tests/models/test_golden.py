"""Every golden record through the way that every table goes: file, translation, layout check, network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from restorer.engine.arithmetic import quicken
from restorer.engine.casting import cast_weights, pack_weights
from restorer.engine.device import Device
from restorer.engine.torch_engine import TorchNetwork
from restorer.faces.restoring import NetworkFaceRestorer
from tests.support.golden import FOLDER, Record, difference, load

TOLERANCE = 1e-3
ARCHITECTURES = {
    "gfpgan_clean_64_narrow": "gfpgan",
    "gfpgan_clean_512": "gfpgan",
    "gfpgan_original_512": "gfpgan-original",
    "glean_cat_8x": "glean",
    "glean_ffhq_16x": "glean",
    "glean_in128out1024": "glean",
    "gpen_bfr_256": "gpen",
    "gpen_bfr_512": "gpen",
    "restoreformer_512": "restoreformer",
    "stylegan2_rosinality_256": "stylegan2",
}
BATCHED = ("gfpgan_clean_64_narrow", "gpen_bfr_256", "stylegan2_rosinality_256", "gfpgan_original_512")
"""Those that are quick enough to run again, several at once; the path of a batch is the same at every size."""


def check(record: Record, folder: Path) -> None:
    name = record.path.stem
    record.write(folder / f"{name}.pth")
    loaded = load(ARCHITECTURES[name], folder / f"{name}.pth")
    inputs, expected = record.tensors()
    stride = record.stride
    with torch.inference_mode():
        single = torch.cat([loaded.network(one[None])[..., ::stride, ::stride] for one in inputs])
        assert difference(single, expected) < TOLERANCE
        if name not in BATCHED:
            return
        if len(inputs) == 1:
            inputs = torch.cat([inputs.flip(-1), inputs])
        batch = loaded.network(inputs)[..., ::stride, ::stride]
        assert difference(batch[-len(expected) :], expected) < TOLERANCE
        assert difference(batch[-1], single[-1]) < 1e-4


def check_bf16(record: Record, folder: Path) -> None:
    """As a run on a CPU with bf16 does: the weights cast once, the rest by autocast."""
    name = record.path.stem
    record.write(folder / f"{name}.pth")
    network = load(ARCHITECTURES[name], folder / f"{name}.pth").network
    before = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    cast_weights(network, torch.bfloat16)
    pack_weights(network)
    assert sum(parameter.numel() * parameter.element_size() for parameter in network.parameters()) < 0.7 * before
    inputs, expected = record.tensors()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        rough = network(inputs)[..., :: record.stride, :: record.stride].float()
    assert float((rough - expected).square().mean().sqrt()) < 0.02 * float(expected.std())


def test_bf16_costs_at_most_two_percent(tmp_path: Path) -> None:
    check_bf16(Record.read(FOLDER / "gfpgan_clean_64_narrow.json"), tmp_path)


LARGEST = frozenset({"glean_in128out1024", "glean_ffhq_16x"})
"""Records whose networks take ten seconds and more."""


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["gfpgan_clean_512", pytest.param("glean_in128out1024", marks=pytest.mark.slow), "gpen_bfr_256"]
)
def test_bf16_costs_at_most_two_percent_at_official_size(name: str, shared: Path, tmp_path: Path) -> None:
    check_bf16(Record.read(shared / f"golden/{name}.json"), tmp_path)


def test_record_of_this_repository(tmp_path: Path) -> None:
    check(Record.read(FOLDER / "gfpgan_clean_64_narrow.json"), tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LARGEST else []) for name in sorted(ARCHITECTURES)],
)
def test_record_of_official_size(name: str, shared: Path, tmp_path: Path) -> None:
    check(Record.read(shared / f"golden/{name}.json"), tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "least"), [("gfpgan_clean_512", 8), pytest.param("glean_in128out1024", 9, marks=pytest.mark.slow)]
)
def test_fewer_multiplications_give_the_same_picture(name: str, least: int, shared: Path, tmp_path: Path) -> None:
    """As a run in fp32 on a CPU does, by the rule of the commonest processors, whatever this one is."""
    record = Record.read(shared / f"golden/{name}.json")
    record.write(tmp_path / "file.pth")
    network = load(ARCHITECTURES[name], tmp_path / "file.pth").network
    assert quicken(network, "AVX512") >= least
    inputs, expected = record.tensors()
    with torch.inference_mode():
        found = network(inputs[:1])[..., :: record.stride, :: record.stride]
    assert difference(found, expected[:1]) < TOLERANCE


@pytest.mark.shared
def test_every_record_is_tested(shared: Path) -> None:
    assert {path.stem for path in (shared / "golden").glob("*.json")} == set(ARCHITECTURES)


@pytest.mark.parametrize("value", [float("nan"), -1.0])
def test_a_face_that_bf16_breaks_is_redone_with_the_full_weights(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not-a-number, or all black."""
    record = Record.read(FOLDER / "gfpgan_clean_64_narrow.json")
    record.write(tmp_path / "file.pth")
    loaded = load("gfpgan", tmp_path / "file.pth")
    inputs, expected = record.tensors()
    restorer = NetworkFaceRestorer(TorchNetwork(loaded, Device("cpu", "bf16")))
    plain = type(loaded.network).forward
    seen = []

    def broken(self: Any, *tensors: torch.Tensor, **controls: Any) -> torch.Tensor:
        output: torch.Tensor = plain(self, *tensors, **controls)
        seen.append(next(self.parameters()).dtype)
        if torch.is_autocast_enabled("cpu"):
            output[0] = value
        return output

    monkeypatch.setattr(type(loaded.network), "forward", broken)
    output = restorer.restore(inputs)
    assert len(seen) == 2
    assert difference(output[:1], expected[:1]) < TOLERANCE  # in fp32, and with weights that were never rounded
    assert len(output) == 1 or difference(output[1:], expected[1:]) > TOLERANCE
