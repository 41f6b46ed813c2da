"""The discriminators of the trainings: StyleGAN2's residual one, which grows with its prior, and one of textures.

Weights are the effective ones; `scales` tells what equalised learning rates fold into them, as in the generator
(`restorer.networks.stylegan2.equalised_scales`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.stylegan2 import channels


class EqualConv(nn.Module):
    """A convolution whose weight starts at N(0, 1/fan_in), then leaky ReLU times `gain` unless linear.

    The gain is in the weights while they are used, which is the same function and spares passes over the features.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, linear: bool = False, gain: float = math.sqrt(2)
    ) -> None:
        super().__init__()
        self.linear = linear
        self.gain = gain
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
        self.bias = None if linear else nn.Parameter(torch.zeros(out_channels))
        nn.init.normal_(self.weight, std=self.scales()["weight"])

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h, w)."""
        bias = None if self.bias is None else self.bias * self.gain
        x = F.conv2d(x, self.weight * self.gain, bias, padding=self.weight.shape[2] // 2)
        return x if self.linear else F.leaky_relu(x, 0.2)

    def scales(self) -> dict[str, float]:
        return {"weight": 1 / math.sqrt(self.weight[0].numel())}


class EqualLinear(nn.Module):
    """A linear layer whose weight starts at N(0, 1/in_features), with leaky ReLU times sqrt(2) unless linear."""

    def __init__(self, in_features: int, out_features: int, *, linear: bool = False) -> None:
        super().__init__()
        self.linear = linear
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.normal_(self.weight, std=self.scales()["weight"])

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_features) to (n, out_features)."""
        x = F.linear(x, self.weight, self.bias)
        return x if self.linear else F.leaky_relu(x, 0.2) * math.sqrt(2)

    def scales(self) -> dict[str, float]:
        return {"weight": 1 / math.sqrt(self.weight.shape[1])}


class DownBlock(nn.Module):
    """Half the resolution with a residual connection (StyleGAN2, figure 7c), (n, c, h, w) to (n, c', h/2, w/2).

    Two departures from the paper that spare time: resolution is halved by area averaging instead of
    the FIR filter, and before the second convolution instead of in it.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = EqualConv(in_channels, in_channels, 3)
        # The gains carry the sum's division by the square root of two.
        self.conv2 = EqualConv(in_channels, out_channels, 3, gain=1)
        self.skip = EqualConv(in_channels, out_channels, 1, linear=True, gain=1 / math.sqrt(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h / 2, w / 2)."""
        skip: Tensor = self.skip(F.avg_pool2d(x, 2))
        main: Tensor = self.conv2(F.avg_pool2d(self.conv1(x), 2))
        return main + skip


class StyleGAN2Discriminator(nn.Module):
    """Tells real pictures (n, 3, size, size) from drawn ones by one number each, (n, 1).

    The blocks are named by their resolution, so that a discriminator of twice the size takes over the weights of a
    smaller one by name. Each size has a `from_rgb` of its own; during a growth the smaller one fades out (`alpha`).

    Args:
        size: side of the pictures, a power of two.
        channel_multiplier: factor of the widths from 64x64 on.
        narrow: factor of all widths.
        stddev_group: pictures among which the standard deviation of the last features is taken; 1 leaves it out.
    """

    def __init__(self, size: int, *, channel_multiplier: float = 2, narrow: float = 1.0, stddev_group: int = 4) -> None:
        super().__init__()
        self.size = size
        self.stddev_group = stddev_group
        self.widths = channels(size, narrow=narrow, channel_multiplier=channel_multiplier)
        sides = list(self.widths)
        self.from_rgb = nn.ModuleDict({str(side): EqualConv(3, self.widths[side], 1) for side in sides[-2:]})
        self.blocks = nn.ModuleDict(
            {str(side): DownBlock(self.widths[side], self.widths[side // 2]) for side in reversed(sides[1:])}
        )
        width = self.widths[4]
        self.final_conv = EqualConv(width + 1, width, 3)
        self.final_linear = nn.Sequential(EqualLinear(width * 16, width), EqualLinear(width, 1, linear=True))

    def forward(self, x: Tensor, alpha: float = 1.0) -> Tensor:
        """Return the verdicts (n, 1) on pictures (n, 3, size, size) in [-1, 1]; `alpha` as for `features`."""
        return self.judge(self.features(x, alpha)[-1])

    def features(self, x: Tensor, alpha: float = 1.0) -> list[Tensor]:
        """Return the features behind each block, largest first; the last ones are 4x4.

        Args:
            x: pictures in [-1, 1].
            alpha: weight of the highest resolution while it fades in, 1 when it is there.
        """
        found: list[Tensor] = []
        y = self.from_rgb[str(self.size)](x)
        for side, block in self.blocks.items():
            y = block(y)
            if alpha < 1 and int(side) == self.size:
                y = torch.lerp(self.from_rgb[str(self.size // 2)](F.avg_pool2d(x, 2)), y, alpha)
            found.append(y)
        return found

    def judge(self, last: Tensor) -> Tensor:
        """Return the verdict (n, 1) on the 4x4 features (n, c, 4, 4)."""
        y = self.final_conv(torch.cat([last, self._deviation(last)], dim=1))
        verdict: Tensor = self.final_linear(y.flatten(1)).float()
        return verdict

    def _deviation(self, x: Tensor) -> Tensor:
        """Return how much the pictures of a group differ, as one channel (n, 1, 4, 4) (PGGAN, section 3)."""
        n = len(x)
        group = math.gcd(n, self.stddev_group)
        if group == 1:
            return x.new_zeros(n, 1, *x.shape[2:])
        grouped = x.float().view(group, n // group, *x.shape[1:])
        deviation = torch.sqrt(grouped.var(0, unbiased=False) + 1e-8).mean((1, 2, 3), keepdim=True)
        return deviation.repeat(group, 1, 1, 1).expand(n, 1, *x.shape[2:]).to(x.dtype)


def grow_state(smaller: dict[str, Tensor], larger: nn.Module) -> list[str]:
    """Copy every tensor of a smaller network into the larger one where name and shape agree; return what is new."""
    own = larger.state_dict()
    taken = {key: value for key, value in smaller.items() if key in own and own[key].shape == value.shape}
    larger.load_state_dict({**own, **taken})
    return [key for key in own if key not in taken]


class TextureDiscriminator(nn.Module):
    """Tells real textures from drawn ones, place by place: a verdict for each patch of about 60 pixels.

    It is shown the picture and, six times as strong, what a blur takes from it: restored faces lack just that, and a
    discriminator that has to find it out by itself takes thousands of steps to do so (Isola et al. 2017, section 3.2.2,
    for patches).
    """

    def __init__(self, widths: Sequence[int] = (48, 96, 128)) -> None:
        super().__init__()
        first, second, third = widths
        self.layers = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=stride, padding=1)
            for i, o, stride in ((24, first, 1), (first, second, 2), (second, third, 2), (third, third, 1))
        )
        self.verdict = nn.Conv2d(third, 1, 3, padding=1)
        line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("blur", torch.outer(line, line).expand(3, 1, 5, 5).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Return the verdicts (n, 1, h / 8, w / 8) on pictures (n, 3, h, w) in [-1, 1], h and w multiples of 8."""
        soft = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), self.get_buffer("blur"), groups=3)
        y = F.pixel_unshuffle(torch.cat([x, 6 * (x - soft)], dim=1), 2)
        for layer in self.layers:
            y = F.leaky_relu(layer(y), 0.2)
        found: Tensor = self.verdict(y)
        return found
