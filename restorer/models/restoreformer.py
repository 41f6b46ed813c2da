"""RestoreFormer, the peer that GFP-GAN's own tool ships, and its successor RestoreFormer++."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.conversion import Rule, translate
from restorer.models.templates import FACEXLIB

if TYPE_CHECKING:
    import re

    from torch import nn

    from restorer.models.base import StateDict

_LEVELS = 6
_TOP = _LEVELS - 1
_BLOCKS = 3
"""Of each level of the decoder, each with its attention where the level has any."""
_LIGHTNING = "vqvae."
"""In front of the network's keys in what PyTorch Lightning wrote; beside them stand networks that trained it."""


def _upwards(part: str) -> str:
    """Our decoder counts its levels in the order in which they run, upstream's by resolution."""
    return rf"decoder\.up\.(\d+)\.{part}\.(.+)"


def _block(match: re.Match[str]) -> str:
    return f"decoder.blocks.{_TOP - int(match[1])}.{match[2]}"


def _upsample(match: re.Match[str]) -> str:
    return f"decoder.upsample.{_TOP - int(match[1])}.{match[2]}"


def _attention(match: re.Match[str]) -> str:
    return f"decoder.attention.{(_TOP - int(match[1])) * _BLOCKS + int(match[2])}.{match[3]}"


RULES: tuple[Rule, ...] = (
    (rf"encoder\.(?:mid\.attn_1|down\.{_TOP}\.attn\.\d+)\.norm2\..*", None),  # of a second input that it never gets
    (r"(encoder|decoder)\.mid\.attn_1\.(.+)", r"\1.mid.attention.\2"),
    (rf"encoder\.down\.{_TOP}\.attn\.(.+)", r"encoder.attention.\1"),
    (_upwards(r"attn\.(\d+)"), _attention),
    (r"encoder\.down\.(\d+)\.block\.(.+)", r"encoder.blocks.\1.\2"),
    (r"encoder\.down\.(\d+)\.downsample\.conv\.(.+)", r"encoder.downsample.\1.\2"),
    (_upwards("block"), _block),
    (_upwards(r"upsample\.conv"), _upsample),
    (r"quantize\.embedding\.weight", "codebook"),
    (r"quantize\.utility_counter", None),  # how often training used each entry
    (r"loss\..+", None),
)


class RestoreFormerArchitecture(FaceArchitecture):
    """RestoreFormer with its official settings.

    The number of attention heads leaves no trace in a checkpoint, but a class has one number only, and keys tell the
    classes apart: RestoreFormer++ looks back at the encoder at one more level.
    """

    name = "restoreformer"
    channels_last = True
    # The nearest codebook entry is a choice that rounding can turn over.
    bf16 = False
    defaults: ClassVar = {}
    heads: ClassVar[int] = 8
    cross_levels: ClassVar[int] = 1

    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return faces of 512 px aligned by facexlib's five points."""
        return CropSpec(512, 512, 512, FACEXLIB)

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Rename, and drop the norms of a second input in attentions that have one input only.

        Of what PyTorch Lightning wrote the network itself is taken, and nothing beside it.
        """
        import torch

        if any(key.startswith(_LIGHTNING) for key in state):
            state = {key.removeprefix(_LIGHTNING): value for key, value in state.items() if key.startswith(_LIGHTNING)}
        with torch.device("meta"):
            network = self.build(arguments)
        return translate(state, RULES, network)

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.restoreformer import RestoreFormer

        return RestoreFormer(self.heads, self.cross_levels)


class RestoreFormerPlusPlusArchitecture(RestoreFormerArchitecture):
    """RestoreFormer++: half as many heads, and one more level that looks back at the encoder."""

    name = "restoreformer++"
    heads = 4
    cross_levels = 2


ARCHITECTURES = (RestoreFormerArchitecture(), RestoreFormerPlusPlusArchitecture())
