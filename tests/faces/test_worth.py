"""What is left alone: the decision as a table, and the measures that it rests on."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from restorer.faces import worth
from restorer.faces.placement import WholePlacement
from restorer.faces.worth import Condition
from restorer.imaging.quality import Quality
from tests.imaging.test_quality import blurred, noisy, scene, scratched, squeezed


def condition(
    side: float,
    resolved: float,
    *,
    noise: float = 0.5,
    coarse: float = 0.8,
    coarsest: float = 1.0,
    tints: float = 0.0,
    blocks: float = 0.3,
    places: float = 1.0,
    stripes: float = 1.5,
) -> Condition:
    return Condition(side, resolved, Quality(noise, coarse, coarsest, tints, blocks, 0.8, 0.8, places, stripes))


@pytest.mark.parametrize(
    ("found", "output_size", "scale", "alone"),
    [
        # Sharp and clean: at its own size and twice it, by networks of 256 and of 512 px.
        (condition(256, 200), 256, 1, True), (condition(256, 200), 512, 1, True),
        (condition(256, 200), 256, 2, True), (condition(256, 200), 512, 2, True),
        (condition(190, 180), 256, 2, True), (condition(190, 180), 512, 2, True),
        (condition(900, 600), 512, 4, True),
        # Shown much larger than it is resolved by a network that has as many pixels: a reason to restore.
        (condition(200, 190), 1024, 8, False), (condition(200, 190), 256, 8, True),
        (condition(150, 140), 512, 4, False),
        # Small, but as sharp as the pixels of the result; enlarged, there is something to gain.
        (condition(60, 55), 256, 1, True), (condition(60, 55), 256, 2, False),
        # Blurred, noisy, squeezed.
        (condition(256, 60), 256, 1, False), (condition(1000, 100), 256, 1, False),
        (condition(256, 200, noise=2.5), 256, 1, False), (condition(256, 200, coarse=2.5), 256, 1, False),
        (condition(256, 200, blocks=2.0), 256, 1, False), (condition(256, 200, coarsest=2.8), 256, 1, False),
        (condition(256, 200, tints=0.8), 256, 1, False),
        # A small face is all texture at a quarter of its size.
        (condition(128, 120, coarse=3.0, coarsest=4.0), 256, 1, True),
        # Sharp in a few places only: scratches on a blurred face; rows that were interlaced.
        (condition(256, 200, places=0.4), 256, 1, False), (condition(256, 200, places=0.5), 256, 1, True),
        (condition(256, 200, stripes=4.5), 256, 1, False), (condition(256, 200, stripes=3.5), 256, 1, True),
        # What cannot be measured is not called good.
        (condition(256, 0), 256, 1, False), (Condition(30, 30, None), 256, 1, False),
    ],
)  # fmt: skip
def test_what_needs_nothing(found: Condition, output_size: int, scale: float, alone: bool) -> None:
    assert worth.needs_nothing(found, output_size=output_size, scale=scale) == alone


@pytest.mark.parametrize(("resolved", "kept"), [(0, 0), (80, 0), (97.5, 0.5), (115, 1), (400, 1)])
def test_how_much_is_kept(resolved: float, kept: float) -> None:
    assert worth.kept(condition(400, resolved)) == pytest.approx(kept)


@pytest.mark.parametrize(
    ("found", "held"),
    [
        (condition(256, 200), 1), (condition(60, 50), 1), (condition(256, 60), 0), (condition(1024, 400), 1),
        # Somewhat noisy or squeezed: all of it, less, nothing; a face that is hardly resolved shows but the noise.
        (condition(256, 200, noise=2.6), 1), (condition(256, 200, noise=4.05), 0.5), (condition(256, 200, noise=6), 0),
        (condition(256, 200, blocks=1.4), 1), (condition(60, 50, noise=2.6), 0), (condition(128, 95, noise=2.6), 1),
        # Nor are scratches, and what they lie on has none.
        (condition(256, 200, places=0.2), 0), (condition(256, 200, places=0.375), 0.5),
        # Noise that was enlarged is no detail.
        (condition(256, 200, coarse=2.5), 0), (condition(256, 200, coarsest=2.8), 0), (Condition(30, 30, None), 0),
    ],
)  # fmt: skip
def test_how_much_detail_a_restored_face_has_to_show(found: Condition, held: float) -> None:
    assert worth.held(found) == pytest.approx(held)


@pytest.mark.parametrize(("resolved", "head"), [(0, 1), (60, 1), (75, 1), (85, 0.5), (95, 0), (300, 0)])
def test_how_much_of_the_head_is_restored_with_the_face(resolved: float, head: float) -> None:
    assert worth.head(condition(256, resolved)) == pytest.approx(head)


def test_blots_of_enlarged_noise_are_not_kept() -> None:
    assert worth.kept(condition(256, 200, coarsest=3.5)) == 0


def colour(luma: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(np.clip(luma, 0, 255)).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("side", [128, 256, 512, 1500])
def test_a_sharp_picture_is_resolved_about_as_finely_as_its_pixels(side: int) -> None:
    found = worth.condition_of(colour(scene(side, 2)), WholePlacement((side, side)))
    assert found.side == side
    assert found.resolved > 0.55 * min(side, 1024)
    assert found.clean


@pytest.mark.parametrize("small", [48, 64, 96])
def test_a_picture_that_was_enlarged_is_resolved_as_finely_as_it_was(small: int) -> None:
    wide = cv2.resize(scene(small), (256, 256), interpolation=cv2.INTER_CUBIC)
    found = worth.condition_of(colour(np.asarray(wide, np.float32)), WholePlacement((256, 256)))
    assert found.resolved == pytest.approx(small, rel=0.3)


def test_noise_and_blocks_are_not_clean() -> None:
    shaded = scene() * 0.5 + np.tile(np.linspace(20, 110, 256, dtype=np.float32), (256, 1))
    for spoiled in (noisy(scene(), 6), squeezed(noisy(shaded, 6), 10)):
        assert not worth.condition_of(colour(spoiled), WholePlacement((256, 256))).clean


def test_a_blurred_face_with_scratches_is_restored_and_a_sharp_one_of_half_its_sharpness_not() -> None:
    soft = scratched(blurred(scene(), 6) * 0.4 + 90)
    found = worth.condition_of(colour(soft), WholePlacement((256, 256)))
    assert not worth.needs_nothing(found, output_size=256, scale=1)
    assert worth.held(found) < 0.5
    left, right = scene(), blurred(scene(), 1.0)
    half = np.where(np.arange(256) < 100, left, right).astype(np.float32)
    whole = worth.condition_of(colour(left), WholePlacement((256, 256)))
    assert worth.condition_of(colour(half), WholePlacement((256, 256))).resolved < 0.8 * whole.resolved


def test_a_face_of_a_few_pixels_is_not_judged() -> None:
    assert worth.condition_of(colour(scene(24, 2)), WholePlacement((24, 24))).quality is None
