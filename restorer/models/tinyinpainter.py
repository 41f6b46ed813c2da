"""The inpainter that is built in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.inpainters import InpaintingArchitecture
from restorer.models.levels import levels

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes, StateDict


class TinyInpainterArchitecture(InpaintingArchitecture):
    """A small U-Net that fills holes at the photograph's own resolution."""

    name = "tinyinpainter"
    bf16 = True
    fp16 = True
    margin = 48
    part = 512
    near = 16
    grain = True
    defaults: ClassVar = {"widths": [64, 96, 128], "blocks": [1, 1, 1]}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read widths and depths from the residual blocks of the way down."""
        widths, blocks = levels(shapes)
        return {"widths": widths, "blocks": blocks} if widths else {}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Keep the names: there is no upstream."""
        return {key: value.float() for key, value in state.items()}

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.tinyinpainter import TinyInpainter

        return TinyInpainter(**arguments)


ARCHITECTURES = (TinyInpainterArchitecture(),)
