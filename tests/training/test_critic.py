"""The adversarial loss for texture: what its discriminator learns, how hard it pulls, a training that it is part of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from restorer.networks.discriminator import TextureDiscriminator
from restorer.training.checkpoints import take_up
from restorer.training.critic import RAMP, TextureCritic
from restorer.training.loop import run
from tests.training.test_faceunet import RECIPE, folder, rows, trainer_of

__all__ = ["folder"]

ADVERSARIAL = RECIPE + "adversarial = 0.5\n"


def textures(seed: int, count: int = 6, side: int = 64) -> Tensor:
    """Return pictures of fine noise on slow shades, (count, 3, side, side)."""
    rng = torch.Generator().manual_seed(seed)
    shades = F.interpolate(torch.rand(count, 3, 4, 4, generator=rng) - 0.5, (side, side), mode="bicubic")
    return shades + 0.1 * torch.randn(count, 3, side, side, generator=rng)


def smooth(pictures: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2), mode="reflect"), 5, 1)


@pytest.fixture(scope="module")
def taught(folder: Path) -> TextureCritic:
    torch.manual_seed(1)
    critic = TextureCritic(trainer_of(folder, ADVERSARIAL))
    for step in range(60):
        real = textures(step)
        critic.learn(real, smooth(real))
    return critic


def test_a_verdict_for_each_patch() -> None:
    assert TextureDiscriminator()(torch.zeros(2, 3, 64, 40)).shape == (2, 1, 8, 5)


def test_it_learns_to_tell_texture_from_its_mean(taught: TextureCritic) -> None:
    real = textures(1000)
    with torch.no_grad():
        verdicts, others = (taught.network(pictures).mean((1, 2, 3)) for pictures in (real, smooth(real)))
    assert verdicts.min() > others.max()


def test_it_pulls_as_hard_as_it_may_and_towards_texture(taught: TextureCritic) -> None:
    found = smooth(textures(2000))
    slope = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
    taught.steps = RAMP
    pull, loss = taught.pull(found, 0.5, slope)
    assert float(pull.norm()) == pytest.approx(0.5 * float(slope.norm()), rel=1e-3)
    assert not loss.requires_grad
    _, after = taught.pull(found - 20 * pull / pull.norm(), 0.5, slope)
    assert after < loss
    taught.steps = 0
    weak, _ = taught.pull(found, 0.5, slope)
    assert float(weak.norm()) == pytest.approx(float(pull.norm()) / RAMP, rel=1e-3)


def test_a_stopped_adversarial_run_goes_on_to_the_same_losses(folder: Path, tmp_path: Path) -> None:
    run(trainer_of(folder, ADVERSARIAL), tmp_path / "whole")
    for until in (3, 6, 8):
        run(trainer_of(folder, ADVERSARIAL), tmp_path / "parts", until=until)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert [bool(row.get("critic")) for row in rows(tmp_path / "whole")] == [False] * 4 + [True] * 4
    trainer = trainer_of(folder, ADVERSARIAL)
    assert take_up(trainer, tmp_path / "whole") == 8
    assert trainer.critic is not None
    assert trainer.critic.steps == 4


def test_its_pull_reaches_the_network(folder: Path, tmp_path: Path) -> None:
    trained = []
    for share in ("0.5", "0.001"):  # from the same start, on the same pictures
        trainer = trainer_of(folder, ADVERSARIAL.replace("adversarial = 0.5", f"adversarial = {share}"))
        run(trainer, tmp_path / share, until=6)
        trained.append([parameter.detach().clone() for parameter in trainer.network.parameters()])
    assert not all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*trained, strict=True))


def test_a_run_that_began_without_it_takes_it_in(folder: Path, tmp_path: Path) -> None:
    run(trainer_of(folder), tmp_path, until=4)
    trainer = trainer_of(folder, ADVERSARIAL)
    assert take_up(trainer, tmp_path) == 4
    assert run(trainer, tmp_path) == 8
    assert all(np.isfinite(float(row["critic"])) for row in rows(tmp_path)[4:])


def test_grain_may_learn_faster(folder: Path) -> None:
    trainer = trainer_of(folder, "grain_rate = 50.0\n" + RECIPE)
    rates = {
        name: group["lr"]
        for group in trainer.optimiser.param_groups
        for name, parameter in trainer.network.named_parameters()
        if any(parameter is other for other in group["params"])
    }
    assert len(rates) == len(dict(trainer.network.named_parameters()))
    assert {round(rate, 6) for name, rate in rates.items() if name.startswith("grain.")} == {0.1}
    assert {round(rate, 6) for name, rate in rates.items() if not name.startswith("grain.")} == {0.002}
