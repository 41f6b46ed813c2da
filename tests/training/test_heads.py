"""Heads turned to the side: what comes nearer, what is hidden, and where the landmarks and the box go."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restorer.training.heads import Head, turn_head

BOX = np.array([78, 70, 178, 206], np.float32)
POINTS = np.array([[104, 124], [152, 124], [128, 152], [108, 178], [148, 178]], np.float32)


def drawn() -> np.ndarray:
    """Return a face (256, 256, 3) whose left half is red and whose right half is blue, on grey."""
    face = np.full((256, 256, 3), 90, np.uint8)
    cv2.ellipse(face, (128, 138), (58, 84), 0, 0, 360, (220, 40, 40), -1)
    right = face[:, 128:]
    right[(right == (220, 40, 40)).all(axis=2)] = (40, 40, 220)
    return face


def test_a_head_that_is_not_turned_stays_as_it_is() -> None:
    picture, box, points = turn_head(drawn(), BOX, POINTS, 0)
    assert np.abs(picture.astype(int) - drawn()).mean() < 2  # samples are quarters of a pixel apart
    assert points == pytest.approx(POINTS, abs=1e-3)
    assert box == pytest.approx(BOX, abs=3)


@pytest.mark.parametrize("yaw", [-60, -30, 30, 60])
def test_the_side_that_turns_away_is_hidden_and_the_nose_comes_forward(yaw: int) -> None:
    picture, box, points = turn_head(drawn(), BOX, POINTS, yaw)
    colours = picture[138].astype(int)
    red, blue = ((colours[:, i] > 150).sum() for i in (0, 2))
    assert (red > 1.5 * blue) == (yaw > 0)
    assert (blue > 1.5 * red) == (yaw < 0)
    way = np.sign(yaw)
    assert way * (points[2, 0] - points[[0, 1, 3, 4], 0].mean()) > 10
    assert np.abs(points[1, 0] - points[0, 0]) < 48  # the eyes come together
    assert points[:, 1] == pytest.approx(POINTS[:, 1])
    assert box[0] - 2 <= points[2, 0] <= box[2] + 2
    assert (box[1], box[3]) == (BOX[1], BOX[3])


def test_both_sides_are_alike() -> None:
    right, right_box, right_points = turn_head(drawn(), BOX, POINTS, 40)
    left, left_box, left_points = turn_head(np.ascontiguousarray(drawn()[:, ::-1]), BOX, POINTS, -40)
    assert np.abs(right[:, ::-1].astype(int) - left).mean() < 6
    assert right_points[2, 0] + left_points[2, 0] == pytest.approx(256, abs=2)
    assert right_box[0] + left_box[2] == pytest.approx(256, abs=4)


def test_the_cheek_beside_the_nose_is_nearer_than_the_ear() -> None:
    head = Head.of(POINTS)
    x, y = np.array([128, 140, 180, 250], np.float32), np.full(4, 150, np.float32)
    depth = head.depth(x, y)
    assert depth[0] > depth[1] > depth[2] >= depth[3] == 0


@pytest.mark.parametrize("yaw", [-0.8, 0.8])
def test_of_two_cheeks_that_one_is_nearer_from_which_the_face_turns_away(yaw: float) -> None:
    """It is laid over the other one where both are seen in one place."""
    x, y = np.array([90, 166], np.float32), np.full(2, 150, np.float32)
    left, right = Head.of(POINTS).turned(x, y, yaw)[1]
    assert (left > right + 20) == (yaw > 0)
    assert (right > left + 20) == (yaw < 0)


@given(st.floats(-80, 80), st.floats(10, 90), st.integers(0, 2**31))
def test_any_face_can_be_turned(yaw: float, apart: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = np.array([[0, 0], [1, 0], [0.5, 0.6], [0.15, 1.1], [0.85, 1.1]]) * apart + rng.uniform(0, 60, 2)
    box = np.array([*(points.min(axis=0) - apart / 2), *(points.max(axis=0) + apart / 2)])
    picture, turned_box, turned = turn_head(rng.integers(0, 256, (96, 80, 3), np.uint8), box, points, yaw)
    assert picture.shape == (96, 80, 3)
    assert np.isfinite(turned).all()
    assert turned_box[0] < turned_box[2]
