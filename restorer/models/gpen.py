"""GPEN: 256, 512, 1024 and 2048 px, and its colourisation and inpainting checkpoints, which are the same network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.conversion import (
    GENERATOR_RULES,
    MAPPING_RULES,
    Rule,
    below,
    generator_arguments,
    renamed_shapes,
    translate,
)
from restorer.models.templates import GPEN as TEMPLATE

if TYPE_CHECKING:
    import re

    from torch import nn

    from restorer.models.base import Shapes, StateDict


def _down(match: re.Match[str]) -> str:
    return f"down.{int(match[1]) - 1}.{match[2]}"


RULES: tuple[Rule, ...] = (
    *below("generator.", "", GENERATOR_RULES[:1]),  # the mapping network is the model's own here
    *below("generator.", "generator.", (*MAPPING_RULES, *GENERATOR_RULES)),
    (r"ecd0\.0\.\d\.(weight|bias)", r"first.\1"),
    (r"ecd\d+\.0\.0\.kernel", None),
    (r"ecd(\d+)\.0\.\d\.(weight|bias)", _down),
    (r"final_linear\.0\.(weight|bias)", r"to_z.\1"),
)


class GPENArchitecture(FaceArchitecture):
    """GPEN's FullGenerator."""

    name = "gpen"
    defaults: ClassVar = {"size": 512, "style_dim": 512, "n_mlp": 8, "channel_multiplier": 2, "narrow": 1}

    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return faces aligned by GPEN's own template, the same size in and out."""
        size = int(arguments["size"])
        return CropSpec(size, size, size, TEMPLATE)

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read all arguments from the generator's shapes."""
        ours = renamed_shapes(shapes, RULES)
        found = generator_arguments(ours, "generator.")
        if found:
            found["n_mlp"] = len({key for key in ours if key.startswith("mapping.") and key.endswith(".weight")})
        return found

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Fold the equalised learning rates and the gains behind activations."""
        import torch
        from torch.nn import Conv2d, Linear

        from restorer.networks.stylegan2 import equalised_scales

        with torch.device("meta"):
            network = self.build(arguments)
        factors = equalised_scales(network)
        for path, part in network.named_modules():
            if isinstance(part, Conv2d | Linear):
                factors[f"{path}.weight"] = math.sqrt(2) / math.sqrt(part.weight[0].numel())
                factors[f"{path}.bias"] = math.sqrt(2)
        return translate(state, RULES, network, factors)

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.gpen import GPEN

        return GPEN(**arguments)


ARCHITECTURES = (GPENArchitecture(),)
