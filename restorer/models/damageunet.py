"""The finder of damage that is built in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.finders import DamageArchitecture

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Shapes, StateDict


class DamageUNetArchitecture(DamageArchitecture):
    """A small U-Net at the photograph's own resolution."""

    name = "damageunet"
    threshold = 0.9  # on photographs that it was not taught on, what it is less sure of is mostly wrong
    defaults: ClassVar = {"stem": 16, "widths": [64, 96, 128], "blocks": [1, 1, 1]}

    def infer(self, shapes: Shapes) -> dict[str, Any]:
        """Read widths and depths from the residual blocks of the way down."""
        levels: dict[int, tuple[int, int]] = {}
        for key, shape in shapes.items():
            parts = key.split(".")
            if parts[0] == "down" and parts[-2:] == ["first", "weight"]:
                levels[int(parts[1])] = (shape[0], max(levels.get(int(parts[1]), (0, 0))[1], int(parts[2]) + 1))
        found = [levels[i] for i in sorted(levels)]
        if not found or "head.weight" not in shapes:
            return {}
        widths, blocks = [width for width, _ in found], [count for _, count in found]
        return {"stem": shapes["head.weight"][1], "widths": widths, "blocks": blocks}

    def convert(self, state: StateDict, arguments: Mapping[str, Any]) -> StateDict:
        """Keep the names: there is no upstream."""
        return {key: value.float() for key, value in state.items()}

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        from restorer.networks.damageunet import DamageUNet

        return DamageUNet(**arguments)


ARCHITECTURES = (DamageUNetArchitecture(),)
