"""A finder of damage that goes on from a smaller one's weights finds at first what that one finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from restorer.errors import UsageError
from restorer.networks.damageunet import LINES, DamageUNet, folded
from restorer.storage.digest import sha256_of
from restorer.training import averaging
from restorer.training.damage_finding import DamageTrainer
from restorer.training.export import write_model
from restorer.training.growing import begin_with, mixed
from restorer.training.loop import Place
from restorer.training.recipe import Recipe, parse_recipe
from restorer.weights.native_file import read


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


def test_weights_in_between_are_those_of_both_ends_at_the_ends() -> None:
    state = smaller()
    learnt = DamageUNet(6, [8, 12], [2, 2], lines=True).state_dict()
    network = DamageUNet(6, [8, 12], [2, 2], lines=True)
    with torch.no_grad():
        network.load_state_dict(mixed(learnt, state, 1.0))
        assert torch.allclose(network.eval()(pictures()), as_it_was(state)(pictures()), atol=1e-5)
    assert all(torch.equal(value, learnt[key]) for key, value in mixed(learnt, state, 0.0).items())
    half = mixed(learnt, state, 0.25)
    assert torch.allclose(half["head.weight"], 0.75 * learnt["head.weight"] + 0.25 * state["head.weight"])
    assert torch.allclose(half["down.0.1.second.weight"], 0.75 * learnt["down.0.1.second.weight"])
    assert torch.equal(half["down.0.1.first.weight"], learnt["down.0.1.first.weight"])


def test_the_mean_of_files_is_a_file_of_the_largest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"stem": 6, "widths": [8, 12], "blocks": [2, 2], "lines": True}
    larger = [DamageUNet(6, [8, 12], [2, 2], lines=True).state_dict() for _ in range(2)]
    names = ["a", "b", "c"]
    for name, state in zip(names, [smaller(), *larger], strict=True):
        given = arguments if name != "a" else {"stem": 6, "widths": [8, 12], "blocks": [1, 1], "lines": False}
        write_model(
            tmp_path, parse_recipe(f'recipe = "damage"\nname = "{name}"\n', tmp_path, "r"), "damageunet", given, state
        )
    parts = [f"{tmp_path / name}.safetensors={share}" for name, share in zip(names, (0.5, 0.2, 0.3), strict=True)]
    out = tmp_path / "mean.safetensors"
    assert averaging.main([str(out), *parts]) == 0
    assert sha256_of(out) in capsys.readouterr().out
    about = read(out)
    assert about is not None
    assert (about.architecture, about.arguments) == ("damageunet", arguments)
    mean, (first, second) = load_file(out), larger

    def close(key: str, wanted: torch.Tensor) -> bool:
        return torch.allclose(mean[key].float(), wanted, atol=2e-3)

    assert close(
        "head.weight", 0.5 * smaller()["head.weight"] + 0.2 * first["head.weight"] + 0.3 * second["head.weight"]
    )
    new = "down.0.1.{}.weight".format
    assert close(new("second"), 0.2 * first[new("second")] + 0.3 * second[new("second")])
    assert close(new("first"), 0.4 * first[new("first")] + 0.6 * second[new("first")])
    planes = 0.2 * first["stem.0.weight"] + 0.3 * second["stem.0.weight"]
    planes[:, :-LINES] += 0.5 * smaller()["stem.0.weight"]
    assert close("stem.0.weight", planes)
    with pytest.raises(UsageError, match="do not make one"):
        averaging.main([str(out), parts[0], parts[1]])
    save_file({"head.weight": torch.zeros(1, 7, 3, 3)}, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="another size"):
        averaging.main([str(out), *parts])


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


def recipe(tmp_path: Path, more: str = "") -> Recipe:
    """Return a recipe of a larger network that begins with `smaller`, and its two photographs."""
    rng = np.random.default_rng(0)
    (photos := tmp_path / "photos").mkdir(exist_ok=True)
    for number in range(2):
        Image.fromarray(rng.integers(0, 256, (120, 120, 3), np.uint8)).save(photos / f"{number}.png")
    save_file(smaller(), tmp_path / "first.safetensors")
    text = f'recipe = "damage"\nname = "larger"\nsteps = 4\nbatch = 2\nside = 64\n{more}\n'
    text += '[data]\nfolder = "photos"\n[network]\nstem = 6\nwidths = [8, 12]\nblocks = [1, 2]\nlines = true\n'
    return parse_recipe(text, tmp_path, "r")


START = 'start = "first.safetensors"\n'


def test_a_recipe_names_the_weights_that_it_begins_with(tmp_path: Path) -> None:
    trainer = DamageTrainer(recipe(tmp_path, START), None, Place(torch.device("cpu")))
    with torch.no_grad():
        wanted, found = as_it_was(smaller())(pictures()), trainer.average_network(pictures())
    assert torch.allclose(found, wanted, atol=1e-4)


def test_what_a_recipe_keeps_of_them_is_in_the_result(tmp_path: Path) -> None:
    results = []
    for keeps in (0.0, 0.4):
        trainer = DamageTrainer(recipe(tmp_path, f"{START}keeps = {keeps}"), None, Place(torch.device("cpu")))
        trainer.average_network.get_parameter("head.weight").fill_(2.0)
        file = next(path for path in trainer.export(tmp_path / str(keeps)) if path.suffix == ".safetensors")
        results.append(load_file(file))
    learnt, kept = (result["head.weight"].float() for result in results)
    assert torch.equal(learnt, torch.full_like(learnt, 2.0))
    assert torch.allclose(kept, 0.6 * learnt + 0.4 * smaller()["head.weight"], atol=2e-3)


@pytest.mark.parametrize("more", ["keeps = 0.3", f"{START}keeps = 1.0", f"{START}keeps = -0.1"])
def test_a_share_of_nothing_or_of_all_is_refused(tmp_path: Path, more: str) -> None:
    with pytest.raises(UsageError, match="keeps"):
        DamageTrainer(recipe(tmp_path, more), None, Place(torch.device("cpu")))
