"""StyleGAN2's resampling filter, and room for what comes out of convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

FIR = (1.0, 3.0, 3.0, 1.0)
"""The resampling filter of StyleGAN2, one axis of it, not normalised."""
_STRIP = 4 << 20
"""Values of enlarged features that are made at once, where memory counts."""
_LEAST_SIDE = 8
"""Features of a smaller side are enlarged before they are convolved."""
_FEW = 128
"""In half precision more channels are, too, unless `_multiplies_first`."""


def quick_empty(like: Tensor, *shape: int) -> Tensor:
    """Return a tensor (n, c, h, w) to be filled, of another's type and on its device, in that layout."""
    layout = torch.channels_last if like.device.type == "cpu" else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def enlarged_beside(x: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Return pixel_shuffle(x, 2) and others (n, c', 2h, 2w) side by side, for x (n, 4c, h, w).

    Away from training, on a CPU, each is written once, to where the next convolution reads it.
    """
    count, channels, height, width = x.shape
    if torch.is_grad_enabled() or x.device.type != "cpu":
        enlarged = F.pixel_shuffle(x, 2)
        return torch.cat([enlarged, *others], dim=1) if others else enlarged
    own = channels // 4
    result = quick_empty(x, count, own + sum(each.shape[1] for each in others), 2 * height, 2 * width)
    cells = torch.unflatten(x, 1, (own, 2, 2)).permute(0, 1, 4, 2, 5, 3)
    torch.unflatten(torch.unflatten(result[:, :own], 3, (width, 2)), 2, (height, 2)).copy_(cells)
    for each in others:
        result[:, own : own + each.shape[1]] = each
        own += each.shape[1]
    return result


def fir_blur(x: Tensor, pad: int, gain: float = 1.0, *, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Blur (n, c, h, w) with the normalised FIR filter times `gain`, `pad` zeros around; then add a bias (c,)."""
    kernel = _fir_kernel(gain, x.device, x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, bias, padding=pad, stride=stride, groups=x.shape[1])


def fir_enlarged_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Enlarge (n, c, h, w) twice by a transposed convolution (c, o, 3, 3), and blur the result with gain 4.

    Away from training, on a CPU, it is done in strips: what lies between the two is as large as the result.
    """
    count, _, height, width = x.shape
    rows = max(8, _STRIP // (8 * count * weight.shape[1] * width))
    if torch.is_grad_enabled() or x.device.type != "cpu" or rows >= height:
        x = F.conv_transpose2d(x, weight, stride=2)
        return fir_blur(x, 1, gain=4.0, bias=None if bias is None else bias.to(x.dtype))
    result: Tensor | None = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - 1, 0), min(bottom + 1, height)
        seen = x[:, :, first:last]
        if last - first < bottom - top + 2:  # beyond the features there are zeros
            seen = F.pad(seen, (0, 0, first - (top - 1), bottom + 1 - last))
        strip = F.conv_transpose2d(seen, weight, stride=2, padding=(1, 0))
        kernel = _fir_kernel(4.0, strip.device, strip.dtype).expand(weight.shape[1], 1, 4, 4)
        added = None if bias is None else bias.to(strip.dtype)
        strip = F.conv2d(strip, kernel, added, padding=(0, 1), groups=weight.shape[1])
        if result is None:
            result = quick_empty(strip, count, weight.shape[1], 2 * height, 2 * width)
        result[:, :, 2 * top : 2 * bottom] = strip
    assert result is not None
    return result


def fir_upsample(x: Tensor) -> Tensor:
    """Enlarge (n, c, h, w) twice: zeros between the pixels, then the FIR filter with gain 4."""
    kernel = _fir_kernel(4.0, x.device, x.dtype).expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def bilinear_upsample(x: Tensor) -> Tensor:
    """Enlarge (n, c, h, w) twice, bilinearly, pixel centres at +0.5."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def enlarged_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Enlarge (n, c, h, w) twice, bilinearly, and convolve the result by 3x3 taps (o, c, 3, 3), zeros around it.

    Away from training and where that is quicker, the two change places: bilinear enlarging is a filter behind zeros
    between the pixels, and filters commute. The convolution then multiplies a quarter of the numbers (a transposed
    one), and the filter runs over what are fewer channels. Only the outermost line of the result differs, since
    enlarging repeats what is at the border where the convolution sees zeros; it is computed the plain way.
    """
    count, channels, height, width = x.shape
    if x.device.type != "cpu" or torch.is_grad_enabled() or min(height, width) < _LEAST_SIDE:
        return F.conv2d(bilinear_upsample(x), weight, bias, padding=1)
    half = x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
    if half and channels > _FEW and not _multiplies_first():
        return _enlarged_first(x, weight, bias)
    taps = weight.flip(2, 3).transpose(0, 1)
    kernel = _fir_kernel(4.0, x.device, weight.dtype).expand(len(weight), 1, 4, 4)
    padded = _repeating_border(x)
    rows = max(8, _STRIP // (4 * count * len(weight) * width))
    result: Tensor | None = None
    for top in range(0, height, rows):  # what lies between the two is as large as the result, and needed in strips
        bottom = min(top + rows, height)
        strip = F.conv_transpose2d(padded[:, :, top : bottom + 2], taps, stride=2, padding=1)
        strip = F.conv2d(strip, kernel, bias, groups=len(weight))
        if result is None:
            result = quick_empty(strip, count, len(weight), 2 * height, 2 * width)
        result[:, :, 2 * top : 2 * bottom] = strip
    assert result is not None
    # Two lines of the features make the two enlarged ones that an outermost line of the result depends on.
    for lines, side, place in ((x[:, :, :2], slice(2), 0), (x[:, :, -2:], slice(-2, None), -1)):
        seen = F.pad(bilinear_upsample(lines)[:, :, side], (0, 0, 1 + place, -place))
        result[:, :, place] = F.conv2d(seen, weight, bias, padding=(0, 1))[:, :, 0]
    for lines, side, place in ((x[..., :2], slice(2), 0), (x[..., -2:], slice(-2, None), -1)):
        seen = F.pad(bilinear_upsample(lines)[..., side], (1 + place, -place))
        result[..., place] = F.conv2d(seen, weight, bias, padding=(1, 0))[..., 0]
    return result


@lru_cache(maxsize=1)
def _multiplies_first() -> bool:
    """Whether in half precision, too, any number of channels is convolved before it is enlarged.

    torch's transposed convolutions make little of a processor's matrix units (AMX); where bf16 is computed without
    them, GFP-GAN takes 0.84 of the time with it. Where nothing was measured, nothing is done.
    """
    matrix, bf16 = (getattr(torch.cpu, f"_is_{what}_supported", None) for what in ("amx_tile", "avx512_bf16"))
    return matrix is not None and bf16 is not None and bool(bf16()) and not matrix()


def _repeating_border(x: Tensor) -> Tensor:
    """Return (n, c, h + 2, w + 2): the features with their outermost lines twice."""
    count, channels, height, width = x.shape
    padded = quick_empty(x, count, channels, height + 2, width + 2)
    padded[:, :, 1:-1, 1:-1] = x
    padded[:, :, 0, 1:-1], padded[:, :, -1, 1:-1] = x[:, :, 0], x[:, :, -1]
    padded[..., 0], padded[..., -1] = padded[..., 1], padded[..., -2]
    return padded


def _enlarged_first(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Do what `enlarged_conv` does in the order of its name, large pictures in strips.

    The enlarged features are the largest of a whole network, four times what came in, and never needed all at once.
    """
    count, channels, height, width = x.shape
    row = 4 * count * channels * width
    if row * height <= 2 * _STRIP:
        return F.conv2d(bilinear_upsample(x), weight, bias, padding=1)
    rows = max(8, _STRIP // row)
    result: Tensor | None = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        above, below = int(top > 0), int(bottom < height)  # a row of the neighbours where there are any
        strip = bilinear_upsample(x[:, :, top - above : bottom + below])
        # Of the two rows that each neighbour became, the convolution reaches one; beyond the picture it sees zeros.
        strip = strip[:, :, above : strip.shape[2] - below]
        strip = F.conv2d(F.pad(strip, (0, 0, 1 - above, 1 - below)), weight, bias, padding=(0, 1))
        if result is None:
            result = quick_empty(strip, count, strip.shape[1], 2 * height, 2 * width)
        result[:, :, 2 * top : 2 * bottom] = strip
    assert result is not None
    return result


@lru_cache(maxsize=64)
def _fir_kernel(gain: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the (1, 1, 4, 4) filter. Made here, not in a module, so that a network can be built on the meta device."""
    # An inference tensor in this cache would be refused by the backward pass of a later training.
    with torch.inference_mode(False), torch.no_grad():
        taps = torch.tensor(FIR, dtype=torch.float64)
        kernel = torch.outer(taps, taps) * (gain / taps.sum() ** 2)
        return kernel[None, None].to(device=device, dtype=dtype)
