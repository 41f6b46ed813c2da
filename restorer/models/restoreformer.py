"""RestoreFormer, the peer that GFP-GAN's own tool ships."""

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


def _upwards(part: str) -> str:
    """Our decoder counts its levels in the order in which they run, upstream's by resolution."""
    return rf"decoder\.up\.(\d+)\.{part}\.(.+)"


def _block(match: re.Match[str]) -> str:
    return f"decoder.blocks.{_TOP - int(match[1])}.{match[2]}"


def _upsample(match: re.Match[str]) -> str:
    return f"decoder.upsample.{_TOP - int(match[1])}.{match[2]}"


RULES: tuple[Rule, ...] = (
    (rf"encoder\.(?:mid\.attn_1|down\.{_TOP}\.attn\.\d+)\.norm2\..*", None),  # of a second input that it never gets
    (r"(encoder|decoder)\.mid\.attn_1\.(.+)", r"\1.mid.attention.\2"),
    (rf"encoder\.down\.{_TOP}\.attn\.(.+)", r"encoder.attention.\1"),
    (rf"decoder\.up\.{_TOP}\.attn\.(.+)", r"decoder.attention.\1"),
    (r"encoder\.down\.(\d+)\.block\.(.+)", r"encoder.blocks.\1.\2"),
    (r"encoder\.down\.(\d+)\.downsample\.conv\.(.+)", r"encoder.downsample.\1.\2"),
    (_upwards("block"), _block),
    (_upwards(r"upsample\.conv"), _upsample),
    (r"quantize\.embedding\.weight", "codebook"),
)


class RestoreFormerArchitecture(FaceArchitecture):
    """RestoreFormer with its official settings."""

    name = "restoreformer"
    # The nearest codebook entry is a choice that rounding can turn over.
    bf16 = False
    defaults: ClassVar = {}

    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return faces of 512 px aligned by facexlib's five points."""
        return CropSpec(512, 512, 512, FACEXLIB)

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Rename, and drop the norms of a second input in attentions that have one input only."""
        import torch

        with torch.device("meta"):
            network = self.build(arguments)
        return translate(state, RULES, network)

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.restoreformer import RestoreFormer

        return RestoreFormer()


ARCHITECTURES = (RestoreFormerArchitecture(),)
