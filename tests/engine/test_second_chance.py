"""What half precision breaks is computed again in fp32: crops, pictures, a detector's rows, a parser's classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from restorer import weights
from restorer.evaluation.ageing import photograph
from restorer.faces.detect import FaceDetector
from restorer.faces.mask import ParserMask
from restorer.models import REGISTRY
from restorer.models.base import Architecture, LoadedNetwork, ParserArchitecture
from restorer.models.bisenet import BiSeNetArchitecture
from restorer.models.parsenet import ParseNetArchitecture
from restorer.weights import Table
from tests.support.networks import at_work, module_of


def in_half() -> bool:
    """Whether networks compute in half precision just now."""
    return torch.is_autocast_enabled("cpu")


class Plain(Architecture):
    name = "plain"
    role = "prior"
    bf16 = True

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        return nn.Identity()


class Painter(Plain):
    pictures = True


class Careful(Plain):
    bf16 = False


class Breaks(nn.Module):
    """In half precision, the items whose first value is above a half come out broken."""

    def __init__(self, how: str = "nan", room: int = 99) -> None:
        super().__init__()
        self.how, self.room = how, room
        self.seen: list[tuple[str, int]] = []

    def forward(self, x: torch.Tensor, pair: bool = False) -> Any:
        self.seen.append(("bf16" if in_half() else "fp32", len(x)))
        if not in_half() and len(x) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        found = x.clone()
        if in_half():
            found[x.flatten(1)[:, 0] > 0.5] = torch.nan if self.how == "nan" else -1.0
        return (x, found) if pair else found


def breaking(architecture: Architecture, module: nn.Module) -> Any:
    return at_work(LoadedNetwork(module, Table("t", architecture="plain"), architecture), "bf16")


def pictures(*first: float) -> torch.Tensor:
    """Return pictures (n, 3, 4, 4) that begin with these values."""
    made = torch.rand(len(first), 3, 4, 4, generator=torch.Generator().manual_seed(0))
    made[:, 0, 0, 0] = torch.tensor(first)
    return made


@pytest.mark.parametrize(("architecture", "how"), [(Plain(), "nan"), (Painter(), "nan"), (Painter(), "black")])
def test_only_what_is_broken_is_computed_again(architecture: Architecture, how: str) -> None:
    module, given = Breaks(how), pictures(0.1, 0.9, 0.2, 0.8)
    assert torch.equal(breaking(architecture, module)(given), given)
    assert module.seen == [("bf16", 4), ("fp32", 2)]


def test_nothing_is_computed_twice_without_need() -> None:
    for architecture, given in (
        (Plain(), pictures(0.1, 0.2)),
        (Plain(), pictures(0.1, 0.9) * 0 + 0.9),  # one value throughout is a fine answer where no picture is asked for
        (Painter(), pictures(0.1) * 0 - 1),  # a picture of one colour may stay one
    ):
        module = Breaks("black")
        breaking(architecture, module)(given)
        assert module.seen == [("bf16", len(given))]


def test_what_does_not_keep_its_tolerance_is_never_run_in_half_precision() -> None:
    module, given = Breaks(), pictures(0.1, 0.9)
    network = breaking(Careful(), module)
    assert network.precision == "fp32"
    assert torch.equal(network(given), given)
    assert module.seen == [("fp32", 2)]


def test_of_several_outputs_all_are_computed_again() -> None:
    module, given = Breaks(), pictures(0.1, 0.9, 0.2)
    same, found = breaking(Plain(), module)(given, pair=True)
    assert torch.equal(same, given)
    assert torch.equal(found, given)
    assert module.seen == [("bf16", 3), ("fp32", 3)]
    module = Breaks()
    breaking(Plain(), module)(given[:1], pair=True)
    assert module.seen == [("bf16", 1)]


def test_not_a_number_in_fp32_is_the_caller_s_to_judge() -> None:
    class Never(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.nan

    assert torch.isnan(breaking(Painter(), Never())(pictures(0.1))).all()


def test_a_second_chance_that_does_not_fit_is_halved_too() -> None:
    module, given = Breaks(room=1), pictures(0.9, 0.8, 0.7, 0.6)
    network = breaking(Plain(), module)
    assert torch.equal(network(given), given)
    assert [count for precision, count in module.seen if precision == "fp32"] == [4, 2, 1, 1, 2, 1, 1]
    assert len(network.notes) == 2


# ------------------------------------------------------------------------------------------- detectors and parsers


class NoNumbers(nn.Module):
    """A network that says not-a-number in half precision, to a question of a kind or to all."""

    def __init__(self, network: nn.Module, only: str | None = None) -> None:
        super().__init__()
        self.network, self.only = network, only
        self.broken = 0

    def forward(self, pictures: torch.Tensor, **asked: Any) -> Any:
        found = self.network(pictures, **asked)
        if not in_half() or (self.only is not None and self.only not in asked):
            return found
        self.broken += 1
        return tuple(part * torch.nan for part in found) if isinstance(found, tuple) else found * torch.nan


@pytest.mark.parametrize("only", [None, "landmarks"], ids=["all", "the second look"])
def test_a_detector_whose_half_precision_breaks_finds_what_fp32_finds(only: str | None) -> None:
    """The built-in one on a real photo: its weights were cast, and are read again from its file."""
    table = weights.resolve("tiny-detector")
    path = weights.fetch(table, offline=True)
    expected = FaceDetector(at_work(REGISTRY.load(table, path))).detect(photograph())
    assert expected
    loaded = REGISTRY.load(table, path)
    network = at_work(replace(loaded, network=NoNumbers(loaded.network, only)), "bf16")
    assert network.precision == "bf16"
    assert next(iter(loaded.network.parameters())).dtype == torch.bfloat16
    found = FaceDetector(network).detect(photograph())
    module = module_of(network)
    assert isinstance(module, NoNumbers)
    assert module.broken > 0
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one.box, other.box, atol=0.02 * other.size)
        assert np.allclose(one.landmarks, other.landmarks, atol=0.02 * other.size)
        if only is None:
            # But for last bits: a run packs the weights.
            assert np.allclose(one.box, other.box, atol=1e-2)
            assert np.allclose(one.landmarks, other.landmarks, atol=1e-2)


class Halves(nn.Module):
    """In place of a parser: the left half of a crop is skin, the right one background."""

    def forward(self, crops: torch.Tensor, coarse: bool = False) -> torch.Tensor:
        numbers = torch.zeros(crops.shape[0], *crops.shape[2:], dtype=torch.long)
        numbers[..., : crops.shape[3] // 2] = 1
        return nn.functional.one_hot(numbers, 19).movedim(-1, 1).float()


@pytest.mark.parametrize("architecture", [ParseNetArchitecture(), BiSeNetArchitecture()], ids=["parsenet", "bisenet"])
def test_a_parser_whose_half_precision_breaks_masks_as_in_fp32(architecture: ParserArchitecture) -> None:
    """Not-a-number at every class would be the first class everywhere: a face that is not pasted at all."""
    crops, nowhere = torch.rand(2, 3, 64, 64) * 2 - 1, np.zeros((2, 5, 2))
    table = Table("halves", architecture=architecture.name)
    module = NoNumbers(Halves())
    broken = ParserMask(at_work(LoadedNetwork(module, table, architecture), "bf16"))
    sound = ParserMask(at_work(LoadedNetwork(Halves(), table, architecture)))
    masks = broken(crops, nowhere)
    assert module.broken == 2
    assert np.array_equal(masks, sound(crops, nowhere))
    assert masks[:, 256, 100].min() > 0.99
    assert masks[:, 256, 400].max() < 0.01


def seen_in(names: Sequence[str]) -> dict[str, str]:
    """Return the precision in which networks of these architectures compute where bf16 is asked for."""
    return {
        name: at_work(LoadedNetwork(nn.Identity(), Table(name, name), REGISTRY[name]), "bf16").precision
        for name in names
    }


def test_each_role_obeys_the_precision_of_the_run_where_it_may() -> None:
    found = seen_in(["tinydetector", "retinaface", "parsenet", "bisenet", "gfpgan", "srvggnet", "mobilefacenet"])
    assert found == {
        "tinydetector": "bf16",
        "retinaface": "fp32",
        "parsenet": "bf16",
        "bisenet": "bf16",
        "gfpgan": "bf16",
        "srvggnet": "bf16",
        "mobilefacenet": "fp32",
    }
