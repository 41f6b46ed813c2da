"""Prints on a scan are found to a hundredth of their sides; everything else stays whole."""

from __future__ import annotations

import numpy as np
import pytest

from restorer.bench import split as bench
from restorer.evaluation.ageing import photograph
from restorer.imaging import prints
from restorer.imaging.sheets import Picture


@pytest.fixture(scope="module")
def photos() -> list[Picture]:
    photo = photograph()
    return [photo, np.ascontiguousarray(photo[60:420]), np.ascontiguousarray(photo[:, 80:430, ::-1])]


@pytest.mark.parametrize("lid", bench.LIDS)
def test_every_print_is_found_and_cut_upright(photos: list[Picture], lid: str) -> None:
    right = 0
    for seed in range(3):
        scan, places = bench.made(photos, lid, np.random.default_rng([seed, 7]))
        found = bench.measure(scan, places)
        right += found["right"]
        assert found["right"] or found["reason"], found
    assert right >= 2
    for place in prints.find(scan)[0]:
        cut = prints.cut(scan, place)
        assert cut.shape[:2] == pytest.approx(place.size[::-1], rel=0.01)


def test_a_cut_shows_what_lay_on_the_scan_in_its_own_depth(photos: list[Picture]) -> None:
    scan, _ = bench.made(photos, "grey", np.random.default_rng(5))
    deep = scan.astype(np.uint16) * 257
    found, reason = prints.find(deep)
    assert reason is None
    assert [np.round(each.centre, -1).tolist() for each in found] == [
        np.round(each.centre, -1).tolist() for each in prints.find(scan)[0]
    ]
    cut = prints.cut(deep, found[0])
    assert cut.dtype == np.uint16
    # Near its corners, just inside, it is no longer lid.
    height, width = cut.shape[:2]
    corners = cut[[4, 4, height - 5, height - 5], [4, width - 5, 4, width - 5]] / 257
    assert (np.abs(corners - bench.LIDS["grey"]).max(1) > 8).sum() >= 3


def test_what_lies_straight_is_not_resampled() -> None:
    scan = np.full((600, 900, 3), 250, np.uint8)
    photo = photograph()[:300, :300]
    scan[100:400, 60:360] = scan[200:500, 500:800] = photo
    found, _ = prints.find(scan)
    assert len(found) == 2
    cut = prints.cut(scan, found[0])
    top, left = 100 + (300 - cut.shape[0]) // 2, 60 + (300 - cut.shape[1]) // 2
    assert any(np.array_equal(cut, scan[top + y : top + y + cut.shape[0], left + x : left + x + cut.shape[1]])
               for y in (-1, 0, 1) for x in (-1, 0, 1))  # fmt: skip


def test_photos_single_prints_and_plain_lids_stay_whole() -> None:
    photo = photograph()
    assert prints.find(photo)[0] == []
    scan = np.full((900, 900, 3), 250, np.uint8)
    assert prints.find(scan) == ([], "no print is found on it")
    scan[150:662, 200:712] = photo
    assert prints.find(scan) == ([], "it shows one print")
    scan[500:700, 640:860] = photo[:200, :220]  # one lies on the other
    assert prints.find(scan)[0] == []
    assert prints.find(np.full((20, 20, 3), 9, np.uint8))[0] == []
