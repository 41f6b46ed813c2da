"""Which photos go to a worker together, and what that does to the time that a run takes."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Sequence

import pytest

from restorer.batch.estimate import Load
from restorer.cluster.blocks import ALONE, LEAST, MOST, MOST_PHOTOS, Block, blocks, rank, weight


def handed_out(weights: Sequence[float], workers: int) -> list[Block[int]]:
    """Return the blocks of photos of these weights in the order in which they are handed out."""
    found = list(blocks(enumerate(weights), sum(weights), workers))
    return sorted(found, key=lambda each: rank(len(each.items), each.weight))


def numbered(weights: Sequence[float]) -> list[tuple[int, float]]:
    return list(enumerate(weights))


def makespan(given: Sequence[Block[int]], workers: int) -> float:
    """Return when the last worker is through, where each takes the next block as soon as it is free."""
    free = [0.0] * workers
    for block in given:
        heapq.heapreplace(free, free[0] + block.weight)
    return max(free)


def test_each_photo_is_in_one_block() -> None:
    weights = [random.Random(3).choice([0.1, 2.0, 9.0, 150.0, 400.0]) for _ in range(3000)]
    found = list(blocks(numbered(weights), sum(weights), 5))
    assert sorted(item for block in found for item in block.items) == list(range(3000))
    assert sum(block.weight for block in found) == pytest.approx(sum(weights))
    assert max(len(block.items) for block in found) <= MOST_PHOTOS


def test_large_photos_stand_alone_and_come_first() -> None:
    weights = [4.0] * 40 + [ALONE + 60] + [4.0] * 40 + [ALONE] + [4.0]
    found = handed_out(weights, 3)
    assert [block.items for block in found[:2]] == [[40], [81]]
    assert all(len(block.items) > 1 for block in found[2:-1])


def test_blocks_shrink_towards_the_end_and_are_few() -> None:
    found = list(blocks(((n, 8.0) for n in range(2_000_000)), 2_000_000 * 8.0, 100))
    sizes = [block.weight for block in found]
    assert len(found) < 20_000
    assert max(sizes) <= MOST + 8
    assert sizes[-2] <= LEAST + 8
    assert all(later <= earlier + 8 for earlier, later in itertools.pairwise(sizes))


def test_a_guess_of_the_whole_that_is_wrong_loses_nothing() -> None:
    for total in (0.0, 10.0, 1e9):
        found = list(blocks(((n, 3.0) for n in range(500)), total, 4))
        assert sum(len(block.items) for block in found) == 500


@pytest.mark.parametrize("workers", [2, 3, 8, 40])
@pytest.mark.parametrize("seed", range(5))
def test_a_few_of_100_megapixels_among_small_ones_end_near_the_ideal(workers: int, seed: int) -> None:
    """Within 1.2 times of the larger of an even share and the largest photo, which no schedule is below."""
    lots = random.Random(seed)
    weights = [lots.uniform(1, 12) for _ in range(150 * workers)] + [100 * lots.uniform(1, 2) for _ in range(workers)]
    lots.shuffle(weights)
    ideal = max(sum(weights) / workers, max(weights))
    assert makespan(handed_out(weights, workers), workers) <= 1.2 * ideal


def test_in_the_order_of_the_list_it_would_not() -> None:
    """What the schedule is for: the large photo at the end of the list, where a plain split leaves it."""
    weights = [4.0] * 200 + [400.0]
    plain = [Block([n], each) for n, each in enumerate(weights)]
    ideal = max(sum(weights) / 3, 400.0)
    assert makespan(plain, 3) > 1.2 * ideal
    assert makespan(handed_out(weights, 3), 3) <= 1.2 * ideal


def test_what_is_done_already_weighs_little() -> None:
    done, there = Load(50.0, 4.0, skipped=True), Load(50.0, 4.0)
    assert weight(done) < 0.5 < 50 < weight(there)
    assert weight(Load(0.0)) > 0
