"""Networks of spandrel, which knows the architectures of most published upscalers, in this package's value range.

Importing spandrel imports all of them, and torchvision: half a second and more. So nothing but this file does, and only
when a checkpoint asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from restorer.errors import MissingPackageError
from restorer.formatting import install_line

BROKEN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What its readers raise for tensors that only look like one of their architectures."""


class SpandrelUpscaler(nn.Module):
    """A network of spandrel, offered on [-1, 1].

    Args:
        descriptor: spandrel's `ImageModelDescriptor`, of 3 or 1 channels.
    """

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.net: nn.Module = descriptor.model
        self.factor: int = descriptor.scale
        self._channels: int = descriptor.input_channels
        self._descriptor = descriptor

    def forward(self, pictures: torch.Tensor, factor: int | None = None) -> torch.Tensor:
        """Map (n, 3, h, w) in [-1, 1] to (n, 3, factor * h, factor * w) in [-1, 1]; any size, padded where needed.

        Raises:
            ValueError: for a factor that is not the network's own.
        """
        if factor not in (None, self.factor):
            raise ValueError(f"This network enlarges by {self.factor}, not by {factor}.")
        n, _, height, width = pictures.shape
        unit = (pictures * 0.5 + 0.5).reshape(-1, self._channels, height, width)
        # spandrel promises pictures one by one only.
        done = torch.cat([self._descriptor(picture[None]) for picture in unit])
        return done.reshape(n, 3, height * self.factor, width * self.factor) * 2 - 1


def read(state: Mapping[str, torch.Tensor]) -> tuple[SpandrelUpscaler, dict[str, Any]]:
    """Return the network of a state dict, in eval mode, and what spandrel says of it.

    Args:
        state: tensors by upstream names.

    Raises:
        MissingPackageError: spandrel is not installed.
        ValueError: the tensors are of no architecture that it knows, or of a network for something else.
    """
    spandrel = _spandrel()
    try:
        # What is given are tensors alone; reading the file is not left to it.
        descriptor: Any = spandrel.ModelLoader().load_from_state_dict(dict(state))
    except spandrel.UnsupportedModelError as error:
        raise ValueError("spandrel knows no architecture with such tensors") from error
    except BROKEN as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"spandrel cannot read it: {reason}") from error
    name = descriptor.architecture.name
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.purpose not in ("SR", "Restoration"):
        raise ValueError(f"{name} is no upscaler")
    channels = (descriptor.input_channels, descriptor.output_channels)
    if channels not in ((3, 3), (1, 1)):
        raise ValueError(f"this {name} takes {channels[0]} channels and returns {channels[1]}")
    needs = descriptor.size_requirements
    told = {
        "kind": name,
        "scale": descriptor.scale,
        "multiple_of": needs.multiple_of,
        "whole": descriptor.tiling is not spandrel.ModelTiling.SUPPORTED,
        "bf16": descriptor.supports_bfloat16,
        "fp16": descriptor.supports_half,
        "values": sum(parameter.numel() for parameter in descriptor.model.parameters()),
    }
    return SpandrelUpscaler(descriptor).eval(), told


def _spandrel() -> Any:
    try:
        import spandrel
    except ImportError as error:
        raise MissingPackageError(
            "spandrel",
            "This file is of none of the architectures that come with this program; spandrel may know it, but cannot "
            f"be imported: {error}.",
            f"Type: {install_line('spandrel torchvision')}",
        ) from error
    return spandrel
