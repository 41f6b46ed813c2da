"""The ladder of memory: a batch is halved, a single item goes to the CPU, and what never fits is one kind of error."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from restorer import weights
from restorer.engine import memory
from restorer.engine.device import Device
from restorer.engine.torch_engine import TorchNetwork
from restorer.errors import OutOfMemoryError
from restorer.models import REGISTRY
from restorer.models.base import Architecture, LoadedNetwork, Precision
from restorer.upscaling.tiles import NetworkUpscaler
from restorer.weights import Table
from tests.support.networks import at_work


@dataclass(frozen=True)
class Pretended(Device):
    """The CPU, taken for a device that has a memory of its own."""

    @property
    def kind(self) -> str:
        return "pretended"

    def autocast(self, precision: Precision | None = None) -> AbstractContextManager[object]:
        return Device("cpu", precision or self.precision).autocast()


OTHER = Pretended("cpu", "fp32")


class Plain(Architecture):
    name = "plain"
    role = "prior"

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        return nn.Identity()


class Narrow(nn.Module):
    """Fails for more items than it has room for; else gives back the sum of what it gets, and each of them negated."""

    def __init__(self, room: int, error: BaseException | None = None) -> None:
        super().__init__()
        self.room = room
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has")
        self.counts: list[int] = []

    def forward(self, one: torch.Tensor, *others: torch.Tensor, pair: bool = False, **_more: Any) -> Any:
        self.counts.append(len(one))
        if len(one) > self.room:
            raise self.error
        total = sum(others, start=one.clone())
        return (total, -one) if pair else total


def narrow(room: int, device: Device = OTHER, error: BaseException | None = None) -> tuple[TorchNetwork, Narrow]:
    network = Narrow(room, error)
    return TorchNetwork(LoadedNetwork(network, Table("narrow", architecture="plain"), Plain()), device), network


@pytest.mark.parametrize("count", [1, 2, 5, 13])
@pytest.mark.parametrize("room", [1, 3, 20])
def test_a_batch_is_halved_until_it_fits_and_keeps_its_order(count: int, room: int) -> None:
    network, seen = narrow(room)
    one, other = torch.arange(count * 2.0).reshape(count, 2), torch.rand(count, 2)
    assert torch.equal(network(one, other), one + other)
    assert sum(size for size in seen.counts if size <= room) == count
    assert [size for size in seen.counts if size > room][:1] == ([count] if count > room else [])
    assert seen.counts[0] == count
    if count <= room:
        assert seen.counts == [count]
        assert not network.notes
    else:
        said = f"narrow: the memory of cpu does not suffice for {count} at once; they were halved."
        assert next(iter(network.notes)) == said


def test_several_outputs_are_put_together_one_by_one() -> None:
    network, seen = narrow(2)
    one = torch.arange(5.0)[:, None]
    total, negated = network(one, pair=True)
    assert torch.equal(total, one)
    assert torch.equal(negated, -one)
    assert seen.counts == [5, 2, 3, 1, 2]


def test_a_note_is_counted() -> None:
    network, _ = narrow(1)
    for _ in range(3):
        network(torch.zeros(2, 1))
    assert list(network.notes.values()) == [3]


@pytest.fixture
def upscaler(tmp_path: Path) -> LoadedNetwork:
    """A small upscaler from its file."""
    torch.manual_seed(0)
    arguments = {"num_feat": 8, "num_conv": 1, "upscale": 2}
    architecture = REGISTRY["srvggnet"]
    state = architecture.build({**architecture.defaults, **arguments}).state_dict()
    path = tmp_path / "small.pth"
    torch.save({key.removeprefix("net."): value for key, value in state.items()}, path)
    return REGISTRY.load(Table("small", architecture="srvggnet", arguments=arguments), path)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_single_item_that_does_not_fit_goes_to_the_cpu(upscaler: LoadedNetwork, precision: Precision) -> None:
    pictures = torch.rand(3, 3, 12, 16) * 2 - 1
    expected = at_work(REGISTRY.load(upscaler.table, upscaler.path or Path()))(pictures, factor=2)
    failing = Narrow(0)
    network = TorchNetwork(replace(upscaler, network=failing), Pretended("cpu", precision))
    found = network(pictures, factor=2)
    assert torch.allclose(found, expected, atol=1e-6)  # in fp32, whatever the run's precision
    assert failing.counts == [3, 1, 2, 1, 1]
    assert "small: the memory of cpu does not suffice; the CPU took its place." in network.notes
    assert network.on_cpu() is network.on_cpu()
    assert network.on_cpu().device == Device("cpu", "fp32")


@pytest.mark.parametrize(
    "words",
    ["CUDA error: unspecified launch failure\nCompile with", "CUDA driver error: device not ready", "MPS device lost"],
)
def test_a_device_that_is_gone_has_the_cpu_take_its_place_for_good(upscaler: LoadedNetwork, words: str) -> None:
    """A driver that is reset, or a card that falls off the bus, took every photo after it along."""
    pictures = torch.rand(3, 3, 12, 16) * 2 - 1
    expected = at_work(REGISTRY.load(upscaler.table, upscaler.path or Path()))(pictures, factor=2)
    failing = Narrow(0, RuntimeError(words))
    network = TorchNetwork(replace(upscaler, network=failing), Pretended("cpu", "bf16"))
    for _ in range(2):
        assert torch.allclose(network(pictures, factor=2), expected, atol=1e-6)
    assert failing.counts == [3], "it is not asked again"
    reason = words.splitlines()[0]
    assert dict(network.notes) == {f"small: cpu is gone ({reason}); the CPU took its place.": 2}
    assert not memory.is_exhausted(RuntimeError(words))


def test_a_processor_is_never_gone(upscaler: LoadedNetwork) -> None:
    for device, error in ((Device("cpu", "fp32"), RuntimeError("CUDA error: x")), (OTHER, ValueError("CUDA error: x"))):
        with pytest.raises(type(error)):
            TorchNetwork(replace(upscaler, network=Narrow(0, error)), device)(torch.zeros(1, 3, 8, 8))


def test_smaller_work_is_asked_for_before_the_cpu(upscaler: LoadedNetwork) -> None:
    """A photo's tiles are halved first; those of the smallest side go to the CPU, and the photo is enlarged."""
    failing = Narrow(0)
    network = TorchNetwork(replace(upscaler, network=failing), OTHER)
    with pytest.raises(OutOfMemoryError):
        network(torch.zeros(1, 3, 8, 8), factor=2, shrinks=True)
    assert not network.notes
    photo = np.random.default_rng(0).integers(0, 256, (100, 150, 3)).astype(np.uint8)
    tiles = NetworkUpscaler(network, 256)
    found = tiles.upscale(photo, (300, 200))
    loaded = REGISTRY.load(upscaler.table, upscaler.path or Path())
    assert np.array_equal(found, NetworkUpscaler(at_work(loaded), 64).upscale(photo, (300, 200)))
    assert list(tiles.notes) == ["small: the memory of cpu asked for tiles of 64 px."]
    assert list(network.notes) == ["small: the memory of cpu does not suffice; the CPU took its place."]


@pytest.mark.parametrize("device", [Device("cpu", "fp32"), OTHER], ids=["cpu", "without a file"])
def test_what_never_fits_is_an_error_that_names_device_and_network(device: Device) -> None:
    network, seen = narrow(0, device)
    words = r"for narrow: CUDA out of memory\. Tried to allocate 20\.00 MiB\.$"
    with pytest.raises(OutOfMemoryError, match=words) as found:
        network(torch.zeros(4, 1))
    assert (found.value.device, found.value.network) == ("cpu", "narrow")
    assert found.value.remedy
    assert seen.counts == [4, 2, 1]


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), ValueError("out of memory"), KeyError("x")], ids=repr)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    network, seen = narrow(0, error=error)
    with pytest.raises(type(error)) as found:
        network(torch.zeros(4, 1))
    assert found.value is error
    assert seen.counts == [4]
    assert not memory.is_exhausted(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB, other allocations: 2.00 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:83] . DefaultCPUAllocator: not enough memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
    ids=lambda error: str(error)[:30],
)
def test_every_device_s_words_are_understood(error: Exception) -> None:
    assert memory.is_exhausted(error)
    network, seen = narrow(2, Device("cpu", "fp32"), error)
    assert torch.equal(network(torch.arange(4.0)), torch.arange(4.0))
    assert seen.counts == [4, 2, 2]


def test_what_torch_and_numpy_really_say_is_understood() -> None:
    with pytest.raises(RuntimeError) as found:
        torch.empty(1 << 55, dtype=torch.uint8)
    assert memory.is_exhausted(found.value)
    with pytest.raises(MemoryError) as said:
        np.empty(1 << 55, np.uint8)
    assert memory.is_exhausted(said.value)


def test_the_built_in_detector_works_where_a_device_has_no_room_for_it() -> None:
    """From the table to the answer: what a device has no room for, the shipped detector still finds on the CPU."""
    table = weights.resolve("tiny-detector")
    path = weights.fetch(table, offline=True)
    picture = torch.rand(1, 3, 64, 96) * 2 - 1
    expected = at_work(REGISTRY.load(table, path))(picture)
    network = TorchNetwork(replace(REGISTRY.load(table, path), network=Narrow(0)), OTHER)
    assert torch.equal(network(picture), expected)
    landmarks = torch.rand(2, 5, 2) * 60
    seen, logits = network(picture, landmarks=landmarks)
    assert (seen.shape, logits.shape) == ((2, 5, 2), (2,))
