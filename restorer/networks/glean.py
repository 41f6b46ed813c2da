"""GLEAN and LightGLEAN: an encoder, a StyleGAN2 as a bank of what things look like, and a decoder that fuses both.

Chan et al., "GLEAN: Generative Latent Bank for Large-Factor Image Super-Resolution" (2021) and "... and Beyond" (2022,
LightGLEAN). Only what reaches the output is built: the bank has no RGB branch and no mapping network.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, zip_longest

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.fused import LeakyPair, conv_leaky
from restorer.networks.strips import enlarged_conv_beside, enlarged_picture
from restorer.networks.stylegan2 import StyleGAN2Generator, channels, channels_last


class DenseBlock(nn.Module):
    """Five 3x3 convolutions, each of which sees all before it; a fifth of the result is added to the input (ESRGAN)."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width + i * growth, growth, 3, padding=1) for i in range(4))
        self.last = nn.Conv2d(width + 4 * growth, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        seen = x
        for conv in self.convs:
            seen = torch.cat([seen, conv_leaky(conv, seen)], dim=1)
        return torch.add(x, self.last(seen), alpha=0.2)


class RRDB(nn.Module):
    """Three dense blocks in a row; a fifth of the result is added to the input (ESRGAN)."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(width, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        return torch.add(x, self.blocks(x), alpha=0.2)


class Trunk(nn.Module):
    """RRDBs at the input's resolution and a convolution to the bank's width there: (n, c, s, s) to (n, out, s, s)."""

    def __init__(self, out_channels: int, *, width: int, blocks: int, growth: int = 32, in_channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(width, growth) for _ in range(blocks)))
        self.body_last = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h, w)."""
        x = self.first(x)
        return conv_leaky(self.last, x + self.body_last(self.body(x)))


class UNetTrunk(nn.Module):
    """The trunk as a small U-Net, which sees far and learns fast: (n, c, s, s) to (n, out, s, s).

    Args:
        out_channels: the bank's width at the input's resolution.
        width: channels at the input's resolution; half as many more with each halving.
        levels: how many times the resolution is halved.
        in_channels: channels that come in.
    """

    def __init__(self, out_channels: int, *, width: int, levels: int, in_channels: int = 3) -> None:
        super().__init__()
        widths = [width + width * level // 2 for level in range(levels + 1)]
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.down = nn.ModuleList(_two(i, o, stride=2) for i, o in pairwise(widths))
        self.middle = _two(widths[-1], widths[-1])
        self.up = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(widths[::-1]))
        self.join = nn.ModuleList(_two(2 * width, width) for width in widths[-2::-1])
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, a=0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w), sides divisible by 2 ** levels, to (n, out_channels, h, w)."""
        kept = [conv_leaky(self.first, x)]
        for block in self.down:
            kept.append(block(kept[-1]))
        x = self.middle(kept.pop())
        for conv, join in zip(self.up, self.join, strict=True):
            x = conv_leaky(conv, F.interpolate(x, scale_factor=2.0, mode="nearest"))
            x = join(torch.cat([x, kept.pop()], dim=1))
        return conv_leaky(self.last, x)


def _two(in_channels: int, out_channels: int, *, stride: int = 1) -> LeakyPair:
    """Return two 3x3 convolutions with leaky ReLU."""
    return LeakyPair(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
    )


class Grain(nn.Module):
    """Fine texture, (n, 1, h, w): noise blurred by a learned 5x5 kernel, as strong as the features say.

    Skin and hair have detail that a blurred input does not determine. A network that must be right about pixels leaves
    it out, and faces look like wax; here it only needs to say how strong it is where.

    Args:
        width: channels of the features.
        gain: how much stronger the texture is than it was learnt, outside training: a loss of pixels holds it back.
    """

    def __init__(self, width: int, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.strength = nn.Conv2d(width, 1, 3, padding=1)
        self.kernel = nn.Parameter(torch.empty(1, 1, 5, 5))
        if not self.kernel.is_meta:  # a plan of a network has no values, and torch would bring its compiler for them
            self._init_weights()

    @torch.no_grad()
    def _init_weights(self) -> None:
        """Let a training begin with a deviation of one level in 256."""
        line = torch.exp(-0.5 * (torch.arange(-2.0, 3.0) / 0.8).square())
        self.kernel.copy_(torch.outer(line, line))
        self.strength.weight.zero_()
        self.strength.bias.fill_(-5.0)  # type: ignore[union-attr]

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the texture for features x (n, c, h, w) and standard normal noise (n, 1, h, w)."""
        return self.of(self.strength(x), noise)

    def of(self, strength: Tensor, noise: Tensor) -> Tensor:
        """Return the texture for what the features say of its strength, (n, 1, h, w), before it is made positive."""
        kernel = self.kernel / self.kernel.norm() * (1.0 if self.training else self.gain)
        return F.softplus(strength) * F.conv2d(noise, kernel.to(noise.dtype), padding=2)


class Decoder(nn.Module):
    """Goes from the trunk's features to the picture, taking in the bank's features at each resolution on the way.

    Args:
        widths: the bank's width at each resolution from the input's to the output's; above the bank's own resolution
            those that it would have.
        narrow: factor of the decoder's own widths; 1 gives them the bank's.
        levels: for how many resolutions above the input's there are features of the bank; None for all.
        last: width of the convolution before RGB.
        skips: channels of the input that come in again at each resolution above, none by default.
        noise: whether a channel of noise comes in at each resolution above, for texture that the input does not show.
        grain: gain of the fine texture that the last of that noise becomes (see `Grain`); 0 for none.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        narrow: float = 1.0,
        levels: int | None = None,
        last: int = 64,
        skips: Sequence[int] = (),
        noise: bool = False,
        grain: float = 0.0,
    ) -> None:
        super().__init__()
        if grain and not noise:
            raise ValueError("Grain is made of the decoder's noise.")
        own = [widths[0], *(max(int(width * narrow), 1) for width in widths[1:])]
        levels = len(widths) - 1 if levels is None else levels
        taken = [0, *(width if level < levels else 0 for level, width in enumerate(widths[1:]))]
        taken = [bank + skip for bank, skip in zip_longest(taken, (0, *skips), fillvalue=0)]
        taken = [taken[0], *(width + noise for width in taken[1:])]
        self.up = nn.ModuleList(
            nn.Conv2d(here + bank, 4 * above, 3, padding=1)
            for (here, above), bank in zip(pairwise(own), taken, strict=False)
        )
        self.conv = nn.Conv2d(own[-1] + taken[-1], last, 3, padding=1)
        self.to_rgb = nn.Conv2d(last, 3, 3, padding=1)
        self.grain = Grain(last, grain) if grain else None
        self._last: nn.Conv2d | None = None

    @torch.no_grad()
    def keep_constants(self) -> None:
        """Let one convolution make what two make of the same features; for a network whose weights stay as they are."""
        if self.grain is not None:
            parts = self.to_rgb, self.grain.strength
            last = nn.Conv2d(self.to_rgb.in_channels, 4, 3, padding=1)
            last.weight = nn.Parameter(torch.cat([part.weight for part in parts]))
            last.bias = nn.Parameter(torch.cat([part.get_parameter("bias") for part in parts]))
            self._last = last.to(memory_format=torch.channels_last)

    def forward(
        self, x: Tensor, features: Sequence[Tensor], skips: Sequence[Tensor] = (), noise: Sequence[Tensor] = ()
    ) -> Tensor:
        """Return the picture (n, 3, out_size, out_size) for the trunk's x (n, c, in_size, in_size).

        `features` (n, c, h, w) are the bank's, from twice the input's resolution to its own.

        `skips` are the input itself at these resolutions, its finer pixels as channels, as far as there are any;
        `noise` has a channel for each of them where the decoder takes noise.
        """
        both = None if torch.is_grad_enabled() else self._last
        for level, conv in enumerate(self.up):
            beside = [*features[level : level + 1], *skips[level : level + 1], *noise[level : level + 1]]
            if level == len(self.up) - 1 and (self.grain is None or both is not None):
                made = enlarged_picture(conv, x, beside, self.conv, both or self.to_rgb)
                if made is not None:
                    return self._with_grain(made, noise)
            x = enlarged_conv_beside(conv, x, beside)
        x = conv_leaky(self.conv, x)
        if both is not None:
            return self._with_grain(both(x), noise)
        picture: Tensor = self.to_rgb(x)
        return picture if self.grain is None else picture + self.grain(x, noise[-1])

    def _with_grain(self, made: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Return the picture (n, 3, h, w) of what the last convolution made, with what says how strong grain is."""
        return made if self.grain is None else made[:, :3] + self.grain.of(made[:, 3:], noise[-1])


class _Banked(nn.Module):
    """What GLEAN and LightGLEAN share: trunk, bank, decoder, and their sizes."""

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        style_channels: int,
        rrdb_channels: int,
        num_rrdbs: int,
        channel_multiplier: float,
        narrow: float,
        decoder_narrow: float,
        decoder_last: int,
        bank_size: int,
        unshuffle: int,
        residual: bool,
        rrdb_growth: int,
        trunk_levels: int = 0,
        decoder_skips: bool = False,
        decoder_noise: bool = False,
        decoder_grain: float = 0.0,
    ) -> None:
        super().__init__()
        widths = channels(out_size, narrow=narrow, channel_multiplier=channel_multiplier)
        if in_size not in widths or not 4 < in_size < out_size:
            raise ValueError(f"The input's side is a power of two from 8 to below {out_size}, not {in_size}.")
        bank_size = bank_size or out_size
        if bank_size not in widths or bank_size <= in_size:
            raise ValueError(f"The bank's side is a power of two from {2 * in_size} to {out_size}, not {bank_size}.")
        self.in_size = in_size
        self.out_size = out_size
        self.unshuffle = unshuffle
        self.residual = residual
        inputs = 3 * unshuffle**2
        self.trunk: nn.Module
        if trunk_levels:
            self.trunk = UNetTrunk(widths[in_size], width=rrdb_channels, levels=trunk_levels, in_channels=inputs)
        else:
            self.trunk = Trunk(
                widths[in_size], width=rrdb_channels, blocks=num_rrdbs, growth=rrdb_growth, in_channels=inputs
            )
        self.bank = StyleGAN2Generator(
            bank_size,
            style_dim=style_channels,
            n_mlp=0,
            channel_multiplier=channel_multiplier,
            narrow=narrow,
            to_rgb=False,
        )
        above = [width for resolution, width in widths.items() if resolution >= in_size]
        levels = len([resolution for resolution in self.bank.widths if resolution > in_size])
        self.skips = [2**k for k in reversed(range(unshuffle.bit_length() - 1))] if decoder_skips else []
        self.decoder = Decoder(
            above,
            narrow=decoder_narrow,
            levels=levels,
            last=decoder_last,
            skips=[3 * factor**2 for factor in self.skips],
            noise=decoder_noise,
            grain=decoder_grain,
        )
        self.noise_sides = [side for side in widths if side > in_size] if decoder_noise else []
        for side in self.noise_sides:
            self.register_buffer(f"noise_{side}", torch.randn(1, 1, side, side))
        if decoder_skips:
            for path, part in self.decoder.named_modules():
                if isinstance(part, nn.Conv2d) and not path.startswith("grain."):
                    nn.init.kaiming_normal_(part.weight, a=0.2)
        if residual:  # a training begins near the input itself
            nn.init.normal_(self.decoder.to_rgb.weight, std=0.01)
            nn.init.zeros_(self.decoder.to_rgb.bias)  # type: ignore[arg-type]

    def _encode(self, pictures: Tensor) -> Tensor:
        """Check the pictures and return the trunk's features."""
        side = self.in_size * self.unshuffle
        if pictures.shape[1:] != (3, side, side):
            expected = f"(n, 3, {side}, {side})"
            raise ValueError(f"This network takes pictures of shape {expected}, not {tuple(pictures.shape)}.")
        features: Tensor = self.trunk(channels_last(F.pixel_unshuffle(pictures, self.unshuffle)))
        return features

    def _noise(self, trunk: Tensor, *, mirror: bool) -> list[Tensor]:
        """Return the decoder's noise: in training drawn anew for each picture, else the one stored with the weights."""
        if self.training:
            return [trunk.new_empty(len(trunk), 1, side, side).normal_() for side in self.noise_sides]
        stored = [self.get_buffer(f"noise_{side}") for side in self.noise_sides]
        stored = [noise.flip(3) for noise in stored] if mirror else stored
        return [noise.to(trunk.dtype).expand(len(trunk), -1, -1, -1) for noise in stored]

    def _decode(
        self, pictures: Tensor, trunk: Tensor, taken: Sequence[Tensor], *, mirror_noise: bool = False
    ) -> Tensor:
        """Return the output picture; with `residual`, what the network adds to the input in the output's size."""
        skips = [F.pixel_unshuffle(pictures, factor) for factor in self.skips]
        noise = self._noise(trunk, mirror=mirror_noise)
        picture: Tensor = self.decoder(trunk, taken, [skip.to(trunk.dtype) for skip in skips], noise)
        if not self.residual:
            return picture
        if pictures.shape[-1] != self.out_size:
            pictures = F.interpolate(pictures, self.out_size, mode="bicubic", align_corners=False)
        return pictures + picture.to(pictures.dtype)


class GLEAN(_Banked):
    """Enlarges pictures (n, 3, in_size, in_size) in [-1, 1] to (n, 3, out_size, out_size), not clamped.

    The last six arguments are our own, for small networks and for restoring at one size.

    Args:
        in_size: side of the input, a power of two from 8 on.
        out_size: side of the output and of the bank's own pictures.
        style_channels: length of a latent.
        rrdb_channels: width of the RRDB trunk.
        num_rrdbs: blocks of the trunk.
        channel_multiplier: factor of the bank's widths from 64x64 on.
        narrow: factor of all the bank's widths.
        bank_size: side of the bank's own pictures where that is smaller than the output (0: as large), after which the
            decoder goes on alone.
        unshuffle: the input is this much larger than `in_size`, and each block of so many pixels becomes channels.
        residual: the network's picture is added to the input in the output's size.
        rrdb_growth: channels that each convolution of a dense block adds.
        decoder_narrow: factor of the decoder's widths against the bank's.
        decoder_last: width of the convolution before RGB.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        style_channels: int = 512,
        rrdb_channels: int = 64,
        num_rrdbs: int = 23,
        channel_multiplier: float = 2,
        narrow: float = 1.0,
        bank_size: int = 0,
        unshuffle: int = 1,
        residual: bool = False,
        rrdb_growth: int = 32,
        decoder_narrow: float = 1.0,
        decoder_last: int = 64,
    ) -> None:
        super().__init__(
            in_size,
            out_size,
            style_channels=style_channels,
            rrdb_channels=rrdb_channels,
            num_rrdbs=num_rrdbs,
            channel_multiplier=channel_multiplier,
            narrow=narrow,
            decoder_narrow=decoder_narrow,
            decoder_last=decoder_last,
            bank_size=bank_size,
            unshuffle=unshuffle,
            residual=residual,
            rrdb_growth=rrdb_growth,
        )
        below = [width for resolution, width in self.bank.widths.items() if resolution <= in_size]
        self.down = nn.ModuleList(
            LeakyPair(
                nn.Conv2d(i, o, 3, stride=2, padding=1),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Conv2d(o, o, 3, padding=1),
                nn.LeakyReLU(0.2, inplace=True),
            )
            for i, o in pairwise(below[::-1])
        )
        self.bottom = nn.Conv2d(below[0], below[0], 3, padding=1)
        self.to_latents = nn.Linear(16 * below[0], self.bank.num_latents * style_channels)
        self.fusion = nn.ModuleList(nn.Conv2d(2 * width, width, 3, padding=1) for width in below)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the pictures (n, 3, out_size, out_size) of (n, 3, in_size, in_size) in [-1, 1], not clamped."""
        trunk = self._encode(pictures)
        encoded = [trunk]
        for block in self.down:
            encoded.insert(0, block(encoded[0]))
        bottom = conv_leaky(self.bottom, encoded[0])
        latents = self.to_latents(bottom.flatten(1)).unflatten(1, (self.bank.num_latents, -1))

        taken: list[Tensor] = []

        def fuse(level: int, features: Tensor) -> Tensor:
            if level >= len(encoded):
                return features
            fused: Tensor = self.fusion[level](torch.cat([features, encoded[level]], dim=1))
            return fused

        def take(level: int, features: Tensor) -> Tensor:
            if level + 1 >= len(encoded):
                taken.append(features)
            return features

        self.bank.synthesize(latents, before=fuse, after=take)
        return self._decode(pictures, trunk, taken)


class LightGLEAN(_Banked):
    """GLEAN without the descending encoder: one feature enters the bank, and the latents are learned constants.

    The bank below the input's resolution depends on nothing then, so it runs for one picture whatever the batch is, and
    the styles are the same for all pictures. Decoder and trunk are lighter too, to reach the paper's figures (21 % of
    GLEAN's parameters, 35 % of its operations); the defaults are for 128 to 1024.

    Args:
        in_size: side of the input, a power of two from 8 on.
        out_size: side of the output and of the bank's own pictures.
        style_channels: length of a latent.
        rrdb_channels: width of the RRDB trunk.
        num_rrdbs: blocks of the trunk.
        channel_multiplier: factor of the bank's widths from 64x64 on.
        narrow: factor of all the bank's widths.
        bank_size: side of the bank's own pictures where that is smaller than the output (0: as large), after which the
            decoder goes on alone.
        unshuffle: the input is this much larger than `in_size`, and each block of so many pixels becomes channels.
        residual: the network's picture is added to the input in the output's size.
        rrdb_growth: channels that each convolution of a dense block adds.
        decoder_skips: the input comes in again at each resolution of the decoder that it has (with `unshuffle`).
        decoder_noise: a channel of noise comes in at each resolution of the decoder, as in the bank's own.
        decoder_grain: above 0, the network says how strong fine texture is, which noise then makes; outside training
            this is its gain. Needs `decoder_noise`.
        mirrored: outside training, return the mean of a picture's result and its mirror image's, mirrored back.
        trunk_levels: 0 for the paper's RRDBs; else the trunk is a U-Net that halves the resolution so many times.
        decoder_narrow: factor of the decoder's widths against the bank's.
        decoder_last: width of the convolution before RGB; 0 for 64 times `decoder_narrow`.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        style_channels: int = 512,
        rrdb_channels: int = 64,
        num_rrdbs: int = 3,
        channel_multiplier: float = 2,
        narrow: float = 1.0,
        decoder_narrow: float = 0.5,
        decoder_last: int = 0,
        bank_size: int = 0,
        unshuffle: int = 1,
        residual: bool = False,
        rrdb_growth: int = 32,
        trunk_levels: int = 0,
        decoder_skips: bool = False,
        decoder_noise: bool = False,
        decoder_grain: float = 0.0,
        mirrored: bool = False,
    ) -> None:
        super().__init__(
            in_size,
            out_size,
            style_channels=style_channels,
            rrdb_channels=rrdb_channels,
            num_rrdbs=num_rrdbs,
            channel_multiplier=channel_multiplier,
            narrow=narrow,
            decoder_narrow=decoder_narrow,
            decoder_last=decoder_last or max(int(64 * decoder_narrow), 1),
            bank_size=bank_size,
            unshuffle=unshuffle,
            residual=residual,
            rrdb_growth=rrdb_growth,
            trunk_levels=trunk_levels,
            decoder_skips=decoder_skips,
            decoder_noise=decoder_noise,
            decoder_grain=decoder_grain,
        )
        width = self.bank.widths[in_size]
        self.latents = nn.Parameter(torch.randn(1, self.bank.num_latents, style_channels))
        self.fusion = nn.Conv2d(2 * width, width, 3, padding=1)
        self.mirrored = mirrored
        self._kept: dict[object, Tensor] | None = None

    def keep_constants(self) -> None:
        """Compute what no picture changes once, from now on: for a network whose weights stay as they are."""
        self._kept = {}

    @torch.no_grad()
    def start_from(self, latent: Tensor) -> None:
        """Set all latents to one w (style_channels,), usually the prior's mean, before a training."""
        self.latents.copy_(latent.expand_as(self.latents))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the pictures (n, 3, out_size, out_size) of (n, 3, in_size, in_size) in [-1, 1], not clamped."""
        if self.training or not self.mirrored:
            return self._enlarge(pictures)
        # The noise is mirrored as well: the mean of two textures would be half as strong.
        return (self._enlarge(pictures) + self._enlarge(pictures.flip(3), mirror_noise=True).flip(3)) / 2

    def _enlarge(self, pictures: Tensor, *, mirror_noise: bool = False) -> Tensor:
        trunk = self._encode(pictures)
        entry = self.bank.resolutions.index(self.in_size)
        taken: list[Tensor] = []

        def fuse(level: int, features: Tensor) -> Tensor:
            if level != entry:
                return features
            fused: Tensor = self.fusion(torch.cat([features.expand(len(trunk), -1, -1, -1), trunk], dim=1))
            return fused

        def take(level: int, features: Tensor) -> Tensor:
            if level >= entry:
                taken.append(features)
            return features

        begin = None if self._kept is None or torch.is_grad_enabled() else (entry, self._below(entry))
        self.bank.synthesize(self.latents, before=fuse, after=take, begin=begin)
        return self._decode(pictures, trunk, taken, mirror_noise=mirror_noise)

    def _below(self, entry: int) -> Tensor:
        """Return the bank's features that come into a level, (1, c, h, w), computed where they are not kept yet."""
        assert self._kept is not None
        kind = self.latents.device.type
        key = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind)
        if key not in self._kept:
            self._kept[key] = self.bank.synthesize(self.latents, end=entry)
        return self._kept[key]
