"""Networks as ONNX files: the same picture in ONNX Runtime for each architecture, and none kept that gives another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from restorer.errors import ExportError, MissingPackageError, OutputExistsError, UsageError
from restorer.evaluation.ageing import photograph
from restorer.models import REGISTRY, exporter
from restorer.models.base import FaceArchitecture, LoadedNetwork, ParserArchitecture
from restorer.models.exporter import TOLERANCE, export, shape_of
from restorer.weights import Table
from tests.support.in_process import restore

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")
Capture = pytest.CaptureFixture[str]

SMALL: dict[str, dict[str, Any]] = {
    "gfpgan": {"out_size": 64, "narrow": 0.125, "num_style_feat": 32},
    "gfpgan-original": {"out_size": 64, "narrow": 0.125, "num_style_feat": 32},
    "gpen": {"size": 64, "narrow": 0.125, "style_dim": 32},
    "glean": {
        "in_size": 32, "out_size": 128, "narrow": 0.125, "num_rrdbs": 1, "rrdb_channels": 8, "style_channels": 32,
    },
    "lightglean": {
        "in_size": 32, "out_size": 128, "narrow": 0.125, "num_rrdbs": 1, "rrdb_channels": 8, "style_channels": 32,
    },
    "faceunet": {"size": 64, "widths": [8, 8, 16, 16]},
    "restoreformer": {}, "restoreformer++": {}, "codeformer": {},
    "rrdbnet": {"num_feat": 8, "num_block": 1, "num_grow_ch": 4},
    "srvggnet": {"num_feat": 8, "num_conv": 2},
    "tinyupscaler": {"widths": [8, 8], "blocks": [1, 1]},
    "tinydetector": {}, "retinaface": {"network_name": "mobile0.25"},
    "parsenet": {"base_ch": 32}, "bisenet": {}, "mobilefacenet": {},
}  # fmt: skip
"""Arguments of small networks; the codebook ones have one size."""
TINY: dict[str, dict[str, Any]] = {
    "gfpgan": {"out_size": 8, "narrow": 0.125, "num_style_feat": 16},
    "gfpgan-original": {"out_size": 8, "narrow": 0.125, "num_style_feat": 16},
    "gpen": {"size": 8, "narrow": 0.125, "style_dim": 16},
    "glean": {"in_size": 8, "out_size": 16, "style_channels": 16},
    "lightglean": {"in_size": 8, "out_size": 16, "style_channels": 16},
    "faceunet": {"size": 16, "widths": [8, 8], "blocks": [1, 1]},
    "srvggnet": {},
}
"""Each face model so small that its graph is written in two or three seconds; the larger ones are slow tests."""
CODEBOOKS = ("restoreformer", "restoreformer++", "codeformer")


def drawn(name: str, **given: Any) -> LoadedNetwork:
    """Return a network of drawn weights, of about the scale of trained ones."""
    architecture = REGISTRY[name]
    arguments = {**architecture.defaults, **SMALL.get(name, {}), **given}
    network = architecture.build(arguments)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            std = max(parameter[0].numel(), 1) ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.normal_(std=std, generator=generator)
    table = Table(name=name, architecture=name, sources=(), sha256="0" * 64, license="none")
    return LoadedNetwork(network.eval().requires_grad_(False), table, architecture, arguments)


def test_each_kind_of_picture_network_has_an_example_here() -> None:
    searching = {"pulse", "mganprior"}
    kinds = {name for name, each in REGISTRY.items() if isinstance(each, (FaceArchitecture, ParserArchitecture))}
    assert kinds - searching - {"dmdnet"} <= set(SMALL)
    face_models = {name for name, each in REGISTRY.items() if isinstance(each, FaceArchitecture)}
    assert face_models - searching - {"dmdnet"} - set(CODEBOOKS) <= set(TINY)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *(pytest.param(name, given, id=f"{name}-tiny") for name, given in TINY.items()),
        *(pytest.param(name, {}, id=name, marks=pytest.mark.slow) for name in SMALL),
    ],
)
def test_onnx_runtime_gives_the_same_picture(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    loaded = drawn(name, **arguments)
    sided = name in ("rrdbnet", "srvggnet", "tinyupscaler", "tinydetector", "retinaface")
    done = export(loaded, tmp_path / "a.onnx", side=64 if sided else None)
    assert done.difference < TOLERANCE
    assert done.size == (tmp_path / "a.onnx").stat().st_size
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    generator = torch.Generator().manual_seed(9)
    pictures = torch.rand(done.inputs["pictures"], generator=generator) * 2 - 1
    given = {"pictures": pictures.numpy()}
    controls: dict[str, Any] = {}
    if "fidelity" in done.inputs:
        given["fidelity"], controls = np.array(0.3, np.float32), {"fidelity": 0.3}
    if name in ("rrdbnet", "srvggnet", "tinyupscaler"):
        controls = {"factor": 4}
    with torch.inference_mode():
        wanted = loaded.network(pictures, **controls)
    wanted = wanted[0] if isinstance(wanted, tuple) else wanted
    found = session.run(None, given)[0]
    assert found.shape == tuple(wanted.shape)
    assert np.abs(found - wanted.numpy()).max() < TOLERANCE * float(wanted.std())
    described = session.get_modelmeta().custom_metadata_map
    assert (described["restorer.name"], described["restorer.sha256"]) == (name, "0" * 64)
    assert (name == "codeformer") == ("fidelity" in done.inputs)


# ------------------------------------------------------------------------------------------------- what is refused


class Strange(nn.Module):
    """Does something else while gradients are kept, which is how networks are traced."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures * (1.1 if torch.is_grad_enabled() else 1.0)


def stranger() -> LoadedNetwork:
    loaded = drawn("faceunet")
    return LoadedNetwork(Strange().eval(), loaded.table, loaded.architecture, loaded.arguments)


def test_a_file_that_gives_another_picture_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"something else than torch.*not kept"):
        export(stranger(), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_what_no_file_can_hold_is_refused_in_words() -> None:
    for name, why in {"dmdnet": "boxes", "stylegan2": "no picture goes into it", "dcgan": "no picture"}.items():
        architecture = REGISTRY[name]
        with pytest.raises(ExportError, match=why):
            shape_of(architecture, architecture.defaults, None)
    for name in ("gfpgan", "parsenet", "mobilefacenet"):
        with pytest.raises(UsageError, match="side is for networks that take any size"):
            shape_of(REGISTRY[name], REGISTRY[name].defaults, 64)
    assert shape_of(REGISTRY["rrdbnet"], {}, 96) == (1, 3, 96, 96)
    assert shape_of(REGISTRY["codeformer"], {}, None) == (1, 3, 512, 512)


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(exporter, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(MissingPackageError, match="needs no_such_package, which is not installed") as error:
        export(stranger(), tmp_path / "a.onnx")
    assert error.value.remedy == 'Type: pip install "restorer[onnxruntime]"'


def test_a_network_is_as_it_was_after_its_export(tmp_path: Path) -> None:
    """Nothing that the trace computed with is kept: filters of resampling are kept between runs otherwise."""
    loaded = drawn("srvggnet")
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        before = loaded.network(x)
        export(loaded, tmp_path / "a.onnx", side=32)
        assert torch.equal(loaded.network(x), before)
    with pytest.raises(OutputExistsError):
        export(loaded, tmp_path / "a.onnx", side=32)
    assert export(loaded, tmp_path / "a.onnx", side=32, overwrite=True).size > 0


# ----------------------------------------------------------------------------------------------------- the command


def test_the_command_exports_the_built_in_upscaler(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = restore(capsys, "models", "export", "tiny-upscaler", "--side", "64", "--offline")
    assert "Wrote tiny-upscaler.onnx" in done.err
    assert "pictures 1 x 3 x 64 x 64 → " in done.err
    assert "1 x 3 x 256 x 256" in done.err
    crop = np.asarray(Image.fromarray(photograph()[100:164, 100:164]), np.float32) / 127.5 - 1
    session = onnxruntime.InferenceSession("tiny-upscaler.onnx")
    (found,) = session.run(None, {"pictures": crop.transpose(2, 0, 1)[None].copy()})
    assert found.shape == (1, 3, 256, 256)
    small = found[0].reshape(3, 64, 4, 64, 4).mean((2, 4)).transpose(1, 2, 0)
    assert np.abs(small - crop).mean() < 0.1  # it shows the same picture
    assert "exists already" in restore(capsys, "models", "export", "tiny-upscaler", "--offline", code=1).err
    given = ("-o", "tiny-upscaler.onnx", "--overwrite", "--side", "32", "--offline")
    assert "3 x 32 x 32 → " in restore(capsys, "models", "export", "tiny-upscaler", *given).err
    assert "boxes" in restore(capsys, "models", "export", "dmdnet", "--out", "d.onnx", code=1).err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny-upscaler.onnx"]
