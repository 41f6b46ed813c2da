"""A finder of damage that goes on from a smaller one's weights finds at first what that one finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from restorer.errors import UsageError
from restorer.networks.damageunet import LINES, DamageUNet, folded
from restorer.training.damage_finding import DamageTrainer
from restorer.training.growing import begin_with
from restorer.training.loop import Place
from restorer.training.recipe import parse_recipe


def smaller() -> dict[str, torch.Tensor]:
    """Return the weights of a network with a block a level that is shown nothing about lines, as it once was."""
    torch.manual_seed(3)
    return DamageUNet(6, [8, 12], [1, 1]).state_dict()


def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(5)) * 2 - 1


def as_it_was(state: dict[str, torch.Tensor]) -> DamageUNet:
    plain = DamageUNet(6, [8, 12], [1, 1])
    plain.load_state_dict(state)
    return plain.eval()


@pytest.mark.parametrize("blocks", [[1, 1], [2, 3]])
def test_a_larger_network_begins_where_the_smaller_one_ended(blocks: list[int]) -> None:
    torch.manual_seed(4)
    network = DamageUNet(6, [8, 12], blocks, lines=True, norm=True)
    begin_with(network, state := smaller(), pictures())
    assert network.training
    with torch.no_grad():
        wanted = as_it_was(state)(pictures())
        assert wanted.std() > 0.1
        assert torch.allclose(network.eval()(pictures()), wanted, atol=1e-4)
        assert torch.allclose(folded(network, 6, [8, 12], blocks, lines=True)(pictures()), wanted, atol=1e-4)
        # In training the norms use each batch's own statistics: on the same pictures those are the same.
        assert torch.allclose(network.train()(pictures()), wanted, atol=0.02 * float(wanted.std()))


def test_what_is_new_learns() -> None:
    torch.manual_seed(4)
    network = DamageUNet(6, [8, 12], [2, 2], lines=True, norm=True)
    begin_with(network, smaller(), pictures())
    network(pictures()).square().sum().backward()
    for name in ("stem.0.weight", "down.0.1.norm.weight", "down.1.1.norm.weight", "up.0.1.norm.weight"):
        gradient = network.get_parameter(name).grad
        assert gradient is not None
        assert gradient[:, -LINES:].abs().max() > 0 if name.startswith("stem") else gradient.abs().max() > 0, name


@pytest.mark.parametrize("wrong", ["of another width", "a layer too few", "a layer too many"])
def test_weights_of_another_network_are_refused(wrong: str) -> None:
    state = smaller()
    if wrong == "a layer too few":
        del state["join.weight"]
    elif wrong == "a layer too many":
        state["more.weight"] = torch.zeros(1)
    else:
        state["head.weight"] = torch.zeros(1, 7, 3, 3)
    with pytest.raises(UsageError, match="begin with"):
        begin_with(DamageUNet(6, [8, 12], [1, 1], norm=True), state, pictures())


def test_a_recipe_names_the_weights_that_it_begins_with(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (photos := tmp_path / "photos").mkdir()
    for number in range(2):
        Image.fromarray(rng.integers(0, 256, (120, 120, 3), np.uint8)).save(photos / f"{number}.png")
    save_file(state := smaller(), tmp_path / "first.safetensors")
    text = 'recipe = "damage"\nname = "larger"\nsteps = 4\nbatch = 2\nside = 64\nstart = "first.safetensors"\n'
    text += '[data]\nfolder = "photos"\n[network]\nstem = 6\nwidths = [8, 12]\nblocks = [1, 2]\nlines = true\n'
    trainer = DamageTrainer(parse_recipe(text, tmp_path, "r"), None, Place(torch.device("cpu")))
    with torch.no_grad():
        wanted, found = as_it_was(state)(pictures()), trainer.average_network(pictures())
    assert torch.allclose(found, wanted, atol=1e-4)
