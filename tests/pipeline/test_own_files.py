"""Files of one's own are what is run, whatever they are called: like each other, or like a table."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import restorer
from restorer import Restorer
from restorer.batch import operations
from restorer.batch.discovery import Job
from restorer.batch.estimate import Load
from restorer.batch.outlook import Outlook, estimate_run
from restorer.engine.device import Device
from restorer.models import REGISTRY
from restorer.photo.header import Header
from restorer.weights import FileHeader, write
from tests.support.parts import Detector, face_at

DATA = Path(restorer.__file__).parent / "data"


def own(folder: Path, name: str, table: str) -> str:
    """Return a copy of a built-in file under a name."""
    folder.mkdir(exist_ok=True)
    return str(shutil.copy(DATA / f"{table}.safetensors", folder / f"{name}.safetensors"))


def photo() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (120, 120, 3)).astype(np.uint8)


def test_two_files_of_one_name_are_two_networks(tmp_path: Path) -> None:
    model, background = own(tmp_path / "a", "net", "tiny"), own(tmp_path / "b", "net", "tiny-upscaler")
    found = Detector([face_at((60, 60), 25)])
    run = Restorer(model, background=background, detector=found, device="cpu", offline=True)
    record = run.restore(photo()).record
    assert (record["model"], record["background"], record["faces"][0]["restored"]) == ("net", "net", True)


def test_an_upscaler_that_is_called_like_a_table_is_the_file(tmp_path: Path) -> None:
    architecture = REGISTRY["tinyupscaler"]
    arguments = {"widths": [8, 8, 8], "blocks": [1, 1, 1]}
    state = {key: torch.zeros_like(value) for key, value in architecture.build(arguments).state_dict().items()}
    path = tmp_path / "tiny-upscaler.safetensors"
    write(state, path, FileHeader(architecture.name, arguments))
    run = Restorer("none", background=str(path), device="cpu", offline=True)
    upscaler, _ = run.components.background((120, 120))
    assert upscaler.network.arguments["widths"] == [8, 8, 8]  # type: ignore[attr-defined]


def test_a_model_that_is_called_like_a_built_in_one_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`restore train tiny` writes such a file; mask, detector and background are chosen as for any other."""
    monkeypatch.setattr("restorer.weights.missing", lambda *_tables, **_more: {})
    chosen = []
    for name in ("tiny", "other"):
        components = Restorer(own(tmp_path, name, "tiny"), device="cpu").components
        chosen.append((components.mask_name, components.detector_name(), components.background_name((100, 100))))
    assert chosen[0] == chosen[1]
    assert chosen[0][0] == "parsenet"
    components = Restorer("tiny", device="cpu").components
    assert (components.mask_name, components.detector_name()) == ("landmarks", "tiny-detector-free")


JOB = Job(Path("a.png"), Path(), target=Path("b.png"), format="PNG", header=Header("PNG", (100, 100), 30_000))


def test_a_long_run_is_estimated_with_files_of_ones_own(tmp_path: Path) -> None:
    background, detector = own(tmp_path, "up", "tiny-upscaler"), own(tmp_path, "find", "tiny-detector")
    run = Restorer("tiny", background=background, detector=detector, device="cpu", offline=True)
    assert estimate_run(run, Outlook.of([JOB], [Load(0.04)])).rates.face > 0


def test_a_full_gpu_ends_no_estimate() -> None:
    def full(_self: Device, _precision: object = None) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 256.00 MiB.")

    class Full(Device):
        kind = "cuda"
        autocast = full  # type: ignore[assignment]

    assert operations.operations_per_second(Full("cpu", "fp32")) > 0
