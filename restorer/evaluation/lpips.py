"""LPIPS, the distance of two pictures as people see it, from weights that the user supplies.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018), version 0.1 on AlexNet.
Two files are needed, and neither is shipped: torchvision's AlexNet (`features.N.weight`) and the linear layers of the
lpips package (`linN.model.1.weight`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.errors import CheckpointLayoutError
from restorer.imaging.sheets import Picture
from restorer.imaging.tensors import to_tensor

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_LAYERS = (
    (0, 3, 64, 11, 4, 2),
    (3, 64, 192, 5, 1, 2),
    (6, 192, 384, 3, 1, 1),
    (8, 384, 256, 3, 1, 1),
    (10, 256, 256, 3, 1, 1),
)
"""Number in torchvision's AlexNet, channels in and out, kernel, stride, padding."""
_POOLED_BEFORE = (1, 2)


class LPIPS(nn.Module):
    """Maps two batches of pictures (n, 3, h, w) in [-1, 1] to their distances (n,)."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, s, p) for _, i, o, k, s, p in _LAYERS)
        self.lin = nn.ParameterList(torch.zeros(o) for _, _, o, *_ in _LAYERS)
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances."""
        total = a.new_zeros(len(a))
        for weight, x, y in zip(self.lin, self._features(a), self._features(b), strict=True):
            total = total + ((x - y).square() * weight.view(1, -1, 1, 1)).sum(1).mean((1, 2))
        return total

    def _features(self, x: Tensor) -> list[Tensor]:
        """Return the features behind each convolution, of length 1 at each place."""
        x = (x - self.get_buffer("shift")) / self.get_buffer("scale")
        found = []
        for index, conv in enumerate(self.convs):
            if index in _POOLED_BEFORE:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(conv(x))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found


def load_lpips(alexnet: Path, linear: Path) -> LPIPS:
    """Return LPIPS with the weights of both files.

    Raises:
        CheckpointLayoutError: a file does not hold what it should.
    """
    network = LPIPS()
    states = [torch.load(path, map_location="cpu", weights_only=True) for path in (alexnet, linear)]
    try:
        with torch.no_grad():
            for index, (number, *_) in enumerate(_LAYERS):
                conv = network.convs[index]
                conv.get_parameter("weight").copy_(states[0][f"features.{number}.weight"])
                conv.get_parameter("bias").copy_(states[0][f"features.{number}.bias"])
                network.lin[index].copy_(states[1][f"lin{index}.model.1.weight"].flatten())
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointLayoutError(
            "lpips",
            f"These are no LPIPS weights: {str(error).splitlines()[0]}",
            "Give AlexNet first, then the lin file.",
        ) from error
    return network.eval().requires_grad_(False)


def distances(network: LPIPS, pictures: Sequence[Picture], truths: Sequence[Picture]) -> list[float]:
    """Return the distance of each picture to its truth, 0 for equal ones; in batches of 16.

    Args:
        network: in eval mode, on the CPU.
        pictures: RGB (h, w, 3), uint8, all of one size.
        truths: as many, of the same shape and type.
    """
    found: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 16):
            part = slice(start, start + 16)
            found += network(to_tensor(pictures[part]), to_tensor(truths[part])).tolist()
    return found
