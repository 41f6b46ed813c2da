"""Every golden record through the way that every table goes: file, translation, layout check, network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.golden import FOLDER, Record, difference, load

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


def test_record_of_this_repository(tmp_path: Path) -> None:
    check(Record.read(FOLDER / "gfpgan_clean_64_narrow.json"), tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_record_of_official_size(name: str, shared: Path, tmp_path: Path) -> None:
    check(Record.read(shared / f"golden/{name}.json"), tmp_path)


@pytest.mark.shared
def test_every_record_is_tested(shared: Path) -> None:
    assert {path.stem for path in (shared / "golden").glob("*.json")} == set(ARCHITECTURES)
