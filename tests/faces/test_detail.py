"""A restored face keeps what the photo shows more finely, and nothing of its noise."""

from __future__ import annotations

import numpy as np
import pytest

from restorer.faces import detail
from tests.imaging.test_quality import blurred, noisy, scene


def picture(luma: np.ndarray) -> np.ndarray:
    return np.repeat((np.clip(luma, 0, 255) / 255).astype(np.float32)[..., None], 3, axis=2)


def error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)) * 255)


SHARP = scene()
SMOOTH = picture(blurred(SHARP, 1.5))
"""What a network that smooths makes of it."""


def test_a_clean_photo_keeps_its_detail() -> None:
    kept = detail.keep(SMOOTH, picture(SHARP), input_size=256, share=1.0)
    assert error(kept, picture(SHARP)) < 0.25 * error(SMOOTH, picture(SHARP))


def test_of_a_noisy_photo_the_edges_come_back_and_the_noise_does_not() -> None:
    noise = picture(noisy(SHARP, 8))
    kept = detail.keep(SMOOTH, noise, input_size=256, share=1.0)
    assert error(kept, picture(SHARP)) < 0.8 * error(SMOOTH, picture(SHARP))
    assert error(kept, picture(SHARP)) < error(noise, picture(SHARP))


def test_of_a_blurred_photo_nothing_is_kept() -> None:
    restored = picture(SHARP)
    kept = detail.keep(restored, picture(blurred(SHARP, 2)), input_size=256, share=1.0)
    assert error(kept, restored) < 1


def test_without_a_share_a_face_of_the_networks_own_size_stays_the_networks() -> None:
    assert not detail.is_kept(256, 256, 0.0)
    assert np.array_equal(detail.keep(SMOOTH, picture(SHARP), input_size=256, share=0.0), SMOOTH)


@pytest.mark.parametrize("input_size", [64, 128])
def test_what_the_network_did_not_see_is_never_replaced_by_its_picture(input_size: int) -> None:
    """The face is two and four times as large as the network's picture of it."""
    restored = picture(blurred(SHARP, 0.6 * 256 / input_size))
    kept = detail.keep(restored, picture(SHARP), input_size=input_size, share=0.0)
    assert error(kept, picture(SHARP)) < 0.6 * error(restored, picture(SHARP))
    noise = picture(noisy(blurred(SHARP, 4), 8))  # beyond what the network saw there is but noise
    assert error(detail.keep(restored, noise, input_size=input_size, share=0.0), restored) < 3
