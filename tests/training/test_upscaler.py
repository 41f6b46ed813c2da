"""Training the upscaler: its degradation, both factors, resuming, and a result that enlarges photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from restorer import weights
from restorer.errors import UsageError
from restorer.imaging.tensors import to_tensor
from restorer.models import REGISTRY
from restorer.training.loop import Place, run
from restorer.training.mild import MILD, MildDegradation, reduce
from restorer.training.recipe import load_recipe, parse_recipe
from restorer.training.upscaling import PhotoSet, UpscalerTrainer
from restorer.upscaling.tiles import NetworkUpscaler
from tests.support.networks import at_work
from tests.training.test_runs import rows

RECIPE = """
recipe = "upscaler"
name = "mine"
seed = 3
precision = "fp32"
log_every = 1
checkpoint_minutes = 0.0
steps = 60
batch = 4
side = 16
lr = 2e-3
warmup = 5
finish_from = 3
texture_from = 5
[network]
widths = [8, 8]
blocks = [1, 1]
[finish]
l1 = 0.0
l2 = 8.0
texture = 0.02
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs with edges, one of them smaller than the squares that are drawn."""
    folder = tmp_path_factory.mktemp("photos")
    for index, size in enumerate([(90, 120), (50, 60)]):
        picture = np.full((*size, 3), 90, np.uint8)
        for k in range(12):
            cv2.circle(picture, (9 * k, 7 * k % 50), 4 + k, (20 * k, 250 - 20 * k, 120), -1)
        Image.fromarray(picture).save(folder / f"{index}.png")
    return folder


def trainer(text: str, photos: Path) -> UpscalerTrainer:
    return UpscalerTrainer(parse_recipe(text, photos, "test"), photos, Place(torch.device("cpu")))


NOISE = """
[degradation]
noise = [30.0, 30.0]
jpeg_share = 0.0
clean = 0.0
"""
"""Strong noise is what a small network learns to take off first."""


def test_it_learns_at_both_factors_and_the_result_enlarges_photos(photos: Path, tmp_path: Path) -> None:
    made = trainer(RECIPE.replace("checkpoint_minutes = 0.0", "checkpoint_minutes = 9.0") + NOISE, photos)

    def errors() -> list[float]:
        """Return the mean squared error of either factor, always on the same squares."""
        found = []
        for factor in (2, 4):
            pairs = [made._pair(made.photos, factor, np.random.default_rng(1000 + index)) for index in range(12)]
            with torch.no_grad():
                enlarged = made.average_network(to_tensor([degraded for degraded, _ in pairs]), factor)
            found.append(float((enlarged - to_tensor([clean for _, clean in pairs])).square().mean()))
        return found

    before = errors()
    run(made, tmp_path)
    assert [after / first < 0.85 for after, first in zip(errors(), before, strict=True)] == [True, True]
    assert [bool(row["texture"]) for row in rows(tmp_path)[:6]] == [False] * 4 + [True] * 2
    assert made.sample().size == (4 * 64, 16 + 4 * 64)
    file = made.export(tmp_path)[0]
    upscaler = NetworkUpscaler(at_work(REGISTRY.load(weights.resolve(str(file)), file)))
    photo = np.asarray(Image.open(photos / "1.png"))
    for size in ((120, 100), (240, 200), (200, 130)):
        result = upscaler.upscale(photo, size)
        assert result.shape == (size[1], size[0], 3)
        assert abs(result.mean((0, 1)) - photo.mean((0, 1))).max() < 3


def test_what_is_learnt_from_changes_at_the_finish_and_when_texture_begins(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[float] = []
    monkeypatch.setattr("restorer.training.upscaling.backward", lambda loss: learnt.append(float(loss.detach())))
    made = trainer(RECIPE, photos)
    for step in (2, 3, 5):
        made.network.zero_grad()
        found = {name: float(value) for name, value in made.step(step).items()}
        expected = {2: found["l1"], 3: 8 * found["l2"], 5: 8 * found["l2"] + 0.02 * found.get("texture", np.nan)}
        assert learnt[-1] == pytest.approx(expected[step])


def test_a_stopped_run_goes_on_to_the_same_losses(photos: Path, tmp_path: Path) -> None:
    text = RECIPE.replace("steps = 60", "steps = 6")
    run(trainer(text, photos), tmp_path / "whole")
    run(trainer(text, photos), tmp_path / "parts", until=2)
    run(trainer(text, photos), tmp_path / "parts")
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_reduced_squares_show_more_of_the_photograph(photos: Path) -> None:
    """A photograph that rises from left to right rises as much faster in a square as it is reduced."""
    ramp = np.tile(np.arange(250, dtype=np.uint8)[None, :, None], (200, 1, 3))

    def slopes(*reduced: float) -> list[float]:
        drawn = PhotoSet([photos / "0.png"], 20, 400, reduced=(reduced[0], reduced[1]))
        drawn.photos = [ramp]
        squares = [drawn.draw(20, np.random.default_rng(seed), 0.0).astype(float) for seed in range(30)]
        assert {square.shape for square in squares} == {(20, 20, 3)}
        return [max(np.ptp(square, axis=0).max(), np.ptp(square, axis=1).max()) / 19 for square in squares]

    assert slopes(1, 1) == pytest.approx([1.0] * 30)
    assert slopes(3, 3) == pytest.approx([3.0] * 30, abs=0.1)
    assert 1 <= min(slopes(1, 3)) < 1.5 < 2.5 < max(slopes(1, 3)) <= 3.1
    assert max(slopes(20, 20)) == pytest.approx(10.0, abs=0.2)  # as far as the photograph goes


def set_of(photos: Path, *shown: np.ndarray, **varied: float) -> PhotoSet:
    drawn = PhotoSet([photos / "0.png"], 16, 400, **varied)  # type: ignore[arg-type]
    drawn.photos = list(shown)
    return drawn


def squares(drawn: PhotoSet) -> list[np.ndarray]:
    return [drawn.draw(16, np.random.default_rng(seed), 0.0) for seed in range(60)]


def test_squares_are_toned(photos: Path) -> None:
    flat = np.full((40, 40, 3), 100, np.uint8)
    assert all((square == 100).all() for square in squares(set_of(photos, flat)))
    toned = squares(set_of(photos, flat, tone=0.3))
    assert all((square == square[0, 0]).all() for square in toned)
    levels = np.array([square[0, 0] for square in toned])
    assert len(np.unique(levels)) > 20
    assert (levels.min(axis=1) < levels.max(axis=1)).any()
    assert 40 <= levels.min() < levels.max() <= 190


def test_squares_are_sharpened(photos: Path) -> None:
    edge = np.full((16, 16, 3), 80, np.uint8)
    edge[:, 8:] = 160
    beyond = [int(square.max()) - 160 for square in squares(set_of(photos, edge, sharpened=0.5))]
    assert max(beyond) > 8
    assert 0 <= min(beyond) < 5
    assert {int(square.max()) for square in squares(set_of(photos, edge))} == {160}


def test_of_several_squares_the_most_detailed_is_taken(photos: Path) -> None:
    flat, rough = np.full((40, 40, 3), 100, np.uint8), np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)

    def share(best_of: int) -> float:
        return float(np.mean([square.std() > 0 for square in squares(set_of(photos, flat, rough, best_of=best_of))]))

    assert 0.3 < share(1) < 0.7 < share(4)


def test_now_and_then_a_square_is_taken_as_it_comes(photos: Path) -> None:
    flat, rough = np.full((40, 40, 3), 100, np.uint8), np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)

    def share(as_they_come: float) -> float:
        drawn = squares(set_of(photos, flat, rough, best_of=8, as_they_come=as_they_come))
        return float(np.mean([square.std() > 0 for square in drawn]))

    assert share(1.0) < 0.7 < share(0.0)


def test_letters_are_put_on_as_often_as_is_asked(photos: Path) -> None:
    flat = np.full((90, 90, 3), 100, np.uint8)
    drawn = PhotoSet([photos / "0.png"], 64, 400, lettering=1.0)
    drawn.photos = [flat]
    written = [drawn.draw(64, np.random.default_rng(seed), 0.0) for seed in range(30)]
    assert np.mean([square.std() > 1 for square in written]) > 0.5  # some words begin beyond the border
    assert not any(square.std() for square in squares(set_of(photos, flat)))


def test_what_is_left_out_is_not_seen(photos: Path) -> None:
    text = f"{RECIPE}[data]\nleave_out = '1.*'\n"
    assert len(trainer(text, photos).photos.photos) == 1


def test_slips_in_the_recipe_are_errors(photos: Path) -> None:
    with pytest.raises(UsageError, match="halved"):
        trainer(RECIPE.replace("batch = 4", "batch = 3"), photos)
    with pytest.raises(UsageError, match="noise"):
        MildDegradation.of({**MILD, "noise": [9.0, 1.0]})
    for slip in ("[3.0, 1.0]", "[0.5, 1.0]", "[2.0]"):
        with pytest.raises(UsageError, match="reduction"):
            trainer(f"{RECIPE}[data]\nreduced = {slip}\n", photos)


@pytest.mark.parametrize("name", ["tiny-upscaler", "tiny-upscaler-free"])
def test_the_recipe_of_the_package_is_complete(name: str) -> None:
    values = load_recipe(name).complete({**UpscalerTrainer.defaults, **dict.fromkeys(COMMON, None)})
    assert values["network"]["widths"] == weights.resolve("tiny-upscaler").arguments["widths"]


COMMON = ("precision", "sample_every", "log_every", "checkpoint_minutes")


@pytest.mark.parametrize("factor", [2, 4])
def test_the_degradation_keeps_position_and_colour(factor: int) -> None:
    ramp = np.linspace(20, 220, 64, dtype=np.float32)
    picture = np.repeat(np.repeat(ramp[None, :, None], 64, 0), 3, 2).astype(np.uint8)
    for method in (cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LINEAR):
        small = reduce(picture.astype(np.float32), factor, method)
        expected = picture.reshape(64, 64 // factor, factor, 3).mean(2)[::factor]
        assert abs(small - expected)[:, 2:-2].max() < 1
    rng = np.random.default_rng(0)
    degradation = MildDegradation.of(MILD)
    results = [degradation(picture, factor, rng) for _ in range(20)]
    assert {result.shape for result in results} == {(64 // factor, 64 // factor, 3)}
    assert abs(np.mean([result.mean() for result in results]) - picture.mean()) < 1
    assert max(result.std(axis=0).mean() for result in results) > 1  # noise
    same = (
        degradation(picture, factor, np.random.default_rng(5)),
        degradation(picture, factor, np.random.default_rng(5)),
    )
    assert np.array_equal(*same)


def test_grain_is_strongest_in_middle_tones_and_a_print_has_its_screen() -> None:
    """The truth of both is the picture without them."""
    plain = {**MILD, "clean": 0.0, "blur": [0.0, 0.0], "noise": [0.0, 0.0], "jpeg_share": 0.0}
    grained = MildDegradation.of({**plain, "film": 1.0, "grain": [8.0, 8.0]})

    def rough(degradation: MildDegradation, level: int) -> float:
        flat = np.full((128, 128, 3), level, np.uint8)
        return float(np.mean([degradation(flat, 2, np.random.default_rng(seed)).std() for seed in range(6)]))

    assert rough(grained, 128) == pytest.approx(8, abs=1)
    assert rough(grained, 5) < 4
    assert rough(MildDegradation.of(plain), 128) == 0
    assert rough(MildDegradation.of({**plain, "print": 1.0}), 128) > 2
    assert rough(MildDegradation.of({**plain, "print": 1.0, "screen": 0.1}), 128) < rough(
        MildDegradation.of({**plain, "print": 1.0}), 128
    )


def test_a_square_cut_out_after_jpeg_stays_where_its_truth_is(photos: Path) -> None:
    made = trainer(RECIPE + "[degradation]\nshifted = 1.0\nclean = 1.0\n", photos)
    for factor in (2, 4):
        for seed in range(5):
            degraded, clean = made._pair(made.photos, factor, np.random.default_rng(seed))
            assert (degraded.shape, clean.shape) == ((16, 16, 3), (16 * factor, 16 * factor, 3))
            size = (16, 16)
            apart = [
                abs(cv2.resize(np.roll(clean, shift, 1), size, interpolation=cv2.INTER_AREA).astype(float) - degraded)
                for shift in (0, factor, -factor)
            ]
            assert apart[0].mean() <= min(apart[1].mean(), apart[2].mean())
