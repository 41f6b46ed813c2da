"""Group normalisation of features whose channels lie innermost, with the activation behind it in the same pass.

torch's own keeps all digits only where channels lie outermost (otherwise it loses three of seven, in torch 2.15), which
costs the convolutions around it their best layout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_STRIP = 1 << 19  # bytes of features that are gone through at a time: what was read stays near the processor


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm` (Wu and He 2018) in either layout."""

    def forward(self, input: Tensor) -> Tensor:
        """Map features (n, c, h, w) to the same shape: each group with mean 0 and deviation 1, then affine."""
        return self._run(input, swish=False)

    def swished(self, input: Tensor) -> Tensor:
        """Return x * sigmoid(x) of the normalised features (Ramachandran et al. 2017), (n, c, h, w)."""
        return self._run(input, swish=True)

    def _run(self, x: Tensor, *, swish: bool) -> Tensor:
        if not _innermost(x):
            plain = super().forward(x)
            return F.silu(plain, inplace=not torch.is_grad_enabled()) if swish else plain
        rows = x.permute(0, 2, 3, 1)
        strip = max(1, _STRIP // (rows[0, 0].numel() * rows.element_size()))
        result = torch.empty_like(rows)
        for picture, made in zip(rows, result, strict=True):
            factor, shift = self._affine(picture, strip)
            for seen, put in zip(torch.split(picture, strip), torch.split(made, strip), strict=True):
                exact = put if put.dtype == torch.float32 else torch.empty_like(put, dtype=torch.float32)
                torch.addcmul(shift, seen.float(), factor, out=exact)
                if swish:
                    F.silu(exact, inplace=True)
                if exact is not put:
                    put.copy_(exact)
        return result.permute(0, 3, 1, 2)

    def _affine(self, rows: Tensor, strip: int) -> tuple[Tensor, Tensor]:
        """Return what features (h, w, c) are multiplied by and what is then added, (c,) each, in float32."""
        sums = torch.zeros(2, rows.shape[-1], dtype=torch.float64)
        first = rows[:1].float().mean((0, 1))  # near the mean: what is squared stays small beside it
        for seen in torch.split(rows, strip):
            off = (seen.float() - first).view(-1, rows.shape[-1])
            ones = off.new_ones(len(off))
            sums[0] += ones @ off
            sums[1] += ones @ off.square_()
        mean, square = sums / (rows.shape[0] * rows.shape[1])
        # Each channel's own mean and variance, then those of its group.
        own, variance = mean + first, (square - mean.square()).clamp(min=0)
        groups = own.view(self.num_groups, -1)
        middle = groups.mean(1, keepdim=True)
        spread = (variance.view_as(groups) + (groups - middle).square()).mean(1, keepdim=True)
        inverse = (spread + self.eps).rsqrt().expand_as(groups).flatten()
        factor = inverse * self.weight.double()
        return factor.float(), (self.bias.double() - middle.expand_as(groups).flatten() * factor).float()


def _innermost(x: Tensor) -> bool:
    """Return whether to compute it here: on a CPU, with channels innermost and no gradients, traced by nobody."""
    return (
        x.device.type == "cpu"
        and x.ndim == 4
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )
