"""Lab against textbook values, and colours that keep their lightness."""

from __future__ import annotations

import numpy as np
import pytest

from restorer.imaging import lab


@pytest.mark.parametrize(
    ("seen", "expected"),
    [((1, 1, 1), 100.0), ((0, 0, 0), 0.0), ((1, 0, 0), 53.237), ((0, 1, 0), 87.735), ((0, 0, 1), 32.301)],
)
def test_lightness_is_that_of_the_standard(seen: tuple[float, ...], expected: float) -> None:
    assert lab.lightness(np.array(seen)) == pytest.approx(expected, abs=2e-3)


def test_grey_is_where_a_and_b_are_nothing() -> None:
    light = np.linspace(0, 100, 41)
    grey = lab.grey(light)
    colours = lab.coloured(light, np.zeros(41), np.zeros(41))
    assert np.allclose(colours, grey[:, None], atol=1e-6)
    assert np.allclose(lab.lightness(colours), light, atol=1e-5)


def test_a_colour_that_is_held_is_met_and_one_that_is_not_keeps_lightness_and_hue() -> None:
    red = lab.coloured(np.array([53.2408]), np.array([80.0925]), np.array([67.2032]))[0]
    assert np.allclose(red, (1, 0, 0), atol=2e-3)
    rng = np.random.default_rng(0)
    light, a, b = rng.uniform(0, 100, 4000), rng.uniform(-160, 160, 4000), rng.uniform(-160, 160, 4000)
    colours = lab.coloured(light, a, b)
    assert (colours >= 0).all()
    assert (colours <= 1).all()
    assert np.abs(lab.lightness(colours) - light).max() < 0.02
    inner = lab.coloured(light, a * 0.01, b * 0.01)
    wanted, found = (np.ptp(each, axis=1) for each in (inner, colours))
    assert (found > wanted)[(light > 10) & (light < 90)].all()  # more colour, only not all of it


def test_lab_of_a_colour_gives_the_colour_back() -> None:
    seen = np.random.default_rng(0).random((50, 3))
    found = lab.of(seen)
    assert np.allclose(found[:, 0], lab.lightness(seen))
    assert np.allclose(lab.coloured(found[:, 0], found[:, 1], found[:, 2]), seen, atol=1e-4)
    assert np.allclose(lab.of(np.array([1.0, 0.0, 0.0])), (53.24, 80.09, 67.2), atol=0.01)
