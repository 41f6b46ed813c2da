"""The architectures of detector and parsers: facexlib's own results, nothing fetched, nothing heavy imported."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from restorer.errors import CheckpointLayoutError, InvalidTableError
from restorer.models import REGISTRY
from restorer.models.base import PASTED, LoadedNetwork, ParserArchitecture
from restorer.models.bisenet import BiSeNetArchitecture
from restorer.models.parsenet import ParseNetArchitecture
from restorer.networks import parsenet
from restorer.networks.facexlib_networks import facexlib_module
from restorer.networks.parsenet import ParseNet
from restorer.weights import Table

SMALL_PARSER = {"in_size": 64, "out_size": 64, "min_feat_size": 32, "base_ch": 32, "parsing_ch": 19, "res_depth": 2}


def randomised(network: nn.Module) -> nn.Module:
    """Give a network parameters and statistics that leave no branch silent."""
    torch.manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(torch.rand_like(value) + 0.5)
        elif value.is_floating_point() and value.dim() < 2:
            value.copy_(torch.randn_like(value) * 0.1 + (1 if name.endswith("weight") else 0))
    return network.eval()


def reload(tmp_path: Path, network: nn.Module, architecture: str, prefix: str = "", **arguments: Any) -> LoadedNetwork:
    """Save a network as a checkpoint and load it by a table."""
    path = tmp_path / "network.pth"
    torch.save({prefix + key: value for key, value in network.state_dict().items()}, path)
    return REGISTRY.load(Table("test", architecture=architecture, arguments=arguments), path)


@pytest.mark.parametrize("backbone", ["mobile0.25", "resnet50"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_retinaface_is_facexlibs(tmp_path: Path, backbone: str, prefix: str) -> None:
    from facexlib.detection.retinaface import RetinaFace

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # facexlib calls torchvision with a keyword that is deprecated
        theirs = randomised(RetinaFace(backbone, device="cpu"))
    ours = reload(tmp_path, theirs, "retinaface", prefix)
    assert ours.arguments["network_name"] == backbone
    rgb = torch.rand(2, 3, 64, 96) * 255
    with torch.inference_mode():
        mean = torch.tensor([104.0, 117.0, 123.0])[:, None, None]
        boxes, scores, landmarks = theirs(rgb.flip(1) - mean)
        rows = ours.network(rgb / 127.5 - 1)
    expected = torch.cat([boxes, scores[..., 1:], landmarks], -1)
    assert rows.shape == expected.shape
    assert (rows - expected).abs().max() < 1e-4 * expected.std()


def test_parsenet_is_facexlibs_without_its_picture(tmp_path: Path) -> None:
    theirs = randomised(facexlib_module("parsenet").ParseNet(**SMALL_PARSER))
    ours = reload(tmp_path, theirs, "parsenet", in_size=64, out_size=64)
    assert {key: ours.arguments[key] for key in SMALL_PARSER} == SMALL_PARSER
    crops = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        logits = ours.network(crops)
        assert torch.allclose(logits, theirs(crops)[0], atol=1e-4)
    assert logits.shape == (2, 19, 64, 64)
    assert not any("out_img" in key for key in ours.network.state_dict())


def test_the_coarse_parser_is_the_whole_one_at_the_resolution_of_masks(tmp_path: Path) -> None:
    theirs = randomised(facexlib_module("parsenet").ParseNet(in_size=128, out_size=128, base_ch=32, res_depth=2))
    network = reload(tmp_path, theirs, "parsenet", in_size=128, out_size=128).network
    assert isinstance(network, ParseNet)
    seen = torch.nn.functional.interpolate(torch.rand(2, 3, 12, 12) * 2 - 1, size=128, mode="bicubic")
    reduced = torch.nn.functional.interpolate(seen, scale_factor=0.75, mode="bilinear", antialias=True)
    with torch.inference_mode():
        exact = torch.nn.functional.avg_pool2d(network(reduced), 4)
        coarse = network(seen, coarse=True)
        with torch.autocast("cpu", torch.bfloat16):
            low = network(seen, coarse=True)
        again = network(seen, coarse=True)
    assert coarse.shape == (2, 19, 24, 24)
    assert (coarse - exact).std() < 0.3 * exact.std()
    assert (coarse.argmax(1) == exact.argmax(1)).float().mean() > 0.8
    assert low.dtype == torch.bfloat16
    assert (low.float() - coarse).std() < 0.1 * coarse.std()
    assert torch.equal(again, coarse)  # kernels made for one precision do not reach the other


def test_kernels_for_cells_and_phases_are_the_enlargements(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, weight = torch.rand(1, 3, 8, 8, dtype=torch.float64), torch.rand(2, 3, 3, 3, dtype=torch.float64)
    bias = torch.rand(2, dtype=torch.float64)
    for cell in (2, 4):
        large = torch.nn.functional.interpolate(x, scale_factor=cell, mode="nearest")
        whole = parsenet._reflected(large, weight, bias)
        mean = parsenet._replicated(x, parsenet._averaged(weight, cell), bias)
        assert torch.allclose(mean, torch.nn.functional.avg_pool2d(whole, cell))
        if cell == 2:
            phases = parsenet._replicated(x, parsenet._phases(weight), bias.repeat(4))
            assert torch.allclose(parsenet._interleave(phases), whole)


@pytest.mark.parametrize("stride", [1, 2])
def test_reflection_computed_at_the_border_alone_is_reflection(monkeypatch: pytest.MonkeyPatch, stride: int) -> None:
    monkeypatch.setattr(parsenet, "_SMALL", 0)
    x, weight, bias = torch.rand(1, 3, 10, 14), torch.rand(2, 3, 3, 3), torch.rand(2)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), "reflect")
    expected = torch.nn.functional.conv2d(padded, weight, bias, stride)
    with torch.inference_mode():
        assert torch.allclose(parsenet._reflected(x, weight, bias, stride), expected, atol=1e-5)


def test_bisenet_is_facexlibs_first_output_with_the_inputs_it_was_trained_on(tmp_path: Path) -> None:
    theirs = randomised(facexlib_module("bisenet").BiSeNet(19))
    ours = reload(tmp_path, theirs, "bisenet")
    crops = torch.rand(1, 3, 64, 96)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.inference_mode():
        logits = ours.network(crops * 2 - 1)
        assert torch.allclose(logits, theirs((crops - mean) / deviation)[0], rtol=1e-3, atol=1e-4)
    assert logits.shape == (1, 19, 64, 96)


def test_official_sizes_have_the_published_number_of_values() -> None:
    """The sizes of the upstream files, to a percent: four bytes a value, and little besides."""
    files = {"retinaface": 109_497_761, "parsenet": 85_331_193, "bisenet": 53_289_463}
    for name, size in files.items():
        architecture = REGISTRY[name]
        with torch.device("meta"):
            network = architecture.build(architecture.defaults)
        values = sum(value.numel() for value in network.state_dict().values())
        assert 0.9 * size < 4 * values <= size


def test_building_neither_warns_nor_reaches_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("a network was built with a download")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("error")
        for name in ("retinaface", "parsenet", "bisenet"):
            architecture = REGISTRY[name]
            network = architecture.build(architecture.defaults)
            assert all(value.is_meta for value in network.state_dict().values())


def test_registering_is_light_and_facexlib_stays_unimported() -> None:
    code = """
import sys
import restorer.models.retinaface, restorer.models.parsenet, restorer.models.bisenet
assert not {"torch", "cv2", "facexlib"} & set(sys.modules), "registering imported too much"
from restorer.models import REGISTRY
found = REGISTRY
for name in ("retinaface", "parsenet", "bisenet"):
    arguments = dict(found[name].defaults)
    if name == "retinaface":
        arguments["network_name"] = "mobile0.25"
    found[name].build(arguments)
assert not {"facexlib", "numba", "scipy", "filterpy", "torchvision"} & set(sys.modules), "building imported too much"
import facexlib.detection
assert facexlib.detection.init_detection_model.__module__ == "facexlib.detection"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(InvalidTableError, match="vgg") as caught:
        REGISTRY["retinaface"].build({"network_name": "vgg"})
    assert "mobile0.25" in str(caught.value.remedy)


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointLayoutError):
        reload(tmp_path, nn.Linear(3, 3), "retinaface")


def test_class_tables_name_the_same_parts_in_each_parsers_own_order() -> None:
    """Upstream's mask table fits ParseNet only; with BiSeNet it would keep cloth for hair."""
    parsenet, bisenet = ParseNetArchitecture(), BiSeNetArchitecture()
    assert parsenet.kept == (*range(1, 14), 15)
    assert bisenet.kept == (*range(1, 14), 17)
    assert set(parsenet.classes) == set(bisenet.classes)
    for parser in (parsenet, bisenet):
        assert isinstance(parser, ParserArchitecture)
        assert len(parser.classes) == 19
        assert {parser.classes[number] for number in parser.kept} == PASTED
    assert [bisenet.classes[number] for number in (2, 4, 16, 17, 18)] == [
        "left-brow",
        "left-eye",
        "clothes",
        "hair",
        "hat",
    ]
    assert [parsenet.classes[number] for number in (3, 4, 6, 13, 18)] == [
        "glasses",
        "left-eye",
        "left-brow",
        "hair",
        "clothes",
    ]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [16, 64])
def test_the_edges_are_right_in_bf16_too(channels: int, stride: int) -> None:
    """The bf16 convolution of stride 2 of oneDNN gives garbage for what comes out one column wide."""
    torch.manual_seed(0)
    x = torch.randn(1, channels, 192, 192).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(channels, channels, 3, 3) / (9 * channels) ** 0.5, torch.randn(channels)
    with torch.inference_mode():
        exact = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (1, 1, 1, 1), "reflect"), weight, bias, stride)
        low = parsenet._reflected(x.bfloat16(), weight.bfloat16(), bias.bfloat16(), stride)
    assert (low.float() - exact).abs().max() < 0.1
