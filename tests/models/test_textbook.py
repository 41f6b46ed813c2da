"""The networks against the papers' plain formulas, at sizes that no golden record holds, from upstream checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support import textbook
from tests.support.golden import Record, difference, load_state

TOLERANCE = 1e-4


def run(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        output: torch.Tensor = network(x)
    return output.double()


def inputs(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7)).clamp(-1, 1)


@pytest.mark.parametrize("names", [textbook.ROSINALITY, textbook.MMAGIC, textbook.BASICSR])
@pytest.mark.parametrize(("size", "multiplier", "narrow"), [(8, 2, 0.125), (64, 2, 0.0625), (128, 1, 0.0625)])
def test_stylegan2(names: textbook.Names, size: int, multiplier: float, narrow: float, tmp_path: Path) -> None:
    state = textbook.stylegan2_state(names, size, 24, 3, multiplier, narrow)
    network = load_state("stylegan2", state, tmp_path)
    z = inputs(2, 24)
    expected = textbook.stylegan2(state, names, z)
    assert expected.shape == (2, 3, size, size)
    assert difference(run(network, z), expected) < TOLERANCE
    assert difference(run(network, z[1:]), expected[1:]) < TOLERANCE


@pytest.mark.parametrize(("size", "multiplier", "narrow"), [(32, 2, 0.125), (128, 1, 0.0625), (1024, 2, 0.0625)])
def test_gpen(size: int, multiplier: float, narrow: float, tmp_path: Path) -> None:
    state = textbook.gpen_state(size, 24, 2, multiplier, narrow)
    network = load_state("gpen", state, tmp_path)
    faces = inputs(1 if size == 1024 else 2, 3, size, size)  # several at 1024 would take gigabytes in double precision
    expected = textbook.gpen(state, faces)
    assert difference(run(network, faces), expected) < TOLERANCE
    if len(faces) > 1:
        assert difference(run(network, faces[:1]), expected[:1]) < TOLERANCE


@pytest.mark.parametrize(
    ("in_size", "out_size", "blocks", "multiplier"), [(16, 256, 2, 2), (32, 1024, 1, 1), (8, 16, 1, 1), (64, 128, 1, 1)]
)
def test_glean(in_size: int, out_size: int, blocks: int, multiplier: float, tmp_path: Path) -> None:
    state = textbook.glean_state(in_size, out_size, 24, 16, blocks, multiplier, 0.0625)
    network = load_state("glean", state, tmp_path)
    pictures = inputs(1 if out_size == 1024 else 2, 3, in_size, in_size)
    expected = textbook.glean(state, pictures, in_size, 24)
    assert expected.shape == (len(pictures), 3, out_size, out_size)
    assert difference(run(network, pictures), expected) < TOLERANCE
    if len(pictures) > 1:
        assert difference(run(network, pictures[:1]), expected[:1]) < TOLERANCE


@pytest.mark.parametrize(("size", "multiplier", "narrow"), [(32, 1, 0.125), (128, 2, 0.0625)])
def test_gfpgan_original(size: int, multiplier: float, narrow: float, tmp_path: Path) -> None:
    state = textbook.gfpgan_state(size, 24, multiplier, narrow)
    network = load_state("gfpgan-original", state, tmp_path)
    faces = inputs(2, 3, size, size)
    expected = textbook.gfpgan(state, faces, 24)
    assert difference(run(network, faces), expected) < TOLERANCE
    assert difference(run(network, faces[:1]), expected[:1]) < TOLERANCE


def test_the_textbook_itself_gives_what_the_reference_gives(shared: Path) -> None:
    """Else the tests above would compare two readings of the same mistake."""
    record = Record.read(shared / "golden/stylegan2_rosinality_256.json")
    z, expected = record.tensors()
    assert difference(textbook.stylegan2(record.state(), textbook.ROSINALITY, z[:1]), expected[:1].double()) < TOLERANCE
    record = Record.read(shared / "golden/gpen_bfr_256.json")
    faces, expected = record.tensors()
    ours = textbook.gpen(record.state(), faces)[..., :: record.stride, :: record.stride]
    assert difference(ours, expected.double()) < TOLERANCE
