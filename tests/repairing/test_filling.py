"""Damage is found in tiles and filled hole by hole; nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from restorer.evaluation.ageing import photograph
from restorer.models.finders import SecondLook
from restorer.repairing.filling import fill
from restorer.repairing.finding import find


@pytest.mark.parametrize("deep", [False, True])
def test_outside_of_the_mask_nothing_changes_and_inside_it_fits(deep: bool) -> None:
    photo = photograph()[:300, :400]
    truth = photo.astype(np.uint16) * 257 + 3 if deep else photo
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[:, 100:102] = mask[50:53, :] = mask[200:206, 300:306] = mask[-1, :9] = 255
    worn = np.where(mask[..., None] > 0, np.iinfo(truth.dtype).max, truth).astype(truth.dtype)
    before = worn.copy()
    after = fill(worn, mask)
    assert after.dtype == truth.dtype
    assert np.array_equal(worn, before)
    assert np.array_equal(after[mask == 0], truth[mask == 0])
    top = float(np.iinfo(truth.dtype).max)
    wrong, left = (np.abs(each[mask > 0] / top - truth[mask > 0] / top).mean() for each in (worn, after))
    assert left < 0.2 * wrong
    if deep:  # in the photo's own depth, not in 8 bits
        assert len(np.unique(after[mask > 0] % 257)) > 50


def test_a_hole_larger_than_a_part_and_a_picture_of_which_nothing_is_known() -> None:
    ground = np.full((900, 1300, 3), 70, np.uint8)
    mask = np.zeros((900, 1300), np.uint8)
    mask[20:880, 20:1280] = 1
    worn = np.where(mask[..., None] > 0, 255, ground).astype(np.uint8)
    assert np.abs(fill(worn, mask).astype(int) - ground).max() <= 1
    white = np.full((30, 40, 3), 255, np.uint8)
    assert np.array_equal(fill(white, np.ones((30, 40), np.uint8)), white)
    assert np.array_equal(fill(white, np.zeros((30, 40), np.uint8)), white)


class Bright:
    """Calls what is brighter than a fifth above its surroundings damaged; sees as far as a tile reaches."""

    name, tile, overlap, threshold = "bright", 100, 20, 0.5
    views: tuple[int, ...] = ()
    grows = 0
    second: SecondLook | None = None
    floor = 0.0
    smallest = 0

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def damage(self, tile: np.ndarray) -> np.ndarray:
        self.sizes.append((tile.shape[0], tile.shape[1]))
        found: np.ndarray = (tile.mean(2) > 0.9).astype(np.float32)
        return found


@pytest.mark.parametrize("size", [(1, 1), (100, 100), (101, 257), (250, 330)])
def test_tiles_cover_the_photo_once_and_stay_small(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (*size, 3), dtype=np.uint16)
    finder, told = Bright(), list[float]()
    mask = find(finder, pixels, tell=told.append)
    assert np.array_equal(mask > 0, (pixels / 65535).mean(2) > 0.9)
    assert max(max(each) for each in finder.sizes) <= 140
    assert told[-1] == 1.0
