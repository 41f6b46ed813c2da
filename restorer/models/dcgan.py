"""DCGAN generators: those that recipes train here, and checkpoints of the PyTorch example (`main.N.…`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import Architecture

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes, StateDict


class DCGANArchitecture(Architecture):
    """The generator of DCGAN, 64 px."""

    name = "dcgan"
    role = "prior"
    defaults: ClassVar = {"style_dim": 100, "features": 64}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read the length of z and the width from the first layer."""
        first = shapes.get("main.0.weight", shapes.get("module.main.0.weight"))
        return {"style_dim": first[0], "features": first[1] // 8} if first and len(first) == 4 else {}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Take off the prefix of a data-parallel training."""
        return {key.removeprefix("module."): value for key, value in state.items()}

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the generator."""
        from restorer.networks.dcgan import DCGANGenerator

        return DCGANGenerator(**arguments)


ARCHITECTURES = (DCGANArchitecture(),)
