"""The face parser BiSeNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import ParserArchitecture

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes, StateDict


class BiSeNetArchitecture(ParserArchitecture):
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


ARCHITECTURES = (BiSeNetArchitecture(),)
