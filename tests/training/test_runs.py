"""Every recipe trains: losses fall on two pictures, a killed run goes on to the same losses, the files are loadable."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from restorer import weights
from restorer.errors import InterruptedRunError, UsageError
from restorer.models import REGISTRY
from restorer.models.base import FaceArchitecture
from restorer.training.loop import LOSSES, Place, Trainer, run
from restorer.training.recipe import load_recipe, parse_recipe, recipe_names
from restorer.training.restoring import RestorerTrainer, degradation_of
from restorer.training.train import TRAINERS, make_trainer, train
from restorer.training.wear.mixture import Mixture

CPU = Place(torch.device("cpu"))

PRIOR = """
recipe = "prior"
name = "mine"
seed = 3
log_every = 1
checkpoint_minutes = 0.0
path_every = 2
r1_every = 2
[network]
style_dim = 16
n_mlp = 2
narrow = 0.03125
channel_multiplier = 1.0
[discriminator]
narrow = 0.03125
channel_multiplier = 1.0
[[stages]]
size = 8
pictures = 24
batch = 4
[[stages]]
size = 16
pictures = 24
batch = 4
fade = 12
"""

DCGAN = """
recipe = "dcgan"
name = "mine"
seed = 3
log_every = 1
checkpoint_minutes = 0.0
steps = 12
batch = 4
[network]
style_dim = 8
features = 4
[discriminator]
features = 4
"""

RESTORER = """
recipe = "{kind}"
name = "mine"
seed = 3
precision = "fp32"
log_every = 1
checkpoint_minutes = 0.0
steps = {steps}
batch = 4
lr = {lr}
lr_end = {lr}
betas = [0.9, 0.99]
adversarial_from = 2
discriminator_lr = 1e-3
r1_every = 4
ema_pictures = 4
identity_weights = ""
[network]
{network}
[discriminator]
narrow = 0.03125
channel_multiplier = 1.0
[degradation]
grey = 0.5
"""

GLEAN = """in_size = 16
out_size = 32
unshuffle = 2
style_channels = 16
channel_multiplier = 1.0
narrow = 0.03125
rrdb_channels = 8
num_rrdbs = 1
rrdb_growth = 4
decoder_last = 8"""
NETWORKS = {
    "glean": GLEAN,
    "lightglean": GLEAN.replace("in_size = 16", "in_size = 8").replace(
        "unshuffle = 2", "unshuffle = 4\nbank_size = 16\nresidual = true\ntrunk_levels = 1\ndecoder_skips = true"
    ),
    "gfpgan": "out_size = 32\nnum_style_feat = 16\nchannel_multiplier = 1.0\nnarrow = 0.0625",
    "gpen": "size = 32\nstyle_dim = 16\nn_mlp = 2\nchannel_multiplier = 1.0\nnarrow = 0.03125",
}
RATES = {"glean": 2e-3, "lightglean": 2e-3, "gfpgan": 2e-2, "gpen": 2e-2}
WATCHED = {"glean": "mse", "lightglean": "mse", "gfpgan": "l1", "gpen": "l1"}


def recipe_of(kind: str, steps: int = 12) -> str:
    if kind in NETWORKS:
        return RESTORER.format(kind=kind, network=NETWORKS[kind], steps=steps, lr=RATES[kind])
    return {"prior": PRIOR, "dcgan": DCGAN}[kind]


KINDS = ["prior", "dcgan", *NETWORKS]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two smooth pictures of 64 px."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index in range(2):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3)).astype(np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


def trainer_of(text: str, pictures: Path) -> Trainer:
    return make_trainer(parse_recipe(text, pictures, "test"), pictures, CPU)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / LOSSES).open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def column(folder: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows(folder) if row[name]]


# --------------------------------------------------------------------------------------------------- recipes


def test_every_kind_has_a_recipe_in_the_package() -> None:
    assert {load_recipe(name).kind for name in recipe_names()} == set(TRAINERS)


@pytest.mark.parametrize("name", recipe_names())
def test_the_recipes_of_the_package_are_complete_and_known(name: str) -> None:
    recipe = load_recipe(name)
    trainer = TRAINERS[recipe.kind]
    values = recipe.complete(
        {
            **trainer.defaults,
            **dict.fromkeys(("precision", "sample_every", "log_every"), None),
            "checkpoint_minutes": 0.0,
        }
    )
    if issubclass(trainer, RestorerTrainer):
        model = REGISTRY[trainer.architecture]
        assert isinstance(model, FaceArchitecture)
        assert set(values["network"]) <= set(model.defaults)
        crop = model.crop({**model.defaults, **values["network"]})
        assert crop.input_size == crop.output_size


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("seed = 3", "seed = 3\nlearning_rate = 1.0"),
        ("log_every = 1", 'log_every = "often"'),
        ("style_dim = 16", "style_dims = 16"),
        ("size = 16", "size = 32"),
        ('recipe = "prior"', 'recipe = "priors"'),
    ],
)
def test_a_slip_in_a_recipe_is_an_error(change: str, words: str, pictures: Path) -> None:
    assert change in PRIOR
    with pytest.raises(UsageError):
        trainer_of(PRIOR.replace(change, words, 1), pictures)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UsageError) as error:
        load_recipe("tiny-priors")
    assert error.value.remedy is not None
    assert "tiny-prior" in error.value.remedy


# -------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_to_the_same_losses(kind: str, pictures: Path, tmp_path: Path) -> None:
    text = recipe_of(kind, steps=8).replace(
        "decoder_skips = true", "decoder_skips = true\ndecoder_noise = true\ndecoder_grain = 1.5"
    )
    run(trainer_of(text, pictures), tmp_path / "whole", until=8)
    run(trainer_of(text, pictures), tmp_path / "parts", until=3)
    run(trainer_of(text, pictures), tmp_path / "parts", until=8)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert len(rows(tmp_path / "whole")) == 8


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_restorer_learns_two_pictures(kind: str, pictures: Path, tmp_path: Path) -> None:
    text = recipe_of(kind, steps=60).replace("adversarial_from = 2", "adversarial_from = 50")
    text = text.replace("checkpoint_minutes = 0.0", "checkpoint_minutes = 9.0")
    run(trainer_of(text, pictures), tmp_path)
    found = column(tmp_path, WATCHED[kind])
    assert np.mean(found[40:50]) < 0.75 * np.mean(found[:5])


def test_the_adversarial_loss_has_its_time(pictures: Path, tmp_path: Path) -> None:
    text = recipe_of("lightglean", steps=6).replace(
        "adversarial_from = 2", "adversarial_from = 2\nadversarial_until = 4"
    )
    run(trainer_of(text, pictures), tmp_path)
    assert [bool(row["discriminator"]) for row in rows(tmp_path)] == [False, False, True, True, False, False]


def test_the_texture_loss_waits_for_its_step(pictures: Path, tmp_path: Path) -> None:
    text = recipe_of("lightglean", steps=4).replace("lr_end", "texture_from = 2\nlr_end")
    text = f"{text}[losses]\nmse = 1.0\ntexture = 0.1\n"
    run(trainer_of(text, pictures), tmp_path)
    assert [bool(row["texture"]) for row in rows(tmp_path)] == [False, False, True, True]


def test_a_restorer_learns_from_the_mixture_too(pictures: Path, tmp_path: Path) -> None:
    trainer = trainer_of(recipe_of("lightglean", steps=3).replace("lr_end", "real_world = true\nlr_end"), pictures)
    assert isinstance(trainer, RestorerTrainer)
    assert isinstance(degradation_of(trainer.values, 32), Mixture)
    assert run(trainer, tmp_path) == 3


@pytest.mark.parametrize("kind", ["prior", "dcgan"])
def test_a_discriminator_learns_two_pictures(kind: str, pictures: Path, tmp_path: Path) -> None:
    text = recipe_of(kind).replace("steps = 12", "steps = 30").replace("pictures = 24", "pictures = 120", 1)
    text = text.replace("checkpoint_minutes = 0.0", "checkpoint_minutes = 9.0")
    run(trainer_of(text, pictures), tmp_path, until=30)
    found = column(tmp_path, "discriminator")
    assert np.mean(found[20:30]) < 0.9 * np.mean(found[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_is_a_file_that_loads(kind: str, pictures: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(recipe_of(kind, steps=3), encoding="utf-8")
    done = train(recipe, data=pictures, out=tmp_path / "run", device="cpu", until=7)
    file, table = done.files
    found = weights.resolve(str(file))
    loaded = REGISTRY.load(found, weights.fetch(found))
    assert found.name == "mine"
    assert all(torch.isfinite(value).all() for value in loaded.network.state_dict().values())
    assert (done.folder / "losses.png").is_file()
    assert any((done.folder / "samples").iterdir())
    text = table.read_text(encoding="utf-8")
    assert 'sources = ["file:mine.safetensors"]' in text
    if isinstance(loaded.architecture, FaceArchitecture):
        assert loaded.network(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)


@pytest.mark.slow
def test_a_kill_loses_only_the_step_under_way(pictures: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(PRIOR.replace("pictures = 24", "pictures = 400", 1), encoding="utf-8")
    out = tmp_path / "run"
    call = (
        "from pathlib import Path; from restorer.training.train import train; "
        f"train({str(recipe)!r}, data=Path({str(pictures)!r}), out=Path({str(out)!r}))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", call], env=environment, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (out / LOSSES).is_file():
        time.sleep(0.05)
    while time.monotonic() < deadline and len(rows(out)) < 4:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = rows(out)
    assert 4 <= len(before) < 100, "the run was to be killed in its middle"
    trainer = make_trainer(load_recipe(recipe), pictures, CPU)
    run(trainer, out, until=len(before) + 2)
    after = rows(out)
    assert [int(row["step"]) for row in after] == list(range(1, len(before) + 3))
    run(make_trainer(load_recipe(recipe), pictures, CPU), tmp_path / "whole", until=len(before) + 2)
    whole = rows(tmp_path / "whole")
    for name in ("discriminator", "generator"):
        ours, theirs = [float(row[name]) for row in after], [float(row[name]) for row in whole]
        assert ours == pytest.approx(theirs, rel=0.05, abs=0.02)


def test_an_interrupt_keeps_the_step_under_way(pictures: Path, tmp_path: Path) -> None:
    trainer = trainer_of(PRIOR.replace("checkpoint_minutes = 0.0", "checkpoint_minutes = 99.0"), pictures)

    def interrupt(step: int, total: int, seconds: float, means: Any) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(InterruptedRunError):
        run(trainer, tmp_path, report=interrupt)
    assert run(trainer_of(PRIOR, pictures), tmp_path, until=3) == 3
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2", "3"]


@pytest.mark.slow
def test_two_processes_train_one_network(pictures: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(PRIOR, encoding="utf-8")
    code = (
        "from pathlib import Path; import torch; from restorer.training.train import *; "
        "from restorer.training.train import _place; place = _place('cpu'); "
        f"t = make_trainer(load_recipe({str(recipe)!r}), Path({str(pictures)!r}), place); "
        f"run(t, Path({str(tmp_path / 'run')!r}), until=3); "
        f"torch.save(t.generator.state_dict(), {str(tmp_path)!r} + f'/{{place.rank}}.pt')"
    )
    port = str(20000 + os.getpid() % 20000)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env={**environment, "RANK": str(rank)}, cwd=tmp_path)
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    parameters = [key for key in first if not key.startswith("noise_") and key != "latent_avg"]
    assert all(torch.equal(first[key], second[key]) for key in parameters)


def test_cats_train_with_the_prior_recipe_by_another_path(shared: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "cats.toml"
    text = (Path(load_recipe.__code__.co_filename).parent / "recipes" / "tiny-prior.toml").read_text(encoding="utf-8")
    text, count = re.subn(r'folder = ".*"', f'folder = "{(shared / "data/cats").as_posix()}"', text)
    assert count == 1
    recipe.write_text(text, encoding="utf-8")
    done = train(recipe, out=tmp_path / "run", device="cpu", until=1)
    assert done.steps == 1
    assert done.files[0].is_file()
