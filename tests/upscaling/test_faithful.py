"""Upscalers are held to a good photo, and left to do what they are for on a bad one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import cv2
import numpy as np
import pytest

from restorer.imaging.colour import LUMA
from restorer.imaging.resize import resize
from restorer.upscaling import faithful
from tests.imaging.test_quality import blurred, noisy, scene


def colour(luma: np.ndarray, dtype: type = np.uint8) -> np.ndarray:
    top = np.iinfo(dtype).max
    grey = np.rint(np.clip(luma, 0, 255) * (top / 255)).astype(dtype)
    return np.repeat(grey[..., None], 3, axis=2)


def error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


class Smooths:
    """Stands for a network: blurs what it enlarges, or, with a negative amount, makes its detail stronger."""

    name = "smooths"
    network = None

    def __init__(self, amount: float) -> None:
        self.amount = amount
        self.notes: Counter[str] = Counter()

    def upscale(self, pixels: np.ndarray, size: tuple[int, int], on_tile: Any = None) -> np.ndarray:
        wide = resize(pixels, size).astype(np.float32)
        soft = cv2.GaussianBlur(wide, (0, 0), 1.5 * size[0] / pixels.shape[1])
        top = np.iinfo(pixels.dtype).max
        return np.clip(np.rint(wide + (soft - wide) * self.amount), 0, top).astype(pixels.dtype)


def held(amount: float, photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    upscaler: Any = Smooths(amount)
    return faithful.FaithfulUpscaler(upscaler).upscale(photo, size)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("amount", [1.0, -0.7])
def test_at_its_own_size_a_good_photo_stays_as_it_is(amount: float, dtype: type) -> None:
    photo = colour(scene(), dtype)
    assert np.array_equal(held(amount, photo, (256, 256)), photo)


@pytest.mark.parametrize("amount", [1.0, -0.7])
@pytest.mark.parametrize("size", [(512, 512), (640, 640), (1024, 1024)])
def test_reduced_again_an_enlarged_good_photo_is_the_photo(amount: float, size: tuple[int, int]) -> None:
    photo = colour(scene())

    def back(result: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.resize(result, (256, 256), interpolation=cv2.INTER_AREA))

    result, free = held(amount, photo, size), Smooths(amount).upscale(photo, size)
    assert error(back(result), photo) < 0.5 * error(back(free), photo)


def test_noise_may_be_smoothed() -> None:
    photo = colour(noisy(scene(), 10))
    result, free = held(1.0, photo, (256, 256)), Smooths(1.0).upscale(photo, (256, 256))
    even = (slice(0, 256), slice(0, 256))
    clean = colour(scene())
    assert error(result[even], clean) < 0.8 * error(photo[even], clean)
    assert error(result[even], clean) <= error(free[even], clean)


def test_a_blurred_photo_may_be_sharpened() -> None:
    photo = colour(blurred(scene(), 2.0))
    assert np.array_equal(held(-0.7, photo, (256, 256)), Smooths(-0.7).upscale(photo, (256, 256)))


def test_a_photo_that_is_blurred_by_a_pixel_may_be_sharpened_too() -> None:
    sharp = colour(scene())
    photo = colour(blurred(scene(), 1.0))

    def sharpened(pixels: np.ndarray) -> np.ndarray:
        return Smooths(-0.7).upscale(pixels, (256, 256))

    result = held(-0.7, photo, (256, 256))
    assert error(sharpened(photo), sharp) < 0.9 * error(photo, sharp)
    assert error(result, sharp) < 1.02 * error(sharpened(photo), sharp)
    assert np.array_equal(held(-0.7, sharp, (256, 256)), sharp)


def test_of_a_photo_with_noise_in_its_colours_only_the_brightness_is_held() -> None:
    luma = scene() * 0.7 + 30
    red, blue = np.random.default_rng(2).normal(0, 12, (2, 256, 256)).astype(np.float32)
    tints = np.stack([red, -(0.299 * red + 0.114 * blue) / 0.587, blue], axis=-1)
    photo = np.rint(np.clip(luma[..., None] + tints, 0, 255)).astype(np.uint8)
    result = held(1.0, photo, (256, 256))

    def tint(picture: np.ndarray) -> float:
        return float(np.std(picture[..., 0].astype(float) - picture[..., 2]))

    assert tint(result) < 0.7 * tint(photo)
    assert error(result @ LUMA, photo @ LUMA) < 1


@pytest.mark.parametrize("period", [3, 4, 6])
def test_the_dots_of_a_print_are_not_made_stronger(period: int) -> None:
    """Also where the print is soft, so that nothing else holds the network back."""
    y, x = np.mgrid[:256, :256]
    dots = 12 * np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / period)
    photo = colour(blurred(scene(), 3.0) * 0.6 + 50 + dots)
    place = (slice(32, 224), slice(32, 224))

    def texture(picture: np.ndarray) -> float:
        luma = picture[..., 0].astype(np.float32)
        return float((luma - cv2.GaussianBlur(luma, (0, 0), 3.0))[place].std())

    free = Smooths(-0.7).upscale(photo, (256, 256))
    assert texture(free) > 1.35 * texture(photo)
    assert texture(held(-0.7, photo, (256, 256))) < 1.12 * texture(photo)


def test_no_seam_shows_between_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = colour(noisy(scene(300), 3))
    whole = held(1.0, photo, (450, 450))
    monkeypatch.setattr(faithful, "STRIP", 64)
    assert np.abs(held(1.0, photo, (450, 450)).astype(int) - whole).max() <= 1


def test_small_pictures_and_other_shapes_are_possible() -> None:
    for shape in ((1, 1), (7, 90), (90, 7)):
        photo = np.full((*shape, 3), 77, np.uint8)
        assert np.array_equal(
            held(1.0, photo, (shape[1] * 2, shape[0] * 2)), np.full((shape[0] * 2, shape[1] * 2, 3), 77)
        )
    floats = (colour(scene()) / 255).astype(np.float32)
    result = floats * 0.9
    faithful.hold(result, floats)
    assert np.allclose(result, floats, atol=1e-6)
