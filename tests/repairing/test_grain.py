"""The grain of what is filled is that of its surroundings."""

from __future__ import annotations

import numpy as np
import pytest

from restorer.repairing.filling import fill
from restorer.repairing.grain import grained
from restorer.repairing.splines import Splines


class Flat(Splines):
    """Fills with the level that the picture has in the mean."""

    grain = True

    def paint(self, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
        return np.full_like(pixels, 120 * (257 if pixels.dtype == np.uint16 else 1))


def noisy(sigma: float, deep: bool = False) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, (160, 200, 1)) + np.full((160, 200, 3), 120.0)
    return np.asarray(np.rint(noise * (257 if deep else 1)), np.uint16 if deep else np.uint8)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("sigma", [3.0, 8.0])
def test_what_was_filled_is_as_grainy_as_what_is_around_it_and_always_the_same(sigma: float, deep: bool) -> None:
    picture = noisy(sigma, deep)
    mask = np.zeros((160, 200), np.uint8)
    mask[20:140, 60:64] = mask[70:90, 100:130] = mask[0:5, :] = 1
    after = fill(picture, mask, Flat())
    assert after.dtype == picture.dtype
    assert np.array_equal(after[mask == 0], picture[mask == 0])
    found = after[mask > 0].astype(float).std() / (257 if deep else 1)
    assert 0.5 * sigma < found < 1.2 * sigma
    assert np.array_equal(fill(picture, mask, Flat()), after)


def test_a_clean_picture_gets_no_grain_and_edges_are_none() -> None:
    picture = np.full((80, 80, 3), 60, np.uint8)
    picture[:, 40:] = 180
    hole = np.zeros((80, 80), np.uint8)
    hole[30:34, :] = 1
    assert np.array_equal(grained(picture, picture, hole), picture)
    nothing = np.ones((80, 80), np.uint8)
    assert np.array_equal(grained(picture, picture, nothing), picture)
