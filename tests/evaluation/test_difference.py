"""CIEDE2000 against the values that its authors published."""

from __future__ import annotations

import numpy as np
import pytest

from restorer.evaluation.difference import ciede2000, lab_of, mean_difference

# Sharma, Wu and Dalal (2005), table 1: pairs 1, 4, 7, 10, 13, 16, 17, 21, 25, 30, 34.
PUBLISHED = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.001), 7.1792),
    ((50.0, -0.001, 2.49), (50.0, 0.0009, -2.49), 4.8045),
    ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (50.0, 3.1736, 0.5854), 1.0000),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("first", "second", "wanted"), PUBLISHED)
def test_published_pairs(first: tuple[float, ...], second: tuple[float, ...], wanted: float) -> None:
    one, other = np.array(first), np.array(second)
    assert ciede2000(one, other) == pytest.approx(wanted, abs=6e-5)
    assert ciede2000(other, one) == pytest.approx(wanted, abs=6e-5)


def test_pictures() -> None:
    grey = np.full((2, 2, 3), 119, np.uint8)
    assert lab_of(grey) == pytest.approx(np.broadcast_to([50.03, 0, 0], (2, 2, 3)), abs=0.02)
    assert lab_of(np.array([[[255, 0, 0]]], np.uint8))[0, 0] == pytest.approx([53.24, 80.09, 67.2], abs=0.02)
    assert lab_of(grey.astype(np.uint16) * 257) == pytest.approx(lab_of(grey))
    assert mean_difference(grey, grey) == 0
    assert 0 < mean_difference(grey, grey + 3) < 3
