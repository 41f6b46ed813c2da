"""Devices are chosen without touching torch, and threads set only where someone asked for that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from restorer import weights
from restorer.engine import device as devices
from restorer.engine.device import Device
from restorer.engine.pool import Pool
from restorer.errors import DeviceUnavailableError, UsageError


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three threads of torch, and no word about them so far; what there was comes back."""
    before = torch.get_num_threads()
    monkeypatch.setattr(devices, "_threads", [])
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def load() -> None:
    """Load a network, of a pool of its own."""
    Pool().get(weights.resolve("tiny-detector"), Device("cpu", "fp32"), offline=True)


def test_choosing_changes_nothing_in_torch() -> None:
    before = torch.get_default_dtype(), torch.get_num_interop_threads(), torch.get_default_device()
    for device in ("auto", "cpu"):
        for precision in ("auto", "fp32", "bf16"):
            devices.choose(device, precision)
    devices.configure_threads(2)
    devices.choose()
    assert torch.get_num_threads() == 3
    assert (torch.get_default_dtype(), torch.get_num_interop_threads(), torch.get_default_device()) == before


def test_threads_are_left_alone_where_nobody_asked() -> None:
    load()
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("count", [1, 2, None])
def test_threads_are_set_when_a_network_is_loaded(count: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    devices.configure_threads(count)
    assert torch.get_num_threads() == 3
    load()
    assert torch.get_num_threads() == (count or devices.threads_of(devices.allowed_cores()))
    devices.configure_threads(1)  # the last word counts
    load()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("count", [0, -1])
def test_less_than_one_thread_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} threads"):
        devices.configure_threads(count)
    load()
    assert torch.get_num_threads() == 3


def test_what_is_asked_for_is_what_is_chosen() -> None:
    assert devices.choose("cpu", "fp32") == Device("cpu", "fp32")
    assert devices.choose("cpu", "bf16") == Device("cpu", "bf16")
    assert devices.choose("cpu").precision == ("bf16" if devices.computes_in_bf16("cpu") else "fp32")
    assert Device("cuda:1", "fp16").kind == "cuda"


@pytest.mark.parametrize(
    ("device", "precision", "error"),
    [
        ("cpu", "fp16", DeviceUnavailableError),
        ("cuda:999", "auto", DeviceUnavailableError),
        ("tpu", "auto", UsageError),
        ("cuda:x", "auto", UsageError),
        ("cpu", "int8", UsageError),
    ],
)
def test_what_is_not_there_is_refused(device: str, precision: str, error: type[Exception]) -> None:
    with pytest.raises(error) as found:
        devices.choose(device, precision)
    assert type(found.value) is error
