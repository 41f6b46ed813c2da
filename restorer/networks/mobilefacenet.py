"""MobileFaceNet: 128 numbers that tell whose face it is. For measuring and for training; its weights are never shipped.

Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices" (2018). The
names of the parts are those of the published checkpoint (`net_state_dict`), which thus loads as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.errors import CheckpointLayoutError
from restorer.imaging.similarity import nearest_similarity

HEIGHT, WIDTH = 112, 96
TEMPLATE = ((30.2946, 51.6963), (65.5318, 51.5014), (48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041))
"""Where eyes, nose and mouth corners stand in the 96 x 112 (width x height) input, in pixels (SphereFace)."""
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Expansion, channels, repeats and first stride of the bottlenecks (table 1)."""


class ConvBlock(nn.Module):
    """Convolution, batch norm and, unless linear, PReLU; `depthwise` convolves every channel by itself."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        *,
        depthwise: bool = False,
        linear: bool = False,
    ) -> None:
        super().__init__()
        groups = in_channels if depthwise else 1
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.prelu = None if linear else nn.PReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h, w), each side divided by the stride."""
        x = self.bn(self.conv(x))
        return x if self.prelu is None else self.prelu(x)


class Bottleneck(nn.Module):
    """Widen, convolve each channel, narrow again; added to the input where the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.residual = stride == 1 and in_channels == out_channels
        width = in_channels * expansion
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h, w), each side divided by the stride."""
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileFaceNet(nn.Module):
    """Maps faces (n, 3, 112, 96), RGB in [-1, 1], aligned to `TEMPLATE`, to embeddings (n, 128), not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBlock(3, 64, 3, 2, 1)
        self.dw_conv1 = ConvBlock(64, 64, 3, 1, 1, depthwise=True)
        blocks, width = [], 64
        for expansion, channels, repeats, stride in _STAGES:
            for index in range(repeats):
                blocks.append(Bottleneck(width, channels, stride if index == 0 else 1, expansion))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = ConvBlock(128, 512, 1)
        self.linear7 = ConvBlock(512, 512, (7, 6), depthwise=True, linear=True)
        self.linear1 = ConvBlock(512, 128, 1, linear=True)

    def forward(self, faces: Tensor) -> Tensor:
        """Return the embeddings (n, 128) of faces (n, 3, 112, 96) in [-1, 1]."""
        return self.embed(self.features(faces)[-1])

    def features(self, faces: Tensor) -> list[Tensor]:
        """Return the features behind the stem and behind each change of resolution, (n, c, h, w), largest first."""
        x = self.dw_conv1(self.conv1(faces))
        found = [x]
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in (4, 11):
                found.append(x)
        return [*found, x]

    def embed(self, last: Tensor) -> Tensor:
        """Return the embeddings (n, 128) of the last features (n, 128, 7, 6)."""
        embedding: Tensor = self.linear1(self.linear7(self.conv2(last))).flatten(1)
        return embedding


def load_mobilefacenet(path: Path) -> MobileFaceNet:
    """Return the network with the weights of a published checkpoint, in eval mode, without gradients.

    Raises:
        CheckpointLayoutError: the file is no MobileFaceNet checkpoint.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = MobileFaceNet()
    try:
        network.load_state_dict(state["net_state_dict"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointLayoutError(
            "mobilefacenet", f"{path} is no MobileFaceNet checkpoint: {str(error).splitlines()[0]}", "Check the file."
        ) from error
    return network.eval().requires_grad_(False)


def crop_faces(pictures: Tensor, matrices: Tensor) -> Tensor:
    """Return aligned faces (n, 3, 112, 96) of pictures (n, 3, h, w), differentiably.

    Args:
        pictures: RGB in [-1, 1].
        matrices: (n, 2, 3), from the crop's pixels to the picture's, both in edge coordinates (centres at +0.5).
    """
    n, _, height, width = pictures.shape
    y, x = torch.meshgrid(
        torch.arange(HEIGHT, device=pictures.device) + 0.5,
        torch.arange(WIDTH, device=pictures.device) + 0.5,
        indexing="ij",
    )
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(1, -1, 3)
    where = points.float() @ matrices.float().transpose(1, 2)
    grid = where / torch.tensor([width, height], device=pictures.device) * 2 - 1
    return F.grid_sample(pictures.float(), grid.view(n, HEIGHT, WIDTH, 2), align_corners=False, padding_mode="border")


def aligning(points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return what leads from the crop's pixels to a face's landmarks (5, 2), as (2, 3), for `crop_faces`.

    Raises:
        ValueError: the landmarks are not finite, or all in one place.
    """
    found = nearest_similarity(np.array(TEMPLATE), np.asarray(points, np.float64))
    if found is None:
        raise ValueError("landmarks in one place, or without number, align nothing")
    return found.matrix
