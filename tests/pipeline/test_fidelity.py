"""--fidelity auto: of several the one nearest to references, or to the photo; what was tried is written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from restorer import Restorer
from restorer.models import REGISTRY
from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.templates import FACEXLIB
from restorer.pipeline.components import Components
from tests.pipeline.test_references import FACES, Likeness, at_work, red
from tests.support.in_process import restore
from tests.support.parts import Detector
from tests.support.standins import table

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def likeness(monkeypatch: pytest.MonkeyPatch) -> Likeness:
    compares = Likeness()
    monkeypatch.setattr(Components, "recogniser", lambda _self: compares)
    return compares


class Knob(FaceArchitecture):
    """Reddens a face by twice its fidelity, and blurs it away at 1."""

    name = "knob"
    controls = ("fidelity",)

    def crop(self, arguments: Any) -> CropSpec:
        return CropSpec(64, 64, 64, FACEXLIB)

    def build(self, arguments: Any) -> torch.nn.Module:
        return torch.nn.Conv2d(3, 3, 1)

    def restore(
        self, network: Any, crops: torch.Tensor, *, fidelity: float | None = None, seed: int | None = None
    ) -> torch.Tensor:
        value = 0.5 if fidelity is None else fidelity
        texture = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
        texture = texture * (0.0 if value == 1 else 0.2)
        return crops + 0.6 * value * torch.tensor([1.0, 0, 0])[:, None, None] + texture


@pytest.fixture
def knob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    REGISTRY.add(Knob())
    save_file({"weight": torch.zeros(3, 3, 1, 1), "bias": torch.zeros(3)}, tmp_path / "k.safetensors")
    (tmp_path / "knob.toml").write_text(table("knob", "knob", tmp_path / "k.safetensors"))
    monkeypatch.setenv("RESTORER_WEIGHTS", str(tmp_path / "knob.toml"))
    yield
    REGISTRY._architectures.pop("knob")


def test_auto_takes_the_fidelity_nearest_to_the_references(knob: None, likeness: Likeness, tmp_path: Path) -> None:
    red(0.35, tmp_path / "a.png")  # 0.2 and 0.5 times 0.3 more red is the nearest of five
    given: dict[str, Any] = {"reference": tmp_path / "a.png", "batch_size": 2}
    result = at_work("knob", FACES, fidelity="auto", **given).restore(red(0.2))
    for face in result.faces:
        assert face.fidelity is not None
        assert face.reference is not None
        assert (face.fidelity["chosen"], face.fidelity["by"]) == (0.5, "references")
        assert [row["value"] for row in face.fidelity["tried"]] == [0, 0.25, 0.5, 0.75, 1]
        assert face.reference["after"] == pytest.approx(
            max(row["nearness"] for row in face.fidelity["tried"]), abs=0.01
        )
    named = at_work("knob", FACES, fidelity=0.5, **given).restore(red(0.2))
    assert np.array_equal(result.image, named.image)
    assert named.faces[0].fidelity is None
    assert result.record["faces"][0]["fidelity"]["chosen"] == 0.5


def test_without_references_auto_keeps_the_sharpness_and_is_near_the_photo(knob: None, likeness: Likeness) -> None:
    photo = red(0.5)
    (face, _) = at_work("knob", FACES, fidelity="auto").restore(photo).faces
    assert face.fidelity is not None
    assert (face.fidelity["chosen"], face.fidelity["by"]) == (0.0, "photo")


def test_without_a_recogniser_auto_compares_pixels_and_says_so(knob: None) -> None:
    said: list[str] = []
    (face, _) = at_work("knob", FACES, fidelity="auto", offline=True, warn=said.append).restore(red(0.5)).faces
    assert face.fidelity is not None
    assert (face.fidelity["chosen"], face.fidelity["by"]) == (0.0, "pixels")
    assert said[0].startswith("Fidelities are compared by their pixels alone: ")


def test_auto_is_a_value_wherever_fidelity_is(
    knob: None, likeness: Likeness, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Components, "detector", lambda _self: Detector(FACES))
    red(0.5, tmp_path / "photo.png")
    common = ("photo.png", "-o", "out.png", "--model", "knob", "--background", "lanczos", "--always", "--overwrite")
    done = restore(capsys, *common, "--fidelity", "auto", "--json")
    assert json.loads(done.out)["faces"][0]["fidelity"]["chosen"] == 0
    Path("restore.toml").write_text('fidelity = "auto"\n')
    assert "fidelity 0" in restore(capsys, *common, "-v").err
    Path("restore.toml").write_text('fidelity = "most"\n')
    assert "fidelity must be a number" in restore(capsys, *common, code=2).err
    Path("restore.toml").unlink()
    assert "--fidelity" in restore(capsys, *common, "--fidelity", "most", code=2).err
    assert (
        "has no fidelity control" in restore(capsys, "photo.png", "--model", "tiny", "--fidelity", "auto", code=2).err
    )
    assert "auto" in restore(capsys, "completion", "suggest", "--", "--fidelity", "").out
    both = {Restorer("knob", fidelity=each).note("0" * 64).fingerprint for each in ("auto", 0.5, None)}
    assert len(both) == 3
