"""Chains of layers at large resolutions, computed strip by strip: what lies between them never exists as a whole.

Features of the last levels of a decoder are the largest of a network. Their room comes fresh from the system with each
layer, and goes back, which took a fifth of GLEAN's time; a strip's is used again, and stays near the processor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from restorer.networks.filters import enlarged_beside, quick_empty
from restorer.networks.fused import conv_rows

_STRIP = 4 << 20
"""Values of enlarged features that are made at once."""


def enlarged_conv_beside(convolution: nn.Module, x: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Return pixel_shuffle(convolution(x), 2) and others side by side; large features in strips.

    Args:
        convolution: a 3x3 one with a line of zeros around, from c to 4c' channels.
        x: (n, c, h, w).
        others: (n, c'', 2h, 2w) each.
    """
    channels = _enlarged_channels(convolution, others)
    rows = _rows(x, channels)
    if rows is None:
        return enlarged_beside(convolution(x), others)
    height, result = 2 * x.shape[2], None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = _joined(convolution, x, others, top, bottom)
        if result is None:
            result = quick_empty(strip, len(x), channels, height, 2 * x.shape[3])
        result[:, :, top:bottom] = strip
    assert result is not None
    return result


def enlarged_picture(
    convolution: nn.Module, x: Tensor, others: Sequence[Tensor], middle: nn.Module, last: nn.Module
) -> Tensor | None:
    """Return what two more 3x3 convolutions make of `enlarged_conv_beside`, a leaky ReLU between them.

    Args:
        convolution: as there, like x and others.
        x: (n, c, h, w).
        others: (n, c'', 2h, 2w) each.
        middle: the first of the two, before the leaky ReLU.
        last: the second.

    Returns:
        (n, channels of the last, 2h, 2w); None where it is not worth it, or gradients are kept.
    """
    rows = _rows(x, _enlarged_channels(convolution, others))
    if rows is None:
        return None
    height, made = 2 * x.shape[2], []
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        # The last convolution sees one row more on either side, the middle one two, where there are any.
        first, second = max(top - 2, 0), max(top - 1, 0)
        strip = _joined(convolution, x, others, first, min(bottom + 2, height))
        strip = conv_rows(middle, strip, second - first, min(bottom + 1, height) - first, 0.2)
        made.append(conv_rows(last, strip, top - second, bottom - second))
    return torch.cat(made, dim=2)


def _joined(convolution: nn.Module, x: Tensor, others: Sequence[Tensor], top: int, bottom: int) -> Tensor:
    """Return some rows of `enlarged_conv_beside`, from an even one to an even one."""
    made = conv_rows(convolution, x, top // 2, bottom // 2)
    return enlarged_beside(made, [each[:, :, top:bottom] for each in others])


def _enlarged_channels(convolution: nn.Module, others: Sequence[Tensor]) -> int:
    assert isinstance(convolution, nn.Conv2d)
    return convolution.out_channels // 4 + sum(each.shape[1] for each in others)


def _rows(x: Tensor, channels: int) -> int | None:
    """Return how many rows of x enlarged to so many channels are made at once, an even number; None for all."""
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return None
    rows = max(16, _STRIP // (len(x) * channels * 2 * x.shape[3])) // 2 * 2
    return rows if 2 * rows <= 2 * x.shape[2] else None
