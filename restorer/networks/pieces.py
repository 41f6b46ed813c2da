"""Small pieces that several networks for aligned faces share."""

from __future__ import annotations

import torch
from torch import Tensor

SIDE = 512
"""Side of the faces that CodeFormer, RestoreFormer and DMDNet were trained on, in pixels; they restore no other."""


def check_faces(faces: Tensor) -> None:
    """Refuse what is no batch of faces of the trained size.

    Args:
        faces: to be (n, 3, 512, 512).

    Raises:
        ValueError: it is of another shape.
    """
    if faces.ndim != 4 or faces.shape[1:] != (3, SIDE, SIDE):
        raise ValueError(f"This network takes faces (n, 3, {SIDE}, {SIDE}), not {tuple(faces.shape)}.")


def adapted(content: Tensor, style: Tensor) -> Tensor:
    """Return features (n, c, h, w) with each channel's mean and unbiased deviation taken from others of that shape."""

    def moments(features: Tensor) -> tuple[Tensor, Tensor]:
        variance, mean = torch.var_mean(features, dim=(2, 3), keepdim=True)
        return (variance + 1e-5).sqrt(), mean

    (old_std, old_mean), (std, mean) = moments(content), moments(style)
    return (content - old_mean) / old_std * std + mean
