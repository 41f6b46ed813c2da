"""Group normalisation of features whose channels lie innermost, with the activation behind it in the same pass.

torch's own keeps all digits only where channels lie outermost (otherwise it loses three of seven, in torch 2.15), which
costs the convolutions around it their best layout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_STRIP = 1 << 21
"""Bytes of features that are gone through at a time: what was read stays near the processor. Measured: less is slower,
since threads wait for each other more often, and more is no quicker."""
_SUMMED = 1 << 13
"""Pixels that torch sums in single precision; from there on it is done in double."""
_FAR = 8.0
"""Deviations from zero of a group's mean, from which on features are summed again, less the mean: digits are few."""


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm` (Wu and He 2018) in either layout."""

    def forward(self, input: Tensor) -> Tensor:
        """Map features (n, c, h, w) to the same shape: each group with mean 0 and deviation 1, then affine."""
        return self._run(input, swish=False)

    def swished(self, input: Tensor, *, inplace: bool = False) -> Tensor:
        """Return x * sigmoid(x) of the normalised features (Ramachandran et al. 2017), (n, c, h, w).

        Args:
            input: the features.
            inplace: whether the result may take their room; they are not to be used afterwards.
        """
        return self._run(input, swish=True, inplace=inplace)

    def _run(self, x: Tensor, *, swish: bool, inplace: bool = False) -> Tensor:
        if not _innermost(x):
            plain = super().forward(x)
            return F.silu(plain, inplace=not torch.is_grad_enabled()) if swish else plain
        rows = x.permute(0, 2, 3, 1)
        strip = max(1, _STRIP // (rows[0, 0].numel() * rows.element_size()))
        result = rows if inplace else torch.empty_like(rows)
        for picture, made in zip(rows, result, strict=True):
            factor, shift = self._affine(picture)
            for seen, put in zip(torch.split(picture, strip), torch.split(made, strip), strict=True):
                exact = put if put.dtype == torch.float32 else torch.empty_like(put, dtype=torch.float32)
                torch.addcmul(shift, seen.float(), factor, out=exact)
                if swish:
                    F.silu(exact, inplace=True)
                if exact is not put:
                    put.copy_(exact)
        return result.permute(0, 3, 1, 2)

    def _affine(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return what features (h, w, c) are multiplied by and what is then added, (c,) each, in float32."""
        pixels, each = rows.reshape(-1, rows.shape[-1]), rows.shape[-1] // self.num_groups
        mean, spread = self._moments(pixels, None)
        if bool((mean.square() > _FAR**2 * spread).any()):
            near = mean.float()
            more, spread = self._moments(pixels, near.flatten().repeat_interleave(each))
            mean = near.double() + more
        inverse = (spread + self.eps).rsqrt()
        factor = inverse.flatten().repeat_interleave(each) * self.weight.double()
        shift = self.bias.double() - mean.flatten().repeat_interleave(each) * factor
        return factor.float(), shift.float()

    def _moments(self, pixels: Tensor, off: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the groups of (pixels, c), less what is `off` (c,), (groups, 1) in float64."""
        sums = torch.zeros(2, pixels.shape[-1], dtype=torch.float64)
        for seen in torch.split(pixels, _SUMMED):
            values = seen.float() if off is None else seen.float() - off
            # Batch norm's own passes over the features, which all threads take part in.
            mean, spread = torch.batch_norm_update_stats(values, None, None, 0.0)
            mean, spread = mean.double(), spread.double()
            sums += torch.stack([mean, mean.square() + spread]) * len(seen)
        own, square = sums.view(2, self.num_groups, -1) / len(pixels)
        middle = own.mean(1, keepdim=True)
        # Each channel's own variance, and what its mean is off its group's.
        variance = (square - own.square()).clamp(min=0) + (own - middle).square()
        return middle, variance.mean(1, keepdim=True)


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
