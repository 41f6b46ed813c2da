"""The spectrum of a texture: a loss that lets no regular pattern through, and a measure of such patterns.

Where detail is lost, a restorer that is asked for texture likes to lay a mesh: a few frequencies, always the same
ones. Skin, hair and grain spread over all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW = 64
"""Side of the squares whose spectra are taken, each overlapping the next by half."""
LUMA = (0.299, 0.587, 0.114)
_FLOOR = 1e-2
"""Power, in squared levels a frequency, that is taken for none: that of rounding to whole levels, about."""


def power(pictures: Tensor, *, window: int = WINDOW) -> Tensor:
    """Return the power of the luma at each frequency, (n, windows, window, window // 2 + 1), in squared levels.

    Args:
        pictures: (n, 3, h, w) in [-1, 1].
        window: side of the squares, at most the pictures'.
    """
    luma = 127.5 * (pictures.float() * pictures.new_tensor(LUMA).view(3, 1, 1)).sum(1)
    squares = luma.unfold(1, window, window // 2).unfold(2, window, window // 2).flatten(1, 2)
    squares = squares - squares.mean((2, 3), keepdim=True)
    line = torch.hann_window(window, periodic=False, device=pictures.device)
    taper = torch.outer(line, line)
    found: Tensor = torch.fft.rfft2(squares * taper).abs().square() / taper.square().sum()
    return found


def rings(window: int, device: torch.device | None = None) -> Tensor:
    """Return for each frequency how many times it fits into the window, rounded, (window, window // 2 + 1)."""
    down = torch.fft.fftfreq(window, 1 / window, device=device)
    across = torch.fft.rfftfreq(window, 1 / window, device=device)
    return torch.hypot(down[:, None], across[None, :]).round().long()


def spectral_loss(found: Tensor, wanted: Tensor, *, window: int = WINDOW) -> Tensor:
    """Return how different the logarithms of the power are at each frequency, that of a batch's squares together.

    It is the mean difference, and the mean of the fiftieth part that differs most: a mesh has few frequencies. One
    picture may well have a stripe where another has none; that all have the same mesh shows in their mean.
    """
    window = min(window, *found.shape[2:])
    with torch.no_grad():
        there = power(wanted, window=window).mean((0, 1))
    here = power(found, window=window).mean((0, 1))
    kept = (rings(window, found.device) >= 3) & (rings(window, found.device) <= window // 2)
    apart = (torch.log(here + _FLOOR) - torch.log(there + _FLOOR)).abs()[kept]
    return apart.mean() + apart.topk(max(len(apart) // 50, 1)).values.mean()


@torch.no_grad()
def mesh(pictures: Tensor, *, window: int = WINDOW) -> Tensor:
    """Return how far the strongest frequency of each picture stands out: its power over the median of its ring, (n,).

    Smooth noise has about 5, a mesh 20 and more. Edges of a face lift it as well, so compare with the truth's.

    Args:
        pictures: (n, 3, h, w) in [-1, 1].
        window: side of the squares; the mean of their spectra is looked at.
    """
    window = min(window, *pictures.shape[2:])
    found = power(pictures, window=window).mean(1) + _FLOOR
    ring = rings(window, pictures.device)
    worst = torch.zeros(len(found), device=pictures.device)
    for radius in range(4, window // 2):
        inside = found[:, ring == radius]
        worst = torch.maximum(worst, inside.amax(1) / inside.median(1).values)
    return worst
