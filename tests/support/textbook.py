"""The papers' formulas in their plainest form, on upstream's names and unscaled weights, in double precision.

Written for reading and for checking the networks against, not for speed: equalised learning rates are applied where
they are used, every sample has modulated weights of its own, and resampling inserts zeros and filters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.golden import Spec, fill

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Names:
    """How a project names the parts of its generator; {} is `conv1`, `convs.3`, `to_rgb1` or `to_rgbs.2`."""

    constant: str
    mapping_weight: str
    mapping_bias: str
    conv: str
    rgb: str
    weight: str
    style_weight: str
    style_bias: str
    gain: str
    bias: str
    noise: str | None
    kernels: bool = True


ROSINALITY = Names(
    constant="input.input", mapping_weight="style.{}.weight", mapping_bias="style.{}.bias", conv="{}.", rgb="{}.",
    weight="conv.weight", style_weight="conv.modulation.weight", style_bias="conv.modulation.bias", gain="noise.weight",
    bias="activate.bias", noise="noises.noise_{}",
)  # fmt: skip
MMAGIC = Names(
    constant="constant_input.input", mapping_weight="style_mapping.{}.linear.weight_orig",
    mapping_bias="style_mapping.{}.bias", conv="{}.", rgb="{}.", weight="conv.weight_orig",
    style_weight="conv.style_modulation.linear.weight_orig", style_bias="conv.style_modulation.bias",
    gain="noise_injector.weight", bias="activate.bias", noise="injected_noise_{}",
)  # fmt: skip
BASICSR = Names(
    constant="constant_input.weight", mapping_weight="style_mlp.{}.weight", mapping_bias="style_mlp.{}.bias",
    conv="style_{}.", rgb="{}.", weight="modulated_conv.weight", style_weight="modulated_conv.modulation.weight",
    style_bias="modulated_conv.modulation.bias", gain="weight", bias="activate.bias", noise="noises.noise{}",
    kernels=False,
)  # fmt: skip


def widths(size: int, multiplier: float, narrow: float) -> list[int]:
    """Return the channels at 4, 8, ... size."""
    table = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256 * multiplier, 128: 128 * multiplier, 256: 64 * multiplier,
             512: 32 * multiplier, 1024: 16 * multiplier, 2048: 8 * multiplier}  # fmt: skip
    return [int(width * narrow) for side, width in table.items() if side <= size]


# ------------------------------------------------------------------------------------------------ operations


def filtered(x: Tensor, pad: int, *, up: int = 1, down: int = 1) -> Tensor:
    """Insert zeros behind each pixel (or none), pad both sides, filter with [1, 3, 3, 1], keep every `down`-th."""
    n, c, h, w = x.shape
    if up > 1:
        spread = x.new_zeros(n, c, h * up, w * up)
        spread[..., ::up, ::up] = x
        x = F.pad(spread, (pad + 1, pad, pad + 1, pad))
    else:
        x = F.pad(x, (pad, pad, pad, pad))
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype)
    kernel = torch.outer(taps, taps) / 64 * up**2
    x = F.conv2d(x.reshape(-1, 1, *x.shape[2:]), kernel[None, None])
    return x.reshape(n, c, *x.shape[2:])[..., ::down, ::down]


def lrelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """The fused activation: leaky ReLU of x + bias, times sqrt(2)."""
    if bias is not None:
        x = x + bias.reshape(1, -1, *[1] * (x.ndim - 2))
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def equal_linear(x: Tensor, weight: Tensor, bias: Tensor, lr_mul: float = 1.0) -> Tensor:
    """A linear layer whose stored weight is unscaled."""
    return F.linear(x, weight * (lr_mul / math.sqrt(weight.shape[1])), bias * lr_mul)


def equal_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **settings: int) -> Tensor:
    """A convolution whose stored weight is unscaled."""
    return F.conv2d(x, weight / math.sqrt(weight[0].numel()), bias, **settings)


def modulated(x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool, up: bool = False) -> Tensor:
    """A convolution with weights of its own for each sample; weight [1, out, in, k, k], style (n, in)."""
    outputs = []
    for sample, factors in zip(x, style, strict=True):
        kernel = weight[0] / math.sqrt(weight[0, 0].numel()) * factors[None, :, None, None]
        if demodulate:
            kernel = kernel / torch.sqrt(kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if up:
            blown = F.conv_transpose2d(sample[None], kernel.transpose(0, 1), stride=2)
            # Between the zeros that a transposed convolution inserts, the filter's gain is 4.
            outputs.append(filtered(blown, 1) * 4)
        else:
            outputs.append(F.conv2d(sample[None], kernel, padding=kernel.shape[-1] // 2))
    return torch.cat(outputs)


# ------------------------------------------------------------------------------------------------- generator


def generator_spec(
    names: Names,
    size: int,
    style: int,
    n_mlp: int,
    multiplier: float,
    narrow: float,
    prefix: str = "",
    *,
    concat: bool = False,
) -> Spec:
    """Return keys, shapes and spreads of a generator's checkpoint."""
    width = widths(size, multiplier, narrow)
    more = 2 if concat else 1
    spec: dict[str, tuple[list[int], float, float]] = {
        names.constant: ([1, width[0], 4, 4], 0.0, 1.0),
    }
    for i in range(1, n_mlp + 1):
        spec[names.mapping_weight.format(i)] = ([style, style], 0.0, 100.0)
        spec[names.mapping_bias.format(i)] = ([style], 0.0, 10.0)

    def conv(name: str, inputs: int, outputs: int) -> None:
        part = names.conv.format(name)
        spec[part + names.weight] = ([1, outputs, inputs, 3, 3], 0.0, 1.0)
        spec[part + names.style_weight] = ([inputs, style], 0.0, 1.0)
        spec[part + names.style_bias] = ([inputs], 1.0, 0.1)
        spec[part + names.gain] = ([1], 0.0, 0.3)
        spec[part + names.bias] = ([more * outputs], 0.0, 0.1)

    def rgb(name: str, inputs: int) -> None:
        part = names.rgb.format(name)
        spec[part + names.weight] = ([1, 3, inputs, 1, 1], 0.0, 1.0)
        spec[part + names.style_weight] = ([inputs, style], 0.0, 1.0)
        spec[part + names.style_bias] = ([inputs], 1.0, 0.1)
        spec[f"{part}bias"] = ([1, 3, 1, 1], 0.0, 0.5)

    conv("conv1", width[0], width[0])
    rgb("to_rgb1", more * width[0])
    for level in range(len(width) - 1):
        conv(f"convs.{2 * level}", more * width[level], width[level + 1])
        conv(f"convs.{2 * level + 1}", more * width[level + 1], width[level + 1])
        rgb(f"to_rgbs.{level}", more * width[level + 1])
    if names.noise and not concat:
        for i in range(2 * len(width) - 1):
            side = 4 << ((i + 1) // 2)
            spec[names.noise.format(i)] = ([1, 1, side, side], 0.0, 1.0)
    return {prefix + key: value for key, value in spec.items()}


def kernels(names: Names, size: int, prefix: str = "") -> dict[str, Tensor]:
    """Return the constant filters that a checkpoint stores."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps) / 64 * 4
    found = {}
    for level in range(int(math.log2(size)) - 2 if names.kernels else 0):
        found[f"{prefix}{names.conv.format(f'convs.{2 * level}')}conv.blur.kernel"] = kernel
        found[f"{prefix}{names.rgb.format(f'to_rgbs.{level}')}upsample.kernel"] = kernel
    return found


Hook = Callable[[int, Tensor], Tensor]


class Generator:
    """A generator that reads its checkpoint as it goes."""

    def __init__(self, state: State, names: Names, prefix: str = "") -> None:
        self.state = {key[len(prefix) :]: value.double() for key, value in state.items() if key.startswith(prefix)}
        self.names = names
        self.levels = len({key.split(".")[1] for key in self.state if key.startswith("to_rgbs.")})

    def w(self, z: Tensor) -> Tensor:
        """The mapping network."""
        x = z / torch.sqrt(z.square().mean(1, keepdim=True) + 1e-8)
        i = 1
        while (key := self.names.mapping_weight.format(i)) in self.state:
            x = lrelu(equal_linear(x, self.state[key], self.state[self.names.mapping_bias.format(i)], 0.01))
            i += 1
        return x

    def stored_noise(self) -> list[Tensor]:
        """The noise that belongs to the weights."""
        assert self.names.noise is not None
        return [self.state[self.names.noise.format(i)] for i in range(2 * self.levels + 1)]

    def conv(self, name: str, x: Tensor, latent: Tensor, noise: Tensor, *, up: bool, concat: bool) -> Tensor:
        """Modulated convolution, noise, bias, activation."""
        part, names, state = self.names.conv.format(name), self.names, self.state
        style = equal_linear(latent, state[part + names.style_weight], state[part + names.style_bias])
        x = modulated(x, state[part + names.weight], style, demodulate=True, up=up)
        noise = state[part + names.gain] * noise
        x = torch.cat([x, noise], 1) if concat else x + noise
        return lrelu(x, state[part + names.bias])

    def rgb(self, name: str, x: Tensor, latent: Tensor, picture: Tensor | None) -> Tensor:
        """Modulated 1x1 convolution and the enlarged picture of the level before."""
        part, names, state = self.names.rgb.format(name), self.names, self.state
        style = equal_linear(latent, state[part + names.style_weight], state[part + names.style_bias])
        x = modulated(x, state[part + names.weight], style, demodulate=False) + state[f"{part}bias"]
        return x if picture is None else x + filtered(picture, 1, up=2)

    def walk(
        self,
        latents: Tensor,
        noise: list[Tensor],
        *,
        concat: bool = False,
        before: Hook = lambda _, x: x,
        between: Hook = lambda _, x: x,
        after: Hook = lambda _, x: x,
    ) -> Tensor:
        """Return the picture for w+ (n, latents, style)."""
        x = self.state[self.names.constant].expand(len(latents), -1, -1, -1)
        x = self.conv("conv1", x, latents[:, 0], noise[0], up=False, concat=concat)
        picture = self.rgb("to_rgb1", x, latents[:, 1], None)
        for level in range(self.levels):
            i = 2 * level + 1
            x = before(level, x)
            x = self.conv(f"convs.{i - 1}", x, latents[:, i], noise[i], up=True, concat=concat)
            x = between(level, x)
            x = self.conv(f"convs.{i}", x, latents[:, i + 1], noise[i + 1], up=False, concat=concat)
            x = after(level, x)
            picture = self.rgb(f"to_rgbs.{level}", x, latents[:, i + 2], picture)
        return picture


def stylegan2(state: State, names: Names, z: Tensor) -> Tensor:
    """Return the pictures of z with the stored noise."""
    generator = Generator(state, names)
    w = generator.w(z.double())
    return generator.walk(w[:, None].expand(-1, 2 * generator.levels + 2, -1), generator.stored_noise())


def stylegan2_state(
    names: Names, size: int, style: int, n_mlp: int, multiplier: float, narrow: float
) -> dict[str, Tensor]:
    """Return a StyleGAN2 checkpoint's state dict."""
    return fill(generator_spec(names, size, style, n_mlp, multiplier, narrow)) | kernels(names, size)


# ------------------------------------------------------------------------------------------------------ GPEN


def gpen_state(size: int, style: int, n_mlp: int, multiplier: float, narrow: float) -> dict[str, Tensor]:
    """Return a GPEN checkpoint's state dict."""
    width = widths(size, multiplier, narrow)[::-1]
    spec = dict(generator_spec(ROSINALITY, size, style, n_mlp, multiplier, narrow, "generator.", concat=True))
    spec["ecd0.0.0.weight"] = ([width[0], 3, 1, 1], 0.0, 1.0)
    spec["ecd0.0.1.bias"] = ([width[0]], 0.0, 0.1)
    for i in range(1, len(width)):
        spec[f"ecd{i}.0.1.weight"] = ([width[i], width[i - 1], 3, 3], 0.0, 1.0)
        spec[f"ecd{i}.0.2.bias"] = ([width[i]], 0.0, 0.1)
    spec["final_linear.0.weight"] = ([style, 16 * width[-1]], 0.0, 1.0)
    spec["final_linear.0.bias"] = ([style], 0.0, 0.1)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    filters = {f"ecd{i}.0.0.kernel": torch.outer(taps, taps) / 64 for i in range(1, len(width))}
    return fill(spec) | kernels(ROSINALITY, size, "generator.") | filters


def gpen(state: State, faces: Tensor) -> Tensor:
    """Return GPEN's restored faces."""
    generator = Generator(state, ROSINALITY, "generator.")
    own = {key: value.double() for key, value in state.items()}
    x = lrelu(equal_conv(faces.double(), own["ecd0.0.0.weight"]), own["ecd0.0.1.bias"])
    features = [x]
    for i in range(1, generator.levels + 1):
        x = lrelu(equal_conv(filtered(x, 2), own[f"ecd{i}.0.1.weight"], stride=2), own[f"ecd{i}.0.2.bias"])
        features.append(x)
    z = lrelu(equal_linear(x.flatten(1), own["final_linear.0.weight"], own["final_linear.0.bias"]))
    latents = generator.w(z)[:, None].expand(-1, 2 * generator.levels + 2, -1)
    noise = [features[-1]]
    for feature in features[-2::-1]:
        noise += [feature, feature]
    return generator.walk(latents, noise, concat=True)


# ----------------------------------------------------------------------------------------------------- GLEAN


def glean_state(
    in_size: int, out_size: int, style: int, width: int, blocks: int, multiplier: float, narrow: float
) -> dict[str, Tensor]:
    """Return the restorer's part of a GLEAN checkpoint, as published: its keys begin with `generator.`."""
    bank = {4 << i: channels for i, channels in enumerate(widths(out_size, multiplier, narrow))}
    spec: dict[str, tuple[list[int], float, float]] = {}

    def layer(name: str, outputs: int, inputs: int, kernel: int | None = 3) -> None:
        shape = [outputs, inputs] if kernel is None else [outputs, inputs, kernel, kernel]
        spec[f"{name}.weight"] = (shape, 0.0, 1 / math.sqrt(math.prod(shape[1:])))
        spec[f"{name}.bias"] = ([outputs], 0.0, 0.1)

    layer("encoder.0.0.conv_first", width, 3)
    for i in range(blocks):
        for j in (1, 2, 3):
            for k in range(1, 5):
                layer(f"encoder.0.0.body.{i}.rdb{j}.conv{k}", 32, width + 32 * (k - 1))
            layer(f"encoder.0.0.body.{i}.rdb{j}.conv5", width, width + 128)
    layer("encoder.0.0.conv_body", width, width)
    layer("encoder.0.1", bank[in_size], width)
    side, i = in_size, 1
    while side > 4:
        layer(f"encoder.{i}.0", bank[side // 2], bank[side])
        layer(f"encoder.{i}.2", bank[side // 2], bank[side // 2])
        side, i = side // 2, i + 1
    layer(f"encoder.{i}.0", bank[4], bank[4])
    layer(f"encoder.{i}.3", (2 * int(math.log2(out_size)) - 2) * style, 16 * bank[4], None)
    for k, side in enumerate(side for side in bank if side <= in_size):
        layer(f"fusion_out.{k}", bank[side], 2 * bank[side])
        layer(f"fusion_skip.{k}", 3, bank[side] + 3)
    sides = [side for side in bank if side >= in_size]
    for k, side in enumerate(sides[:-1]):
        layer(f"decoder.{k}.upsample_conv", 4 * bank[2 * side], bank[side] * (2 if k else 1))
    layer(f"decoder.{len(sides) - 1}.0", 64, 2 * bank[out_size])
    layer(f"decoder.{len(sides) - 1}.2", 3, 64)
    spec = {f"generator.{key}": value for key, value in spec.items()}
    prefix = "generator.generator."
    spec |= generator_spec(MMAGIC, out_size, style, 2, multiplier, narrow, prefix)
    return fill(spec) | kernels(MMAGIC, out_size, prefix)


def glean(state: State, pictures: Tensor, in_size: int, style: int) -> Tensor:
    """Return GLEAN's enlarged pictures."""
    own = {key.removeprefix("generator."): value.double() for key, value in state.items()}

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        return F.conv2d(x, own[f"{name}.weight"], own[f"{name}.bias"], stride=stride, padding=1)

    def leaky(x: Tensor) -> Tensor:
        return F.leaky_relu(x, 0.2)

    first = x = conv("encoder.0.0.conv_first", pictures.double())
    i = 0
    while f"encoder.0.0.body.{i}.rdb1.conv1.weight" in own:
        block = x
        for j in (1, 2, 3):
            seen = [x]
            for k in range(1, 5):
                seen.append(leaky(conv(f"encoder.0.0.body.{i}.rdb{j}.conv{k}", torch.cat(seen, 1))))
            x = conv(f"encoder.0.0.body.{i}.rdb{j}.conv5", torch.cat(seen, 1)) * 0.2 + x
        x = x * 0.2 + block
        i += 1
    encoded = [leaky(conv("encoder.0.1", first + conv("encoder.0.0.conv_body", x)))]
    while encoded[-1].shape[-1] > 4:
        i = len(encoded)
        encoded.append(leaky(conv(f"encoder.{i}.2", leaky(conv(f"encoder.{i}.0", encoded[-1], stride=2)))))
    i = len(encoded)
    bottom = leaky(conv(f"encoder.{i}.0", encoded[-1])).flatten(1)
    latents = F.linear(bottom, own[f"encoder.{i}.3.weight"], own[f"encoder.{i}.3.bias"]).reshape(len(bottom), -1, style)

    generator = Generator(state, MMAGIC, "generator.generator.")
    kept = []

    def fuse(level: int, x: Tensor) -> Tensor:
        if x.shape[-1] <= in_size:
            x = conv(f"fusion_out.{level}", torch.cat([x, encoded[len(encoded) - 1 - level]], 1))
        return x

    def keep(_: int, x: Tensor) -> Tensor:
        if x.shape[-1] > in_size:
            kept.append(x)
        return x

    generator.walk(latents, generator.stored_noise(), before=fuse, after=keep)
    x = encoded[0]
    for k, features in enumerate([None, *kept]):
        if features is not None:
            x = torch.cat([x, features], 1)
        if f"decoder.{k}.upsample_conv.weight" in own:
            x = F.pixel_shuffle(conv(f"decoder.{k}.upsample_conv", x), 2)
        else:
            x = conv(f"decoder.{k}.2", leaky(conv(f"decoder.{k}.0", x)))
    return x


# ------------------------------------------------------------------------------------------ original GFP-GAN


def gfpgan_state(size: int, style: int, multiplier: float, narrow: float) -> dict[str, Tensor]:
    """Return the state dict of an original GFP-GAN checkpoint."""
    unet = widths(size, multiplier, narrow * 0.5)
    decoder = widths(size, multiplier, narrow)
    spec: dict[str, tuple[list[int], float, float]] = {}

    def weight(name: str, *shape: int) -> None:
        spec[name] = (list(shape), 0.0, 0.1 if len(shape) == 1 else 1.0)

    def block(name: str, inputs: int, outputs: int, parts: tuple[str, str, str]) -> None:
        weight(f"{name}.conv1.0.weight", inputs, inputs, 3, 3)
        weight(f"{name}.conv1.1.bias", inputs)
        weight(f"{name}.{parts[0]}", outputs, inputs, 3, 3)
        weight(f"{name}.{parts[1]}", outputs)
        weight(f"{name}.{parts[2]}", outputs, inputs, 1, 1)

    weight("conv_body_first.0.weight", unet[-1], 3, 1, 1)
    weight("conv_body_first.1.bias", unet[-1])
    weight("final_conv.0.weight", unet[0], unet[0], 3, 3)
    weight("final_conv.1.bias", unet[0])
    weight("final_linear.weight", (2 * len(unet)) * style, 16 * unet[0])
    weight("final_linear.bias", (2 * len(unet)) * style)
    steps = list(pairwise(unet))
    for i, (low, high) in enumerate(steps):
        block(f"conv_body_up.{i}", low, high, ("conv2.weight", "conv2.activation.bias", "skip.weight"))
        weight(f"toRGB.{i}.weight", 3, high, 1, 1)
        weight(f"toRGB.{i}.bias", 3)
        for kind in ("scale", "shift"):
            for k, outputs in ((0, high), (2, decoder[i + 1] // 2)):
                weight(f"condition_{kind}.{i}.{k}.weight", outputs, high, 3, 3)
                weight(f"condition_{kind}.{i}.{k}.bias", outputs)
    for i, (low, high) in enumerate(reversed(steps)):
        block(f"conv_body_down.{i}", high, low, ("conv2.1.weight", "conv2.2.bias", "skip.1.weight"))
    spec |= generator_spec(BASICSR, size, style, 2, multiplier, narrow, "stylegan_decoder.")
    return fill(spec)


def gfpgan(state: State, faces: Tensor, style: int) -> Tensor:
    """Return the original GFP-GAN's restored faces."""
    own = {key: value.double() for key, value in state.items()}

    def doubled(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    x = lrelu(equal_conv(faces.double(), own["conv_body_first.0.weight"]), own["conv_body_first.1.bias"])
    generator = Generator(state, BASICSR, "stylegan_decoder.")
    skips: list[Tensor] = []
    for i in range(generator.levels):
        part = f"conv_body_down.{i}."
        main = lrelu(equal_conv(x, own[f"{part}conv1.0.weight"], padding=1), own[f"{part}conv1.1.bias"])
        main = lrelu(equal_conv(filtered(main, 2), own[f"{part}conv2.1.weight"], stride=2), own[f"{part}conv2.2.bias"])
        x = (main + equal_conv(filtered(x, 1), own[f"{part}skip.1.weight"], stride=2)) / math.sqrt(2)
        skips.insert(0, x)
    x = lrelu(equal_conv(x, own["final_conv.0.weight"], padding=1), own["final_conv.1.bias"])
    latents = equal_linear(x.flatten(1), own["final_linear.weight"], own["final_linear.bias"])
    conditions = []
    for i, skip in enumerate(skips):
        part = f"conv_body_up.{i}."
        x = x + skip
        main = lrelu(equal_conv(x, own[f"{part}conv1.0.weight"], padding=1), own[f"{part}conv1.1.bias"])
        main = lrelu(
            equal_conv(doubled(main), own[f"{part}conv2.weight"], padding=1), own[f"{part}conv2.activation.bias"]
        )
        x = (main + equal_conv(doubled(x), own[f"{part}skip.weight"])) / math.sqrt(2)
        pair = []
        for kind in ("scale", "shift"):
            part = f"condition_{kind}.{i}."
            inner = lrelu(equal_conv(x, own[f"{part}0.weight"], own[f"{part}0.bias"], padding=1))
            pair.append(equal_conv(inner, own[f"{part}2.weight"], own[f"{part}2.bias"], padding=1))
        conditions.append(pair)

    def modulate(level: int, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, 1)
        return torch.cat([kept, changed * conditions[level][0] + conditions[level][1]], 1)

    return generator.walk(latents.reshape(len(x), -1, style), generator.stored_noise(), between=modulate)
