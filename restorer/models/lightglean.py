"""LightGLEAN: no official code or weights exist; its checkpoints are those that recipes train here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.conversion import generator_arguments
from restorer.models.templates import by_argument

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes


class LightGLEANArchitecture(FaceArchitecture):
    """LightGLEAN in the layout of our own network."""

    name = "lightglean"
    defaults: ClassVar = {
        "in_size": 128, "out_size": 1024, "style_channels": 512, "rrdb_channels": 64, "num_rrdbs": 3,
        "channel_multiplier": 2, "narrow": 1, "decoder_narrow": 0.5, "bank_size": 0, "unshuffle": 1, "residual": False,
        "rrdb_growth": 32, "decoder_last": 0, "trunk_levels": 0, "decoder_skips": False, "decoder_noise": False,
        "decoder_grain": 0.0, "mirrored": False, "template": "face",
    }  # fmt: skip
    """`template` is "face", or "none" for a model that takes aligned crops only."""

    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return faces aligned at the output's size and reduced to the input's, or aligned crops only."""
        sizes = int(arguments["in_size"]), int(arguments["out_size"])
        return CropSpec(
            sizes[0] * int(arguments["unshuffle"]),
            sizes[1],
            align_size=sizes[1],
            template=by_argument(self.name, arguments["template"]),
        )

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read sizes and widths from the shapes; the decoder's factor from its last convolution."""
        bank = generator_arguments(shapes, "bank.")
        first, last = shapes.get("trunk.first.weight"), shapes.get("decoder.conv.weight")
        if not bank or not first or not last:
            return {}
        steps = len({key.split(".")[2] for key in shapes if key.startswith("decoder.up.")})
        found = {
            "in_size": bank["size"] >> steps,
            "out_size": bank["size"],
            "style_channels": bank["style_dim"],
            "rrdb_channels": first[0],
            "num_rrdbs": len({key.split(".")[2] for key in shapes if key.startswith("trunk.body.")}),
            "narrow": bank["narrow"],
            "decoder_narrow": last[0] / 64,
        }
        return found | {key: bank[key] for key in ("channel_multiplier",) if key in bank}

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.glean import LightGLEAN

        return LightGLEAN(**{key: value for key, value in arguments.items() if key != "template"})


ARCHITECTURES = (LightGLEANArchitecture(),)
