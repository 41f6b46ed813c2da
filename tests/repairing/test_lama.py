"""LaMa against its record, and what it can be given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from restorer.models import REGISTRY
from restorer.networks.lama import LaMa, _continued
from tests.support.golden import Record, difference, load


@pytest.mark.shared
def test_lama_answers_as_its_reference(shared: Path, tmp_path: Path) -> None:
    record = Record.read(shared / "golden/next/big_lama.json")
    others = {"discriminator.model0.0.weight": torch.ones(3), "loss_resnet_pl.weights": torch.ones(2)}
    torch.save({"state_dict": record.state() | others}, tmp_path / "file.ckpt")
    network = load("lama", tmp_path / "file.ckpt").network
    given, expected = record.tensors()
    with torch.inference_mode():
        output = network(given[:, :3] * 2 - 1, given[:, 3:])
    assert difference((output + 1) / 2, expected) < 1e-3


def test_official_size_and_what_does_not_fit_together() -> None:
    with torch.device("meta"):
        network = REGISTRY["lama"].build({})
    assert sum(value.numel() for value in network.parameters()) == 50_975_875
    for mask in ((1, 1, 32, 40), (1, 3, 32, 32), (2, 1, 32, 32)):
        with pytest.raises(ValueError, match="a mask"):
            network(torch.zeros(1, 3, 32, 32, device="meta"), torch.zeros(mask, device="meta"))


def test_sides_of_any_length_and_what_lies_under_the_mask_is_not_looked_at() -> None:
    torch.manual_seed(0)
    network = LaMa().eval()
    network.blocks = network.blocks[:1]  # the others cost time
    pictures, mask = torch.rand(1, 3, 21, 34) * 2 - 1, torch.zeros(1, 1, 21, 34)
    mask[..., 5:9, 10:20] = 1
    other = torch.where(mask > 0, -pictures, pictures)
    with torch.inference_mode():
        first, second = network(pictures, mask), network(other, mask * 0.5)
    assert first.shape == pictures.shape
    assert torch.equal(first, second)
    assert first.abs().max() <= 1


def test_a_picture_goes_on_as_its_mirror_image() -> None:
    row = torch.arange(3.0).reshape(1, 1, 1, 3)
    assert _continued(row, 0, 2).flatten().tolist() == [0, 1, 2, 2, 1]
    assert _continued(row.reshape(1, 1, 3, 1), 1, 0).flatten().tolist() == [0, 1, 2, 2]
    assert _continued(row, 0, 0) is row
