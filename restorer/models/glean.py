"""GLEAN: its four official configurations, and any other size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.conversion import (
    GENERATOR_RULES,
    MAPPING_RULES,
    RGB_RULES,
    Rule,
    below,
    generator_arguments,
    renamed_shapes,
    translate,
)
from restorer.models.templates import by_argument

if TYPE_CHECKING:
    import re

    from torch import nn

    from restorer.models.base import Shapes, StateDict

CATS = ((32, 256), (16, 256))
"""The official models of these sizes know cats, and there is no template for them."""


def _dense(match: re.Match[str]) -> str:
    """The fifth convolution of a dense block is the one without activation."""
    conv = "last" if match[3] == "5" else f"convs.{int(match[3]) - 1}"
    return f"trunk.body.{match[1]}.blocks.{int(match[2]) - 1}.{conv}.{match[4]}"


def rules(*, encoder_blocks: int, decoder_blocks: int) -> list[Rule]:
    """Return the translation of a checkpoint with so many blocks; the encoder's last makes the latents."""
    last, final = encoder_blocks - 1, decoder_blocks - 1
    dense = r"encoder\.0\.0\.body\.(\d+)\.rdb([123])\.conv([1-5])\.(weight|bias)"
    plain: list[Rule] = [
        (r"fusion_skip\..*", None),
        (r"encoder\.0\.0\.conv_first\.(weight|bias)", r"trunk.first.\1"),
        (dense, _dense),
        (r"encoder\.0\.0\.conv_body\.(weight|bias)", r"trunk.body_last.\1"),
        (r"encoder\.0\.1\.(weight|bias)", r"trunk.last.\1"),
        (rf"encoder\.{last}\.0\.(weight|bias)", r"bottom.\1"),
        (rf"encoder\.{last}\.3\.(weight|bias)", r"to_latents.\1"),
        (r"encoder\.(\d+)\.([02])\.(weight|bias)", lambda m: f"down.{int(m[1]) - 1}.{m[2]}.{m[3]}"),
        (r"fusion_out\.(\d+)\.(weight|bias)", r"fusion.\1.\2"),
        (r"decoder\.(\d+)\.upsample_conv\.(weight|bias)", r"decoder.up.\1.\2"),
        (rf"decoder\.{final}\.0\.(weight|bias)", r"decoder.conv.\1"),
        (rf"decoder\.{final}\.2\.(weight|bias)", r"decoder.to_rgb.\1"),
    ]
    bank = below("generator.", "bank.", (*RGB_RULES, *MAPPING_RULES, *GENERATOR_RULES))
    # A published file holds the restorer as `generator`, whose bank is again called so, beside what trained it.
    return [
        *below("generator.", "", [*plain, *bank]),
        (r"(?:discriminator|perceptual_loss)\..*", None),
        *plain,
        *bank,
    ]


def _count(shapes: Shapes, part: str) -> int:
    """Return how many blocks a part has, whether or not its keys begin with `generator.`."""
    keys = [key.removeprefix("generator.") for key in shapes]
    return len({key.split(".")[1] for key in keys if key.startswith(f"{part}.")})


class GLEANArchitecture(FaceArchitecture):
    """GLEAN with a StyleGAN2 bank."""

    name = "glean"
    defaults: ClassVar = {
        "in_size": 128, "out_size": 1024, "style_channels": 512, "rrdb_channels": 64, "num_rrdbs": 23, "num_mlps": 8,
        "channel_multiplier": 2, "narrow": 1, "bank_size": 0, "unshuffle": 1, "residual": False, "rrdb_growth": 32,
        "decoder_narrow": 1, "decoder_last": 64, "template": "auto",
    }  # fmt: skip
    """From `narrow` (of the bank) on they are our own (`restorer.networks.glean`); `template` is "face", "none" for a
    model that takes aligned crops only, or "auto": "none" for the sizes of the official cat models."""

    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return faces aligned at the output's size and reduced to the input's, or aligned crops only."""
        sizes = int(arguments["in_size"]), int(arguments["out_size"])
        wanted = arguments["template"]
        if wanted == "auto":
            wanted = "none" if sizes in CATS else "face"
        return CropSpec(
            sizes[0] * int(arguments["unshuffle"]),
            sizes[1],
            align_size=sizes[1],
            template=by_argument(self.name, wanted),
        )

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read sizes and widths from the shapes."""
        ours = renamed_shapes(shapes, self._rules(shapes))
        bank = generator_arguments(ours, "bank.")
        first = ours.get("trunk.first.weight")
        if not bank or not first:
            return {}
        fusions = len({key.split(".")[1] for key in ours if key.startswith("fusion.")})
        ups = len({key.split(".")[2] for key in ours if key.startswith("decoder.up.")})
        found = {
            "in_size": 4 << (fusions - 1),
            "out_size": 4 << (fusions - 1 + ups),
            "bank_size": 0 if bank["size"] == 4 << (fusions - 1 + ups) else bank["size"],
            "style_channels": bank["style_dim"],
            "rrdb_channels": first[0],
            "num_rrdbs": len({key.split(".")[2] for key in ours if key.startswith("trunk.body.")}),
            "narrow": bank["narrow"],
        }
        return found | {key: bank[key] for key in ("channel_multiplier",) if key in bank}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Fold the bank's equalised learning rates; drop discriminator, perceptual network and what nobody looks at.

        The encoder's last code is for the bank's last RGB layer, so it goes too.
        """
        import torch

        from restorer.networks.stylegan2 import equalised_scales

        with torch.device("meta"):
            network = self.build(arguments)
        result = translate(state, self._rules(dict.fromkeys(state, ())), network, equalised_scales(network))
        wanted = len(network.get_parameter("to_latents.bias"))
        for name in ("to_latents.weight", "to_latents.bias"):
            if name in result and len(result[name]) == wanted + arguments["style_channels"]:
                result[name] = result[name][:wanted].clone()  # a view would keep the rest in memory
        return result

    def _rules(self, shapes: Shapes) -> list[Rule]:
        return rules(encoder_blocks=_count(shapes, "encoder"), decoder_blocks=_count(shapes, "decoder"))

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.glean import GLEAN

        return GLEAN(**{key: value for key, value in arguments.items() if key not in ("num_mlps", "template")})


ARCHITECTURES = (GLEANArchitecture(),)
