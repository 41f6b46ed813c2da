"""Upscalers and cleaners of anybody's: whatever spandrel's main registry reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from restorer.models.base import UpscalerArchitecture

if TYPE_CHECKING:
    from torch import nn

    from restorer.models.base import Precision, StateDict

WHOLE_TILE = 1024
"""Side in input pixels of the tiles of a network that would rather see a picture at once; less where memory ends."""


class SpandrelArchitecture(UpscalerArchitecture):
    """A network that spandrel makes of its tensors. What it says of it are its arguments; a file's own go before.

    `kind` is the architecture by spandrel's name, `whole` whether it would rather have no tiles, `values` how many
    parameters it has.
    """

    name = "spandrel"
    read_whole = True
    channels_last = False
    overlap = 32
    defaults: ClassVar = {
        "kind": "", "scale": 4, "multiple_of": 1, "whole": False, "bf16": False, "fp16": False, "values": 20_000_000,
    }  # fmt: skip

    def read(self, state: StateDict) -> tuple[nn.Module, dict[str, Any]]:
        """Return the network with its weights, and what spandrel says of it.

        Raises:
            ValueError: spandrel does not know it, or it is no upscaler.
            MissingPackageError: spandrel is not installed.
        """
        from restorer.networks.spandrel_network import read

        return read(state)

    def bears(self, precision: Precision, arguments: Mapping[str, Any]) -> bool:
        """Whether spandrel says that the network does."""
        return precision == "fp32" or bool(arguments[precision])

    def tiles(self, arguments: Mapping[str, Any]) -> tuple[int, int, int]:
        """Return tiles that begin where the network's own windows do."""
        grid = int(arguments["multiple_of"])
        return WHOLE_TILE if arguments["whole"] else self.tile, -(-self.overlap // grid) * grid, grid

    def flops(self, arguments: Mapping[str, Any]) -> float:
        """Count a multiplication and an addition for each parameter, as in a network of convolutions at one size."""
        return 2.0 * int(arguments["values"])

    def factors(self, arguments: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the `scale` argument: 1 for what cleans and does not enlarge."""
        return (int(arguments["scale"]),)

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Raise TypeError: without tensors nothing tells what the network is."""
        raise TypeError("A network of spandrel's is made of its checkpoint only.")


ARCHITECTURES = (SpandrelArchitecture(),)
