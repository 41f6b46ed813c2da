"""Where a tensor lies in a file has no influence on what a network computes from it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from restorer import weights
from restorer.errors import CheckpointLayoutError
from restorer.models import REGISTRY
from restorer.weights.native_file import ALIGNMENT
from tests.support.golden import FOLDER, Record, load

ARGUMENTS = {"num_feat": 10, "num_conv": 3, "upscale": 2}
PICTURE = torch.rand(1, 3, 20, 28, generator=torch.Generator().manual_seed(1))


def upstream() -> dict[str, Tensor]:
    """Return a small upscaler's tensors: widths of 10, so that sizes of all kinds occur."""
    torch.manual_seed(0)
    kind = REGISTRY["srvggnet"]
    return {
        key.removeprefix("net."): value.detach().clone()
        for key, value in kind.build({**kind.defaults, **ARGUMENTS}).state_dict().items()
    }


def shifted(path: Path, shift: int) -> None:
    """Move the tensors of a safetensors file by some bytes, as a longer header does."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = data[8 : 8 + length].rstrip(b" ")
    header = header.ljust(len(header) + (-(8 + len(header)) % ALIGNMENT) + shift)
    path.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])


def misplaced(network: nn.Module) -> list[str]:
    """Return the tensors of a network that begin at no multiple of 64 bytes."""
    return [key for key, value in network.state_dict().items() if value.data_ptr() % ALIGNMENT]


def answer(network: nn.Module) -> Tensor:
    with torch.inference_mode():
        output: Tensor = network(PICTURE)
    return output


@pytest.mark.parametrize("shift", [0, 4, 8, 16, 24, 32, 40, 56])
def test_any_layout_of_a_file_gives_the_same_bits(tmp_path: Path, shift: int) -> None:
    torch.save(upstream(), tmp_path / "upstream.pth")
    expected = load("srvggnet", tmp_path / "upstream.pth").network
    save_file(upstream(), tmp_path / "shifted.safetensors")
    shifted(tmp_path / "shifted.safetensors", shift)
    found = load("srvggnet", tmp_path / "shifted.safetensors").network
    assert misplaced(expected) == misplaced(found) == []
    assert torch.equal(answer(found), answer(expected))


@pytest.mark.parametrize("kind", ["zip", "old", "half"])
def test_pytorchs_own_files(tmp_path: Path, kind: str) -> None:
    state = {key: value.half() if kind == "half" else value for key, value in upstream().items()}
    torch.save(state, tmp_path / "file.pth", _use_new_zipfile_serialization=kind != "old")
    assert misplaced(load("srvggnet", tmp_path / "file.pth").network) == []


def test_slices_and_turned_tensors_are_copied() -> None:
    wide = torch.arange(120.0).reshape(10, 12)
    for view in (wide[1:], wide[:, 1:], wide.T, wide.flatten()[3:]):
        assert weights.aligned(view).is_contiguous()
        assert weights.aligned(view).data_ptr() % ALIGNMENT == 0
        assert torch.equal(weights.aligned(view), view)
    assert weights.aligned(wide).data_ptr() == wide.data_ptr()


def own_file(path: Path) -> Mapping[str, Tensor]:
    record = Record.read(FOLDER / "gfpgan_clean_64_narrow.json")
    record.write(path.with_suffix(".pth"))
    loaded = load("gfpgan", path.with_suffix(".pth"))
    weights.write(loaded.network.state_dict(), path, weights.FileHeader("gfpgan", loaded.arguments))
    return loaded.network.state_dict()


def test_our_own_files_stay_mapped(tmp_path: Path) -> None:
    """What is copied when such a file is loaded is less than a hundredth of it, here of a very small network."""
    state = own_file(tmp_path / "own.safetensors")
    mapped = weights.load_state_dict(tmp_path / "own.safetensors", "own")
    assert set(mapped) == set(state)
    assert all(torch.equal(mapped[key], value) for key, value in state.items())
    copied = [value.nbytes for value in mapped.values() if weights.aligned(value).data_ptr() != value.data_ptr()]
    assert sum(copied) < 0.01 * sum(value.nbytes for value in mapped.values())


def test_our_own_files_are_what_the_format_demands(tmp_path: Path) -> None:
    """All types and shapes, read by the format's own library; no gaps, and blanks behind the header."""
    state = {
        "bf16": torch.randn(3, 5).bfloat16(),
        "empty": torch.zeros(0, 4),
        "flag": torch.tensor([True, False, True]),
        "half": torch.randn(7).half(),
        "large": torch.randn(64, 33),
        "number": torch.tensor(7),
        "turned": torch.randn(4, 6).T,
        "übermaß": torch.randn(2).double(),
    }
    for name in ("a", "b"):
        weights.write(dict(reversed(state.items())) if name == "b" else state, tmp_path / name, weights.FileHeader("x"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = load_file(tmp_path / "a")
    assert all(found[key].dtype == value.dtype and torch.equal(found[key], value) for key, value in state.items())
    data = (tmp_path / "a").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entries = json.loads(data[8 : 8 + length])
    entries.pop("__metadata__")
    assert (8 + length) % ALIGNMENT == 0
    offsets = sorted(tuple(entry["data_offsets"]) for entry in entries.values())
    assert [end for _, end in offsets[:-1]] == [start for start, _ in offsets[1:]]
    assert offsets[-1][1] == len(data) - 8 - length


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda state: state.pop("net.body.0.bias"), "net.body.0.bias is missing"),
        (lambda state: state.update(more=torch.zeros(2)), "more is unknown"),
        (lambda state: state.update({"net.body.0.bias": torch.zeros(3)}), "net.body.0.bias has shape [3], not [10]"),
    ],
)
def test_the_layout_of_a_file_of_our_own_is_checked_too(
    change: Callable[[dict[str, Tensor]], object], word: str, tmp_path: Path
) -> None:
    """It says itself what it is, and may be wrong: a trainer of tomorrow wrote it, or somebody by hand."""
    kind = REGISTRY["srvggnet"]
    arguments = {**kind.defaults, **ARGUMENTS}
    state = {f"net.{key}": value for key, value in upstream().items()}
    path = tmp_path / "own.safetensors"
    weights.write(state, path, weights.FileHeader("srvggnet", arguments))
    load("srvggnet", path)
    change(state)
    weights.write(state, path, weights.FileHeader("srvggnet", arguments))
    with pytest.raises(CheckpointLayoutError) as caught:
        load("srvggnet", path)
    assert word in str(caught.value)
