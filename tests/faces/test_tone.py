"""Colour and grain of restored faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restorer.faces.tone import _grain, add_grain, match_color

EVERYWHERE = np.ones((64, 64), np.float32)


def _face(seed: int = 0, size: int = 128, noise: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[:size, :size] / size
    rng = np.random.default_rng(seed)
    planes = [0.5 + 0.2 * np.sin(6 * x + i) * np.cos(5 * y - i) for i in range(3)]
    return np.clip(np.stack(planes, -1) + noise * rng.standard_normal((size, size, 1)), 0, 1).astype(np.float32)


def test_a_crop_with_the_right_colours_is_unchanged() -> None:
    face = _face()
    assert np.abs(match_color(face, face, EVERYWHERE) - face).max() < 1e-5


@given(
    red=st.floats(-0.1, 0.1), green=st.floats(-0.1, 0.1), blue=st.floats(-0.1, 0.1), size=st.sampled_from([32, 64, 200])
)
@settings(max_examples=30, deadline=None)
def test_a_cast_is_taken_back(red: float, green: float, blue: float, size: int) -> None:
    face = _face()
    original = _face(size=size)
    cast = face + np.array([red, green, blue], np.float32)
    result = match_color(np.clip(cast, 0, 1), original, EVERYWHERE)
    assert np.abs(result.mean((0, 1)) - face.mean((0, 1))).max() < 0.02


def test_detail_is_kept() -> None:
    face, sharp = _face(), _face()
    sharp[::2] += 0.05
    result = match_color(sharp, face, EVERYWHERE)
    assert (result[::2] - result[1::2]).mean() == pytest.approx((sharp[::2] - sharp[1::2]).mean(), abs=2e-3)


def test_only_what_is_pasted_counts() -> None:
    face, restored = _face(), _face()
    restored[:, :64] = 0  # outside the mask
    mask = np.zeros((64, 64), np.float32)
    mask[:, 40:] = 1
    assert np.abs(match_color(restored, face, mask)[:, 80:] - face[:, 80:]).max() < 1e-5
    assert (match_color(restored, face, np.zeros_like(mask)) == restored).all()


def test_a_toned_print_keeps_its_tone() -> None:
    sepia = _face().mean(2, keepdims=True) * np.array([1.0, 0.85, 0.65], np.float32)
    result = match_color(_face(), sepia, EVERYWHERE)
    assert result[..., 0].mean() - result[..., 2].mean() == pytest.approx(
        sepia[..., 0].mean() - sepia[..., 2].mean(), abs=0.02
    )


def test_another_picture_is_not_forced_into_the_colours() -> None:
    result = match_color(np.ones((32, 32, 3), np.float32), np.zeros((32, 32, 3), np.float32), EVERYWHERE)
    assert result.mean() > 0.8


def test_the_mean_is_shifted_by_fifteen_hundredths_at_most() -> None:
    """In luma and in both colour differences; a larger difference is no cast."""
    dark = 0.2 + 0.2 * _face()
    assert match_color(dark, dark + np.float32(0.4), EVERYWHERE).mean() == pytest.approx(dark.mean() + 0.15, abs=5e-3)
    assert match_color(dark, dark + np.float32(0.1), EVERYWHERE).mean() == pytest.approx(dark.mean() + 0.1, abs=5e-3)
    red = dark + np.array([0.5, 0, 0], np.float32)
    before, after = (float((each[..., 0] - each[..., 1]).mean()) for each in (dark, match_color(dark, red, EVERYWHERE)))
    assert 0.1 < after - before < 0.3
    grey = np.repeat(dark[..., :1], 3, axis=2)
    assert match_color(grey, grey + np.float32(0.4), EVERYWHERE).mean() == pytest.approx(grey.mean() + 0.15, abs=5e-3)


@pytest.mark.parametrize(("wanted", "given"), [(4.0, 1.5), (1.2, 1.2), (0.7, 0.7), (0.1, 0.5)])
def test_the_spread_of_colours_is_changed_by_half_at_most(wanted: float, given: float) -> None:
    """How far a face's colours reach from their mean; a face is neither painted nor washed out."""
    face = _face()
    mean = face.mean((0, 1))
    luma = face @ np.array([0.299, 0.587, 0.114], np.float32)
    colours = face - luma[..., None]
    centre = colours.mean((0, 1))
    original = luma[..., None] + centre + wanted * (colours - centre) * 0.3
    restored = luma[..., None] + centre + (colours - centre) * 0.3
    result = match_color(restored, original, EVERYWHERE)
    seen, before = (
        (each - (each @ np.array([0.299, 0.587, 0.114]))[..., None]).std((0, 1)) for each in (result, restored)
    )
    assert seen / before == pytest.approx(np.full(3, given), rel=0.06)
    assert np.abs(result.mean((0, 1)) - mean).max() < 0.01


@pytest.mark.parametrize("strength", [0.02, 0.05])
@pytest.mark.parametrize("pixel", [1.0, 2.5])
def test_grain_is_brought_to_that_of_the_photo(strength: float, pixel: float) -> None:
    small = round(256 / pixel)
    original = _face(size=small, noise=strength)
    result = add_grain(_face(size=256), original, EVERYWHERE, pixel=pixel)
    import cv2

    seen = _grain(cv2.resize(result, (small, small), interpolation=cv2.INTER_AREA), EVERYWHERE)
    assert seen == pytest.approx(_grain(original, EVERYWHERE), rel=0.35)
    assert (result == add_grain(_face(size=256), original, EVERYWHERE, pixel=pixel)).all()


def test_a_clean_photo_gets_no_grain() -> None:
    face = _face(noise=0.03)
    assert (add_grain(face, _face(), EVERYWHERE, pixel=1) == face).all()
