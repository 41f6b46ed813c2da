"""The face parser ParseNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import ParserArchitecture

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.models.base import RunningNetwork, Shapes, StateDict


class ParseNetArchitecture(ParserArchitecture):
    """ParseNet, with the classes in the order of CelebAMask-HQ."""

    name = "parsenet"
    defaults: ClassVar = {
        "in_size": 512, "out_size": 512, "min_feat_size": 32, "base_ch": 64, "parsing_ch": 19, "res_depth": 10,
    }  # fmt: skip
    classes = (
        "background", "skin", "nose", "glasses", "left-eye", "right-eye", "left-brow", "right-brow", "left-ear",
        "right-ear", "mouth", "upper-lip", "lower-lip", "hair", "hat", "earring", "necklace", "neck", "clothes",
    )  # fmt: skip

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read width, depth and the number of classes from the shapes."""
        found: dict[str, Any] = {"res_depth": len({key.split(".")[1] for key in shapes if key.startswith("body.")})}
        if "encoder.0.conv2d.weight" in shapes:
            found["base_ch"] = shapes["encoder.0.conv2d.weight"][0]
        if "out_mask_conv.conv2d.weight" in shapes:
            found["parsing_ch"] = shapes["out_mask_conv.conv2d.weight"][0]
        return found

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Drop the branch that paints a picture, and fold the batch norms into the convolutions before them."""
        from restorer.networks.parsenet import folded

        return folded({key: value for key, value in state.items() if not key.startswith("out_img_conv.")})

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network; see `restorer.networks.parsenet`."""
        from restorer.networks.parsenet import ParseNet

        return ParseNet(**arguments)

    def logits(self, network: RunningNetwork, pictures: torch.Tensor) -> torch.Tensor:
        """Return logits of a part of the resolution: masks are blurred, and the finest levels are most of the work."""
        found: torch.Tensor = network(pictures, coarse=True)
        return found


ARCHITECTURES = (ParseNetArchitecture(),)
