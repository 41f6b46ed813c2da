"""Pictures as tensors and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restorer.imaging.sheets import Picture


def to_tensor(pictures: Sequence[NDArray[np.uint8 | np.float32]]) -> Tensor:
    """Return RGB pictures of 0 to 255, each (h, w, 3), as one tensor (n, 3, h, w) in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(pictures).astype(np.float32))
    return stacked.permute(0, 3, 1, 2).contiguous() / 127.5 - 1


def to_pictures(tensor: Tensor) -> list[Picture]:
    """Return a tensor (n, 3, h, w) in [-1, 1] as RGB pictures (h, w, 3), rounded and clipped."""
    bytes_ = (tensor.detach().float().cpu() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    return list(bytes_.permute(0, 2, 3, 1).contiguous().numpy())
