"""Prints with damage for training: each kind alone, what is no damage, and the training that learns from them."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from restorer.errors import UsageError
from restorer.imaging.sheets import Picture
from restorer.imaging.tensors import to_tensor
from restorer.models import REGISTRY, damageunet
from restorer.networks.damageunet import SHOWN, DamageUNet, _highest, _lines, _rays, folded
from restorer.training.damage_finding import DamageTrainer
from restorer.training.loop import Place, run
from restorer.training.prints import PrintSet, aged, scanned
from restorer.training.recipe import parse_recipe
from restorer.training.wear import decoys, marks, prints
from restorer.weights import native_file
from tests.training.test_runs import rows

WEAR = {"grey": 0.5, "blur": 1.5, "grain": 8.0, "jpeg": [60, 90]}


def picture(height: int = 120, width: int = 160, seed: int = 0) -> Picture:
    """Return soft colours of middling brightness, on which light and dark marks show."""
    small = np.random.default_rng(seed).integers(70, 160, (5, 6, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize("kind", prints.KINDS)
@pytest.mark.parametrize("shape", [(120, 160), (97, 64), (33, 301)])
def test_each_kind_changes_what_its_mask_says_and_hardly_anything_else(kind: str, shape: tuple[int, int]) -> None:
    clean = picture(*shape)
    found = 0
    for seed in range(6):
        made = prints.damage(clean, np.random.default_rng(seed), [kind])
        change = np.abs(made.picture.astype(int) - clean).max(axis=2)
        assert made.picture.shape == clean.shape
        assert made.picture.dtype == np.uint8
        assert not (made.mask & made.unsure).any()
        assert change[~made.mask & ~made.unsure].max(initial=0) <= prints.FAINT + 1
        assert change[made.mask].min(initial=255) >= prints.SEEN - 1
        found += int(made.mask.sum()) + int(made.unsure.sum())
    assert found > 0


def test_the_same_seed_damages_alike_and_another_one_does_not() -> None:
    clean = picture()
    kinds = list(prints.KINDS)
    first = prints.damage(clean, np.random.default_rng(5), kinds)
    again = prints.damage(clean, np.random.default_rng(5), kinds)
    other = prints.damage(clean, np.random.default_rng(6), kinds)
    assert np.array_equal(first.picture, again.picture)
    assert np.array_equal(first.mask, again.mask)
    assert np.array_equal(first.unsure, again.unsure)
    assert not np.array_equal(first.picture, other.picture)
    assert np.array_equal(clean, picture())  # what is given stays as it is


def test_scratches_are_thin_and_long_and_grow_with_the_scan() -> None:
    def width(unit: float) -> float:
        """Return the mean width of scratches: area by length of their middle lines."""
        area = length = 0.0
        for seed in range(8):
            cover = marks.scratches(np.random.default_rng(seed), (400, 400), unit) > 0.5
            area += float(cover.sum())
            # Erosion takes a pixel off either side of a line.
            length += float(cover.sum() - cv2.erode(cover.astype(np.uint8), np.ones((3, 3), np.uint8)).sum()) / 2
        return area / max(length, 1)

    assert width(4.0) > 1.5 * width(1.5)


def test_a_fold_crosses_the_print() -> None:
    for seed in range(10):
        made = prints.damage(picture(200, 300), np.random.default_rng(seed), ["folds"])
        rows_, columns = np.nonzero(made.mask | made.unsure)
        assert max(np.ptp(rows_) / 200, np.ptp(columns) / 300) > 0.5


def test_tape_that_the_picture_shows_through_is_not_asked_for() -> None:
    opaque = clear = 0
    for seed in range(20):
        made = prints.damage(picture(), np.random.default_rng(seed), ["tape"])
        opaque, clear = opaque + int(made.mask.any()), clear + int(made.unsure.any() and not made.mask.any())
    assert opaque
    assert clear


def test_shapes_of_files_are_laid_on() -> None:
    shape = np.zeros((60, 60), np.uint8)
    cv2.circle(shape, (30, 30), 20, 255, -1)
    made = prints.damage(picture(), np.random.default_rng(1), ["files"], masks=[shape])
    assert made.mask.any()


def test_kinds_are_drawn_without_doubles() -> None:
    drawn = [prints.any_kinds(np.random.default_rng(seed), 3) for seed in range(300)]
    assert all(len(set(kinds)) == 3 for kinds in drawn)
    assert {kind for kinds in drawn for kind in kinds} == set(prints.KINDS)


@pytest.mark.parametrize("kind", decoys.KINDS)
def test_what_is_no_damage_is_put_in_by_the_seed(kind: str) -> None:
    clean = picture(200, 240).astype(np.float32)
    made = [decoys.KINDS[kind](clean, np.random.default_rng(seed)) for seed in range(5)]
    again = decoys.KINDS[kind](clean, np.random.default_rng(0))
    assert np.array_equal(made[0], again)
    assert all(one.shape == clean.shape and np.isfinite(one).all() for one in made)
    assert max(float(np.abs(one - clean).max()) for one in made) > 20
    assert np.array_equal(clean, picture(200, 240))


def test_prints_age_and_are_scanned_by_the_seed() -> None:
    clean = picture()
    for step in (aged, scanned):
        made = [step(clean, np.random.default_rng(seed), WEAR) for seed in range(12)]
        assert np.array_equal(made[3], step(clean, np.random.default_rng(3), WEAR))
        assert all(one.shape == clean.shape and one.dtype == np.uint8 for one in made)
        assert len({one.tobytes() for one in made}) > 8


# --------------------------------------------------------------------------------------------------- the training

RECIPE = """
recipe = "damage"
name = "mine"
seed = 3
precision = "fp32"
log_every = 1
sample_every = 1000
checkpoint_minutes = 9.0
steps = 60
batch = 4
side = 64
lr = 0.02
warmup = 5
ema_steps = 5.0
[network]
stem = 8
widths = [16, 16]
blocks = [1, 1]
[print]
decoys = 0.0
clean = 0.2
grey = 0.0
blur = 0.3
grain = 0.0
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of soft colours."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(3):
        Image.fromarray(picture(120, 150, index)).save(folder / f"{index}.png")
    return folder


def trainer(text: str, photos: Path) -> DamageTrainer:
    return DamageTrainer(parse_recipe(text, photos, "test"), photos, Place(torch.device("cpu")))


def test_it_learns_what_is_damaged(photos: Path, tmp_path: Path) -> None:
    made = trainer(RECIPE, photos)
    unseen = [made.prints.draw(np.random.default_rng([9, index])) for index in range(24)]
    mask = np.stack([one.mask for one in unseen])

    def apart() -> float:
        """Return by how much what is damaged stands above what is not, in logits."""
        with torch.no_grad():
            logits = made.average_network.eval()(to_tensor([one.picture for one in unseen]))[:, 0].numpy()
        return float(logits[mask].mean() - logits[~mask].mean())

    before = apart()
    assert run(made, tmp_path) == 60
    assert apart() > before + 1.0
    file, table = made.export(tmp_path)
    header = native_file.read(file)
    assert header is not None
    assert (header.architecture, header.arguments) == (
        "damageunet",
        {"stem": 8, "widths": [16, 16], "blocks": [1, 1], "lines": False},
    )
    assert 'architecture = "damageunet"' in table.read_text("utf-8")
    assert list((tmp_path / "samples").glob("*.jpg"))


def test_a_run_that_was_interrupted_ends_like_one_that_was_not(photos: Path, tmp_path: Path) -> None:
    short = RECIPE.replace("steps = 60", "steps = 6")
    run(trainer(short, photos), tmp_path / "whole")
    run(trainer(short, photos), tmp_path / "parts", until=3)
    run(trainer(short, photos), tmp_path / "parts")
    whole, parts = rows(tmp_path / "whole"), rows(tmp_path / "parts")
    assert [row["step"] for row in whole] == [row["step"] for row in parts]
    assert [row["entropy"] for row in whole] == [row["entropy"] for row in parts]


def test_faces_are_not_looked_at_for_false_alarms_where_a_recipe_says_so(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(PrintSet, "mine", lambda _self, _find, most: asked.append(most))
    text = RECIPE.replace("lr = 0.02", "lr = 0.02\nmine_every = 2").replace("steps = 60", "steps = 3")
    run(trainer(text, photos), tmp_path / "all")
    run(trainer(text.replace("lr = 0.02", "lr = 0.02\nmine_faces = 0"), photos), tmp_path / "none")
    assert asked == [400, 0]


def test_places_that_were_taken_for_damage_are_shown_more_often_and_a_run_that_goes_on_knows_them(
    photos: Path, tmp_path: Path
) -> None:
    text = RECIPE.replace("[print]", "[print]\nhard = 1.0").replace("lr = 0.02", "lr = 0.02\nmine_every = 2")
    made = trainer(text, photos)

    def find(picture: Picture) -> np.ndarray:
        """Take the lower right corner of the second photograph, in which it has 9 pixels, for damage."""
        found = np.zeros(picture.shape[:2], bool)
        if np.array_equal(picture, made.prints._photos.photos[1]):
            found[90:93, 140:143] = True
        return found

    made.prints._faces = made.prints._photos
    assert [made.prints.mine(find), made.prints.mine(find, 0)] == [2, 1]  # of faces none, where none are asked for
    made.prints._faces = None
    assert made.prints.mine(find) == 1
    place = made.prints.hard[0]
    assert (place.of_faces, place.spot[0], place.weight) == (False, 1, 9.0)
    assert abs(place.spot[1] - 91) <= 48
    assert abs(place.spot[2] - 141) <= 48
    for seed in range(20):  # each square lies there, and none is the whole photograph
        made.prints._photos.photos[1][:, 75:] = 255
        assert made.prints._photos.draw(64, np.random.default_rng(seed), 0.0, place.spot).mean() > 128
    state = {"extra": made.extra_state(), "parts": {name: part.state_dict() for name, part in made.parts().items()}}
    other = trainer(text, photos)
    other.restore(state)
    assert list(other.prints.hard) == made.prints.hard
    other.restore({**state, "extra": {}})  # of a run from before there were any
    assert list(other.prints.hard) == []
    short = text.replace("steps = 60", "steps = 6")
    run(trainer(short, photos), tmp_path / "whole")
    run(trainer(short, photos), tmp_path / "parts", until=4)
    run(trainer(short, photos), tmp_path / "parts")
    assert [row["entropy"] for row in rows(tmp_path / "whole")] == [row["entropy"] for row in rows(tmp_path / "parts")]


def test_more_photographs_are_taken_but_for_those_that_are_left_out(photos: Path, tmp_path: Path) -> None:
    for name in ("kodak_1.png", "other.png"):
        Image.fromarray(picture(100, 100, 7)).save(tmp_path / name)
    text = RECIPE + f'[data]\nmore = "{tmp_path.as_posix()}"\nleave_out = "kodak_*"\n'
    assert len(trainer(text, photos).prints._photos.photos) == 4


def test_squares_that_the_network_cannot_take_are_refused(photos: Path) -> None:
    with pytest.raises(UsageError, match="50 px do not fit"):
        trainer(RECIPE.replace("side = 64", "side = 50"), photos)


@pytest.mark.parametrize("lines", [False, True])
def test_the_network_takes_pictures_of_any_size_and_its_shapes_tell_what_it_is(lines: bool) -> None:
    model = REGISTRY["damageunet"]
    network = model.build({"stem": 8, "widths": [8, 12, 16], "blocks": [1, 2, 1], "lines": lines}).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 37, 50)).shape == (2, 1, 37, 50)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert damageunet.SHOWN == SHOWN
    assert model.infer(shapes) == {"stem": 8, "widths": [8, 12, 16], "blocks": [1, 2, 1], "lines": lines}


def test_a_network_with_its_normalisation_folded_in_computes_the_same() -> None:
    torch.manual_seed(0)
    network = DamageUNet(6, [8, 12], [1, 1], norm=True)
    pictures = torch.rand(2, 3, 32, 48) * 2 - 1
    for _ in range(3):
        network(pictures)  # in training: moves the means and deviations that count outside of it
    with torch.no_grad():
        wanted = network.eval()(pictures)
        found = folded(network, 6, [8, 12], [1, 1])(pictures)
    assert torch.allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("side", [3, 5, 11])
def test_what_is_thinner_than_a_square_is_what_a_pooling_would_find(side: int) -> None:
    x = torch.rand(2, 1, 23, 31, generator=torch.Generator().manual_seed(1))
    padded = F.pad(x, (side // 2,) * 4, mode="replicate")
    assert torch.equal(_highest(x, side), F.max_pool2d(padded, side, 1))


@pytest.mark.parametrize("turn", [0, 20, 45, 77, 90, 150])
@pytest.mark.parametrize("dark", [False, True])
def test_a_line_no_brighter_than_what_it_crosses_stands_out_by_its_length(turn: int, dark: bool) -> None:
    rng = np.random.default_rng(turn)
    thin = np.where(rng.random((2, 256, 256)) < 0.02, 0.3, 0.0)  # as much is thin everywhere, light and dark
    line = np.zeros((256, 256), np.uint8)
    away = np.rint([90 * math.cos(math.radians(turn)), 90 * math.sin(math.radians(turn))]).astype(int)
    cv2.line(line, (128 - int(away[0]), 128 - int(away[1])), (128 + int(away[0]), 128 + int(away[1])), 1)
    thin[int(dark)][line > 0] = 0.3
    shown = torch.cat(_lines(torch.from_numpy(thin[:, None]).float()), dim=1)[0]
    on = torch.from_numpy(line) > 0
    near = F.max_pool2d(on[None].float(), 17, 1, 8)[0] > 0
    for beginning in (0, 4):  # lines of 34 pixels, and of 68
        own, other = shown[beginning + 2 * dark :][:2], shown[beginning + 2 * (not dark) :][:2]
        for plane in own:
            assert plane[on].median() > plane[~near].quantile(0.95)
        for plane in other:
            assert plane[on].median() < plane[~near].quantile(0.97)


def test_rays_reach_as_far_in_every_direction() -> None:
    rays = torch.from_numpy(_rays())[:, 0]
    assert torch.allclose(rays.sum((1, 2)), torch.ones(len(rays)))
    half = rays.shape[-1] // 2
    away = torch.hypot(*torch.meshgrid(2 * [torch.arange(-half, half + 1.0)], indexing="ij"))
    assert ((rays * away).sum((1, 2)) - half / 2).abs().max() < 0.2
    assert (rays > 0.02).any(0).sum() > 8 * half  # no two of them lie on each other


def test_a_folds_paper_is_damage_as_soon_as_it_is_seen_and_its_shade_only_where_it_hides_the_picture() -> None:
    grey, paler = np.full((200, 200, 3), 190, np.uint8), 0
    for seed in range(40):
        made = prints.damage(grey, np.random.default_rng(seed), ["folds"])
        change = np.abs(made.picture.astype(int) - 190).max(axis=2)
        paler += int((made.mask & (change >= prints.SEEN) & (change < prints.STRONG - 1)).sum())
        assert not (made.mask & (change < prints.SEEN - 1)).any()
        assert made.mask[change > prints.STRONG + 1].all()
    assert paler > 9000  # paper that is hardly lighter than the picture; 5,800 of it in folds without much shade


def test_a_folds_shade_alone_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prints, "_paper", lambda picture, cover, rng, unit: picture)
    monkeypatch.setattr(prints, "_covered", lambda picture, cover, colour, rng: picture)
    changed = 0
    for seed in range(20):
        made = prints.damage(np.full((160, 160, 3), 150, np.uint8), np.random.default_rng(seed), ["folds"])
        changed += int((np.abs(made.picture.astype(int) - 150).max(axis=2) >= prints.SEEN).sum())
        assert not made.mask.any() or np.abs(made.picture.astype(int) - 150).max() >= prints.STRONG - 1
    assert changed > 5000


def test_a_speck_counts_as_the_recipe_says_and_a_scratch_as_ever(photos: Path) -> None:
    mask = np.zeros((64, 64), bool)
    mask[10:12, 10:13], mask[20:22, 5:60] = True, True
    made = prints.Damaged(np.zeros((64, 64, 3), np.uint8), mask, np.zeros((64, 64), bool))
    asked = trainer(RECIPE.replace("side = 64", "side = 64\nspeck = 3.0"), photos)._asked(made)
    assert (asked[10:12, 10:13] == 3).all()
    assert (asked[20:22, 5:60] == 1).all()
    assert asked[9, 11] == asked[19, 30] == 0.5  # the rims
    assert asked[40, 40] == 1
