"""Golden records: stand-in weights that are a function of their keys, and a reference's answer on them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from restorer.models import REGISTRY
from restorer.models.base import LoadedNetwork
from restorer.weights import Table

FOLDER = Path(__file__).parents[1] / "golden"
Spec = Mapping[str, tuple[list[int], float, float]]
"""Shape, mean and standard deviation of each key."""


def fill_tensor(key: str, shape: list[int], mean: float, std: float) -> Tensor:
    """Return `mean + std * n`, n standard normal from a CPU generator seeded with the key's CRC-32."""
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    return mean + std * torch.randn(shape, generator=generator)


def fill(spec: Spec) -> dict[str, Tensor]:
    """Return the state dict of a specification."""
    return {key: fill_tensor(key, *values) for key, values in spec.items()}


@dataclass(frozen=True)
class Record:
    """One golden record, read but not yet filled."""

    path: Path
    content: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read `NAME.json`."""
        return cls(path, json.loads(path.read_text()))

    def state(self) -> dict[str, Tensor]:
        """Return the upstream state dict, constants included."""
        constants = {key: torch.tensor(value) for key, value in self.content["constants"].items()}
        return fill(self.content["keys"]) | constants

    def write(self, path: Path) -> None:
        """Write the checkpoint as upstream wraps it, with what else stands in such files."""
        state: Any = self.state()
        wrapper = self.content["wrapper"]
        if wrapper.startswith("{'meta'"):
            others = {
                "discriminator.convs.0.weight": torch.ones(3),
                "perceptual_loss.vgg.vgg_layers.0.bias": torch.ones(2),
            }
            state = {"meta": {}, "state_dict": state | others}
        elif wrapper.startswith("state_dict, every key prefixed with "):  # what PyTorch Lightning writes
            prefix = wrapper.split()[5]
            others = {
                "loss.discriminator.main.0.weight": torch.ones(3),
                f"{prefix}quantize.utility_counter": torch.ones(2),
            }
            state = {
                "epoch": 1,
                "pytorch-lightning_version": "1.0.8",
                "state_dict": {prefix + key: value for key, value in state.items()} | others,
            }
        elif not wrapper.startswith("bare"):
            state = {wrapper: state}
        torch.save(state, path)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return the input and the reference's output (of which only every `stride`-th pixel may be kept)."""
        tensors = load_file(self.path.with_suffix(".safetensors"))
        return tensors["input"], tensors["output"]

    def input(self, name: str = "input") -> Tensor:
        """Return an input that the record describes by a recipe: grids of normal numbers, enlarged by repetition."""
        recipe = self.content["inputs"][name]
        number, channels, size, _ = recipe["shape"]
        total = torch.zeros(recipe["shape"])
        for cells, std in sorted(recipe["levels"].items(), key=lambda level: int(level[0])):
            grid = fill_tensor(f"{recipe['key']}/{cells}", [number, channels, int(cells), int(cells)], 0.0, std)
            total += grid.repeat_interleave(size // int(cells), -1).repeat_interleave(size // int(cells), -2)
        total.clamp_(-1, 1)
        for top, bottom, left, right in recipe.get("white", ()):
            total[..., top:bottom, left:right] = 1.0
        return total

    @property
    def stride(self) -> int:
        """Every how many pixels of the output are kept."""
        return int(self.content["output_stride"])


def load(architecture: str, path: Path, **arguments: Any) -> LoadedNetwork:
    """Load a checkpoint the way every table is loaded."""
    return REGISTRY.load(Table("stand-in", architecture, arguments), path)


def load_state(architecture: str, state: dict[str, Tensor], folder: Path, **arguments: Any) -> nn.Module:
    """Write a bare upstream state dict, and return the network that is loaded from it."""
    # Every file has its own name: a network's tensors may still be those of the file, mapped.
    path = folder / f"{architecture}-{len(list(folder.iterdir()))}.pth"
    torch.save(state, path)
    return load(architecture, path, **arguments).network


def difference(output: Tensor, reference: Tensor) -> float:
    """Return the largest difference in standard deviations of the reference."""
    assert output.shape == reference.shape
    return ((output - reference).abs().max() / reference.std()).item()
