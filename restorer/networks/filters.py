"""StyleGAN2's resampling filter, and room for what comes out of convolutions."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

FIR = (1.0, 3.0, 3.0, 1.0)
"""The resampling filter of StyleGAN2, one axis of it, not normalised."""


def quick_empty(like: Tensor, *shape: int) -> Tensor:
    """Return a tensor (n, c, h, w) to be filled, of another's type and on its device, in that layout."""
    layout = torch.channels_last if like.device.type == "cpu" else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def fir_blur(x: Tensor, pad: int, gain: float = 1.0, *, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Blur (n, c, h, w) with the normalised FIR filter times `gain`, `pad` zeros around; then add a bias (c,)."""
    kernel = _fir_kernel(gain, x.device, x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, bias, padding=pad, stride=stride, groups=x.shape[1])


def fir_upsample(x: Tensor) -> Tensor:
    """Enlarge (n, c, h, w) twice: zeros between the pixels, then the FIR filter with gain 4."""
    kernel = _fir_kernel(4.0, x.device, x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


@lru_cache(maxsize=64)
def _fir_kernel(gain: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the (1, 1, 4, 4) filter. Made here, not in a module, so that a network can be built on the meta device."""
    # An inference tensor in this cache would be refused by the backward pass of a later training.
    with torch.inference_mode(False), torch.no_grad():
        taps = torch.tensor(FIR, dtype=torch.float64)
        kernel = torch.outer(taps, taps) * (gain / taps.sum() ** 2)
        return kernel[None, None].to(device=device, dtype=dtype)
