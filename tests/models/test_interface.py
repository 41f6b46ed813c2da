"""The small interface of a face restorer: crops, templates, controls; and that a new model needs four files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from restorer import weights
from restorer.engine.device import Device
from restorer.engine.torch_engine import TorchNetwork
from restorer.errors import InvalidTableError, UsageError
from restorer.models import REGISTRY, registry
from restorer.models.base import FaceArchitecture
from restorer.models.templates import EYES_AND_MOUTH, FACEXLIB, GPEN
from tests.support.golden import FOLDER, Record, load


def model(name: str) -> FaceArchitecture:
    found = REGISTRY[name]
    assert isinstance(found, FaceArchitecture)
    return found


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("gfpgan", {}, (512, 512, 512, FACEXLIB)),
        ("gfpgan-original", {}, (512, 512, 512, FACEXLIB)),
        ("restoreformer", {}, (512, 512, 512, FACEXLIB)),
        ("restoreformer++", {}, (512, 512, 512, FACEXLIB)),
        ("codeformer", {}, (512, 512, 512, FACEXLIB)),
        ("dmdnet", {}, (512, 512, 512, FACEXLIB)),
        ("gpen", {"size": 1024}, (1024, 1024, 1024, GPEN)),
        ("glean", {}, (128, 1024, 1024, EYES_AND_MOUTH)),
        ("glean", {"in_size": 64}, (64, 1024, 1024, EYES_AND_MOUTH)),
        ("glean", {"in_size": 32, "out_size": 256}, (32, 256, 256, None)),
        ("glean", {"in_size": 16, "out_size": 256}, (16, 256, 256, None)),
        ("glean", {"in_size": 32, "out_size": 256, "template": "face"}, (32, 256, 256, EYES_AND_MOUTH)),
        ("lightglean", {}, (128, 1024, 1024, EYES_AND_MOUTH)),
        ("lightglean", {"template": "none"}, (128, 1024, 1024, None)),
    ],
)
def test_crops(name: str, arguments: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = model(name)
    crop = found.crop({**found.defaults, **arguments})
    assert (crop.input_size, crop.output_size, crop.align_size, crop.template) == expected


def test_every_shipped_face_table_says_what_it_takes() -> None:
    """Before anything is downloaded: from the table alone."""
    without_template = set()
    for name, table in weights.tables().items():
        found = REGISTRY.architecture_of(table)
        registry.check_arguments(name, found, table.arguments)
        if isinstance(found, FaceArchitecture):
            crop = found.crop({**found.defaults, **table.arguments})
            assert crop.output_size >= crop.input_size > 0, name
            if crop.template is None:
                without_template.add(name)
    assert without_template == {"glean-cat8", "glean-cat16"}


@pytest.mark.parametrize("name", ["glean", "lightglean"])
def test_an_unknown_template_is_refused(name: str) -> None:
    found = model(name)
    with pytest.raises(InvalidTableError, match="dog"):
        found.crop({**found.defaults, "template": "dog"})


def test_templates_are_faces() -> None:
    """Eyes level and as far apart as the sources say, nose and mouth below, in this order."""
    for template, distance in ((FACEXLIB, 125.92), (EYES_AND_MOUTH, 127.0), (GPEN, 107.39)):
        assert len(template.points) == 5
        assert all(0 < coordinate < 1 for point in template.points for coordinate in point)
        left, right, nose, mouth_left, mouth_right = template.points
        assert (right[0] - left[0]) * 512 == pytest.approx(distance, abs=0.02)
        assert abs(left[1] - right[1]) * 512 < 1
        assert left[1] < nose[1] < min(mouth_left[1], mouth_right[1])
        assert left[0] < mouth_left[0] < nose[0] < mouth_right[0] < right[0] + 0.01


def test_pairs_of_points() -> None:
    landmarks = [(10.0, 10.0), (30.0, 12.0), (20.0, 20.0), (12.0, 30.0), (28.0, 34.0)]
    photo, crop = FACEXLIB.pairs(landmarks, 512)
    assert photo == landmarks
    assert crop[2] == pytest.approx((256.63416, 314.01935))
    photo, crop = EYES_AND_MOUTH.pairs(landmarks, 1024)
    assert photo == [(10.0, 10.0), (30.0, 12.0), (20.0, 32.0)]
    assert crop == [pytest.approx(point) for point in ((384, 480), (638, 480), (514, 742))]


def test_only_models_with_an_effect_have_a_control() -> None:
    """A knob that does nothing is a defect; "fidelity" has a meaning where the authors gave it one."""
    controls = {name: found.controls for name, found in REGISTRY.items() if isinstance(found, FaceArchitecture)}
    with_seed = {name for name, found in controls.items() if "seed" in found}
    assert with_seed == {"gfpgan", "gfpgan-original", "pulse", "mganprior"}
    assert {name for name, found in controls.items() if "fidelity" in found} == {"codeformer"}


def test_a_seed_draws_other_noise_for_every_face_alike(tmp_path: Path) -> None:
    record = Record.read(FOLDER / "gfpgan_clean_64_narrow.json")
    record.write(tmp_path / "file.pth")
    loaded = load("gfpgan", tmp_path / "file.pth")
    network = TorchNetwork(loaded, Device("cpu", "fp32"))
    faces, _ = record.tensors()
    gfpgan = model("gfpgan")
    with torch.inference_mode():
        stored, seeded = gfpgan.restore(network, faces), gfpgan.restore(network, faces, seed=1)
        assert torch.equal(gfpgan.restore(network, faces), stored)
        assert torch.equal(gfpgan.restore(network, faces, seed=1), seeded)
        assert (seeded - stored).abs().max() > 0.001 * stored.std()
        assert not torch.equal(gfpgan.restore(network, faces, seed=2), seeded)
        alone = gfpgan.restore(network, faces[1:], seed=1)
        assert (alone - seeded[1:]).abs().max() < 1e-4 * seeded.std()


def test_listing_models_does_not_import_torch() -> None:
    code = (
        "import sys; from restorer.models import REGISTRY; names = sorted(REGISTRY);"
        "print(*names); assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"gfpgan", "gfpgan-original", "glean", "lightglean", "gpen", "restoreformer", "stylegan2"} <= set(
        done.stdout.split()
    )


def test_a_name_is_registered_once() -> None:
    known = REGISTRY.copy()
    before = dict(known)
    with pytest.raises(ValueError, match="glean"):
        known.add(model("glean"))
    assert dict(known) == before == dict(REGISTRY)


def test_a_copy_of_the_registry_is_its_own() -> None:
    class Imaginary(type(model("gfpgan"))):  # type: ignore[misc]
        name = "imaginary"

    known = REGISTRY.copy()
    known.add(Imaginary())
    assert "imaginary" in known
    assert "imaginary" not in REGISTRY


def test_a_role_is_asked_for_by_its_class() -> None:
    tables = weights.tables()
    assert REGISTRY.of_role(FaceArchitecture, tables["tiny"]).name == tables["tiny"].architecture
    with pytest.raises(UsageError, match="tiny-detector is a face detector, not a face restorer"):
        REGISTRY.of_role(FaceArchitecture, tables["tiny-detector"])


def test_what_a_table_leaves_out_the_files_header_tells(tmp_path: Path) -> None:
    """So that crops, checks and estimates are those of the network that will be loaded."""
    own = REGISTRY["glean"]
    arguments = {**own.defaults, "in_size": 32, "out_size": 64, "rrdb_channels": 8, "num_rrdbs": 1, "template": "none"}
    network = own.build(arguments)
    file = tmp_path / "cat.safetensors"
    weights.write(network.state_dict(), file, weights.FileHeader("glean", arguments))
    table = weights.Table("cat", "glean", sources=(f"file:{file}",), origin=tmp_path / "weights.toml")
    found = REGISTRY.arguments(table)
    assert (found["in_size"], found["out_size"], found["template"]) == (32, 64, "none")
    assert REGISTRY.of_role(FaceArchitecture, table).crop(found).template is None
    absent = weights.Table("absent", "glean", sources=(f"file:{tmp_path / 'absent.safetensors'}",))
    assert REGISTRY.arguments(absent) == dict(own.defaults)


def test_shapes_tell_what_an_upstream_file_is(tmp_path: Path) -> None:
    kind = REGISTRY["srvggnet"]
    state = kind.build({**kind.defaults, "num_feat": 10, "num_conv": 3, "upscale": 2}).state_dict()
    save_file({key.removeprefix("net."): value for key, value in state.items()}, tmp_path / "up.safetensors")
    table = weights.Table("up", "srvggnet", sources=(f"file:{tmp_path / 'up.safetensors'}",))
    found = REGISTRY.arguments(table)
    assert (found["num_feat"], found["num_conv"], found["upscale"]) == (10, 3, 2)
