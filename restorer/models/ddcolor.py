"""DDColor, which colours black-and-white photos."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.colourers import ColourArchitecture

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes, StateDict

_SIZES = {
    96: {"widths": [96, 192, 384, 768], "depths": [3, 3, 9, 3]},
    192: {"widths": [192, 384, 768, 1536], "depths": [3, 3, 27, 3]},
}
"""ConvNeXt's tiny and large encoders by the channels of their first stage."""
_NAMES = (
    (r"encoder\.arch\.norm(\d)\.", r"encoder.norms.\1."),
    (r"encoder\.arch\.", r"encoder."),
    (r"decoder\.layers\.(\d)\.shuf\.conv\.0\.", r"join.\1.grow.conv."),
    (r"decoder\.layers\.(\d)\.shuf\.conv\.1\.", r"join.\1.grow.norm."),
    (r"decoder\.layers\.(\d)\.bn\.", r"join.\1.beside_norm."),
    (r"decoder\.layers\.(\d)\.conv\.0\.", r"join.\1.conv."),
    (r"decoder\.layers\.(\d)\.conv\.2\.", r"join.\1.norm."),
    (r"decoder\.last_shuf\.conv\.0\.", "finest.conv."),
    (r"decoder\.color_decoder\.query_feat\.", "colours.queries."),
    (r"decoder\.color_decoder\.query_embed\.", "colours.places."),
    (r"decoder\.color_decoder\.level_embed\.", "colours.levels."),
    (r"decoder\.color_decoder\.input_proj\.(\d)\.", r"colours.project.\1."),
    (
        r"decoder\.color_decoder\.transformer_cross_attention_layers\.(\d)\.multihead_attn\.",
        r"colours.layers.\1.cross.attention.",
    ),
    (r"decoder\.color_decoder\.transformer_cross_attention_layers\.(\d)\.norm\.", r"colours.layers.\1.cross.norm."),
    (
        r"decoder\.color_decoder\.transformer_self_attention_layers\.(\d)\.self_attn\.",
        r"colours.layers.\1.own.attention.",
    ),
    (r"decoder\.color_decoder\.transformer_self_attention_layers\.(\d)\.norm\.", r"colours.layers.\1.own.norm."),
    (r"decoder\.color_decoder\.transformer_ffn_layers\.(\d)\.linear1\.", r"colours.layers.\1.widen."),
    (r"decoder\.color_decoder\.transformer_ffn_layers\.(\d)\.linear2\.", r"colours.layers.\1.narrow."),
    (r"decoder\.color_decoder\.transformer_ffn_layers\.(\d)\.norm\.", r"colours.layers.\1.norm."),
    (r"decoder\.color_decoder\.decoder_norm\.", "colours.norm."),
    (r"decoder\.color_decoder\.color_embed\.layers\.(\d)\.", r"colours.embed.\1."),
    (r"refine_net\.0\.0\.", "refine."),
)
"""Upstream's names and ours."""
_UNUSED = re.compile(r"encoder\.arch\.(norm|head_cls)\..*|.*\.weight_[uv]")
"""The encoder's own end, which coloring does not use, and the vectors that divide weights."""


class DDColorArchitecture(ColourArchitecture):
    """DDColor with ConvNeXt's large or tiny encoder."""

    name = "ddcolor"
    defaults: ClassVar = _SIZES[192]

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read which encoder it is from its first convolution."""
        inner = "downsample_layers.0.0.weight"
        first = shapes.get(f"encoder.arch.{inner}", shapes.get(f"encoder.{inner}", (0,)))[0]
        return dict(_SIZES[first]) if first in _SIZES else {}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Rename the layers; divide weights that are kept undivided (spectral normalisation) by the stored norm."""
        renamed = {}
        for key, value in state.items():
            if _UNUSED.fullmatch(key):
                continue
            if key.endswith("weight_orig"):
                stem = key.removesuffix("_orig")
                vectors = state.get(f"{stem}_u"), state.get(f"{stem}_v")
                if vectors[0] is not None and vectors[1] is not None:
                    key, value = stem, value / (vectors[0] @ (value.flatten(1) @ vectors[1]))
            renamed[_name(key)] = value
        return renamed

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.ddcolor import DDColor

        return DDColor(**arguments)


def _name(upstream: str) -> str:
    for pattern, name in _NAMES:
        ours, count = re.subn(f"^{pattern}", name, upstream)
        if count:
            return ours
    return upstream


ARCHITECTURES = (DDColorArchitecture(),)
