"""PGGAN generators in the layout of the zoo that mGANprior uses (`layer0.conv.weight`, `output0.conv.weight`)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import Architecture
from restorer.models.conversion import scaled

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.models.base import Shapes, StateDict


class PGGANArchitecture(Architecture):
    """The generator of a progressively grown GAN."""

    name = "pggan"
    role = "prior"
    defaults: ClassVar = {"resolution": 1024, "fmaps_base": 16384, "fmaps_max": 512, "z_space_dim": 512}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read all arguments from the first layer and the outputs."""
        first = shapes.get("layer0.conv.weight", ())
        outputs = [int(found[1]) for key in shapes if (found := re.fullmatch(r"output(\d+)\.conv\.weight", key))]
        if len(first) != 4 or not outputs:
            return {}
        resolution = 4 << max(outputs)
        last = shapes[f"output{max(outputs)}.conv.weight"]
        return {
            "resolution": resolution,
            "fmaps_base": last[1] * resolution,
            "fmaps_max": first[0],
            "z_space_dim": first[1],
        }

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Fold the equalised learning rates; the first layer becomes a linear one."""
        result: StateDict = {}
        for key, value in state.items():
            name, tensor = _ours(key, value)
            result[name] = tensor
        return result

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the generator."""
        from restorer.networks.pggan import PGGANGenerator

        return PGGANGenerator(**arguments)


def _ours(key: str, value: torch.Tensor) -> tuple[str, torch.Tensor]:
    """Return an upstream tensor under our name, as our network takes it; an unknown one as it is."""
    if key == "lod":
        return key, value
    found = re.fullmatch(r"(layer|output)(\d+)\.(?:conv\.(weight)|wscale\.(bias))", key)
    if not found or (found[3] and value.ndim != 4):
        return key, value
    kind, number = found[1], int(found[2])
    if kind == "output":
        gain = 1 / math.sqrt(value.shape[1]) if found[3] else 1.0
        return f"outputs.{number}.{found[3] or found[4]}", scaled(value, gain)
    if number:
        gain = math.sqrt(2 / value[0].numel()) if found[3] else 1.0
        return f"convs.{number - 1}.{found[3] or found[4]}", scaled(value, gain)
    # A convolution of one pixel by 4x4 taps with 3 zeros around is a linear layer with the taps turned.
    if found[3]:
        turned = value.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, value.shape[1])
        return "first.weight", scaled(turned, math.sqrt(2 / value[0].numel()))
    return "first.bias", scaled(value.repeat_interleave(16), 1.0)


ARCHITECTURES = (PGGANArchitecture(),)
