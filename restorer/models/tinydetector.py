"""The architecture "tinydetector": the detector that is built in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.registry import Architecture, register

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.registry import Shapes


class TinyDetectorModel(Architecture):
    """A small detector of plain convolutions; see `restorer.networks.tinydetector`."""

    name = "tinydetector"
    role = "face detector"
    defaults: ClassVar = {"widths": [16, 24, 48, 64, 64], "head": 48}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Tell the widths by the layers' own."""
        layers = ("stem.0", "stem.1", "body.0.0", "body.1.0", "body.2.0.pointwise")
        return {
            "widths": [shapes[f"{layer}.conv.weight"][0] for layer in layers],
            "head": shapes["judge.conv.weight"][0],
        }

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network without batch normalisation, as files hold it."""
        from restorer.networks.tinydetector import TinyDetector

        widths = arguments["widths"]
        if len(widths) != 5:
            raise ValueError(f"the architecture 'tinydetector' has 5 widths, not {len(widths)}")
        return TinyDetector(widths, arguments["head"])


register(TinyDetectorModel())
