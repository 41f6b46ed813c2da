"""The shared generator: noise, batches, truncation, gradients, folded learning rates."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from restorer.networks.codeformer import CodeFormer
from restorer.networks.dmdnet import DMDNet
from restorer.networks.filters import fir_blur, fir_upsample
from restorer.networks.glean import GLEAN, LightGLEAN
from restorer.networks.gpen import GPEN
from restorer.networks.restoreformer import RestoreFormer
from restorer.networks.stylegan2 import (
    StyledConv,
    StyleGAN2Generator,
    channels,
    equalised_scales,
)
from tests.support import textbook

STYLE = 16


def small(size: int = 32, **settings_: object) -> StyleGAN2Generator:
    """Return a generator with all noise gains and biases in use."""
    torch.manual_seed(1)
    generator = StyleGAN2Generator(size, style_dim=STYLE, n_mlp=2, narrow=0.03125, **settings_)  # type: ignore[arg-type]
    for name, parameter in generator.named_parameters():
        if name.endswith(("noise_gain", "bias")):
            nn.init.normal_(parameter, std=0.3)
    return generator


def z(count: int) -> Tensor:
    return torch.randn(count, STYLE, generator=torch.Generator().manual_seed(count))


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return bool((a - b).abs().max() < tolerance * b.std())


def test_widths_are_the_official_ones() -> None:
    official = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32, 2048: 16}
    assert channels(2048) == official
    assert channels(256, narrow=0.5, channel_multiplier=1) == {
        4: 256, 8: 256, 16: 256, 32: 256, 64: 128, 128: 64, 256: 32,
    }  # fmt: skip
    assert channels(8, narrow=0.001) == {4: 1, 8: 1}


@given(st.integers(-5, 5000))
def test_sizes_are_powers_of_two(size: int) -> None:
    if size >= 8 and math.log2(size).is_integer():
        assert list(channels(size))[-1] == size
    else:
        with pytest.raises(ValueError, match="power of two"):
            channels(size)


@given(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9), st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=20)
def test_filters_are_the_plain_ones(count: int, height: int, width: int, stride: int) -> None:
    x = torch.randn(count, 2, height, width, generator=torch.Generator().manual_seed(height * width))
    assert torch.allclose(fir_blur(x, 2, stride=stride), textbook.filtered(x, 2, down=stride), atol=1e-5)
    assert torch.allclose(fir_upsample(x), textbook.filtered(x, 1, up=2), atol=1e-5)


@pytest.mark.parametrize("noise", ["add", "concat"])
@pytest.mark.parametrize("upsample", ["fir", "bilinear", None])
def test_a_style_is_the_same_in_weights_and_in_channels(noise: str, upsample: str | None) -> None:
    """One sample has its style in the weights, several have it in their channels."""
    torch.manual_seed(0)
    conv = StyledConv(5, 7, STYLE, upsample=upsample, noise=noise)  # type: ignore[arg-type]
    nn.init.ones_(conv.noise_gain)
    side = 8 if upsample is None else 16
    x, latents = torch.randn(3, 5, 8, 8), torch.randn(3, STYLE)
    added = torch.randn(3, 7 if noise == "concat" else 1, side, side)
    several = conv(x, latents, added)
    assert several.shape == (3, 14 if noise == "concat" else 7, side, side)
    for i in range(3):
        assert close(conv(x[i : i + 1], latents[i : i + 1], added[i : i + 1]), several[i : i + 1])
    # One latent may also serve several feature maps (LightGLEAN).
    added = added if noise == "concat" else added[:1]
    assert close(conv(x, latents[:1], added), conv(x, latents[:1].expand(3, -1), added))


def test_stored_noise_is_the_default_and_makes_pictures_repeatable() -> None:
    generator = small().eval()
    first = generator(z(2))
    assert torch.equal(generator(z(2)), first)
    assert torch.equal(generator(z(2), noise=generator.stored_noise()), first)
    generator.get_buffer("noise_6").zero_()
    assert not torch.equal(generator(z(2)), first)


def test_seeded_noise_is_the_same_for_every_picture_and_batch() -> None:
    generator = small().eval()
    noise = generator.draw_noise(5)
    assert [tuple(n.shape) for n in noise] == [generator.noise_shape(i) for i in range(generator.num_convs)]
    assert all(torch.equal(a, b) for a, b in zip(noise, generator.draw_noise(5), strict=True))
    assert not torch.equal(noise[3], generator.draw_noise(6)[3])
    several = generator(z(3), noise=noise)
    assert close(generator(z(3)[1:2], noise=noise), several[1:2], 1e-4)
    assert not close(several, generator(z(3)), 0.01)
    before = torch.get_rng_state()
    generator.draw_noise(5)
    assert torch.equal(torch.get_rng_state(), before)
    assert generator.draw_noise(batch=4)[2].shape == (4, 1, 8, 8)


def test_w_and_w_plus() -> None:
    generator = small().eval()
    assert generator.mapping is not None
    w = generator.mapping(z(2))
    plus = w[:, None].repeat(1, generator.num_latents, 1)
    expected = generator(z(2))
    assert torch.equal(generator(w, input_is_w=True), expected)
    assert torch.equal(generator(plus, input_is_w=True), expected)
    for index in range(generator.num_latents):  # every latent has an influence
        changed = plus.clone()
        changed[:, index] += 1
        assert not torch.equal(generator(changed, input_is_w=True), expected), index


def test_truncation_moves_towards_the_mean() -> None:
    generator = small().eval()
    generator.update_latent_avg(samples=512)
    assert generator.mapping is not None
    w = generator.mapping(z(2))
    halfway = (w + generator.latent_avg) / 2
    assert close(generator(z(2), truncation=0.5), generator(halfway, input_is_w=True))
    middle = generator(z(2), truncation=0.0)
    assert close(middle[:1], middle[1:])
    assert torch.equal(generator.mean_latent(512), generator.latent_avg)


def test_without_a_mapping_network_only_w_is_taken() -> None:
    generator = StyleGAN2Generator(8, style_dim=STYLE, n_mlp=0, narrow=0.03125)
    with pytest.raises(ValueError, match="no mapping network"):
        generator(z(1))
    with pytest.raises(ValueError, match="no mapping network"):
        generator.mean_latent()
    assert generator(z(1), input_is_w=True).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("count", [1, 2])
def test_every_parameter_learns_from_a_path_length_penalty(count: int) -> None:
    """The penalty is a gradient of a gradient (StyleGAN2, section 3.2)."""
    generator = small()
    assert generator.mapping is not None
    w = generator.mapping(z(count))
    pictures = generator(w, input_is_w=True, noise=generator.draw_noise(batch=count))
    (slope,) = torch.autograd.grad((pictures * torch.randn_like(pictures)).sum(), w, create_graph=True)
    (slope.square().sum() + pictures.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())


def test_training_after_inference_mode_works() -> None:
    """The filters are kept between calls; one that was made in inference mode could not be differentiated through."""
    from restorer.networks import filters

    filters._fir_kernel.cache_clear()
    generator = small()
    with torch.inference_mode():
        generator(z(2))
    generator(z(2)).sum().backward()


def test_folded_weights_train_like_equalised_ones() -> None:
    """Adam on effective weights at scaled rates walks the way of Adam on unscaled weights at one rate."""
    folded, unscaled = small(16), small(16)
    scales = equalised_scales(folded)
    assert scales["mapping.layers.0.weight"] == pytest.approx(0.01 / math.sqrt(STYLE))
    assert scales["convs.0.weight"] == pytest.approx(1 / math.sqrt(9 * 16))
    raw = {name: nn.Parameter(p.detach() / scales[name]) for name, p in unscaled.named_parameters()}
    rate = 0.01
    groups = [{"params": [p], "lr": rate * scales[name]} for name, p in folded.named_parameters()]
    one, other = torch.optim.Adam(groups, eps=1e-20), torch.optim.Adam(list(raw.values()), lr=rate, eps=1e-20)
    start = {name: p.detach().clone() for name, p in folded.named_parameters()}
    target = torch.randn(4, 3, 16, 16)
    for _ in range(3):
        one.zero_grad()
        (folded(z(4)) - target).square().mean().backward()
        one.step()
        other.zero_grad()
        effective = {name: p * scales[name] for name, p in raw.items()}
        (functional_call(unscaled, effective, (z(4),)) - target).square().mean().backward()
        other.step()
    for name, parameter in folded.named_parameters():
        moved = (parameter - start[name]).abs().max()
        assert moved > 0, name
        assert (parameter - raw[name] * scales[name]).abs().max() < 0.02 * moved, name


def test_initial_weights_are_the_papers() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2Generator(16, style_dim=256, n_mlp=2, narrow=0.25)
    for parameter in generator.parameters():
        nn.init.constant_(parameter, 9.0)
    generator.init_weights()
    values = dict(generator.named_parameters())
    assert values["convs.1.weight"].std().item() == pytest.approx(1 / math.sqrt(9 * 128), rel=0.02)
    assert values["mapping.layers.0.weight"].std().item() == pytest.approx(1 / math.sqrt(256), rel=0.02)
    assert values["convs.1.modulation.weight"].std().item() == pytest.approx(1 / math.sqrt(256), rel=0.02)
    assert values["to_rgb1.weight"].std().item() == pytest.approx(1 / math.sqrt(128), rel=0.2)
    assert values["convs.1.modulation.bias"].eq(1).all()
    assert values["convs.1.noise_gain"].eq(0).all()
    gpen = GPEN(16, style_dim=256, n_mlp=2, narrow=0.25)  # whose mapping network is its own
    assert gpen.mapping.get_parameter("layers.1.weight").std().item() == pytest.approx(1 / math.sqrt(256), rel=0.02)
    picture = generator(torch.randn(4, 256))
    assert 0.3 < picture.std() < 6  # the point of the scales: signals neither vanish nor explode


def test_networks_are_built_without_memory() -> None:
    """A network made on the meta device and filled from a state dict must have nothing that is in neither."""
    builders = (
        lambda: StyleGAN2Generator(16, style_dim=8, narrow=0.03125),
        lambda: GPEN(16, style_dim=8, narrow=0.03125),
        lambda: GLEAN(8, 16, style_channels=8, rrdb_channels=4, num_rrdbs=1, narrow=0.03125),
        lambda: LightGLEAN(8, 16, style_channels=8, rrdb_channels=4, num_rrdbs=1, narrow=0.03125),
        RestoreFormer,
        lambda: RestoreFormer(heads=4, cross_levels=2),
        CodeFormer,
        DMDNet,
    )
    for build in builders:
        with torch.device("meta"):
            network = build()
        everything = {name for name, _ in [*network.named_parameters(), *network.named_buffers()]}
        assert everything == set(network.state_dict()), type(network)
        assert all(value.is_meta for value in network.state_dict().values())


def test_autocast_keeps_styles_and_pictures_in_full_precision() -> None:
    generator = small(64).eval()
    with torch.inference_mode():
        exact = generator(z(2))
        with torch.autocast("cpu", torch.bfloat16):
            rough = generator(z(2))
            assert generator.mapping is not None
            assert torch.equal(generator.mapping(z(2)), generator.mapping(z(2)).float())
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.02 * exact.std()


@pytest.mark.parametrize("upsample", ["fir", "bilinear"])
def test_hooks_reach_every_level(upsample: str) -> None:
    generator = small(32, upsample=upsample)
    seen: dict[str, list[tuple[int, int]]] = {"before": [], "between": [], "after": []}

    def noting(name: str) -> object:
        def note(level: int, x: Tensor) -> Tensor:
            seen[name].append((level, x.shape[-1]))
            return x

        return note

    w = torch.randn(1, generator.num_latents, STYLE)
    plain = generator.synthesize(w)
    hooks = {name: noting(name) for name in seen}
    assert torch.equal(generator.synthesize(w, **hooks), plain)  # type: ignore[arg-type]
    sides = list(channels(32))
    assert seen["before"] == list(enumerate(sides[:-1]))
    assert seen["between"] == seen["after"] == list(enumerate(sides[1:]))
    for _, side in pairwise(sides):
        zeroed = generator.synthesize(w, between=lambda level, x, side=side: x * (x.shape[-1] != side))  # type: ignore[misc]
        assert not torch.equal(zeroed, plain)


def test_lightglean_pictures_do_not_depend_on_their_neighbours() -> None:
    torch.manual_seed(0)
    network = LightGLEAN(16, 64, style_channels=8, rrdb_channels=8, num_rrdbs=1, narrow=0.0625).eval()
    with torch.inference_mode():
        pictures = torch.randn(3, 3, 16, 16)
        together = network(pictures)
        assert together.shape == (3, 3, 64, 64)
        assert close(network(pictures[1:2]), together[1:2], 1e-4)
        network.start_from(torch.full((8,), 0.5))
        assert not close(network(pictures), together, 0.001)
    assert network.latents.eq(0.5).all()


def test_lightglean_computes_what_no_picture_changes_once() -> None:
    """The bank below the input's resolution, twice for a mirrored picture; the pictures keep every bit."""
    torch.manual_seed(0)
    sizes = {"style_channels": 8, "rrdb_channels": 8, "num_rrdbs": 1, "narrow": 0.0625}
    network = LightGLEAN(16, 64, **sizes, mirrored=True).eval()  # type: ignore[arg-type]
    runs: list[int] = []
    network.bank.conv1.register_forward_hook(lambda *_: runs.append(1))
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1

    def made(precision: torch.dtype) -> tuple[Tensor, int]:
        runs.clear()
        with torch.inference_mode(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
            return network(pictures), len(runs)

    plain = {precision: made(precision)[0] for precision in (torch.float32, torch.bfloat16)}
    network.keep_constants()
    for precision, wanted in plain.items():
        for count in (1, 0):
            found, ran = made(precision)
            assert torch.equal(found, wanted)
            assert ran == count
    network.zero_grad()
    network(pictures).sum().backward()
    assert network.latents.grad is not None
    assert network.latents.grad.abs().sum() > 0


def test_grain_and_colours_come_out_of_one_convolution() -> None:
    torch.manual_seed(0)
    given = {"style_channels": 8, "rrdb_channels": 8, "num_rrdbs": 1, "narrow": 0.0625}
    network = LightGLEAN(16, 64, **given, decoder_noise=True, decoder_grain=2.0, mirrored=True).eval()  # type: ignore[arg-type]
    assert network.decoder.grain is not None
    nn.init.normal_(network.decoder.grain.strength.weight)
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.inference_mode():
        wanted = network(pictures)
    convolutions: list[nn.Module] = []
    network.decoder.keep_constants()
    for part in (network.decoder.to_rgb, network.decoder.grain.strength):
        part.register_forward_hook(lambda part, *_: convolutions.append(part))
    with torch.inference_mode():
        torch.testing.assert_close(network(pictures), wanted, rtol=0, atol=1e-5)
    assert not convolutions
    network(pictures)  # where gradients are kept, each learns its own
    assert len(convolutions) == 4


def test_lightglean_learns_all_of_itself() -> None:
    torch.manual_seed(0)
    network = LightGLEAN(8, 32, style_channels=8, rrdb_channels=8, num_rrdbs=1, narrow=0.0625)
    network(torch.randn(2, 3, 8, 8)).square().sum().backward()
    # The noise gains of constant noise matter too; nothing is left over.
    assert {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()} == set()
