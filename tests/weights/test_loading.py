"""Loading a network costs reading its file and little more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from restorer import weights
from restorer.models import REGISTRY, load_network
from restorer.networks.skip_init import SkipInit

SMALL = {"out_size": 32, "channel_multiplier": 1, "narrow": 0.0625}


def test_loading_does_not_import_the_compiler(tmp_path: Path) -> None:
    architecture = REGISTRY["gfpgan"]
    arguments = {**architecture.defaults, **SMALL}
    network = architecture.build(arguments)
    weights.write(network.state_dict(), tmp_path / "small.safetensors", weights.FileHeader("gfpgan", arguments))
    code = """
import sys
from pathlib import Path
from restorer import weights
from restorer.models import REGISTRY, load_network
for name in sys.argv[1:]:
    table = weights.resolve(name)
    loaded = REGISTRY.load(table, weights.fetch(table, offline=True))
    assert not any(value.is_meta for value in loaded.network.state_dict().values())
print(*sys.modules)
"""
    run = [sys.executable, "-c", code, str(tmp_path / "small.safetensors")]
    run += ["tiny", "tiny-prior", "tiny-detector", "tiny-upscaler"]
    loaded = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert "restorer.networks.gfpgan" in loaded
    assert not {"torch._inductor", "torch._dynamo", "sympy"} & set(loaded)


def test_only_plans_stay_unfilled() -> None:
    with SkipInit():
        torch.manual_seed(1)
        with torch.device("meta"):
            assert torch.nn.Linear(3, 4).weight.is_meta
            assert torch.randn(2, 3).shape == (2, 3)
            assert torch.randn(2, 3).is_meta
        filled = torch.nn.Linear(3, 4).weight
        drawn = torch.randn(5, generator=torch.Generator().manual_seed(2))
        again = torch.randn(5)
    assert filled.detach().std() > 0.05
    assert torch.equal(drawn, torch.randn(5, generator=torch.Generator().manual_seed(2)))
    assert again.std() > 0.05
    assert filled.shape == (4, 3)


def test_a_loaded_network_has_every_tensor_of_the_file(tmp_path: Path) -> None:
    architecture = REGISTRY["gfpgan"]
    arguments = {**architecture.defaults, **SMALL}
    state = architecture.build(arguments).state_dict()
    weights.write(state, tmp_path / "small.safetensors", weights.FileHeader("gfpgan", arguments))
    loaded = load_network(str(tmp_path / "small.safetensors"))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
