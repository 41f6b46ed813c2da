"""Alignment: the similarity from landmarks, and the crop that it cuts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from restorer.faces import align
from restorer.imaging import warp as resample
from tests.support.faces import POINTS, TEMPLATE, enlarged, landmarks, similarity, smooth_photo

poses = {
    "scale": st.floats(0.02, 50),
    "degrees": st.floats(-180, 180),
    "x": st.floats(-5000, 5000),
    "y": st.floats(-5000, 5000),
}


@given(**poses)
def test_estimate_finds_any_similarity_again(scale: float, degrees: float, x: float, y: float) -> None:
    wanted = similarity(scale, degrees, (x, y))
    points = resample.invert(wanted)
    faces = np.array(POINTS) @ points[:, :2].T + points[:, 2]
    assume(np.ptp(faces[:, 0]) + np.ptp(faces[:, 1]) > 20)  # smaller ones have no pose
    found = align.estimate(faces, TEMPLATE, 512)
    assert found is not None
    assert np.allclose(found @ [*faces[0], 1], POINTS[0], atol=1e-6)
    assert np.allclose(found[:, :2], wanted[:, :2], rtol=1e-6, atol=1e-9)


@given(st.lists(st.floats(-30, 30), min_size=10, max_size=10))
def test_estimate_is_the_best_of_all_similarities(noise: list[float]) -> None:
    points = np.array(POINTS) / 2 + np.reshape(noise, (5, 2)) / 2
    found = align.estimate(points, TEMPLATE, 512)
    assert found is not None

    def error(matrix: np.ndarray) -> float:
        return float(np.sum((points @ matrix[:, :2].T + matrix[:, 2] - POINTS) ** 2))

    for change in (
        (1.001, 0, 0, 0),
        (0.999, 0, 0, 0),
        (1, 0.1, 0, 0),
        (1, -0.1, 0, 0),
        (1, 0, 0.1, 0),
        (1, 0, 0, -0.1),
    ):
        scale, degrees, x, y = change
        turn = similarity(scale, degrees, (x, y))
        other = np.hstack([turn[:, :2] @ found[:, :2], (turn @ [*found[:, 2], 1])[:, None]])
        assert error(found) <= error(other)


def test_estimate_uses_only_the_points_that_the_template_names() -> None:
    points = landmarks(60, 10, (100, 100))
    points[2:] += 40
    pair = align.estimate(points, replace(TEMPLATE, used=(0, 1)), 512)
    assert pair is not None
    assert np.allclose(pair @ [*points[0], 1], POINTS[0], atol=1e-3)
    assert np.allclose(pair @ [*points[1], 1], POINTS[1], atol=1e-3)


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), 50.0),
        np.full((5, 2), np.nan),
        landmarks(60, 0, (100, 100)) * [np.inf, 1],
        landmarks(60, 0, (100, 100)) * [-1, 1],  # mirrored: no rotation makes it a face
        landmarks(0.8, 0, (100, 100)),  # a face of two pixels
        np.array([[0, 0], [0, 1], [0, 2]], float),
    ],
    ids=["coincident", "nan", "infinite", "mirrored", "tiny", "three points"],
)
def test_landmarks_that_allow_no_alignment_give_none(points: np.ndarray) -> None:
    """Upstream hands a failed estimate to the warp and crashes there."""
    assert align.estimate(points, TEMPLATE, 512) is None


def test_a_full_profile_can_be_aligned() -> None:
    points = landmarks(60, 0, (100, 100))
    points[:, 0] = 100 + (points[:, 0] - 100) * 0.05
    matrix = align.estimate(points, TEMPLATE, 512)
    assert matrix is not None
    assert np.linalg.det(matrix[:, :2]) > 0


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.15, 6), degrees=st.floats(-180, 180), x=st.floats(-10, 10), size=st.sampled_from([16, 33, 64]))
def test_extract_reads_a_ramp_exactly(scale: float, degrees: float, x: float, size: int) -> None:
    """Positions are exact at every scale and angle: a ramp of levels shows a shift of a twentieth of a pixel."""
    row = np.linspace(2000, 60000, 600)
    ramp = np.rint(np.stack([np.add.outer(row / 2, row / 2)] * 3, -1)).astype(np.uint16)
    matrix = similarity(scale, degrees, (0, 0))
    matrix[:, 2] = size / 2 - matrix[:, :2] @ [300 + x, 301]
    crop = align.extract(ramp, matrix, size) * 65535
    inverse = resample.invert(matrix)
    at = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), -1) @ inverse[:, :2].T + inverse[:, 2]
    reach = max(12, 3 / scale)  # of the filter: nearer to the border it also reads what lies beyond
    inside = ((at > reach) & (at < 600 - reach)).all(-1)
    step = (row[1] - row[0]) / 2
    expected = 2000 + step * (at.sum(-1) - 1)
    assert inside.any()
    assert np.abs(crop[..., 0] - expected)[inside].max() < 0.05 * step  # the ramp's own rounding is 0.01 of a step


def test_extract_averages_what_is_finer_than_the_crop() -> None:
    """Upstream samples a large face without antialiasing; a checkerboard then gives stripes instead of grey."""
    checkers = (np.indices((1200, 1200)).sum(0) % 2 * 255).astype(np.uint8)
    photo = np.stack([checkers] * 3, -1)
    for scale in (0.1, 0.3, 0.5):
        matrix = similarity(scale, 10, (0, 0))
        matrix[:, 2] = 32 - matrix[:, :2] @ [600, 600]
        crop = align.extract(photo, matrix, 64)
        assert np.abs(crop - 0.5).max() < 0.03


def test_extract_keeps_the_detail_that_the_crop_can_hold() -> None:
    photo = smooth_photo(200, 200)
    matrix = similarity(0.5, 0, (0, 0))
    small = enlarged(photo, (100, 100))
    crop = align.extract(photo, matrix, 100) * 255
    assert np.abs(crop - small)[8:-8, 8:-8].mean() < 0.3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_extract_scales_by_type_not_by_content(dtype: type) -> None:
    """Upstream takes a picture for 16-bit by its largest value, so a dark 16-bit photo is read as 8-bit."""
    photo: np.ndarray = np.full((50, 50, 3), 200, dtype)
    crop = align.extract(photo, similarity(1, 0, (0, 0)), 50)
    assert np.allclose(crop, 200 / np.iinfo(dtype).max, atol=1e-6)


@pytest.mark.parametrize("place", [(-40, -40), (90, 50), (50, 160), (500, 500)])
def test_a_crop_beyond_the_photo_has_no_foreign_colour(place: tuple[int, int]) -> None:
    photo = np.full((100, 100, 3), (200, 120, 40), np.uint8)
    matrix = similarity(1.3, 20, (0, 0))
    matrix[:, 2] = 64 - matrix[:, :2] @ place
    assert np.allclose(align.extract(photo, matrix, 128), np.array([200, 120, 40]) / 255, atol=2e-3)


def test_a_crop_beyond_the_photo_is_its_mirror_image_at_first_and_blurred_farther_out() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    crop = align.extract(photo, similarity(1, 0, (40, 0)), 128)
    assert np.abs(crop[:, 38:40] - crop[:, 41:39:-1]).mean() < 0.05
    far, mirrored = crop[:, :5], crop[:, 79:74:-1]
    assert far.std() < 0.2 * mirrored.std()
    assert abs(far.mean() - mirrored.mean()) < 0.1


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    x=st.integers(-30, 30),
    y=st.integers(-30, 30),
    wide=st.integers(1, 30),
    high=st.integers(1, 30),
)
def test_mirroring_goes_on_as_long_as_needed(height: int, width: int, x: int, y: int, wide: int, high: int) -> None:
    photo = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    mirrored = np.concatenate([photo, photo[::-1]])
    mirrored = np.concatenate([mirrored, mirrored[:, ::-1]], axis=1)  # to and fro, again and again
    rows, columns = np.arange(y, y + high) % (2 * height), np.arange(x, x + wide) % (2 * width)
    found = align._mirrored(photo, (x, y, x + wide, y + high))
    assert np.array_equal(found, mirrored[rows][:, columns])


def test_extract_does_not_change_its_arguments() -> None:
    photo, matrix = smooth_photo(80, 80), similarity(2, 5, (3, 4))
    before = photo.copy(), matrix.copy()
    align.extract(photo, matrix, 64)
    assert np.array_equal(photo, before[0])
    assert np.array_equal(matrix, before[1])


def test_the_middle_of_the_mouth_counts_where_the_template_says_so() -> None:
    """GLEAN's template has the eyes and the middle of the mouth: a lower mouth means a larger face."""
    from restorer.models.templates import EYES_AND_MOUTH

    points = np.array(EYES_AND_MOUTH.points) * 300 + 40
    exact = align.estimate(points, EYES_AND_MOUTH, 1024)
    points[3:] += (0, 30)
    lower = align.estimate(points, EYES_AND_MOUTH, 1024)
    assert exact is not None
    assert lower is not None
    assert np.hypot(*exact[:, 0]) == pytest.approx(1024 / 300)
    assert np.hypot(*lower[:, 0]) < 0.97 * np.hypot(*exact[:, 0])
