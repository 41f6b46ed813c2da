"""Microsoft's finder of scratches, of "Bringing Old Photos Back to Life"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from restorer.models.finders import DamageArchitecture

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.models.base import RunningNetwork, StateDict

_NAMES = (
    (r"first\.1\.", "first."),
    (r"last\.1\.", "last."),
    (r"down_sample\.(\d)\.1\.", r"halve.\1.conv.conv."),
    (r"down_sample\.(\d)\.2\.", r"halve.\1.conv.norm."),
    (r"down_path\.(\d)\.block\.1\.", r"down.\1.0.conv."),
    (r"down_path\.(\d)\.block\.2\.", r"down.\1.0.norm."),
    (r"down_path\.(\d)\.block\.5\.", r"down.\1.1.conv."),
    (r"down_path\.(\d)\.block\.6\.", r"down.\1.1.norm."),
    (r"up_path\.(\d)\.up\.2\.", r"up.\1.grow."),
    (r"up_path\.(\d)\.conv_block\.block\.1\.", r"up.\1.block.0.conv."),
    (r"up_path\.(\d)\.conv_block\.block\.2\.", r"up.\1.block.0.norm."),
    (r"up_path\.(\d)\.conv_block\.block\.5\.", r"up.\1.block.1.conv."),
    (r"up_path\.(\d)\.conv_block\.block\.6\.", r"up.\1.block.1.norm."),
)
"""Upstream's names, which are places in a row of layers, and ours."""
_BLUR = re.compile(r"down_sample\.\d\.4\.filt")


class ScratchUNetArchitecture(DamageArchitecture):
    """Scratches by their look at the size of the training: the short side at 256 pixels, and at two and four times it.

    Upstream looks at 256 pixels alone, where a thin scratch of a large scan is gone. It saw light scratches only, so it
    is shown each picture's negative too.
    """

    name = "scratch-unet"
    bf16 = False
    fp16 = False
    views = (256, 512, 1024)
    threshold = 0.4
    grows = 1

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Rename the layers, and leave out the blurs, which are always the same."""
        renamed = {}
        for key, value in state.items():
            if _BLUR.fullmatch(key):
                continue
            for pattern, name in _NAMES:
                new, count = re.subn(f"^{pattern}", name, key)
                if count:
                    key = new
                    break
            renamed[key] = value
        return renamed

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.scratchunet import ScratchUNet

        return ScratchUNet()

    def logits(self, network: RunningNetwork, pictures: torch.Tensor) -> torch.Tensor:
        """Return the surer of what the grey picture and its negative tell."""
        import torch

        weights = pictures.new_tensor([0.299, 0.587, 0.114])
        grey = (pictures * weights[:, None, None]).sum(1, keepdim=True)
        first: torch.Tensor = network(grey)
        second: torch.Tensor = network(-grey)
        return torch.maximum(first, second)


ARCHITECTURES = (ScratchUNetArchitecture(),)
