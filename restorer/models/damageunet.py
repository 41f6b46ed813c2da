"""The finder of damage that is built in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.finders import DamageArchitecture, SecondLook
from restorer.models.levels import levels

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes, StateDict


SHOWN = 9
"""Channels that a network is shown of each pixel where it is shown nothing about lines; its own module needs torch."""


class DamageUNetArchitecture(DamageArchitecture):
    """A small U-Net at the photograph's own resolution."""

    name = "damageunet"
    threshold = 0.95  # on photographs that it was not taught on, what it is less sure of is mostly wrong
    second = SecondLook(2, 0.3)
    floor = 0.003  # of what is confirmed: of clean photographs up to 0.28 %, of prints that want it 0.33 % and more
    smallest = 250
    defaults: ClassVar = {"stem": 16, "widths": [64, 96, 128], "blocks": [1, 1, 1], "lines": False}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read widths and depths from the residual blocks of the way down, what is shown from the first layer."""
        widths, blocks = levels(shapes)
        if not widths or "head.weight" not in shapes:
            return {}
        lines = shapes["stem.0.weight"][1] > SHOWN
        return {"stem": shapes["head.weight"][1], "widths": widths, "blocks": blocks, "lines": lines}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Keep the names: there is no upstream."""
        return {key: value.float() for key, value in state.items()}

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.damageunet import DamageUNet

        return DamageUNet(**arguments)


ARCHITECTURES = (DamageUNetArchitecture(),)
