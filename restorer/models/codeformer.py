"""CodeFormer, and its siblings for colouring and for filling holes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.conversion import Rule, translate
from restorer.models.templates import FACEXLIB

if TYPE_CHECKING:
    import torch
    from torch import nn

    from restorer.models.base import RunningNetwork, Shapes, StateDict

RULES: tuple[Rule, ...] = (
    (r"(encoder|generator)\.blocks\.(\d+)\.conv_out\.(.+)", r"\1.\2.nin_shortcut.\3"),
    (r"(encoder|generator)\.blocks\.(\d+)\.norm\.(.+)", r"\1.\2.norm1.\3"),
    (r"(encoder|generator)\.blocks\.(\d+)\.conv\.(.+)", r"\1.\2.\3"),
    (r"(encoder|generator)\.blocks\.(\d+)\.(.+)", r"\1.\2.\3"),
    (r"quantize\.embedding\.weight", "codebook"),
    (r"ft_layers\.(.+)", r"layers.\1"),
    (r"idx_pred_layer\.0\.(.+)", r"code_norm.\1"),
    (r"idx_pred_layer\.1\.(.+)", r"code_head.\1"),
    (r"fuse_convs_dict\.(\d+)\.encode_enc\.conv_out\.(.+)", r"fuse.\1.encode_enc.nin_shortcut.\2"),
    (r"fuse_convs_dict\.(.+)", r"fuse.\1"),
)


class CodeFormerArchitecture(FaceArchitecture):
    """CodeFormer's network; `adain` and `w`, upstream arguments of a call, are how a checkpoint is meant to be used."""

    name = "codeformer"
    channels_last = True
    controls = ("fidelity",)
    # Which entry of the codebook is the likeliest is a choice that rounding can turn over.
    bf16 = False
    defaults: ClassVar = {
        "dim_embd": 512, "n_head": 8, "n_layers": 9, "codebook_size": 1024,
        "connect_list": ["32", "64", "128", "256"], "adain": True, "w": 0.5,
    }  # fmt: skip

    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        """Return faces of 512 px aligned by facexlib's five points."""
        return CropSpec(512, 512, 512, FACEXLIB)

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read the widths and depths from the shapes; not the number of heads, which no shape tells.

        How the checkpoint is called follows from which of the three published ones has these shapes: the inpainting
        one has 512 entries, and of the others the colouring one lacks the largest connection.
        """
        codebook, tokens = shapes.get("quantize.embedding.weight", ()), shapes.get("position_emb", ())
        if len(codebook) != 2 or len(tokens) != 2:
            return {}
        connected = sorted({key.split(".")[1] for key in shapes if key.startswith("fuse_convs_dict.")}, key=int)
        inpainting = codebook[0] == 512
        told: dict[str, Any] = {
            "dim_embd": tokens[1],
            "n_layers": len({key.split(".")[1] for key in shapes if key.startswith("ft_layers.")}),
            "codebook_size": codebook[0],
            "connect_list": connected,
        }
        if inpainting:
            return told | {"adain": False, "w": 1.0}
        return told if "256" in connected else told | {"w": 0.0}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Rename."""
        import torch

        with torch.device("meta"):
            network = self.build(arguments)
        return translate(state, RULES, network)

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.codeformer import CodeFormer

        return CodeFormer(**arguments)

    def restore(
        self, network: RunningNetwork, crops: torch.Tensor, *, fidelity: float | None = None, seed: int | None = None
    ) -> torch.Tensor:
        """Return restored crops, as near to the input as `fidelity` says."""
        restored: torch.Tensor = network(crops) if fidelity is None else network(crops, fidelity=fidelity)
        return restored


ARCHITECTURES = (CodeFormerArchitecture(),)
