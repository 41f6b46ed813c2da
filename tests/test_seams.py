"""What is likely to come, comes as one file: an imaginary one of each is added to a copy of the package, and works.

Each test writes nothing but the files that it names into the copy, and asks the command for what they bring.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import restorer

PACKAGE = Path(restorer.__file__).parent


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with a copy of the package, its weights linked, and a photo."""
    target = tmp_path / "code"
    shutil.copytree(PACKAGE, target / "restorer", ignore=shutil.ignore_patterns("data", "__pycache__"))
    (target / "restorer/data").symlink_to(PACKAGE / "data", target_is_directory=True)
    shutil.copy(PACKAGE.parent / "weights.toml", target)
    (tmp_path / "own.toml").touch()
    gradient = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
    Image.fromarray(np.stack([gradient, gradient // 2, 255 - gradient], axis=-1)).save(tmp_path / "a.png")
    return target


def run(copied: Path, *arguments: str, code: int = 0) -> str:
    """Run the copy's command beside it, and return what it printed on stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "restorer", *arguments],
        capture_output=True, text=True, cwd=copied.parent, check=False, timeout=240,
        env={**os.environ, "PYTHONPATH": str(copied), "COLUMNS": "200", "RESTORER_WEIGHTS": "own.toml"},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def table(folder: Path, name: str, architecture: str, state: dict[str, torch.Tensor]) -> None:
    """Write a checkpoint and its table into the photo's folder."""
    save_file(state, folder / f"{name}.safetensors")
    digest = hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest()
    (folder / "own.toml").write_text(
        f'["{name}"]\narchitecture = "{architecture}"\nsources = ["file:{name}.safetensors"]\nsha256 = "{digest}"\n'
        'license = "none"\ntrained_for = "imaginary things"\n'
    )


def record(copied: Path, *arguments: str) -> dict[str, object]:
    """Restore the photo and return its record."""
    line: dict[str, object] = json.loads(run(copied, "a.png", "-o", "out.png", "--json", "--offline", *arguments))
    return line


NETWORK = '''
"""An imaginary network."""
from torch import nn

class Imaginary(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, pictures, factor=None):
        return nn.functional.pixel_shuffle(self.conv(pictures), 2)
'''
STATE = {"conv.weight": torch.zeros(12, 3, 3, 3), "conv.bias": torch.full((12,), 0.5)}

FACE_MODEL = '''
"""An imaginary face restorer."""
from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.templates import FACEXLIB

class ImaginaryArchitecture(FaceArchitecture):
    name = "imaginary"

    def crop(self, arguments):
        return CropSpec(64, 128, 64, FACEXLIB)

    def build(self, arguments):
        from restorer.networks.imaginary import Imaginary
        return Imaginary()

ARCHITECTURES = (ImaginaryArchitecture(),)
'''


def test_a_face_restorer_is_a_network_a_model_and_a_table(copied: Path) -> None:
    (copied / "restorer/networks/imaginary.py").write_text(NETWORK)
    (copied / "restorer/models/imaginary.py").write_text(FACE_MODEL)
    table(copied.parent, "imaginary-1", "imaginary", STATE)
    assert "imaginary-1" in run(copied, "--help")
    assert "imaginary things" in run(copied, "models", "show", "imaginary-1")
    found = record(copied, "--model", "imaginary-1", "--aligned", "--no-match-color", "--background", "lanczos")
    assert found["model"] == "imaginary-1"
    pixels = np.asarray(Image.open(copied.parent / "out.png"))
    assert np.abs(pixels.astype(int) - 191).max() <= 1  # 0.5 in [-1, 1]


UPSCALER = '''
"""An imaginary upscaler."""
from restorer.models.base import UpscalerArchitecture

class ImaginaryArchitecture(UpscalerArchitecture):
    name = "imaginary"

    def flops(self, arguments):
        return 1.0

    def factors(self, arguments):
        return (2,)

    def convert(self, state, arguments):
        return dict(state)

    def build(self, arguments):
        from restorer.networks.imaginary import Imaginary
        return Imaginary()

ARCHITECTURES = (ImaginaryArchitecture(),)
'''


def test_an_upscaler_is_a_network_a_model_and_a_table(copied: Path) -> None:
    (copied / "restorer/networks/imaginary.py").write_text(NETWORK)
    (copied / "restorer/models/imaginary.py").write_text(UPSCALER)
    table(copied.parent, "imaginary-2", "imaginary", STATE)
    found = record(copied, "--model", "none", "--background", "imaginary-2")
    assert found["background"] == "imaginary-2"
    pixels = np.asarray(Image.open(copied.parent / "out.png"))
    assert pixels.shape == (96, 128, 3)
    assert np.abs(pixels.astype(int) - 191).max() <= 1


DETECTOR = '''
"""An imaginary detector, which takes the middle of whatever it sees for a face."""
import numpy as np
from restorer.models.base import DetectorArchitecture, Face, View
from restorer.models.templates import FACEXLIB

class ImaginaryArchitecture(DetectorArchitecture):
    name = "imaginary"

    def views(self, longest, min_face):
        yield View(1.0)

    def detect_region(self, network, region, view, min_score):
        height, width = region.shape[:2]
        import torch
        assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 16, 16)
        points = np.array(FACEXLIB.points, np.float32) * [width / 2, height / 2] + [width / 4, height / 4]
        yield Face((width / 4, height / 4, width * 3 / 4, height * 3 / 4), points.astype(np.float32), 0.95)

    def build(self, arguments):
        from restorer.networks.imaginary import Imaginary
        return Imaginary()

ARCHITECTURES = (ImaginaryArchitecture(),)
'''


def test_a_detector_is_a_network_a_model_and_a_table(copied: Path) -> None:
    (copied / "restorer/networks/imaginary.py").write_text(NETWORK)
    (copied / "restorer/models/imaginary.py").write_text(DETECTOR)
    table(copied.parent, "imaginary-3", "imaginary", STATE)
    found = record(copied, "--model", "tiny", "--detector", "imaginary-3", "--background", "lanczos")
    assert found["detector"] == "imaginary-3"
    faces = cast("list[dict[str, Any]]", found["faces"])
    assert [face["box"] for face in faces] == [[16, 12, 48, 36]]
    assert faces[0]["restored"]


STAGE = '''
"""An imaginary stage: the negative of the whole photo."""
from restorer.pipeline.canvas import Canvas
from restorer.pipeline.events import Step
from restorer.pipeline.stages import Stage

class NegativeStage(Stage):
    name = "negative"
    words = "turning everything around"
    order = 100
    weight = 0.1
    steps = (Step("negative", "megapixel", "turning everything around"),)

    def is_wanted(self, work):
        return work.options.negative

    def run(self, canvas, work):
        with work.record.timed("negative"):
            work.record.warn("This is a negative.")
            return Canvas(255 - canvas.pixels, canvas.alpha)

STAGE = NegativeStage()
'''


def test_a_stage_is_a_file_and_its_field(copied: Path) -> None:
    """The option is one line of `Options`, from which command line, help and fingerprint follow."""
    (copied / "restorer/pipeline/stages/negative.py").write_text(STAGE)
    options = copied / "restorer/options/__init__.py"
    text = options.read_text(encoding="utf-8")
    before = "    offline: bool = option("
    assert text.count(before) == 1
    field = '    negative: bool = option(False, help="Turn all colours around.", panel=PICTURE)\n'
    options.write_text(text.replace(before, field + before))
    assert "--negative" in run(copied, "--help")
    plain = record(copied, "--model", "none", "--background", "lanczos", "--scale", "1")
    assert "negative" not in plain["seconds"]  # type: ignore[operator]
    found = record(copied, "--model", "none", "--background", "lanczos", "--scale", "1", "--negative", "--overwrite")
    assert found["warnings"] == ["This is a negative."]
    assert "negative" in found["seconds"]  # type: ignore[operator]
    pixels = np.asarray(Image.open(copied.parent / "out.png"))
    assert np.array_equal(pixels, 255 - np.asarray(Image.open(copied.parent / "a.png")))


ENGINE = '''
"""An imaginary engine: torch's networks, and a note of its own."""
from restorer.engine.torch_engine import TorchEngine

class ImaginaryEngine:
    name = "imaginary"

    def load(self, table, path, device):
        network = TorchEngine().load(table, path, device)
        network._notes["computed by nobody"] += 1
        return network

ENGINE = ImaginaryEngine()
'''


def test_an_engine_is_a_file(copied: Path) -> None:
    (copied / "restorer/engine/imaginary_engine.py").write_text(ENGINE)
    code = (
        "from restorer.engine.pool import POOL, engines; from restorer.engine.device import Device;"
        "from restorer.weights import resolve;"
        "assert set(engines()) == {'torch', 'openvino', 'onnxruntime', 'imaginary'};"
        "network = POOL.get(resolve('tiny'), Device('cpu', 'fp32'), engine='imaginary', offline=True);"
        "print(*network.notes)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=copied.parent,
        env={**os.environ, "PYTHONPATH": str(copied)},
    )  # fmt: skip
    assert done.stdout == "computed by nobody\n", done.stderr
