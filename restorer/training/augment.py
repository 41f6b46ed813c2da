"""Differentiable augmentation: what real and drawn pictures both undergo before the discriminator sees them.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (2020): the discriminator never sees a
picture twice alike, and because the generator is taught through the same operations, its pictures do not take them on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from restorer.errors import UsageError


def augment(pictures: Tensor, kinds: Iterable[str]) -> Tensor:
    """Return pictures (n, 3, h, w) in about [-1, 1] after each kind of augmentation, drawn anew for each picture.

    Raises:
        UsageError: a kind is not one of `KINDS`.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"There is no augmentation named {kind!r}.", f"Use some of: {', '.join(KINDS)}.")
        pictures = KINDS[kind](pictures)
    return pictures


def _color(x: Tensor) -> Tensor:
    """Change brightness by up to 0.5, saturation by 0 to 2 and contrast by 0.5 to 1.5."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device, dtype=x.dtype)
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (saturation * 2)
    mean = x.mean((1, 2, 3), keepdim=True)
    changed: Tensor = mean + (x - mean) * (contrast + 0.5)
    return changed


def _translation(x: Tensor) -> Tensor:
    """Move by up to an eighth of the side; what comes in is 0."""
    n, _, h, w = x.shape
    reach = max(h // 8, 1)
    down, right = torch.randint(0, 2 * reach + 1, (2, n, 1), device=x.device)
    rows = torch.arange(h, device=x.device) + down
    columns = torch.arange(w, device=x.device) + right
    # Indexing the padded pictures is exact and its gradient is a plain scatter.
    padded = F.pad(x, (reach,) * 4).permute(0, 2, 3, 1)
    picked = padded[torch.arange(n, device=x.device)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def _cutout(x: Tensor) -> Tensor:
    """Set a square of half the side to 0, somewhere."""
    n, _, h, w = x.shape
    centre = torch.rand(2, n, 1, device=x.device)
    rows = (torch.arange(h, device=x.device) - centre[0] * h).abs() < h / 4
    columns = (torch.arange(w, device=x.device) - centre[1] * w).abs() < w / 4
    return x * ~(rows[:, None, :, None] & columns[:, None, None, :])


KINDS: dict[str, Callable[[Tensor], Tensor]] = {"color": _color, "translation": _translation, "cutout": _cutout}
