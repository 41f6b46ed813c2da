"""The architectures "parsenet" and "bisenet": networks that tell skin, hair, glasses and clothes apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.registry import Architecture, register

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.registry import Shapes, StateDict

PASTED = frozenset({
    "skin", "nose", "glasses", "left-eye", "right-eye", "left-brow", "right-brow", "left-ear", "right-ear", "mouth",
    "upper-lip", "lower-lip", "hair", "earring",
})  # fmt: skip
"""The classes that belong to a restored face. Neck, necklace, clothes and hat are the background upscaler's."""


class FaceParser(Architecture):
    """An architecture whose role is face parser: a crop in [-1, 1] goes in, logits of `classes` come out."""

    role = "face parser"
    classes: ClassVar[tuple[str, ...]]

    @property
    def kept(self) -> tuple[int, ...]:
        """The numbers of the classes that are pasted, in this network's own order."""
        return tuple(number for number, name in enumerate(self.classes) if name in PASTED)


class ParseNetModel(FaceParser):
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


class BiSeNetModel(FaceParser):
    """BiSeNet, whose classes stand in another order."""

    name = "bisenet"
    defaults: ClassVar = {"num_class": 19}
    classes = (
        "background", "skin", "left-brow", "right-brow", "left-eye", "right-eye", "glasses", "left-ear", "right-ear",
        "earring", "nose", "mouth", "upper-lip", "lower-lip", "neck", "necklace", "clothes", "hair", "hat",
    )  # fmt: skip

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read the number of classes from the last layer."""
        last = shapes.get("conv_out.conv_out.weight")
        return {"num_class": last[0]} if last else {}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Drop the two heads that served training."""
        return {key: value for key, value in state.items() if not key.startswith(("conv_out16.", "conv_out32."))}

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network; see `restorer.networks.facexlib_networks`."""
        from restorer.networks.facexlib_networks import BiSeNet

        return BiSeNet(arguments["num_class"])


register(ParseNetModel())
register(BiSeNetModel())
