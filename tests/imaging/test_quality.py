"""Measures of a picture without another one: each rises with what it is for, and with nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from restorer.imaging import quality


def scene(side: int = 256, finer: int = 4) -> np.ndarray:
    """Return the luma of a picture as sharp as its pixels allow: even shades, and discs of every contrast in them."""
    rng = np.random.default_rng(0)
    picture = np.full((side * finer, side * finer), 120, np.float32)
    for _ in range(24):
        centre = tuple(int(value) for value in rng.integers(0, side * finer, 2))
        cv2.circle(picture, centre, int(rng.integers(6, 24)) * finer, float(rng.integers(20, 235)), -1)
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def blurred(luma: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(luma, (0, 0), sigma), np.float32)


def noisy(luma: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(luma.shape, dtype=np.float32)
    spoiled: np.ndarray = np.clip(luma + np.float32(sigma) * noise, 0, 255).astype(np.float32)
    return spoiled


def squeezed(luma: np.ndarray, quality_: int) -> np.ndarray:
    encoded = cv2.imencode(".jpg", np.rint(luma).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality_])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.float32)


@pytest.mark.parametrize("sigma", [2.0, 4.0, 8.0, 16.0])
def test_noise_is_its_standard_deviation(sigma: float) -> None:
    assert quality.measure(noisy(scene(), sigma)).noise == pytest.approx(sigma, rel=0.25)


def test_detail_is_no_noise() -> None:
    found = quality.measure(scene())
    assert found.noise < 0.5
    assert found.coarse_noise < 0.5


def test_noise_that_was_enlarged_shows_at_half_the_size() -> None:
    small = noisy(scene(128), 8)
    found = quality.measure(np.asarray(cv2.resize(small, (256, 256), interpolation=cv2.INTER_LINEAR), np.float32))
    assert found.noise < 1.8 < found.coarse_noise


def test_noise_that_was_enlarged_four_times_shows_at_a_quarter_of_the_size() -> None:
    small = noisy(scene(64), 8)
    found = quality.measure(np.asarray(cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC), np.float32))
    assert found.noise < 1 < 2.3 < found.coarsest_noise
    assert quality.measure(scene()).coarsest_noise < 0.5


def _colourful(step: int, sigma: float) -> np.ndarray:
    """Return a picture (256, 256, 3) whose colours are noisy and whose luma is not, in grains of a width."""
    side = 256 // step
    red, blue = np.random.default_rng(2).normal(0, sigma, (2, side, side)).astype(np.float32)
    noise = np.stack([red, -(0.299 * red + 0.114 * blue) / 0.587, blue], axis=-1)
    wide = cv2.resize(noise, (256, 256), interpolation=cv2.INTER_CUBIC)
    return np.rint(np.clip(scene()[..., None] * 0.7 + 30 + wide, 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("step", [1, 2, 4])
def test_noise_in_the_colours_is_told_from_luma(step: int) -> None:
    found = quality.measure_picture(_colourful(step, 10))
    assert found.colour_noise > 2
    assert found.noise < 1
    assert quality.measure_picture(_colourful(step, 3)).colour_noise < found.colour_noise


def test_what_is_grey_or_only_coloured_has_no_noise_in_its_colours() -> None:
    sharp = scene()
    assert quality.measure_picture(np.repeat(np.rint(sharp).astype(np.uint8)[..., None], 3, 2)).colour_noise < 0.5
    tinted = np.stack([sharp, sharp * 0.6, sharp * 0.3], axis=-1)
    assert quality.measure_picture(np.rint(tinted).astype(np.uint8)).colour_noise < 0.5
    assert quality.measure(sharp).colour_noise == 0


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0, 3.0])
def test_edges_are_as_wide_as_the_blur(sigma: float) -> None:
    pixels = 0.6  # what these add themselves
    assert quality.measure(blurred(scene(), sigma)).edge == pytest.approx(np.hypot(sigma, pixels), rel=0.15)


@pytest.mark.parametrize("noise", [2.0, 5.0])
def test_noise_does_not_make_a_blurred_picture_sharp(noise: float) -> None:
    assert quality.measure(noisy(blurred(scene(), 2.0), noise)).edge > 1.5


def test_a_picture_without_edges_has_none() -> None:
    shade = np.tile(np.linspace(40, 200, 256, dtype=np.float32), (256, 1))
    assert quality.measure(shade).edge == np.inf
    assert quality.measure(np.full((64, 64), 90, np.float32)).edge == np.inf


def scratched(luma: np.ndarray) -> np.ndarray:
    """Return a picture with thin bright lines through its upper half."""
    picture, side = luma.copy(), luma.shape[0]
    for start, end in (((0, 0), (side - 1, side // 2 - 9)), ((side // 2, 0), (side - 1, side // 3))):
        cv2.line(picture, start, end, 240.0, 1, cv2.LINE_AA)
    return picture


def test_a_blurred_picture_is_not_sharp_because_of_what_lies_on_it() -> None:
    soft = blurred(scene(), 6) * 0.4 + 90
    found = quality.measure(scratched(soft))
    assert found.edge < 1.0, "the scratches are"
    assert found.throughout > 2
    sharp = quality.measure(scene())
    assert sharp.places > 0.9
    assert sharp.throughout == pytest.approx(sharp.edge, rel=0.3)


def test_a_picture_too_small_for_several_places_is_one() -> None:
    found = quality.measure(scene(48))
    assert found.places == 1
    assert found.throughout == found.edge


def test_interlaced_rows_are_stripes() -> None:
    sharp = scene()
    comb = sharp.copy()
    comb[::2] = np.roll(comb[::2], 5, axis=1)
    assert quality.measure(sharp).stripes < 2
    assert quality.measure(comb).stripes > 4
    assert quality.measure(np.ascontiguousarray(comb.T)).stripes == pytest.approx(quality.measure(comb).stripes)
    assert quality.measure(np.full((64, 64), 100, np.float32)).stripes == 1


def test_blocks_rise_as_the_quality_of_jpeg_falls() -> None:
    shaded = scene() * 0.5 + np.tile(np.linspace(20, 110, 256, dtype=np.float32), (256, 1))
    found = [quality.measure(squeezed(noisy(shaded, 2), value)).blocks for value in (95, 60, 30, 10)]
    assert found == sorted(found)
    assert found[0] < 0.5 < found[2]
    assert quality.measure(shaded).blocks < 0.1


def test_sixteen_bits_and_floats_are_the_same_levels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    wanted = quality.luma_of(pixels)
    assert np.allclose(quality.luma_of(pixels.astype(np.uint16) * 257), wanted, atol=1e-3)
    assert np.allclose(quality.luma_of(pixels.astype(np.float32) / 255), wanted, atol=1e-3)
