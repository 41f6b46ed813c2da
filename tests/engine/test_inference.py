"""A face restorer network and its second chances."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from restorer.engine.device import Device
from restorer.engine.inference import NetworkRestorer
from restorer.models.base import CropSpec, FaceModel
from restorer.models.registry import LoadedNetwork
from restorer.models.templates import FACEXLIB


class Numbered(FaceModel):
    """Gives crops back as they are; more of them than the memory holds raise what torch raises."""

    name = "numbered"

    def __init__(self, most: int) -> None:
        self.most = most
        self.calls: list[int] = []

    def crop(self, arguments: Mapping[str, Any]) -> CropSpec:
        return CropSpec(8, 8, 8, FACEXLIB)

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        return nn.Identity()

    def restore(self, loaded: LoadedNetwork, crops: torch.Tensor, **controls: Any) -> torch.Tensor:
        self.calls.append(len(crops))
        if len(crops) > self.most:
            raise torch.OutOfMemoryError("out of memory (in a test)")
        return crops.clone()


def crops(count: int) -> torch.Tensor:
    """Return crops that differ: each is of its own level, with something in it."""
    level = torch.linspace(-0.8, 0.8, count)[:, None, None, None]
    return level + 0.1 * torch.linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8)


def restorer(model: Numbered) -> NetworkRestorer:
    loaded = LoadedNetwork(nn.Identity(), cast("Any", SimpleNamespace(name="numbered")), model)
    return NetworkRestorer(loaded, Device("cpu", "fp32"), fidelity=None, seed=None)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 11])
@pytest.mark.parametrize("most", [1, 2, 3, 16])
def test_a_batch_that_does_not_fit_comes_back_in_its_order(count: int, most: int) -> None:
    model = Numbered(most)
    assert torch.equal(restorer(model).restore(crops(count)), crops(count))
    assert min(model.calls) <= most
    assert sum(size for size in model.calls if size <= most) == count


def test_a_single_crop_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        restorer(Numbered(0)).restore(crops(3))
