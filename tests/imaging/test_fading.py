"""Faded prints come back, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from restorer.bench import tone as bench
from restorer.evaluation.ageing import photograph
from restorer.evaluation.difference import mean_difference
from restorer.imaging import fading
from restorer.imaging.fading import Levels
from restorer.imaging.resize import resize
from restorer.imaging.sheets import Picture
from restorer.photo import read_photo


def treated(picture: np.ndarray) -> np.ndarray:
    found = fading.measure(picture)
    return fading.apply(picture, found.levels) if found.is_faded else picture


@pytest.fixture(scope="module")
def photo() -> Picture:
    return np.ascontiguousarray(resize(np.asarray(photograph()), (256, 256)))


@pytest.mark.parametrize("name", bench.CURVES)
def test_a_faded_photo_comes_back_and_nothing_happens_to_the_good_one(photo: Picture, name: str) -> None:
    assert treated(photo) is photo
    worse = bench.faded(photo, name)
    assert mean_difference(photo, treated(worse)) < 0.6 * mean_difference(photo, worse)


def test_a_faded_sepia_print_gets_contrast_and_stays_sepia(photo: Picture) -> None:
    sepia = bench.in_sepia(photo)
    assert treated(sepia) is sepia
    worse = np.rint(70 + 0.45 * sepia.astype(np.float64)).astype(np.uint8)
    found = fading.measure(worse)
    assert found.is_faded
    assert found.toned
    assert len(set(found.levels.black)) == len(set(found.levels.white)) == 1
    assert np.ptp(treated(worse).mean((0, 1))) > np.ptp(worse.mean((0, 1)))


def test_grey_stays_grey_to_the_last_bit_and_16_bits_keep_their_steps(photo: Picture) -> None:
    grey = np.repeat(photo[..., :1], 3, axis=2).astype(np.uint16) * 90 + 14000
    after = treated(grey)
    assert after.dtype == np.uint16
    assert np.array_equal(after[..., 0], after[..., 2])
    assert len(np.unique(after)) == len(np.unique(grey))
    assert np.ptp(after) > 1.5 * np.ptp(grey.astype(int))
    assert np.array_equal(after, treated(grey))


def test_levels_are_what_picture_editors_compute() -> None:
    levels = Levels((0.2, 0.1, 0.0), (0.8, 0.9, 1.0), (2.0, 1.0, 1.0))
    values = np.array([[[51, 25, 0], [204, 230, 255], [128, 128, 128]]], np.uint8)
    wanted = [[0, 0, 0], [255, 255, 255], [round(255 * ((128 / 255 - 0.2) / 0.6) ** 0.5), 128, 128]]
    assert fading.apply(values, levels)[0].tolist() == wanted


def test_hardly_anything_is_cut_off(photo: Picture) -> None:
    """Also where a few bright lamps and black corners lie outside of what the statistics saw."""
    worse = bench.faded(photo, "yellowed")
    worse[:3, :40], worse[-3:, :40] = 250, 5
    after = fading.apply(worse, fading.measure(worse).levels)
    inner = after[3:-3]
    assert ((inner == 0) | (inner == 255)).mean((0, 1)).max() < 0.01


def test_a_white_border_and_what_is_transparent_do_not_count(photo: Picture) -> None:
    worse = bench.faded(photo, "dull")
    framed = np.full((320, 320, 3), 250, np.uint8)
    framed[32:288, 32:288] = worse
    assert fading.measure(framed).is_faded
    assert fading.measure(framed).box == pytest.approx((0.1, 0.1, 0.9, 0.9), abs=0.015)
    assert fading.measure(framed).levels.black == pytest.approx(fading.measure(worse).levels.black, abs=0.03)
    hidden = worse.copy()
    hidden[:, :60] = 0
    alpha = np.full(hidden.shape[:2], 255, np.uint8)
    assert not fading.measure(hidden, alpha).is_faded
    alpha[:, :61] = 0
    assert fading.measure(hidden, alpha).is_faded


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 500)])
def test_pictures_of_a_few_pixels_and_of_one_colour(size: tuple[int, int]) -> None:
    for value in (0, 120, 255):
        plain = np.full((*size, 3), value, np.uint8)
        found = fading.measure(plain)
        assert np.isfinite(found.levels.black + found.levels.white + found.levels.gamma).all()
        assert treated(plain) is plain


def test_clean_photographs_are_left_alone(shared: Path) -> None:
    files = sorted((shared / "data" / "photos_clean").glob("kodak_*"))
    assert files
    for path in files:
        assert not fading.measure(read_photo(path).pixels).is_faded, path.name
