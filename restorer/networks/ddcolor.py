"""Guesses the colours of black-and-white pictures: DDColor.

Kang et al., "DDColor: Towards Photo-Realistic Image Colorization via Dual Decoders" (2023). A ConvNeXt (Liu et al.
2022) reads the picture; one decoder brings its features back to full size, the other lets a hundred learned queries
look at three sizes of them, each query becoming a colour that it votes for pixel by pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MULTIPLE = 32
"""The sides of what it takes are multiples of this."""
QUERIES, HIDDEN, HEADS, FORWARD, LAYERS, LEVELS = 100, 256, 8, 2048, 9, 3
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures
_EPSILON = 1e-6


class _ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (n, c, h, w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, c, h, w) with mean 0 and deviation 1 over the channels, then scaled and shifted."""
        last = x.permute(0, 2, 3, 1)
        return F.layer_norm(last, last.shape[-1:], self.weight, self.bias, _EPSILON).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """A block of ConvNeXt: 7x7 within each channel, then a small perceptron at each pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        added: Tensor = x + y.permute(0, 3, 1, 2)
        return added


class ConvNeXt(nn.Module):
    """Features of a picture at a quarter, an eighth, a sixteenth and a thirty-second of its sides, normalised.

    Args:
        widths: channels of the four stages.
        depths: blocks of each.
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), _ChannelNorm(widths[0]))
        halvings = [nn.Sequential(_ChannelNorm(fine), nn.Conv2d(fine, wide, 2, 2)) for fine, wide in pairwise(widths)]
        self.downsample_layers = nn.ModuleList([stem, *halvings])
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(width) for _ in range(depth))) for width, depth in zip(widths, depths, strict=True)
        )
        self.norms = nn.ModuleList(_ChannelNorm(width) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (n, 3, h, w) to the four stages' features, the finest first."""
        found = []
        for shrink, stage, norm in zip(self.downsample_layers, self.stages, self.norms, strict=True):
            x = stage(shrink(x))
            found.append(norm(x))
        return found


class _Grow(nn.Module):
    """A 1x1 convolution whose channels become pixels, each then averaged with those above and to the left."""

    def __init__(self, given: int, width: int, times: int, *, norm: bool) -> None:
        super().__init__()
        self.times = times
        self.conv = nn.Conv2d(given, width * times**2, 1, bias=not norm)
        self.norm = nn.BatchNorm2d(width * times**2) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, given, h, w) to (n, width, times * h, times * w)."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        x = F.pixel_shuffle(F.relu(x), self.times)
        return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, 1)


class _Join(nn.Module):
    """Brings features to twice their sides and joins them with those of the encoder."""

    def __init__(self, given: int, beside: int, width: int) -> None:
        super().__init__()
        self.grow = _Grow(given, width, 2, norm=True)
        self.beside_norm = nn.BatchNorm2d(beside)
        self.conv = nn.Conv2d(width + beside, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        """Map (n, given, h, w) and (n, beside, 2h, 2w) to (n, width, 2h, 2w)."""
        joined = F.relu(torch.cat([self.grow(x), self.beside_norm(beside)], dim=1))
        result: Tensor = self.norm(F.relu(self.conv(joined)))
        return result


class _Attention(nn.Module):
    """Attention whose result is added to the queries and normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(HIDDEN, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(HIDDEN)

    def forward(self, x: Tensor, places: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return the queries x (n, q, c), which look with their `places` added, after what `keys` made of `values`."""
        seen = self.attention(x + places, keys, values, need_weights=False)[0]
        normed: Tensor = self.norm(x + seen)
        return normed


class _Layer(nn.Module):
    """The queries look at the picture, at each other, and think."""

    def __init__(self) -> None:
        super().__init__()
        self.cross, self.own = _Attention(), _Attention()
        self.widen, self.narrow = nn.Linear(HIDDEN, FORWARD), nn.Linear(FORWARD, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN)

    def forward(self, x: Tensor, places: Tensor, features: Tensor, where: Tensor) -> Tensor:
        """Map queries (n, q, c), with the picture's features (n, pixels, c) and places, to queries."""
        x = self.cross(x, places, features + where, features)
        looking = x + places
        x = self.own(x, places, looking, x)
        result: Tensor = self.norm(x + self.narrow(F.relu(self.widen(x))))
        return result


class _Colours(nn.Module):
    """The decoder of colours: learned queries become directions in the space of the finest features."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.queries, self.places = nn.Embedding(QUERIES, HIDDEN), nn.Embedding(QUERIES, HIDDEN)
        self.levels = nn.Embedding(LEVELS, HIDDEN)
        self.project = nn.ModuleList(nn.Conv2d(width, HIDDEN, 1) for width in widths)
        self.layers = nn.ModuleList(_Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(HIDDEN)
        self.embed = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(3))

    def forward(self, features: Sequence[Tensor], finest: Tensor) -> Tensor:
        """Map features of three sizes, and the finest (n, c, h, w), to how much each query says of each pixel."""
        seen, where = [], []
        for project, level, x in zip(self.project, self.levels.weight, features, strict=True):
            where.append(_places(x.shape[-2], x.shape[-1]).to(x))
            seen.append(project(x).flatten(2).transpose(1, 2) + level)
        queries = self.queries.weight.expand(len(finest), -1, -1)
        places = self.places.weight.expand(len(finest), -1, -1)
        for number, layer in enumerate(self.layers):
            queries = layer(queries, places, seen[number % LEVELS], where[number % LEVELS])
        queries = self.norm(queries)
        for number, embed in enumerate(self.embed):
            queries = embed(queries) if number == 2 else F.relu(embed(queries))
        return torch.einsum("nqc,nchw->nqhw", queries, finest)


class DDColor(nn.Module):
    """Guesses the colours of a picture.

    Args:
        widths: channels of the encoder's stages.
        depths: their blocks.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        self.encoder = ConvNeXt(widths, depths)
        inner = (512, 512, HIDDEN)
        given = (widths[3], *inner[:2])
        self.join = nn.ModuleList(_Join(*each) for each in zip(given, reversed(widths[:3]), inner, strict=True))
        self.finest = _Grow(HIDDEN, HIDDEN, 4, norm=False)
        self.colours = _Colours(inner)
        self.refine = nn.Conv2d(QUERIES + 3, 2, 1)
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_DEVIATION).reshape(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Map grey pictures (n, 3, h, w), RGB in [-1, 1], to their colours (n, 2, h, w), a and b of Lab.

        Raises:
            ValueError: the shape is another, or a side no multiple of 32.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or any(side % MULTIPLE for side in pictures.shape[2:]):
            raise ValueError(
                f"This network takes pictures (n, 3, h, w) whose sides are multiples of {MULTIPLE}, "
                f"not {tuple(pictures.shape)}."
            )
        x = ((pictures + 1) / 2 - self.mean) / self.std
        *finer, coarse = self.encoder(x)
        features, y = [], coarse
        for join, beside in zip(self.join, reversed(finer), strict=True):
            y = join(y, beside)
            features.append(y)
        answer: Tensor = self.refine(torch.cat([self.colours(features, self.finest(y)), x], dim=1))
        return answer


def _places(height: int, width: int) -> Tensor:
    """Return sines and cosines that tell each pixel's row and column, (pixels, HIDDEN), both from 0 to 2 pi."""
    half = HIDDEN // 2
    slow = 10000 ** (2 * torch.div(torch.arange(half), 2, rounding_mode="floor") / half)
    codes = []
    for length in (height, width):
        along = torch.arange(1, length + 1) / (length + _EPSILON) * (2 * math.pi)
        turns = along[:, None] / slow
        codes.append(torch.stack([turns[:, 0::2].sin(), turns[:, 1::2].cos()], dim=2).flatten(1))
    rows, columns = codes
    whole = [rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)]
    return torch.cat(whole, dim=2).flatten(0, 1)
