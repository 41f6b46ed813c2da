"""The U-Net that the built-in restorer is made of; its checkpoints are those that recipes train here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.templates import by_argument

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes


class FaceUNetArchitecture(FaceArchitecture):
    """Our own U-Net without a prior."""

    name = "faceunet"
    defaults: ClassVar = {
        "size": 256, "widths": [96, 128, 192, 256], "blocks": [2, 2, 2, 1], "head": [32, 16], "grain": 0.0,
        "mirrored": False, "template": "face",
    }  # fmt: skip
    """`template` is "face", or "none" for a model that takes aligned crops only."""

    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return faces of the network's size, or aligned crops only."""
        size = int(arguments["size"])
        return CropSpec(size, size, align_size=size, template=by_argument(self.name, arguments["template"]))

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read widths and blocks from the shapes, the size from the stored noise where there is any."""
        levels = sorted({int(key.split(".")[1]) for key in shapes if key.startswith("encoder.")})
        half, full = shapes.get("at_half.weight"), shapes.get("at_full.weight")
        if not levels or not half or not full:
            return {}
        found: dict[str, Any] = {
            "widths": [shapes[f"encoder.{level}.0.first.weight"][0] for level in levels],
            "blocks": [len({k.split(".")[2] for k in shapes if k.startswith(f"encoder.{level}.")}) for level in levels],
            "head": [half[0], full[0]],
        }
        return found | ({"size": shapes["noise"][-1]} if "noise" in shapes else {})

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.faceunet import FaceUNet

        return FaceUNet(**{key: value for key, value in arguments.items() if key != "template"})


ARCHITECTURES = (FaceUNetArchitecture(),)
