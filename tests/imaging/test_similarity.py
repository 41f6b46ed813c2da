"""The similarity that brings points nearest to others."""

from __future__ import annotations

import numpy as np
import pytest

from restorer.imaging.similarity import nearest_similarity, spread_of
from restorer.networks.mobilefacenet import TEMPLATE, aligning

POINTS = np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 5.0], [-1.0, 3.0]])


@pytest.mark.parametrize("degrees", [0, 33, -120, 180])
@pytest.mark.parametrize("scale", [0.1, 1, 40])
def test_a_similarity_is_found_again(degrees: float, scale: float) -> None:
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = nearest_similarity(POINTS, POINTS @ turn.T + (7, -9))
    assert found is not None
    assert np.allclose(found.matrix, np.column_stack([turn, (7, -9)]))
    assert found.explained == pytest.approx(1)


def test_a_reflection_is_no_similarity() -> None:
    found = nearest_similarity(POINTS, POINTS * (-1, 1))
    assert found is not None
    assert found.explained < 0.5
    assert np.linalg.det(found.matrix[:, :2]) > 0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_points_without_number_or_spread_have_none(wrong: float) -> None:
    broken = POINTS.copy()
    broken[1, 0] = wrong
    with np.errstate(invalid="ignore"):
        assert nearest_similarity(broken, POINTS) is nearest_similarity(POINTS, broken) is None
    assert nearest_similarity(np.ones((4, 2)), POINTS) is None
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="align nothing"):
        aligning(np.full((5, 2), wrong))
    with pytest.raises(ValueError, match="align nothing"):
        aligning(np.ones((5, 2)))


def test_landmarks_are_what_the_crop_is_cut_by() -> None:
    matrix = aligning(np.array(TEMPLATE) * 3 + (10, 20))
    assert np.allclose(matrix, [[3, 0, 10], [0, 3, 20]])
    assert spread_of(np.array([[0.0, 0.0], [2.0, 0.0]])) == 1
