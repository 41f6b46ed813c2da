"""StyleGAN2's convolution when its weights stay as they are and what goes into it is searched for, on a CPU.

Its own gradient keeps less, and passes over the features less often, than what autograd makes of the same formula:

- Of a picture that has more values than the weights, the weights carry style and demodulation, so that the features
  need no pass for either; and since they are not trained, they need no gradient of their own.
- Leaky ReLU is homogeneous: the gradient behind it times what came out is the gradient before it times what went in.
  What the demodulation needs is read off the output so, and nothing in between is kept.
- Large pictures are worked on one after another: what was just made of one is still in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from restorer.networks.filters import fir_blur, quick_empty

SLOPE = 0.2
"""Of the leaky ReLU."""
_AT_ONCE = 1 << 19
"""So many values of features are worked on at once, of as many pictures as that is."""


class FrozenConv(torch.autograd.Function):
    """A 3x3 convolution of styled input channels, scaled, with noise and bias, and leaky ReLU behind it.

    Called with features x (n, in, h, w); the style (n, in); the scale (n, out), not 0; noise (n or 1, 1, H, W); bias
    (out,); the weight, (out, in, 3, 3), or (in, out, 3, 3) where the result is enlarged; whether it is: twice, by zeros
    between the pixels and the FIR filter behind the convolution. Weight and bias get no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, style: Tensor, scale: Tensor, noise: Tensor, bias: Tensor, weight: Tensor, enlarge: bool
    ) -> Tensor:
        """Return features (n, out, H, W)."""
        # A style of exactly 0 would hide its own gradient; in its place a number that changes nothing else.
        style = torch.where(style == 0, torch.finfo(style.dtype).tiny ** 0.5, style)
        y = quick_empty(x, len(x), len(bias), *noise.shape[2:])
        for part in _parts(x, weight):
            made = _convolved(x[part], style[part], scale[part], bias, weight, enlarge)
            torch.add(made, _of(noise, part), out=y[part])
            F.leaky_relu_(y[part], SLOPE)
        ctx.save_for_backward(x, y, style, scale, noise, bias, weight)
        ctx.enlarge = enlarge
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, style, scale and noise."""
        x, y, style, scale, noise, bias, weight = ctx.saved_tensors
        to_x = quick_empty(x, *x.shape)
        to_style, to_scale = torch.empty_like(style), torch.empty_like(scale)
        to_noise = torch.zeros_like(noise) if ctx.needs_input_grad[3] else None
        for part in _parts(x, weight):
            given, own = gradient[part], _of(noise, part)
            before = torch.ops.aten.leaky_relu_backward(given, y[part], SLOPE, True)
            # One reading sums it over the pixels, and times the noise.
            factors = torch.cat([torch.ones_like(own), own], 1).flatten(2)
            plain, noisy = (factors @ before.permute(0, 2, 3, 1).flatten(1, 2)).unbind(1)
            to_scale[part] = ((given * y[part]).sum((2, 3)) - bias * plain - noisy) / scale[part]
            if to_noise is not None:
                _of(to_noise, part).add_(before.sum(1, keepdim=True).sum_to_size(own.shape))
            to_x[part], to_style[part] = _given_back(before, x[part], style[part], scale[part], weight, ctx.enlarge)
        return to_x, to_style, to_scale, to_noise, None, None, None


def _parts(x: Tensor, weight: Tensor) -> Iterator[slice]:
    """Return which pictures are worked on at once: one, where its features are more than the weights."""
    count, values = len(x), x[0].numel()
    step = 1 if values > weight.numel() else max(1, _AT_ONCE // values)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _of(noise: Tensor, part: slice) -> Tensor:
    """Return the noise of some pictures; one for all is theirs too."""
    return noise if len(noise) == 1 else noise[part]


def _carried(x: Tensor, style: Tensor, scale: Tensor, weight: Tensor, enlarge: bool) -> Tensor | None:
    """Return the weights with style and scale of the picture; None where there are several, or fewer features."""
    if len(x) > 1 or x.numel() <= weight.numel():
        return None
    factors = style[0, :, None] * scale[0] if enlarge else scale[0, :, None] * style[0]
    return weight * factors[:, :, None, None]


def _convolved(x: Tensor, style: Tensor, scale: Tensor, bias: Tensor, weight: Tensor, enlarge: bool) -> Tensor:
    """Return the scaled convolution of styled features, with the bias."""
    carried = _carried(x, style, scale, weight, enlarge)
    if carried is not None:
        if enlarge:
            return fir_blur(F.conv_transpose2d(x, carried, stride=2), 1, gain=4.0, bias=bias)
        return F.conv2d(x, carried, bias, padding=1)
    x = x * style[:, :, None, None]
    x = fir_blur(F.conv_transpose2d(x, weight, stride=2), 1, gain=4.0) if enlarge else F.conv2d(x, weight, padding=1)
    return torch.addcmul(bias[:, None, None], x, scale[:, :, None, None])


def _given_back(
    gradient: Tensor, x: Tensor, style: Tensor, scale: Tensor, weight: Tensor, enlarge: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of features and style, of that behind the scaled convolution."""
    carried = _carried(x, style, scale, weight, enlarge)
    if carried is None:
        gradient = gradient * scale[:, :, None, None]
    taps = weight if carried is None else carried
    if enlarge:
        back = F.conv2d(fir_blur(gradient, 2, gain=4.0), taps, stride=2)
    else:
        back = F.conv_transpose2d(gradient, taps, padding=1)
    sums = (x * back).sum((2, 3))
    return (back * style[:, :, None, None], sums) if carried is None else (back, sums / style)
