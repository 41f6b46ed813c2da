"""The U-Net without a prior: its network, its batches, its training by phases."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from restorer import weights
from restorer.errors import UsageError
from restorer.models import REGISTRY
from restorer.models.base import FaceArchitecture
from restorer.models.faceunet import FaceUNetArchitecture
from restorer.networks.faceunet import FaceUNet
from restorer.training.checkpoints import CHECKPOINT, LIGHT, take_up
from restorer.training.faceunet import NOTICE, FaceUNetTrainer
from restorer.training.loop import LOSSES, Place, run
from restorer.training.packing import LIMIT
from restorer.training.people import COLUMNS, HONEST, MANIFEST, part_of
from restorer.training.recipe import load_recipe, parse_recipe
from restorer.training.squares import DRAWS, Ahead, Plan, Shown, SquareMaker, emphasised
from restorer.training.train import make_trainer, pack, train
from restorer.training.wear.mixture import DEFAULTS, Mixture

CPU = Place(torch.device("cpu"))


def small_network(grain: float = 0.0, size: int = 64) -> FaceUNet:
    return FaceUNet(size, widths=(8, 12), blocks=(1, 1), head=(8, 4), grain=grain)


STILL = np.array([[1.0, 0, 0], [0, 1, 0]])

RECIPE = """
recipe = "faceunet"
name = "mine"
seed = 3
precision = "fp32"
log_every = 1
checkpoint_minutes = 0.0
lr = 2e-3
lr_until = 6
warmup = 2
ema_pictures = 4
[network]
size = 64
widths = [8, 12]
blocks = [1, 1]
head = [8, 4]
grain = 1.0
[data]
photos = "photos"
photo_names = ["wood"]
photo_share = 0.3
masks = "masks"
[often]
beard = 2.0
[[phases]]
side = 32
batch = 4
steps = 4
[[phases]]
side = 64
batch = 2
steps = 4
texture = 0.1
spectrum = 0.02
"""


def small_picture(seed: int, size: int) -> Image.Image:
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8))
    return small.resize((size, size), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty faces with papers, two photographs of which one may be shown, and a mask of damage."""
    root = tmp_path_factory.mktemp("data")
    for name in ("faces", "photos", "masks"):
        (root / name).mkdir()
    with (root / "faces" / MANIFEST).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for index in range(30):
            small_picture(index, 64).save(root / "faces" / f"x_{index:02d}.png")
            grade, name = ("B", "Somebody") if index % 2 else ("A", "")
            writer.writerow([f"x_{index:02d}.png", f"n_{index}", grade, "free", name, 64 if index % 3 else 40, ""])
    small_picture(91, 100).save(root / "photos" / "wood.png")
    small_picture(92, 100).save(root / "photos" / "team.png")
    Image.fromarray(np.full((20, 20), 255, np.uint8)).save(root / "masks" / "spot.png")
    return root


def trainer_of(folder: Path, text: str = RECIPE) -> FaceUNetTrainer:
    return FaceUNetTrainer(parse_recipe(text, folder, "test"), folder / "faces", CPU)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / LOSSES).open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


# ---------------------------------------------------------------------------------------------------- network


def test_a_new_network_leaves_pictures_nearly_alone() -> None:
    torch.manual_seed(0)
    network = small_network().eval()
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert (network(pictures) - pictures).abs().mean() < 0.05


def test_squares_of_every_fitting_size_go_through_and_others_are_refused() -> None:
    network = small_network(1.0).eval()
    assert network.multiple == 8
    for height, width in ((8, 8), (32, 64), (64, 64)):
        assert network(torch.zeros(1, 3, height, width)).shape == (1, 3, height, width)
    with pytest.raises(ValueError, match="multiples of 8"):
        network(torch.zeros(1, 3, 60, 64))
    with pytest.raises(ValueError, match="up to 64"):
        network(torch.zeros(1, 3, 72, 64))
    with pytest.raises(ValueError, match="multiple of 8"):
        small_network(size=60)
    with pytest.raises(ValueError, match="as many"):
        FaceUNet(64, widths=(8, 12), blocks=(1,))


def test_grain_is_the_same_for_the_same_picture_and_drawn_anew_in_training() -> None:
    network = small_network(2.0)
    pictures = torch.zeros(2, 3, 64, 64)
    network.eval()
    with torch.no_grad():
        assert torch.equal(network(pictures), network(pictures))
        network.train()
        assert not torch.equal(network(pictures), network(pictures))


def test_a_mirrored_network_is_symmetrical_and_keeps_its_grain_whole() -> None:
    torch.manual_seed(0)
    once, both = small_network(1.0).eval(), small_network(1.0).eval()
    nn.init.normal_(once.to_rgb.weight, std=0.1)
    both.load_state_dict(once.state_dict())
    both.mirrored = True
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        once.get_buffer("noise").zero_()
        both.get_buffer("noise").zero_()
        quiet = both(picture)
        assert torch.allclose(quiet, (once(picture) + once(picture.flip(3)).flip(3)) / 2, atol=1e-6)
        assert torch.allclose(both(picture.flip(3)), quiet.flip(3), atol=1e-6)
        assert not torch.allclose(once(picture.flip(3)), once(picture).flip(3), atol=1e-3)
        both.get_buffer("noise").normal_()
        once.get_buffer("noise").copy_(both.get_buffer("noise"))
        even = torch.zeros(1, 3, 64, 64)
        added = [
            (net(even) - calm).std()
            for net, calm in ((both, _without_noise(both, even)), (once, _without_noise(once, even)))
        ]
        assert 0.9 < added[0] / added[1] < 1.1  # the mean of two textures would have 0.7 of one's strength


def _without_noise(network: FaceUNet, picture: Tensor) -> Tensor:
    kept = network.get_buffer("noise").clone()
    network.get_buffer("noise").zero_()
    result: Tensor = network(picture)
    network.get_buffer("noise").copy_(kept)
    return result


def test_the_arguments_are_found_from_the_shapes() -> None:
    model = FaceUNetArchitecture()
    wanted = {"size": 64, "widths": [8, 16, 12], "blocks": [1, 2, 1], "head": [8, 4]}
    network = model.build({**wanted, "grain": 1.5, "template": "none"})
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert model.infer(shapes) == wanted
    assert model.infer({"first.weight": (8, 48, 3, 3)}) == {}
    crop = model.crop({**model.defaults, **wanted})
    assert (crop.input_size, crop.output_size, crop.align_size) == (64, 64, 64)


# ---------------------------------------------------------------------------------------------------- squares


def maker(pictures: np.ndarray, native: list[int], plan: Plan, **changes: object) -> SquareMaker:
    shown = Shown(pictures, np.array(native), np.ones(len(native)))
    mixture = Mixture.of({**DEFAULTS, "clean": 1.0, "formula": 0.0, "grey": 0.0}, pictures.shape[1])
    draws = {**DRAWS, "jitter": 0.0, **changes}
    return SquareMaker(shown, [], mixture, draws, 0.5, 4.0, [plan], (0, 0))


def test_the_batch_of_a_step_depends_on_the_step_alone(folder: Path) -> None:
    first, again = trainer_of(folder).squares, trainer_of(folder).squares
    one = [first.of(step) for step in (1, 2, 3)]
    other = again.of(3)
    assert torch.equal(one[2].degraded, other.degraded)
    assert torch.equal(one[2].weights, other.weights)
    assert not torch.equal(one[0].clean, one[1].clean)


@pytest.mark.slow
def test_processes_make_the_same_batches(folder: Path) -> None:
    made = trainer_of(folder).maker
    ahead = Ahead(made, 2, 6)
    for step in (3, 4, 5, 6, 2):
        found = ahead.of(step)
        assert torch.equal(found.degraded, made[step].degraded)
        assert np.array_equal(found.moved, made[step].moved)


def test_a_face_is_shown_no_larger_than_it_was_taken() -> None:
    rng = np.random.default_rng(0)
    busy = rng.integers(0, 256, (1, 128, 128, 3)).astype(np.uint8)
    large, small = (maker(busy, [native], Plan(9, 64, 8), zoom=[1.0, 1.0], mirror=False)[1] for native in (128, 64))
    assert torch.equal(large.clean, large.degraded)
    # Noise that is reduced to 70 pixels has lost most of its contrast.
    assert small.clean.std() < 0.75 * large.clean.std()


def test_whole_pictures_are_those_that_were_taken_large_enough() -> None:
    pictures = np.stack([np.full((64, 64, 3), tone, np.uint8) for tone in (0, 255)])
    shown = maker(pictures, [40, 60], Plan(9, 64, 12))[1].clean
    assert (shown == 1).all()
    assert 60 * HONEST >= 64 > 40 * HONEST


def test_weights_of_pixels_follow_eyes_and_mouth() -> None:
    weights = emphasised(STILL, 256, 256, 4.0)
    assert weights.shape == (256, 256)
    for x, y in ((96, 120), (159, 120), (128, 186)):
        assert weights[y, x] > 3.9
    assert weights[20, 128] == pytest.approx(1)
    assert weights[230, 30] == pytest.approx(1)
    moved = emphasised(np.array([[0.5, 0, -10], [0, 0.5, -20]]), 256, 64, 4.0)
    assert moved[60 - 20, 48 - 10] > 3.9
    assert (emphasised(STILL, 256, 64, 1.0) == 1).all()


# --------------------------------------------------------------------------------------------------- training


def test_only_persons_of_the_training_part_are_learnt_from(folder: Path) -> None:
    trainer = trainer_of(folder)
    assert {part_of(row.person) for row in trainer.album.rows} == {"training"}
    assert len(trainer.album.rows) == sum(part_of(f"n_{index}") == "training" for index in range(30))


def test_a_stopped_run_goes_on_to_the_same_losses(folder: Path, tmp_path: Path) -> None:
    run(trainer_of(folder), tmp_path / "whole")
    for until in (3, 5, 8):
        run(trainer_of(folder), tmp_path / "parts", until=until)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert [int(row["pictures"]) for row in rows(tmp_path / "whole")] == [4, 8, 12, 16, 18, 20, 22, 24]
    for name in ("texture", "spectrum"):
        assert [bool(row.get(name)) for row in rows(tmp_path / "whole")] == [False] * 4 + [True] * 4


def test_a_run_stops_when_its_time_is_up_and_goes_on(folder: Path, tmp_path: Path) -> None:
    assert run(trainer_of(folder), tmp_path, time_limit=0.0) == 1
    assert run(trainer_of(folder), tmp_path, time_limit=0.0) == 2
    assert run(trainer_of(folder), tmp_path) == 8
    assert len(rows(tmp_path)) == 8


def test_a_run_that_is_taken_elsewhere_goes_on_with_a_new_optimiser(folder: Path, tmp_path: Path) -> None:
    recipe = folder / "mine.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    train(recipe, data=folder / "faces", out=tmp_path / "here", device="cpu", until=5)
    shutil.copytree(tmp_path / "here" / LIGHT, tmp_path / "there" / LIGHT)
    trainer, before = trainer_of(folder), trainer_of(folder)
    assert take_up(before, tmp_path / "here") == 5
    assert take_up(trainer, tmp_path / "there") == 5
    for ours, theirs in zip(trainer.network.parameters(), before.network.parameters(), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-6)
    assert not trainer.optimiser.state
    assert (trainer.rate(6), before.rate(6)) == (0.001, 0.002)  # it warms up again
    assert run(trainer, tmp_path / "there", until=6) == 6
    again = trainer_of(folder)
    assert take_up(again, tmp_path / "there") == 6
    assert again.warm_from == 5
    (tmp_path / "there" / CHECKPOINT).unlink()
    (tmp_path / "there" / LIGHT / "network.safetensors").unlink()
    assert take_up(again, tmp_path / "there") == 5
    for ours, theirs in zip(again.network.parameters(), again.average_network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_what_a_recipe_reads_goes_into_one_folder(folder: Path, tmp_path: Path) -> None:
    text = RECIPE.replace("[data]", '[data]\nfolder = "people"')
    (folder / "packed.toml").write_text(text, encoding="utf-8")
    size = pack(folder / "packed.toml", tmp_path / "packed", data=folder / "faces")
    assert 0 < size < LIMIT
    here = trainer_of(folder, text)
    there = make_trainer(load_recipe(tmp_path / "packed" / "recipe.toml"), None, CPU)
    assert isinstance(there, FaceUNetTrainer)
    assert (tmp_path / "packed" / "recipe.toml").read_text(encoding="utf-8") == text
    assert {path.name for path in (tmp_path / "packed" / "photos").iterdir()} == {"wood.png"}
    assert [row.person for row in there.album.rows] == [row.person for row in here.album.rows]
    assert torch.equal(there.squares.of(2).degraded, here.squares.of(2).degraded)
    with pytest.raises(UsageError, match="exists already"):
        pack(folder / "packed.toml", tmp_path / "packed", data=folder / "faces")


def test_too_much_is_not_packed_nor_what_lies_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = RECIPE.replace("[data]", '[data]\nfolder = "../elsewhere"')
    with pytest.raises(UsageError, match="not below"):
        trainer_of(folder, text).pack(tmp_path / "packed")
    monkeypatch.setattr("restorer.training.packing.LIMIT", 1000)
    with pytest.raises(UsageError, match="may be packed"):
        trainer_of(folder, text.replace("../elsewhere", "faces")).pack(tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_it_learns(folder: Path, tmp_path: Path) -> None:
    text = RECIPE.replace("steps = 4", "steps = 60", 1).replace("lr_until = 6", "lr_until = 60")
    text += "[degradation]\nclean = 0.0\nformula = 1.0\n[degradation.classic]\nnoise = [20.0, 20.0]\n"
    run(trainer_of(folder, text.replace("minutes = 0.0", "minutes = 9.0")), tmp_path, until=60)
    gains = [float(row["gain"]) for row in rows(tmp_path)]
    assert np.mean(gains[40:]) > np.mean(gains[:10]) + 1


def test_the_rate_rises_holds_and_falls(folder: Path) -> None:
    trainer = trainer_of(folder)
    assert [round(trainer.rate(step), 6) for step in (1, 2, 5, 6)] == [0.001, 0.002, 0.002, 0.002]
    assert trainer.rate(7) < 0.002
    assert trainer.rate(8) == pytest.approx(trainer.values["lr_end"])


def test_the_result_loads_and_says_whom_to_name(folder: Path, tmp_path: Path) -> None:
    recipe = folder / "mine.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    done = train(recipe, data=folder / "faces", out=tmp_path, device="cpu", until=2)
    found = weights.resolve(str(done.files[0]))
    loaded = REGISTRY.load(found, weights.fetch(found))
    assert isinstance(loaded.architecture, FaceArchitecture)
    assert loaded.network(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    assert (tmp_path / NOTICE).read_text(encoding="utf-8") == "Somebody\n"


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ("side = 32", "side = 36", "squares of 36 px"),
        ("side = 32", "side = 32\nidentity = 0.1", "asks for identity"),
        ("size = 64", "sizes = 64", "network.sizes"),
        ('photos = "photos"', 'photos = "photos"\ngrades = ["Z"]', "may be learnt from"),
        ("[[phases]]\nside = 32", "[[phases]]\nsides = 32", "sides"),
    ],
)
def test_a_slip_in_the_recipe_is_an_error(folder: Path, change: str, words: str, message: str) -> None:
    assert change in RECIPE
    with pytest.raises(UsageError, match=message):
        trainer_of(folder, RECIPE.replace(change, words, 1))


def test_a_recipe_without_phases_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="no phases"):
        trainer_of(folder, RECIPE.split("[[phases]]", maxsplit=1)[0])
