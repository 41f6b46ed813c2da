"""What splines fill: slopes and edges go on through a hole, nothing that is known changes, and large holes end soon."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restorer.repairing import splines
from restorer.repairing.filling import DEEP, fill
from restorer.repairing.splines import Splines


def ramp(height: int, width: int, across: float, down: float, dtype: type = np.uint8) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    light = 128 + across * (columns - width / 2) + down * (rows - height / 2)
    return np.repeat(np.rint(light * (257 if dtype is np.uint16 else 1))[..., None], 3, axis=2).astype(dtype)


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(6, 48), st.integers(6, 48)),
    slopes=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    dtype=st.sampled_from([np.uint8, np.uint16]),
)
@settings(max_examples=40, deadline=None)
def test_a_slope_goes_on_through_holes_of_any_form(
    seed: int, size: tuple[int, int], slopes: tuple[float, float], dtype: type
) -> None:
    rng = np.random.default_rng(seed)
    truth = ramp(*size, *slopes, dtype)
    noise = cv2.GaussianBlur(rng.random(size).astype(np.float32), (0, 0), 1.5)
    hole = (noise > np.quantile(noise, 0.8)).astype(np.uint8)
    hole[:2], hole[-2:], hole[:, :2], hole[:, -2:] = 0, 0, 0, 0  # beyond the border nobody knows how it goes on
    worn: np.ndarray = np.where(hole[..., None] > 0, rng.integers(0, 256, truth.shape), truth).astype(dtype)
    filled = Splines().paint(worn, hole)
    assert np.array_equal(filled[hole == 0], truth[hole == 0])
    level = 257 if dtype is np.uint16 else 1
    assert np.abs(filled.astype(float) - truth).max() <= 3 * level


@pytest.mark.parametrize("turn", [0.0, 20.0, 45.0, 70.0, 90.0, 135.0])
def test_an_edge_goes_on_straight_through_a_scratch(turn: float) -> None:
    """Telea lets it run out: the squared error is more than twice as large there."""
    rows, columns = np.mgrid[:96, :96] - 47.5
    off = columns * np.cos(np.radians(turn)) + rows * np.sin(np.radians(turn))
    truth = np.repeat(np.rint(60 + 120 / (1 + np.exp(-off / 0.7)))[..., None], 3, axis=2).astype(np.uint8)
    hole = np.zeros((96, 96), np.uint8)
    along = np.radians(turn + 60)
    end = (round(47.5 + 80 * np.cos(along)), round(47.5 + 80 * np.sin(along)))
    start = (round(47.5 - 80 * np.cos(along)), round(47.5 - 80 * np.sin(along)))
    cv2.line(hole, start, end, 1, 3)
    worn = np.where(hole[..., None] > 0, 255, truth).astype(np.uint8)
    ours, telea = fill(worn, hole), cv2.inpaint(worn, hole, 3, cv2.INPAINT_TELEA)
    errors = [np.square(each[hole > 0].astype(float) - truth[hole > 0]).mean() for each in (ours, telea)]
    assert errors[0] < 0.5 * errors[1]


def test_a_scratch_through_texture_comes_back_better_than_by_telea() -> None:
    from restorer.evaluation.ageing import photograph

    truth = photograph()[:256, :256]
    hole = np.zeros(truth.shape[:2], np.uint8)
    for at in range(-200, 256, 40):
        cv2.line(hole, (at, 0), (at + 200, 255), 1, 3)
    worn = np.where(hole[..., None] > 0, 255, truth).astype(np.uint8)
    ours, telea = fill(worn, hole), cv2.inpaint(worn, hole, 3, cv2.INPAINT_TELEA)
    errors = [np.square(each[hole > 0].astype(float) - truth[hole > 0]).mean() for each in (ours, telea)]
    assert 10 * np.log10(errors[1] / errors[0]) > 1.9  # 1.6 where bending costs the same across edges


def test_bending_counts_in_thin_holes_and_hardly_in_wide_ones() -> None:
    hole = np.zeros((80, 120), bool)
    hole[:, 20:23] = hole[:, 60:76] = True
    stiff = splines._stiffness(hole)
    assert stiff[40, 19:24].min() > 0.9
    assert stiff[40, 60:76].max() < 0.1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 9), (9, 1), (2, 2), (3, 40)])
def test_a_single_known_pixel_is_enough(size: tuple[int, int], dtype: type) -> None:
    top = np.iinfo(dtype).max
    picture: np.ndarray = np.full((*size, 3), top, dtype)
    picture[0, 0] = top // 3, top // 2, 0
    hole = np.ones(size, np.uint8)
    hole[0, 0] = 0
    filled = fill(picture, hole)
    assert np.abs(filled.astype(int) - picture[0, 0]).max() <= top // 255


def test_what_comes_out_stays_between_black_and_white() -> None:
    checks = np.where(np.indices((60, 60)).sum(axis=0)[..., None] % 2, 0, 255).astype(np.uint8).repeat(3, axis=2)
    hole = np.zeros((60, 60), np.uint8)
    hole[20:40, 20:40] = 1
    filled = fill(checks, hole)
    assert filled.dtype == np.uint8
    assert np.array_equal(filled, fill(checks, hole))


def test_the_midst_of_a_large_hole_is_solved_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, it would be a million unknowns at the picture's own size, a minute of a core for each megapixel."""
    solved: list[int] = []
    plain = splines._solved

    def counted(picture: np.ndarray, unknown: np.ndarray, edges: splines._Edges) -> np.ndarray:
        solved.append(int(unknown.sum()))
        return plain(picture, unknown, edges)

    monkeypatch.setattr(splines, "_solved", counted)
    truth = ramp(500, 600, 0.2, -0.1)
    hole = np.zeros((500, 600), np.uint8)
    hole[60:, 100:500] = 1
    assert cv2.distanceTransform(hole, cv2.DIST_L2, 5).max() > 4 * DEEP
    filled = fill(np.where(hole[..., None] > 0, 0, truth).astype(np.uint8), hole)
    assert np.array_equal(filled[hole == 0], truth[hole == 0])
    off = np.abs(filled.astype(int) - truth)
    assert off[:260].max() <= 6
    assert off.max() <= 30  # at the lower border, beyond which nothing is known
    assert sum(solved) < 0.4 * splines.PASSES * hole.sum()
    assert max(solved) <= Splines.part**2
