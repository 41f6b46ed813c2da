"""What is filled smoothly gets the texture of places nearby that look alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restorer.repairing import alike
from restorer.repairing.alike import FAR, like_elsewhere
from restorer.repairing.filling import fill


def weave(height: int = 96, width: int = 120) -> np.ndarray:
    """Return a cloth whose threads recur, on a slope of light, (h, w, 3) in [0, 1]."""
    rows, columns = np.mgrid[0:height, 0:width]
    threads = 0.12 * np.sin(rows * 1.6) * np.sin(columns * 1.3)
    return np.repeat((0.3 + 0.3 * columns / width + threads)[..., None], 3, axis=2)


def crossed(height: int = 96, width: int = 120) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    rows, columns = np.mgrid[0:height, 0:width]
    hole[np.abs(rows - columns + 10) < 4] = True
    return hole


def away(one: np.ndarray, other: np.ndarray, hole: np.ndarray) -> float:
    return float(np.sqrt(np.square(one[hole] - other[hole]).mean()))


def test_a_weave_goes_on_through_what_was_filled() -> None:
    cloth, hole = weave(), crossed()
    smooth = cloth.copy()
    smooth[hole] = np.repeat((0.3 + 0.3 * np.mgrid[0:96, 0:120][1] / 120)[..., None], 3, axis=2)[hole]
    found = like_elsewhere(smooth, hole)
    assert away(found, cloth, hole) < 0.65 * away(smooth, cloth, hole)
    assert np.array_equal(found[~hole], smooth[~hole])


def test_where_nothing_is_alike_the_surface_stays() -> None:
    rng = np.random.default_rng(0)
    noise, hole = rng.random((64, 64, 3)), np.zeros((64, 64), bool)
    noise[30:34, 30:34], hole[30:34, 30:34] = 0.5, True
    assert np.abs(like_elsewhere(noise, hole) - noise).max() < 0.01


def test_light_and_shade_are_those_of_the_place() -> None:
    slope = np.repeat(np.linspace(0.2, 0.8, 100)[None, :, None], 80, axis=0).repeat(3, axis=2)
    hole = np.zeros((80, 100), bool)
    hole[20:60, 48:52] = True
    assert np.abs(like_elsewhere(slope, hole) - slope).max() < 0.002


def test_what_is_unknown_is_never_taken_over() -> None:
    """Another hole nearby was filled too: what is in it is a guess, however alike it looks."""
    cloth = weave()
    hole = np.zeros(cloth.shape[:2], bool)
    hole[40:44, 40:44] = True
    wanted = like_elsewhere(cloth, hole)[hole]
    others = hole.copy()
    others[30:38, 30:60] = True
    spoilt = cloth.copy()
    spoilt[30:38, 30:60, 0] += 0.3  # in one colour, which the comparison hardly sees
    spoilt[30:38, 30:60, 1] -= 0.3
    found = like_elsewhere(spoilt, others)[hole]
    assert np.abs(found - wanted).max() < 0.06


def test_colours_are_taken_over_as_they_are() -> None:
    cloth, hole = weave(), crossed()
    slope = np.repeat((0.3 + 0.3 * np.mgrid[0:96, 0:120][1] / 120)[..., None], 3, axis=2)
    cloth[..., 2] = slope[..., 2] - 0.4 * (cloth[..., 2] - slope[..., 2])  # blue where the others are dark
    smooth = cloth.copy()
    smooth[hole] = slope[hole]
    found = like_elsewhere(smooth, hole)
    for colour in range(3):
        assert away(found[..., colour], cloth[..., colour], hole) < 0.75 * away(
            smooth[..., colour], cloth[..., colour], hole
        )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_any_size_and_any_hole(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture, hole = rng.random((height, width, 3)), rng.random((height, width)) < rng.random()
    found = like_elsewhere(picture, hole)
    assert found.shape == picture.shape
    assert np.array_equal(found[~hole], picture[~hole])
    assert np.isfinite(found).all()


def test_how_a_picture_is_parted_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    cloth, hole = weave(), crossed()
    cloth[hole] = cloth[~hole].mean()
    wanted = like_elsewhere(cloth, hole)
    monkeypatch.setattr(alike, "_TILE", 7)
    assert np.abs(like_elsewhere(cloth, hole) - wanted).max() < 1e-5


@pytest.mark.parametrize("depth", [8, 16])
def test_a_scratch_over_cloth_is_filled_with_its_weave(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    top = 2**depth - 1
    cloth = np.rint(weave() * top).astype(np.uint8 if depth == 8 else np.uint16)
    hole = crossed().astype(np.uint8)
    scratched = cloth.copy()
    scratched[hole > 0] = top
    filled = fill(scratched, hole)
    monkeypatch.setattr("restorer.repairing.splines.like_elsewhere", lambda picture, unknown: picture)
    smooth = fill(scratched, hole)
    assert away(filled / top, cloth / top, hole > 0) < 0.9 * away(smooth / top, cloth / top, hole > 0)
    assert np.array_equal(filled[hole == 0], cloth[hole == 0])


def test_places_are_searched_as_far_as_it_is_said() -> None:
    """One dot is alone but for another, farther away than is searched, or just not."""
    for apart, alike_found in ((FAR, True), (FAR + 1, False)):
        picture, hole = np.full((60, 60, 3), 0.5), np.zeros((60, 60), bool)
        for column in (24, 24 + apart):
            picture[28:33, column - 2 : column + 3] = 0.6
            picture[30, column] = 0.9
        picture[30, 24], hole[30, 24] = 0.7, True
        found = like_elsewhere(picture, hole)[30, 24, 0]
        assert (found > 0.72) == alike_found, (apart, found)


def test_what_is_known_decides_what_is_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smooth filling resembles all that is smooth; how the threads around it run says more."""
    cloth, hole = weave(), crossed()
    smooth = cloth.copy()
    smooth[hole] = np.repeat((0.3 + 0.3 * np.mgrid[0:96, 0:120][1] / 120)[..., None], 3, axis=2)[hole]
    found = away(like_elsewhere(smooth, hole), cloth, hole)
    monkeypatch.setattr(alike, "GUESSED", 1.0)
    assert found < 0.97 * away(like_elsewhere(smooth, hole), cloth, hole)
