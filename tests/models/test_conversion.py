"""From upstream files to our networks: arguments found, dead branches dropped, wrong files refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from restorer import weights
from restorer.errors import CheckpointLayoutError, InvalidTableError
from restorer.models import REGISTRY, registry
from restorer.networks.glean import GLEAN
from restorer.networks.stylegan2 import StyleGAN2Generator
from tests.support import textbook
from tests.support.golden import FOLDER, Record, load, load_state

STYLE = 24


def glean_state() -> dict[str, Tensor]:
    return textbook.glean_state(16, 64, STYLE, 16, 2, 2, 0.125)


def clean_state() -> dict[str, Tensor]:
    return Record.read(FOLDER / "gfpgan_clean_64_narrow.json").state()


DEAD = {
    "glean": r"generator\.(fusion_skip|generator\.(to_rgb|style_mapping))",
    "gfpgan": r"toRGB|stylegan_decoder\.style_mlp",
    "gfpgan-original": r"toRGB|stylegan_decoder\.style_mlp",
}
"""Upstream keys that never reach the output."""

Case = tuple[str, Callable[[], dict[str, Tensor]], dict[str, Any]]
CASES: list[Case] = [
    (
        "stylegan2",
        lambda: textbook.stylegan2_state(textbook.ROSINALITY, 128, STYLE, 3, 1, 0.125),
        {"size": 128, "style_dim": STYLE, "n_mlp": 3, "channel_multiplier": 1, "narrow": 0.125},
    ),
    (
        "gpen",
        lambda: textbook.gpen_state(64, STYLE, 2, 2, 0.0625),
        {"size": 64, "style_dim": STYLE, "n_mlp": 2, "channel_multiplier": 2, "narrow": 0.0625},
    ),
    (
        "glean",
        glean_state,
        {"in_size": 16, "out_size": 64, "style_channels": STYLE, "rrdb_channels": 16, "num_rrdbs": 2, "narrow": 0.125},
    ),
    (
        "gfpgan-original",
        lambda: textbook.gfpgan_state(128, STYLE, 1, 0.125),
        {"out_size": 128, "num_style_feat": STYLE, "channel_multiplier": 1, "narrow": 0.125},
    ),
    (
        "gfpgan",
        clean_state,
        {"out_size": 64, "num_style_feat": 512, "channel_multiplier": 1, "narrow": 0.125},
    ),
]
by_architecture = pytest.mark.parametrize(
    ("architecture", "state", "arguments"), CASES, ids=[case[0] for case in CASES]
)


def example(architecture: str, arguments: dict[str, Any], count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    if architecture == "stylegan2":
        return torch.randn(count, arguments["style_dim"], generator=generator)
    side = arguments.get("in_size") or arguments.get("out_size") or arguments["size"]
    return torch.rand(count, 3, side, side, generator=generator) * 2 - 1


@by_architecture
def test_arguments_are_found_from_the_shapes(
    architecture: str, state: Callable[[], dict[str, Tensor]], arguments: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(state(), tmp_path / "file.pth")
    loaded = load(architecture, tmp_path / "file.pth")
    assert {key: loaded.arguments[key] for key in arguments} == arguments


@by_architecture
def test_dead_branches_have_no_influence(
    architecture: str, state: Callable[[], dict[str, Tensor]], arguments: dict[str, Any], tmp_path: Path
) -> None:
    """Whatever is dropped may be anything: filled with not-a-number it changes no bit of the output."""
    whole = state()
    dead = [key for key in whole if re.match(DEAD.get(architecture, "nothing"), key) and "kernel" not in key]
    assert bool(dead) == (architecture in DEAD)
    poisoned = whole | {key: torch.full_like(whole[key], math.nan) for key in dead}
    absent = {key: value for key, value in whole.items() if key not in dead}
    x = example(architecture, arguments)
    with torch.inference_mode():
        plain = load_state(architecture, whole, tmp_path)(x)
        assert torch.equal(load_state(architecture, poisoned, tmp_path)(x), plain)
        assert torch.equal(load_state(architecture, absent, tmp_path)(x), plain)


def test_a_bank_without_rgb_walks_through_the_same_features() -> None:
    """The RGB branch and its latent, which GLEAN leaves out, take nothing from the features and add nothing to them."""
    torch.manual_seed(0)
    whole = StyleGAN2Generator(32, style_dim=STYLE, n_mlp=0, narrow=0.125)
    bank = StyleGAN2Generator(32, style_dim=STYLE, n_mlp=0, narrow=0.125, to_rgb=False)
    bank.load_state_dict({k: v for k, v in whole.state_dict().items() if "to_rgb" not in k})
    latents = torch.randn(2, whole.num_latents, STYLE)
    assert bank.num_latents == whole.num_latents - 1
    seen: dict[str, list[Tensor]] = {"whole": [], "bank": []}

    def keeper(name: str) -> Callable[[int, Tensor], Tensor]:
        def keep(_: int, x: Tensor) -> Tensor:
            seen[name].append(x)
            return x

        return keep

    with torch.inference_mode():
        whole.synthesize(latents, after=keeper("whole"))
        bank.synthesize(latents[:, : bank.num_latents], after=keeper("bank"))
    assert len(seen["whole"]) == 3
    assert all(torch.equal(a, b) for a, b in zip(seen["whole"], seen["bank"], strict=True))


def test_gleans_last_code_is_for_rgb_only(tmp_path: Path) -> None:
    state = glean_state()
    last = max(int(key.split(".")[2]) for key in state if key.startswith("generator.encoder."))
    name = f"generator.encoder.{last}.3.weight"
    poisoned = state[name].clone()
    poisoned[-STYLE:] = math.nan
    x = example("glean", {"in_size": 16})
    with torch.inference_mode():
        plain = load_state("glean", state, tmp_path)(x)
        network = load_state("glean", {**state, name: poisoned}, tmp_path)
        assert torch.equal(network(x), plain)
    assert isinstance(network, GLEAN)
    assert network.to_latents.weight.untyped_storage().nbytes() == network.to_latents.weight.numel() * 4


@by_architecture
def test_a_file_of_our_own_gives_the_same_network(
    architecture: str, state: Callable[[], dict[str, Tensor]], arguments: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(state(), tmp_path / "upstream.pth")
    loaded = load(architecture, tmp_path / "upstream.pth")
    path = tmp_path / "own.safetensors"
    weights.write(loaded.network.state_dict(), path, weights.FileHeader(architecture, loaded.arguments))
    again = load(architecture, path)
    assert again.arguments == loaded.arguments
    x = example(architecture, arguments)
    with torch.inference_mode():
        assert torch.equal(again.network(x), loaded.network(x))


@by_architecture
def test_our_own_names_are_taken_without_a_header_too(
    architecture: str, state: Callable[[], dict[str, Tensor]], arguments: dict[str, Any], tmp_path: Path
) -> None:
    """A trainer's raw state dict must not be scaled a second time."""
    network = load_state(architecture, state(), tmp_path)
    own = {key: value.clone() for key, value in network.state_dict().items()}
    again = load_state(architecture, own, tmp_path, **arguments)
    assert all(torch.equal(value, own[key]) for key, value in again.state_dict().items())


@pytest.mark.parametrize("present", [True, False])
def test_stylegan2_has_a_mean_latent(present: bool, tmp_path: Path) -> None:
    state = textbook.stylegan2_state(textbook.ROSINALITY, 8, STYLE, 2, 2, 0.0625)
    if present:
        state["latent_avg"] = torch.full((STYLE,), 0.25)
    network = load_state("stylegan2", state, tmp_path)
    assert isinstance(network, StyleGAN2Generator)
    if present:
        assert torch.equal(network.latent_avg, state["latent_avg"])
        return
    z = torch.randn(20_000, STYLE, generator=torch.Generator().manual_seed(9))
    generator = textbook.Generator(state, textbook.ROSINALITY)
    w = generator.w(z.double())
    assert torch.allclose(network.latent_avg.double(), w.mean(0), atol=4 * w.std().item() / math.sqrt(4096))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("conv1.conv.weight"), "conv1.weight is missing"),
        (lambda state: state.update({"conv7.extra": torch.zeros(1)}), "conv7.extra is unknown"),
        (lambda state: state.update({"conv1.conv.weight": torch.zeros(1, 5, 5, 3, 3)}), "conv1.weight has shape"),
        (lambda state: state.update({"style.1.weight": torch.zeros(5, 5)}), "mapping.layers.0.weight has shape"),
        (
            lambda state: state.update({"convs.0.conv.blur.kernel": torch.ones(4, 4) / 16}),
            r"convs.0.conv.blur.kernel with the filter \[1",
        ),
        (lambda state: state.update({"input.input": torch.zeros(3)}), "has shape"),
    ],
)
def test_what_does_not_fit_is_refused(
    change: Callable[[dict[str, Tensor]], object], message: str, tmp_path: Path
) -> None:
    state = textbook.stylegan2_state(textbook.ROSINALITY, 8, STYLE, 2, 2, 0.0625)
    change(state)
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(CheckpointLayoutError, match=message):
        load("stylegan2", tmp_path / "bad.pth", size=8, style_dim=STYLE, n_mlp=2, narrow=0.0625)


@by_architecture
def test_another_architectures_file_is_refused(
    architecture: str, state: Callable[[], dict[str, Tensor]], arguments: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(state(), tmp_path / "file.pth")
    for other in ("stylegan2", "gpen", "glean", "lightglean", "gfpgan", "gfpgan-original", "restoreformer"):
        if other != architecture:
            with pytest.raises(CheckpointLayoutError):
                load(other, tmp_path / "file.pth")


@by_architecture
def test_an_import_recognises_the_file(
    architecture: str, state: Callable[[], dict[str, Tensor]], arguments: dict[str, Any], tmp_path: Path
) -> None:
    found, _, complete = REGISTRY.recognise(state(), {}, tmp_path / "file.pth")
    assert found.name == architecture
    assert {key: complete[key] for key in arguments} == arguments


@by_architecture
def test_an_import_says_what_it_leaves_out(
    architecture: str, state: Callable[[], dict[str, Tensor]], arguments: dict[str, Any], tmp_path: Path
) -> None:
    model = REGISTRY[architecture]
    others = {"discriminator.convs.0.weight": torch.zeros(5)} if architecture == "glean" else {}
    left = registry.unused(model, state() | others, {**model.defaults, **arguments})
    values = sum(value.numel() for key, value in state().items() if re.match(DEAD.get(architecture, "nothing"), key))
    filters = sum(value.numel() for key, value in state().items() if key.endswith(".kernel") and "to_rgbs" not in key)
    if architecture in DEAD:
        assert sum(left.values()) == values + filters + len(others) * 5
    else:
        assert all("kernel" in branch or "blur" in branch or "upsample" in branch for branch in left), left


def test_arguments_that_cannot_be_are_named(tmp_path: Path) -> None:
    torch.save(glean_state(), tmp_path / "file.pth")
    with pytest.raises(InvalidTableError, match="in_sise"):
        load("glean", tmp_path / "file.pth", in_sise=16)
    with pytest.raises(CheckpointLayoutError, match="power of two"):
        load("glean", tmp_path / "file.pth", in_size=100)


def test_glean_takes_only_its_own_size(tmp_path: Path) -> None:
    network = load_state("glean", glean_state(), tmp_path)
    with pytest.raises(ValueError, match=r"\(n, 3, 16, 16\)"):
        network(torch.zeros(1, 3, 32, 32))


def test_discriminator_and_perceptual_network_are_left_out(tmp_path: Path) -> None:
    others = {"discriminator.a.weight": torch.ones(2), "perceptual_loss.vgg.b": torch.ones(2)}
    network = load_state("glean", glean_state() | others, tmp_path)
    bare = {key.removeprefix("generator."): value for key, value in glean_state().items()}
    again = load_state("glean", bare, tmp_path)  # a restorer's own state dict, without the outer prefix
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in network.state_dict().items())


def test_half_precision_files_are_held_in_single(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in glean_state().items() if not key.endswith("kernel")}
    network: nn.Module = load_state("glean", state, tmp_path)
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_official_glean_is_small_enough() -> None:
    """At most 0.69 GB of 128 to 1024, noise included."""
    model = REGISTRY["glean"]
    with torch.device("meta"):
        network = model.build(model.defaults)
    assert sum(value.numel() * 4 for value in network.state_dict().values()) < 0.69e9
