"""The priors of PULSE and mGANprior against the records of their references, and checkpoints in each layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from restorer.errors import CheckpointLayoutError
from restorer.models import REGISTRY
from restorer.models.base import LoadedNetwork
from restorer.models.importer import import_checkpoint
from restorer.networks.pggan import PGGANGenerator
from restorer.networks.stylegan1 import StyleGAN1Generator
from tests.support.golden import FOLDER, Record, difference, fill_tensor, load, load_state

TOLERANCE = 1e-3
NEAR = 1e-4
"""What another order of operations may cost."""


def answer(record: Record, loaded: LoadedNetwork, inputs: dict[str, Tensor], part: slice = slice(None)) -> Tensor:
    """Return the network's output as the record's "call" says, for some of its inputs."""
    content = record.content
    more: dict[str, Any] = {}
    if "noise" in content:
        more["noise"] = [fill_tensor(key, *spec)[part] for key, spec in content["noise"].items()]
    if "layer" in content:
        more = {"channel_weights": inputs["channel_weights"][part], "layer": content["layer"]}
    with torch.inference_mode():
        output: Tensor = loaded.network(inputs["input"][part], **more)
    return output[..., :: record.stride, :: record.stride] if output.ndim == 4 else output


def check(record: Record, folder: Path) -> LoadedNetwork:
    record.write(folder / "file.pth")
    loaded = load(record.content["architecture"], folder / "file.pth")
    assert {key: loaded.arguments[key] for key in record.content["arguments"]} == record.content["arguments"]
    tensors = load_file(record.path.with_suffix(".safetensors"))
    expected = tensors["output"]
    assert difference(answer(record, loaded, tensors), expected) < TOLERANCE
    for number in range(len(expected) if len(expected) > 1 else 0):  # each by itself: the batch mixes nothing
        part = slice(number, number + 1)
        assert difference(answer(record, loaded, tensors, part), expected[part]) < TOLERANCE
    return loaded


@pytest.mark.parametrize("name", ["stylegan1_128_narrow", "stylegan1_mapping", "pggan_64_narrow"])
def test_record_of_this_repository(name: str, tmp_path: Path) -> None:
    check(Record.read(FOLDER / f"{name}.json"), tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["stylegan1_256", "pggan_256", "mganprior_pggan_256"])
def test_record_of_official_width(name: str, shared: Path, tmp_path: Path) -> None:
    check(Record.read(shared / f"golden/next/{name}.json"), tmp_path)


@pytest.mark.parametrize(
    ("architecture", "values", "tensors"),
    [("stylegan1", 24_110_843, 100), ("pggan", 23_079_116, 55), ("stylegan1-mapping", 2_101_248, 16)],
)
def test_official_sizes(architecture: str, values: int, tensors: int) -> None:
    """The counts of upstream's files at 1024 px, less what we make ourselves, more what a form of ours repeats."""
    found = REGISTRY[architecture]
    with torch.device("meta"):
        state = found.build(found.defaults).state_dict()
    blurs = {"stylegan1": 8}.get(architecture, 0)
    repeated = {"pggan": 15 * 512}.get(architecture, 0)  # the first bias, for each of its 16 pixels
    assert len(state) == tensors - blurs
    assert sum(value.numel() for value in state.values()) == values - 9 * blurs + repeated


def pulse_state() -> dict[str, Tensor]:
    return Record.read(FOLDER / "stylegan1_128_narrow.json").state()


def zoo_state(pulse: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return PULSE's tensors as the zoo of mGANprior stores them, with what else stands in its files."""
    result: dict[str, Tensor] = {"synthesis.lod": torch.tensor(0.0), "truncation.w_avg": torch.zeros(512)}
    for level, side in enumerate((4, 8, 16, 32, 64, 128)):
        block = f"blocks.{side}x{side}."
        for second in (False, True):
            layer = f"synthesis.layer{2 * level + second}."
            conv = "conv." if side == 4 else "conv1." if second else "conv0_up."
            conv = "" if side == 4 and not second else conv
            epilogue, theirs = f"{layer}epilogue.", f"{block}epi{1 + second}."
            result[f"{epilogue}bias"] = pulse[f"{block}{conv}bias"]
            result[f"{epilogue}apply_noise.weight"] = pulse[f"{theirs}noise.weight"]
            result[f"{epilogue}apply_noise.noise"] = torch.zeros(1, 1, side, side)
            result[f"{epilogue}style_mod.dense.fc.weight"] = pulse[f"{theirs}style_mod.lin.weight"]
            result[f"{epilogue}style_mod.dense.wscale.bias"] = pulse[f"{theirs}style_mod.lin.bias"]
            if side == 4 and not second:
                result[f"{layer}const"] = pulse[f"{block}const"]
            elif side >= 128 and not second:
                result[f"{layer}weight"] = pulse[f"{block}conv0_up.weight"].permute(2, 3, 1, 0)
            else:
                result[f"{layer}conv.weight"] = pulse[f"{block}{conv}weight"]
        result[f"synthesis.output{level}.conv.weight"] = pulse["torgb.weight"]
        result[f"synthesis.output{level}.bias"] = pulse["torgb.bias"]
    for number in range(2):
        result[f"mapping.dense{number}.fc.weight"] = fill_tensor(f"dense{number}.weight", [512, 512], 0.0, 100.0)
        result[f"mapping.dense{number}.wscale.bias"] = fill_tensor(f"dense{number}.bias", [512], 0.0, 10.0)
    return result


def test_the_zoos_layout_holds_the_same_network(tmp_path: Path) -> None:
    record, pulse = Record.read(FOLDER / "stylegan1_128_narrow.json"), pulse_state()
    tensors = load_file(record.path.with_suffix(".safetensors"))
    torch.save(zoo_state(pulse), tmp_path / "zoo.pth")
    original = load("stylegan1", tmp_path / "zoo.pth")
    assert original.arguments["eps"] == 1e-8
    assert difference(answer(record, original, tensors), tensors["output"]) > 1e-2  # so the epsilon counts
    same = load("stylegan1", tmp_path / "zoo.pth", eps=1e-5)
    assert difference(answer(record, same, tensors), tensors["output"]) < NEAR
    mapping = load("stylegan1-mapping", tmp_path / "zoo.pth")
    bare = {f"dense{n}.{leaf}": zoo_state(pulse)[f"mapping.dense{n}.{names}"] for n in range(2)
            for leaf, names in (("weight", "fc.weight"), ("bias", "wscale.bias"))}  # fmt: skip
    z = torch.randn(3, 512, generator=torch.Generator().manual_seed(1))
    assert difference(mapping.network(z), load_state("stylegan1-mapping", bare, tmp_path)(z)) < NEAR


@pytest.mark.parametrize(
    ("name", "architecture"),
    [("stylegan1_128_narrow", "stylegan1"), ("stylegan1_mapping", "stylegan1-mapping"), ("pggan_64_narrow", "pggan")],
)
def test_upstream_files_are_recognised_and_imported(name: str, architecture: str, tmp_path: Path) -> None:
    record = Record.read(FOLDER / f"{name}.json")
    record.write(tmp_path / "upstream.pt")
    imported = import_checkpoint(tmp_path / "upstream.pt")
    assert imported.architecture == architecture
    assert not imported.dropped or architecture == "stylegan1"
    tensors = load_file(record.path.with_suffix(".safetensors"))
    again = load(architecture, imported.path)
    assert difference(answer(record, again, tensors), tensors["output"]) < TOLERANCE


def test_another_blur_is_another_network(tmp_path: Path) -> None:
    state = pulse_state()
    state["blocks.8x8.conv0_up.intermediate.kernel"] = torch.full((1, 1, 3, 3), 1 / 9)
    with pytest.raises(CheckpointLayoutError, match="filter"):
        load_state("stylegan1", state, tmp_path)


@pytest.mark.parametrize("key", ["blocks.64x64.conv1.weight", "torgb.bias", "blocks.4x4.epi2.noise.weight"])
def test_a_stylegan_that_lacks_a_tensor_is_refused(key: str, tmp_path: Path) -> None:
    state = pulse_state()
    del state[key]
    with pytest.raises(CheckpointLayoutError, match="missing"):
        load_state("stylegan1", state, tmp_path)


def test_pggan_leaves_out_what_lod_says(tmp_path: Path) -> None:
    """One step of lod: the picture of half the size, by that resolution's own output, each pixel doubled."""
    record = Record.read(FOLDER / "pggan_64_narrow.json")
    state = record.state()
    whole, network = (
        load_state("pggan", state, tmp_path),
        load_state("pggan", state | {"lod": torch.tensor(1.0)}, tmp_path),
    )
    z = load_file(record.path.with_suffix(".safetensors"))["input"]
    output = network(z)
    assert isinstance(whole, PGGANGenerator)
    assert output.shape == whole(z).shape
    assert torch.equal(output[..., ::2, ::2], output[..., 1::2, 1::2])
    assert (output - whole(z)).abs().max() > 0.1 * whole(z).std()
    small = {key: value for key, value in state.items() if not key.startswith(("layer8", "layer9", "output4"))}
    assert difference(output[..., ::2, ::2], load_state("pggan", small, tmp_path)(z)) < NEAR


def test_several_codes_at_any_layer(tmp_path: Path) -> None:
    """Equal codes with equal weights are one code, wherever they are joined; and the weights' common factor is none."""
    record = Record.read(FOLDER / "pggan_64_narrow.json")
    network = load_state("pggan", record.state(), tmp_path)
    assert isinstance(network, PGGANGenerator)
    z = torch.randn(2, 512, generator=torch.Generator().manual_seed(2))
    for layer in range(network.num_layers + 1):
        channels, side = network.layer_shape(layer)
        assert network.head(z, layer).shape == (2, channels, side, side)
        weights = torch.full((2, 3, channels), 1 / 3)
        joined = network(z[:, None].expand(-1, 3, -1), channel_weights=weights * 3, layer=layer)
        assert difference(joined, network(z)) < NEAR


def test_what_does_not_fit_is_said() -> None:
    network: Any = StyleGAN1Generator(16, fmap_base=64, fmap_max=8, dlatent_size=8)
    with pytest.raises(ValueError, match="6 latents, not 5"):
        network(torch.zeros(1, 5, 8))
    with pytest.raises(ValueError, match="6 noise maps, not 1"):
        network(torch.zeros(1, 8), noise=[torch.zeros(1, 1, 4, 4)])
    with pytest.raises(ValueError, match="power of two"):
        StyleGAN1Generator(100)
    with pytest.raises(ValueError, match="power of two"):
        PGGANGenerator(4)
    with pytest.raises(ValueError, match="channel_weights"):
        PGGANGenerator(16, fmaps_max=8, z_space_dim=8)(torch.zeros(1, 2, 8))
    drawn = network(torch.zeros(1, 8))
    assert torch.equal(drawn, network(torch.zeros(1, 8), noise=network.draw_noise(0)))
