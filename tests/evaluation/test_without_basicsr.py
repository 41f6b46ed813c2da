"""All but `restore evaluate` works where basicsr, and what comes with it, cannot be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from restorer.models import REGISTRY
from tests.support import standins

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = """
import sys

GONE = {"basicsr", "skimage", "lmdb", "tensorboard", "addict", "yapf", "imageio", "tifffile"}  # what basicsr brings

class Blocker:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in GONE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker)
"""
COMMAND = WITHOUT + "from restorer.cli import main\nmain()\n"


def run(folder: Path, program: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program text in a process in which basicsr cannot be imported."""
    (folder / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("models", "list"), ("demo",), ("man",)],
    ids=" ".join,
)
def test_commands(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    run(tmp_path, COMMAND, *arguments)


@pytest.mark.parametrize(("architecture", "own"), [("rrdbnet", {"num_block": 1, "scale": 2}), ("srvggnet", {})])
def test_backgrounds_that_basicsr_used_to_build(tmp_path: Path, architecture: str, own: dict[str, Any]) -> None:
    """From the published layout on disk to a photo, with stand-in weights."""
    torch.manual_seed(0)
    kind = REGISTRY[architecture]
    network = kind.build({**kind.defaults, "num_feat": 8, **own})
    state = {key.removeprefix("net."): value for key, value in network.state_dict().items()}
    torch.save({"params_ema": state}, tmp_path / "upstream.pth")
    table = standins.table("mine", architecture, tmp_path / "upstream.pth", **own)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "weights.toml").write_text(table)
    Image.fromarray(np.full((40, 30, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    program = f"import os\nos.environ['RESTORER_WEIGHTS'] = {str(tmp_path / 'config/weights.toml')!r}\n{COMMAND}"
    run(tmp_path, program, "photo.png", "--model", "tiny", "--background", "mine", "--offline")
    assert Image.open(tmp_path / "photo_restored.png").size == (60, 80)


def test_every_architecture(tmp_path: Path) -> None:
    program = f"""{WITHOUT}
import torch
from restorer import load_network
from restorer.models import REGISTRY
from restorer.models.searching import SearchArchitecture
from restorer.networks.skip_init import SkipInit

for architecture in REGISTRY.values():
    if isinstance(architecture, SearchArchitecture) or architecture.name == "spandrel":
        continue  # the network is that of the prior, or of the file
    with SkipInit(), torch.device("meta"):
        architecture.build(architecture.defaults)
for name in ("tiny", "tiny-free", "tiny-prior", "tiny-detector", "tiny-detector-free", "tiny-upscaler"):
    load_network(name, offline=True)
import restorer.training.train, restorer.training.restoring, restorer.training.degradations
assert not GONE & set(sys.modules)
"""
    run(tmp_path, program)


def test_evaluate_says_what_is_missing_before_it_works(tmp_path: Path) -> None:
    said = run(tmp_path, COMMAND, "evaluate", "gfpgan", "no-such-folder", code=1).stderr
    assert "basicsr" in said
    assert "pip install basicsr==1.4.2" in said
    assert "3.12" in said
    assert "Traceback" not in said
