"""The StyleGAN2 generator that every model of this tool shares as its prior.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), in plain torch operations. Three things
differ in form, not in result, from the usual code:

- Equalised learning rates are folded: parameters are the effective weights. `equalised_scales` gives the factor of
  each one, by which a trainer multiplies its learning rate (of Adam) to train as the paper does.
- A style scales a convolution's weights when there is one sample and they are fewer than the features, and its input
  and output channels otherwise, which is the same function without a convolution per sample.
- The gain sqrt(2) behind the activation is applied to what goes into it, where it costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restorer.networks.filters import bilinear_upsample, enlarged_conv, fir_enlarged_conv, fir_upsample
from restorer.networks.frozen_conv import FrozenConv
from restorer.networks.winograd import Winograd

Upsampling = Literal["fir", "bilinear"]
NoiseMode = Literal["add", "concat"]
Hook = Callable[[int, Tensor], Tensor]
"""Takes a level (0 is the step from 4x4 to 8x8) and features; returns features to go on with."""

MAPPING_LR = 0.01
"""The mapping network learns this much more slowly (StyleGAN, appendix C)."""
_DEMODULATION_EPS = 1e-8
_FEW_PIXELS = 40 * 40
"""Below so many, scaling the features of one picture is quicker than scaling weights of 512 by 512 channels."""


def channels(size: int, *, narrow: float = 1.0, channel_multiplier: float = 2) -> dict[int, int]:
    """Return the width at each resolution from 4 to `size`: 512 up to 32x32, then halving, times `narrow`."""
    if size < 8 or size & (size - 1):
        raise ValueError(f"A generator's size is a power of two from 8 on, not {size}.")
    resolutions = [4 << level for level in range(size.bit_length() - 2)]
    return {r: max(int((512 if r <= 32 else 16384 // r * channel_multiplier) * narrow), 1) for r in resolutions}


def channels_last(x: Tensor) -> Tensor:
    """Return (n, c, h, w) in the memory layout in which convolutions are quickest; what they give then has it too."""
    # Measured: with channels innermost torch's CPU convolutions take two thirds to a quarter of the time.
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


def own_precision(x: Tensor) -> AbstractContextManager[object]:
    """Return a context without autocast on a tensor's device; on the meta device, which has none, an empty one."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class Modulation(nn.Module):
    """The affine layer from a latent (n, style_dim) to one factor for each input channel (n, channels); bias 1."""

    def __init__(self, style_dim: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, style_dim))
        self.bias = nn.Parameter(torch.empty(channels))
        self.init_weights()

    def forward(self, latent: Tensor) -> Tensor:
        """Map latents (n, style_dim) to factors (n, channels)."""
        # Styles are small and everything is multiplied by them: they stay in the weights' own precision.
        with own_precision(latent):
            return F.linear(latent.to(self.weight.dtype), self.weight, self.bias)

    def scales(self) -> dict[str, float]:
        return {"weight": 1 / math.sqrt(self.weight.shape[1]), "bias": 1.0}

    def init_weights(self) -> None:
        nn.init.normal_(self.weight, std=self.scales()["weight"])
        nn.init.ones_(self.bias)


class StyledConv(nn.Module):
    """A 3x3 convolution modulated by a style, demodulated, with noise, bias and leaky ReLU (section 2.2).

    Args:
        in_channels: channels that come in.
        out_channels: channels that the convolution makes; with concatenated noise twice as many go out.
        style_dim: length of a latent.
        upsample: None, "fir" (transposed convolution, then the FIR filter) or "bilinear" (enlarge, then convolve).
        noise: "add" takes (n or 1, 1, h, w); "concat" (GPEN) takes (n, out_channels, h, w) and puts it behind the rest.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_dim: int,
        *,
        upsample: Upsampling | None = None,
        noise: NoiseMode = "add",
    ) -> None:
        super().__init__()
        self.upsample = upsample
        self.noise = noise
        # A transposed convolution wants its input channels first; stored so, no copy is made at every call.
        self.transposed = upsample == "fir"
        shape = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = nn.Parameter(torch.empty(*shape, 3, 3))
        self.modulation = Modulation(style_dim, in_channels)
        self.noise_gain = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(out_channels * (2 if noise == "concat" else 1)))
        self.quick: Winograd | None = None  # set where that is quicker: `restorer.engine.arithmetic`
        self.side: int | None = None  # of what comes in, in pixels, where a generator knows it
        self._known_energy: tuple[tuple[int, int, torch.device], Tensor] | None = None
        self.init_weights()

    def forward(self, x: Tensor, latent: Tensor, noise: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h, w), or twice the sides with `upsample`.

        Args:
            x: the features.
            latent: (n, style_dim).
            noise: standard normal, at the output's resolution, or GPEN's features; shapes as for the class.
        """
        if self._is_searched(x, latent):
            return self._searched(x, latent, noise)
        if self.quick is not None and self.quick.takes(x):
            return self._quickly(self.quick, x, latent, noise)
        weight, scale_in, scale_out = self._modulated(self.modulation(latent), x.shape[2] * x.shape[3])
        # Noise and bias are added to what carries the activation's sqrt(2) already, so they get it here.
        bias, *noise_bias = torch.split(self.bias * math.sqrt(2), weight.shape[1 if self.transposed else 0])
        fused = bias if scale_out is None else None
        if scale_in is not None:
            x = x * scale_in.to(x.dtype)
        if self.upsample == "fir":
            x = fir_enlarged_conv(x, weight, fused)
        else:
            x = enlarged_conv(x, weight, fused) if self.upsample else F.conv2d(x, weight, fused, padding=1)
        if scale_out is not None:
            x = torch.addcmul(bias[:, None, None].to(x.dtype), x, scale_out.to(x.dtype))
        gain = (self.noise_gain * math.sqrt(2)).to(x.dtype)
        # In place is safe: x was made just above, and no operation before needs its value for a gradient.
        if self.noise == "concat":
            x = torch.cat([x, torch.addcmul(noise_bias[0][:, None, None].to(x.dtype), noise.to(x.dtype), gain)], dim=1)
        else:
            x = x.add_(noise.to(x.dtype) * gain)
        return F.leaky_relu_(x, 0.2)

    def _quickly(self, quick: Winograd, x: Tensor, latent: Tensor, noise: Tensor) -> Tensor:
        """Return what `forward` does, by fewer multiplications and in fewer passes."""
        style, gain = self.modulation(latent), math.sqrt(2)
        scale = gain * torch.rsqrt(style.square() @ self._energy() + _DEMODULATION_EPS)
        noise = noise * (self.noise_gain * gain)
        return quick(x, self.bias * gain, factors=style, scales=scale, noise=noise, slope=0.2)

    def _is_searched(self, x: Tensor, latent: Tensor) -> bool:
        """Whether what goes in has a gradient and the parameters have none: on a CPU, in their own precision."""
        if not torch.is_grad_enabled() or torch.compiler.is_compiling() or len(x) != len(latent):
            return False
        if not (x.requires_grad or latent.requires_grad):
            return False
        if self.noise != "add" or self.upsample == "bilinear" or x.device.type != "cpu" or x.dtype != self.bias.dtype:
            return False
        trained = any(each.requires_grad for each in (self.weight, self.noise_gain, self.bias))
        return not trained and not torch.is_autocast_enabled("cpu")

    def _searched(self, x: Tensor, latent: Tensor, noise: Tensor) -> Tensor:
        """Return what `forward` does, with a gradient that costs less."""
        style, gain = self.modulation(latent), math.sqrt(2)
        scale = gain * torch.rsqrt(style.square() @ self._energy() + _DEMODULATION_EPS)
        enlarge = self.transposed
        result: Tensor = FrozenConv.apply(
            x, style, scale, noise * (self.noise_gain * gain), self.bias * gain, self.weight, enlarge
        )
        return result

    def _modulated(self, style: Tensor, pixels: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the weight, and factors of the input and output channels where they are not in it already."""
        inputs, outputs = (0, 1) if self.transposed else (1, 0)
        with own_precision(style):
            demodulation = math.sqrt(2) * torch.rsqrt(style.square() @ self._energy() + _DEMODULATION_EPS)
        if len(style) > 1 or (pixels < _FEW_PIXELS and not torch.is_grad_enabled()):
            return self.weight, style[:, :, None, None], demodulation[:, :, None, None]
        factors = style[0].unsqueeze(outputs) * demodulation[0].unsqueeze(inputs)
        return self.weight * factors[:, :, None, None], None, None

    def _energy(self) -> Tensor:
        """Return the squares of the weights, summed over the taps (in_channels, out_channels); kept between runs."""
        weight = self.weight
        learnt = torch.is_grad_enabled() and weight.requires_grad
        # While a network is exported its weights have no place in memory.
        lasting = not (learnt or weight.is_inference() or torch.compiler.is_compiling())
        key = (weight.data_ptr(), weight._version, weight.device) if lasting else None
        if key is not None and self._known_energy is not None and self._known_energy[0] == key:
            return self._known_energy[1]
        with torch.inference_mode(torch.is_inference_mode_enabled() and not lasting):  # what lasts may meet a gradient
            energy = weight.to(torch.promote_types(weight.dtype, torch.float32)).square().sum((2, 3))
            energy = energy if self.transposed else energy.t()
        if key is not None:
            self._known_energy = key, energy
        return energy

    def scales(self) -> dict[str, float]:
        fan_in = 9 * self.weight.shape[0 if self.transposed else 1]
        return {"weight": 1 / math.sqrt(fan_in), "noise_gain": 1.0, "bias": 1.0}

    def init_weights(self) -> None:
        nn.init.normal_(self.weight, std=self.scales()["weight"])
        nn.init.zeros_(self.noise_gain)
        nn.init.zeros_(self.bias)


class ToRGB(nn.Module):
    """A 1x1 convolution to RGB, modulated but not demodulated, added to the enlarged picture of the level before."""

    def __init__(self, in_channels: int, style_dim: int, *, upsample: Upsampling = "fir") -> None:
        super().__init__()
        self.upsample = upsample
        self.weight = nn.Parameter(torch.empty(3, in_channels))
        self.modulation = Modulation(style_dim, in_channels)
        self.bias = nn.Parameter(torch.empty(3))
        self.init_weights()

    def forward(self, x: Tensor, latent: Tensor, picture: Tensor | None = None) -> Tensor:
        """Return the picture (n, 3, h, w) of features (n, in_channels, h, w).

        Args:
            x: the features.
            latent: (n, style_dim).
            picture: of the level before, (n, 3, h / 2, w / 2), which is enlarged and added; None at the first.
        """
        weight = self.weight * self.modulation(latent)[:, None, :]
        # A view of the features as (n, channels, pixels) in either memory layout.
        flat = x.flatten(2) if x.is_contiguous() else x.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)
        rgb = torch.bmm(weight.to(x.dtype), flat).to(self.bias.dtype) + self.bias[:, None]
        rgb = rgb.reshape(len(x), 3, *x.shape[2:])
        if picture is None:
            return rgb
        # The sum over the levels stays in the weights' precision also under autocast.
        with own_precision(x):
            return rgb + (fir_upsample(picture) if self.upsample == "fir" else bilinear_upsample(picture))

    def scales(self) -> dict[str, float]:
        return {"weight": 1 / math.sqrt(self.weight.shape[1]), "bias": 1.0}

    def init_weights(self) -> None:
        nn.init.normal_(self.weight, std=self.scales()["weight"])
        nn.init.zeros_(self.bias)


class MappingLayer(nn.Module):
    """A linear layer of the mapping network with leaky ReLU times sqrt(2)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.init_weights()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_features) to (n, out_features)."""
        with own_precision(x):
            return F.leaky_relu(F.linear(x.to(self.weight.dtype), self.weight, self.bias), 0.2) * math.sqrt(2)

    def scales(self) -> dict[str, float]:
        return {"weight": MAPPING_LR / math.sqrt(self.weight.shape[1]), "bias": MAPPING_LR}

    def init_weights(self) -> None:
        # The unscaled weight starts at N(0, 1/lr^2), so the slow learning rate is not in the effective one.
        nn.init.normal_(self.weight, std=self.scales()["weight"] / MAPPING_LR)
        nn.init.zeros_(self.bias)


class Mapping(nn.Module):
    """The mapping network: z (n, style_dim), normalised, to w (n, style_dim)."""

    def __init__(self, style_dim: int, n_mlp: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MappingLayer(style_dim, style_dim) for _ in range(n_mlp))

    def forward(self, z: Tensor) -> Tensor:
        """Map z (n, style_dim) to w (n, style_dim)."""
        z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            z = layer(z)
        return z

    @torch.no_grad()
    def mean(self, samples: int = 4096, seed: int = 0) -> Tensor:
        """Return the mean w (style_dim,) of so many z, drawn on the CPU with the seed."""
        weight = next(self.parameters())
        z = torch.randn(samples, weight.shape[1], generator=torch.Generator().manual_seed(seed))
        mean: Tensor = self(z.to(weight)).mean(0)
        return mean


class StyleGAN2Generator(nn.Module):
    """The generator: z, w or w+ to pictures (n, 3, size, size) of about [-1, 1].

    Level k goes from 4*2^k to 8*2^k pixels with `convs[2k]` (up), `convs[2k+1]` and `to_rgbs[k]`. The w+ has one latent
    for each convolution, and one more for the last RGB layer where there is one: `convs[j]` takes latent 1 + j, and
    `to_rgbs[k]` latent 2k + 3, which is also that of the next up convolution.

    Args:
        size: side of the pictures, a power of two.
        style_dim: length of a latent.
        n_mlp: layers of the mapping network; 0 leaves it out, and then only w or w+ are taken.
        channel_multiplier: factor of the widths from 64x64 on.
        narrow: factor of all widths.
        upsample: "fir" as in the paper, or "bilinear" (the form of GFP-GAN's "clean" networks).
        noise: "add" with a stored noise for each convolution, or "concat", for which noise must always be given.
        to_rgb: False leaves the RGB branch out, for a model that takes features only.
    """

    latent_avg: Tensor

    def __init__(
        self,
        size: int,
        *,
        style_dim: int = 512,
        n_mlp: int = 8,
        channel_multiplier: float = 2,
        narrow: float = 1.0,
        upsample: Upsampling = "fir",
        noise: NoiseMode = "add",
        to_rgb: bool = True,
    ) -> None:
        super().__init__()
        self.size = size
        self.style_dim = style_dim
        self.widths = channels(size, narrow=narrow, channel_multiplier=channel_multiplier)
        self.resolutions = list(self.widths)
        self.num_levels = len(self.widths) - 1
        self.num_convs = 2 * self.num_levels + 1
        self.num_latents = self.num_convs + (1 if to_rgb else 0)
        self.noise = noise

        self.mapping: Mapping | None = None
        if n_mlp:
            self.mapping = Mapping(style_dim, n_mlp)
            # The mean of w, which truncation moves towards; a trainer fills it with `update_latent_avg`.
            self.register_buffer("latent_avg", torch.zeros(style_dim))
        self.constant = nn.Parameter(torch.randn(1, self.widths[4], 4, 4))
        self.conv1 = StyledConv(self.widths[4], self.widths[4], style_dim, noise=noise)
        self.conv1.side = 4
        self.convs = nn.ModuleList()
        wider = 2 if noise == "concat" else 1
        for side, (below, above) in zip(self.resolutions[1:], pairwise(self.widths.values()), strict=True):
            self.convs.append(StyledConv(wider * below, above, style_dim, upsample=upsample, noise=noise))
            second = StyledConv(wider * above, above, style_dim, noise=noise)
            second.side = side
            self.convs.append(second)
        self.to_rgb1: ToRGB | None = None
        if to_rgb:
            first, *others = (ToRGB(wider * width, style_dim, upsample=upsample) for width in self.widths.values())
            self.to_rgb1 = first
            self.to_rgbs = nn.ModuleList(others)
        if noise == "add":
            for index in range(self.num_convs):
                self.register_buffer(f"noise_{index}", torch.randn(self.noise_shape(index)))

    def noise_shape(self, index: int) -> tuple[int, int, int, int]:
        """Return the shape of the noise of convolution `index`: (1, 1, side, side)."""
        side = self.resolutions[(index + 1) // 2]
        return 1, 1, side, side

    def stored_noise(self) -> list[Tensor]:
        """Return the noise that belongs to the weights, one (1, 1, h, w) for each convolution."""
        return [self.get_buffer(f"noise_{index}") for index in range(self.num_convs)]

    def draw_noise(self, seed: int | None = None, *, batch: int = 1) -> list[Tensor]:
        """Draw standard normal noise for each convolution, (batch, 1, h, w), on the network's device.

        With a seed it is drawn on the CPU, so that every device and every face of a run gets the same; without one,
        from torch's global generator on the network's device (for training).
        """
        device, dtype = self.constant.device, self.constant.dtype
        shapes = [(batch, *self.noise_shape(index)[1:]) for index in range(self.num_convs)]
        if seed is None:
            return [torch.randn(shape, device=device, dtype=dtype) for shape in shapes]
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]

    def forward(
        self,
        latents: Tensor,
        *,
        input_is_w: bool = False,
        truncation: float = 1.0,
        noise: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Return pictures (n, 3, size, size), not clamped.

        Args:
            latents: z (n, style_dim), or with `input_is_w` w (n, style_dim) or w+ (n, num_latents, style_dim).
            input_is_w: whether `latents` are w or w+.
            truncation: 1 takes w as it is, less moves it towards `latent_avg` (StyleGAN, section 4.1).
            noise: one tensor for each convolution; None takes the stored noise.
        """
        w = latents
        if not input_is_w:
            if self.mapping is None:
                raise ValueError("This generator has no mapping network: give it w or w+ (input_is_w=True).")
            w = self.mapping(latents)
        if truncation != 1.0:
            w = torch.lerp(self.latent_avg.expand_as(w), w, truncation)
        return self.synthesize(w, noise)

    def synthesize(
        self,
        w: Tensor,
        noise: Sequence[Tensor] | None = None,
        *,
        before: Hook | None = None,
        between: Hook | None = None,
        after: Hook | None = None,
        begin: tuple[int, Tensor] | None = None,
        end: int | None = None,
    ) -> Tensor:
        """Walk the levels for w (n, style_dim) or w+ (n, num_latents, style_dim).

        Hooks let a model reach in: `before` the up convolution of a level, `between` its two convolutions, and `after`
        both; each returns the features to go on with.

        With `begin`, a level and the features that come into it, the walk begins there, and with `end` it ends before
        that level; not where there are pictures of each level.

        Returns:
            The picture (n, 3, size, size), or without the RGB branch the last features.
        """
        if w.ndim == 2:
            w = w.unsqueeze(1).expand(-1, self.num_latents, -1)
        if noise is None:
            noise = self.stored_noise()
        if not (begin is None and end is None) and self.to_rgb1 is not None:
            raise ValueError("The RGB branch goes through all levels.")
        entry, x = (0, None) if begin is None else begin
        if x is None:
            x = self.conv1(channels_last(self.constant.expand(len(w), -1, -1, -1)), w[:, 0], noise[0])
        picture = self.to_rgb1(x, w[:, 1]) if self.to_rgb1 is not None else None
        for level in range(entry, self.num_levels if end is None else end):
            first = 2 * level + 1
            if before is not None:
                x = before(level, x)
            x = self.convs[first - 1](x, w[:, first], noise[first])
            if between is not None:
                x = between(level, x)
            x = self.convs[first](x, w[:, first + 1], noise[first + 1])
            if after is not None:
                x = after(level, x)
            if picture is not None:
                picture = self.to_rgbs[level](x, w[:, first + 2], picture)
        result: Tensor = x if picture is None else picture
        return result

    def mean_latent(self, samples: int = 4096, seed: int = 0) -> Tensor:
        """Return the mean w (style_dim,) of so many z, drawn on the CPU with the seed."""
        if self.mapping is None:
            raise ValueError("This generator has no mapping network, so no mean latent either.")
        return self.mapping.mean(samples, seed)

    @torch.no_grad()
    def update_latent_avg(self, samples: int = 4096, seed: int = 0) -> None:
        """Set `latent_avg` to `mean_latent`; for the end of a training."""
        self.latent_avg.copy_(self.mean_latent(samples, seed))

    def init_weights(self) -> None:
        """Draw all weights anew as the paper starts them; noise gains are 0 and modulation biases 1."""
        nn.init.normal_(self.constant)
        for module in self.modules():
            if isinstance(module, (Modulation, StyledConv, ToRGB, MappingLayer)):
                module.init_weights()


def equalised_scales(module: nn.Module) -> dict[str, float]:
    """Return for each parameter of a module the factor that equalised learning rates fold into it, 1 where none.

    Training the effective weights with Adam, each parameter's learning rate times its factor, is training the unscaled
    ones at the plain rate (up to Adam's epsilon). Any submodule that has a `scales` method takes part.
    """
    factors = {name: 1.0 for name, _ in module.named_parameters()}
    for path, part in module.named_modules():
        scales = getattr(part, "scales", None)
        if callable(scales):
            factors.update({f"{path}.{name}" if path else name: factor for name, factor in scales().items()})
    return factors
