"""What happens to photographs in a training: each stage alone, and the mixture of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restorer.errors import UsageError
from restorer.training.wear import blur, damage, noise, scan, screens
from restorer.training.wear.blur import Float
from restorer.training.wear.mixture import DEFAULTS, STAGES, Mixture

NEVER = dict.fromkeys(STAGES, 0.0)


def picture(size: int = 64, seed: int = 0) -> np.ndarray:
    """Return a smooth colour picture, uint8."""
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))


def mixture(size: int = 64, stages: dict[str, float] | None = None, **changes: float) -> Mixture:
    """Return a mixture whose stages are drawn as given, and by default never."""
    values = {**DEFAULTS, "clean": 0.0, "formula": 0.0, "grey": 0.0, **changes, "stages": {**NEVER, **(stages or {})}}
    return Mixture.of(values, size)


# ----------------------------------------------------------------------------------------------------- stages


@pytest.mark.parametrize(
    "kernel",
    [blur.gaussian(2.0, 2.0, 0.0), blur.gaussian(0.0, 3.0, 1.0), blur.disc(4.0), blur.motion(9.0, 0.7, 0.2)],
    ids=["gaussian", "stretched", "disc", "motion"],
)
def test_kernels_keep_the_light_and_the_place(kernel: Float) -> None:
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    reach = kernel.shape[0] // 2
    line = np.arange(-reach, reach + 1)
    assert abs((kernel.sum(axis=0) * line).sum()) < 0.5
    assert abs((kernel.sum(axis=1) * line).sum()) < 0.5


def test_blurs_of_one_strength_are_as_wide_whatever_their_kind() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        kernel = blur.any_kernel(rng, 4.0)
        line = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
        spread = sum(float((kernel.sum(axis=axis) * line**2).sum()) for axis in (0, 1)) ** 0.5
        assert 2.5 < spread < 9


def test_a_short_way_is_hardly_a_blur() -> None:
    clean = picture().astype(np.float32)
    assert np.abs(blur.blurred(clean, blur.motion(0.1, 1.0)) - clean).mean() < 1


def test_noise_has_the_strength_asked_for_and_keeps_grey_grey() -> None:
    flat = np.full((128, 128, 3), 128, np.float32)
    for size in (0.0, 1.2):
        worse = noise.sensor(flat, np.random.default_rng(0), 10.0, grey=True, size=size)
        assert worse.std() == pytest.approx(10, rel=0.1)
        assert np.ptp(worse, axis=2).max() == 0
    neighbours = [
        np.corrcoef(grain[:, :-1].ravel(), grain[:, 1:].ravel())[0, 1]
        for grain in (noise.field(np.random.default_rng(0), 64, 64, 1, size)[..., 0] for size in (0.0, 1.2))
    ]
    assert abs(neighbours[0]) < 0.1 < 0.5 < neighbours[1]


def test_coloured_noise_leaves_the_luma() -> None:
    flat = np.full((64, 64, 3), 128, np.float32)
    worse = noise.coloured(flat, np.random.default_rng(0), 20.0, 1.0)
    assert np.abs(scan.greyed(worse) - 128).max() < 0.01
    assert worse.std() > 5


def test_film_grain_leaves_black_and_white() -> None:
    rng = np.random.default_rng(0)
    black, grey, white = (
        noise.film(np.full((64, 64, 3), tone, np.float32), rng, 20.0, 0.8).std() for tone in (0, 128, 255)
    )
    assert black < 0.01
    assert white < 0.01
    assert grey == pytest.approx(20, rel=0.15)


def test_shot_noise_grows_with_light() -> None:
    rng = np.random.default_rng(0)
    dark, light = (noise.shot(np.full((64, 64, 3), tone, np.float32), rng, 100.0).std() for tone in (10, 240))
    assert 3 < light / dark < 7


PRINTS: dict[str, Callable[[Float], Float]] = {
    "half-tone": lambda x: screens.half_tone(x, 4.0, 45.0, 0.6, 6.0, ink=False),
    "inks": lambda x: screens.half_tone(x, 5.0, 15.0, 0.6, 6.0, ink=True),
    "lines": lambda x: screens.lines(x, 4.0, 0.0, 0.6, 6.0),
    "weave": lambda x: screens.weave(x, 6.0, 0.0, 15.0),
    "silk": lambda x: screens.silk(x, 5.0, 10.0, 15.0),
    "paper": lambda x: screens.paper(x, np.random.default_rng(0), 1.0, 10.0),
}


@pytest.mark.parametrize("kind", PRINTS)
def test_a_print_adds_a_pattern_and_keeps_the_tone(kind: str) -> None:
    clean = picture(96).astype(np.float32)
    printed = PRINTS[kind](clean)
    assert printed.shape == clean.shape
    assert printed.dtype == np.float32
    assert np.abs(printed - clean).mean() > 2
    assert abs(printed.mean() - clean.mean()) < 8


def test_a_line_screen_has_its_period() -> None:
    flat = np.full((96, 96, 3), 128, np.float32)
    row = screens.lines(flat, 8.0, 0.0, 1.0, 6.0)[48, :, 0]
    spectrum = np.abs(np.fft.rfft(row - row.mean()))
    assert spectrum.argmax() == 96 // 8


@pytest.mark.parametrize("kind", ["scratches", "cracks", "hairs", "dust"])
def test_drawn_damage_covers_a_little(kind: str) -> None:
    for seed in range(8):
        mask = getattr(damage, kind)(np.random.default_rng(seed), 128, 96, 20)
        assert mask.shape == (128, 96)
        assert mask.min() >= 0
        assert mask.max() <= 1
        assert 0 < (mask > 0.2).mean() < 0.5


def test_masks_come_from_files_and_are_laid_on(tmp_path: Path) -> None:
    Image.fromarray(np.full((900, 600), 255, np.uint8)).save(tmp_path / "spot.png")
    (mask,) = damage.read_masks([tmp_path / "spot.png"], 300)
    assert mask.shape == (300, 200)
    laid = damage.from_masks(np.random.default_rng(0), 64, 64, [mask])
    assert laid.shape == (64, 64)
    assert laid.max() == 1
    (tmp_path / "torn.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"torn\.png cannot be read"):
        damage.read_masks([tmp_path / "torn.png"])


def test_damage_hides_where_its_mask_is_and_nothing_else() -> None:
    clean = picture().astype(np.float32)
    mask = np.zeros((64, 64), np.float32)
    mask[10:20] = 1
    worse = damage.damaged(clean, mask, np.random.default_rng(0))
    assert np.array_equal(worse[20:], clean[20:])
    assert np.abs(worse[10:20] - clean[10:20]).mean() > 5


def test_jpeg_is_worse_at_low_quality_and_its_blocks_can_begin_outside() -> None:
    clean = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.float32)
    good, bad, moved = (scan.jpeg(clean, *rest) for rest in ((95, 0), (10, 2), (10, 2, (3, 5))))
    assert good.shape == bad.shape == moved.shape == clean.shape
    assert np.abs(good - clean).mean() < np.abs(bad - clean).mean()
    assert not np.array_equal(bad, moved)


def test_interlacing_moves_every_second_row() -> None:
    clean = picture().astype(np.float32)
    worse = scan.interlaced(clean, 2)
    assert np.array_equal(worse[::2], clean[::2])
    assert np.array_equal(worse[1::2, 2:], clean[1::2, :-2])


def test_halos_overshoot_at_an_edge() -> None:
    edge = np.zeros((16, 16, 3), np.float32)
    edge[:, 8:] = 128
    assert scan.haloed(edge, 1.0, 1.0).max() > 140


def test_tones_follow_their_curves() -> None:
    curves = scan.any_tone(np.random.default_rng(0))
    assert curves.shape == (256, 3)
    assert (np.diff(curves, axis=0) >= 0).all()
    assert np.allclose(scan.toned(np.full((2, 2, 3), 7.0, np.float32), curves), curves[7])
    halfway = scan.toned(np.full((2, 2, 3), 7.5, np.float32), curves)
    assert np.allclose(halfway, (curves[7] + curves[8]) / 2, atol=1e-3)
    assert np.allclose(scan.toned(np.full((2, 2, 3), 300, np.float32), curves), curves[255])


# ----------------------------------------------------------------------------------------------------- the mixture


def test_the_mixture_is_decided_by_the_generator_alone() -> None:
    mix = Mixture.of(DEFAULTS, 64)
    first, again = ([mix(picture(seed=seed), np.random.default_rng(seed)) for seed in range(40)] for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.picture, other.picture)
        assert np.array_equal(one.clean, other.clean)
    assert not np.array_equal(first[0].picture, first[1].picture)


def test_every_pair_has_the_pictures_size_and_kind() -> None:
    mix = Mixture.of({**DEFAULTS, "stages": dict.fromkeys(STAGES, 0.6)}, 64)
    rng = np.random.default_rng(1)
    for size in (32, 64, 96):
        for _ in range(60):
            pair = mix(picture(size), rng)
            for found in (pair.picture, pair.clean):
                assert found.shape == (size, size, 3)
                assert found.dtype == np.uint8


def test_one_pair_in_eight_is_clean() -> None:
    mix = Mixture.of({**DEFAULTS, "grey": 0.0}, 32)
    rng, clean = np.random.default_rng(0), picture(32)
    pairs = [mix(clean, rng) for _ in range(800)]
    untouched = sum(np.array_equal(pair.picture, clean) and np.array_equal(pair.clean, clean) for pair in pairs)
    assert 0.09 < untouched / len(pairs) < 0.17


def test_a_mixture_without_any_stage_leaves_a_picture_alone() -> None:
    clean = picture()
    pair = mixture()(clean, np.random.default_rng(0))
    assert np.array_equal(pair.picture, clean)
    assert np.array_equal(pair.enlarged(), pair.picture)
    assert np.array_equal(pair.truth(clean), clean)


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in ("strong_blur", "again", "tone")])
def test_each_stage_changes_the_picture_and_not_its_truth(stage: str) -> None:
    clean = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    pairs = [mixture(256, {stage: 1.0})(clean, np.random.default_rng(seed)) for seed in range(12)]
    assert all(np.array_equal(pair.clean, clean) for pair in pairs)
    assert sum(not np.array_equal(pair.picture, clean) for pair in pairs) >= 9


def test_a_faded_print_is_the_truth_of_a_faded_print() -> None:
    clean = picture()
    pair = mixture(stages={"tone": 1.0})(clean, np.random.default_rng(0))
    assert np.array_equal(pair.picture, pair.clean)
    assert not np.array_equal(pair.clean, clean)


@pytest.mark.parametrize("share", ["clean", "formula", "neither"])
def test_the_truth_of_a_grey_picture_is_grey(share: str) -> None:
    shares = {name: float(name == share) for name in ("clean", "formula")}
    mix = Mixture.of({**DEFAULTS, **shares, "grey": 1.0, "stages": {**NEVER, "noise": 1.0, "jpeg": 0.5}}, 64)
    rng = np.random.default_rng(0)
    pairs = [mix(picture(), rng) for _ in range(30)]
    assert all(np.ptp(pair.clean, axis=2).max() == 0 for pair in pairs)
    assert any(np.ptp(pair.picture, axis=2).max() <= 1 for pair in pairs)


def test_the_hardest_reduction_leaves_what_the_recipe_says() -> None:
    busy = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    kept = [
        mixture(stages={"reduce": 1.0}, smallest=8)(busy, np.random.default_rng(seed)).picture.std()
        for seed in range(60)
    ]
    assert min(kept) < 0.35 * busy.std()
    assert max(kept) > 0.8 * busy.std()


def test_shares_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="clean and formula"):
        Mixture.of({**DEFAULTS, "clean": 0.7, "formula": 0.4}, 64)
