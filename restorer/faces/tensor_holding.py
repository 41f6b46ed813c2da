"""What `restorer.faces.holding` does, by torch on any of its devices, to within rounding of the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from restorer.faces.holding import MOST, Holding
from restorer.imaging.colour import LUMA
from restorer.imaging.tensor_sampling import exactly, filtered, gaussian, mirrored

if TYPE_CHECKING:
    from restorer.imaging.sampling import Sampling


def held(holding: Holding, sampling: Sampling, face: Tensor, below: np.ndarray, weight: Tensor, top: float) -> Tensor:
    """Return a part of a face as it is to be pasted; see `Holding.held`.

    Args:
        holding: what is kept.
        sampling: where the numbers are.
        face: (h, w, 3), 0 to `top`, held there.
        below: (h, w, 3) of any type, the canvas in the same place.
        weight: (h, w), held there.
        top: the largest value.
    """
    canvas: Tensor = sampling.hold(below)
    if holding.finest > 0:
        face = face + _finest(canvas - face, holding.finest)
    if holding.share <= 0:
        return face
    lacking = _finest(canvas - face, holding.sigma)
    levels = torch.from_numpy(LUMA * np.float32(255 / top)).to(face.device)
    own = canvas @ levels
    now = own + weight * (face @ levels - own)
    given = _given(_edges(own), _edges(now), _edges(weight * (lacking @ levels)), holding.around)
    return face + lacking * (holding.share * given)[..., None]


def _given(own: Tensor, now: Tensor, change: Tensor, around: int) -> Tensor:
    """Return by how much of a change the energy around each place reaches the canvas's own; see `Holding`."""
    # Sums over squares by a filter: sums that run along would lose digits where all is dark but one line.
    products = torch.stack([own * own, now * now, now * change, change * change])[:, None]
    taps = np.full(2 * around + 1, 1 / (2 * around + 1), np.float32)
    wanted, has, both, most = filtered(products, taps)[:, 0]
    missing, most = (wanted - has).clamp(min=0), most.clamp(min=1e-6)
    root = ((both * both + most * missing).sqrt() - both) / most
    return torch.where(missing > 0, root.clamp(0, MOST), torch.zeros_like(root))


def _finest(picture: Tensor, sigma: float) -> Tensor:
    """Return what of (h, w, 3) is finer than a blur."""
    planes = picture.permute(2, 0, 1)[:, None]
    return picture - filtered(planes, gaussian(sigma))[:, 0].permute(1, 2, 0)


def _edges(luma: Tensor) -> Tensor:
    """Return the Laplacian of (h, w)."""
    kernel = luma.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    with exactly():
        return F.conv2d(mirrored(luma[None, None], 1), kernel[None, None])[0, 0]
