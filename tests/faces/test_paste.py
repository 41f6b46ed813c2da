"""Pasting: position, rounding, depth, cost, and what it leaves alone."""

from __future__ import annotations

import tracemalloc
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restorer.faces import align
from restorer.faces.mask import FEATHER, border_feather
from restorer.faces.paste import paste
from restorer.imaging import warp
from tests.support.faces import TEMPLATE, enlarged, in_crop, landmarks, similarity, smooth_photo

WHOLE = np.ones((64, 64), np.float32)


def identity_difference(photo: np.ndarray, plain: np.ndarray, eyes: float, degrees: float) -> float:
    """Return the mean difference, in 1/255 of the range, of a face cut out and pasted from the plain enlargement."""
    height, width = photo.shape[:2]
    matrix = align.estimate(landmarks(eyes, degrees, (width / 2 + 0.3, height / 2 - 0.2)), TEMPLATE, 512)
    assert matrix is not None
    canvas = plain.copy()
    paste(canvas, align.extract(photo, matrix, 512), WHOLE, matrix, (width, height), 512)
    at = in_crop(canvas, matrix, (width, height)) / 512
    inside = ((at > FEATHER) & (at < 1 - FEATHER)).all(-1)
    assert inside.mean() > 0.2
    return float(np.abs(canvas.astype(float) - plain)[inside].mean() * 255 / np.iinfo(photo.dtype).max)


@pytest.mark.parametrize("scale", [2, 3.5, 8])
@pytest.mark.parametrize(("eyes", "degrees"), [(25, 30), (60, -17), (100, 30)])
def test_an_identity_restorer_changes_nothing(eyes: float, degrees: float, scale: float) -> None:
    side = round(eyes * 4.2)
    photo = smooth_photo(side, side + 4)
    plain = enlarged(photo, (round((side + 4) * scale), round(side * scale)))
    assert identity_difference(photo, plain, eyes, degrees) < 0.1


@pytest.mark.parametrize(("eyes", "scale"), [(25, 1), (25, 2), (60, 1), (60, 2), (60, 3.5), (100, 2)])
def test_a_16_bit_face_is_where_it_was_to_a_hundredth_of_a_level(eyes: float, scale: float) -> None:
    """Against the true picture, not an enlargement with errors of its own."""
    side = round(eyes * 4.2)
    photo = smooth_photo(side, side, np.uint16)
    true = smooth_photo(side, side, np.uint16, scale=scale)
    assert identity_difference(photo, true, eyes, 20) < 0.01


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_there_is_no_half_pixel_shift(scale: int) -> None:
    """Upstream adds half the scale to the translation: a face is off by half a pixel at every scale above 1."""
    photo = smooth_photo(200, 200, seed=2)
    matrix = align.estimate(landmarks(40, 12, (100, 100)), TEMPLATE, 512)
    assert matrix is not None
    plain = enlarged(photo, (200 * scale, 200 * scale))
    canvas = np.zeros_like(plain)
    paste(canvas, align.extract(photo, matrix, 512), WHOLE, matrix, (200, 200), 512)
    part = slice(70 * scale, 130 * scale)
    pasted, expected = (picture[part, part].astype(float) for picture in (canvas, plain))
    # The shift that explains the difference best, by the picture's slopes.
    slopes = np.stack([slope.ravel() for slope in np.gradient(expected, axis=(0, 1))], axis=1)
    shift, *_ = np.linalg.lstsq(slopes, (expected - pasted).ravel(), rcond=None)
    assert np.abs(shift).max() < 0.005


def test_pasting_twice_does_not_move_the_face() -> None:
    """Upstream adds its offset to the stored matrix, so that a second paste lies elsewhere."""
    matrix = similarity(2, 15, (-40, -60))
    face = smooth_photo(64, 64).astype(np.float32) / 255
    arrays: list[np.ndarray] = [matrix, face, WHOLE]
    kept = [array.copy() for array in arrays]
    first, second = (np.zeros((300, 260, 3), np.uint8) for _ in range(2))
    paste(first, face, WHOLE, matrix, (130, 150), 64)
    paste(second, face, WHOLE, matrix, (130, 150), 64)
    assert first.any()
    assert np.array_equal(first, second)
    for before, after in zip(kept, arrays, strict=True):
        assert np.array_equal(before, after)


@pytest.mark.parametrize(("value", "level"), [(100.6, 101), (100.4, 100), (-3.0, 0), (300.0, 255), (254.7, 255)])
def test_values_are_rounded_and_clipped(value: float, level: int) -> None:
    """Upstream truncates."""
    canvas = np.full((64, 64, 3), 90, np.uint8)
    paste(canvas, np.full((64, 64, 3), value / 255, np.float32), WHOLE, similarity(1, 0, (0, 0)), (64, 64), 64)
    assert (canvas[20:44, 20:44] == level).all()


def test_a_dark_16_bit_photo_is_16_bit() -> None:
    """Upstream guesses the depth by the largest value: a face in a dark photo came out black."""
    canvas = np.full((64, 64, 3), 120, np.uint16)
    paste(canvas, np.full((64, 64, 3), 0.5, np.float32), WHOLE, similarity(1, 0, (0, 0)), (64, 64), 64)
    assert (canvas[20:44, 20:44] == 32768).all()


@settings(max_examples=30, deadline=None)
@given(
    scale=st.floats(0.3, 5),
    degrees=st.floats(-180, 180),
    x=st.floats(-20, 120),
    y=st.floats(-20, 100),
    across=st.floats(0.6, 3),
    down=st.floats(0.6, 3),
    size=st.sampled_from([16, 48, 100]),
)
def test_nothing_outside_the_crop_is_touched(
    scale: float, degrees: float, x: float, y: float, across: float, down: float, size: int
) -> None:
    matrix = similarity(scale, degrees, (0, 0))
    matrix[:, 2] = 24 - matrix[:, :2] @ [x, y]
    canvas = np.random.default_rng(0).integers(0, 256, (round(80 * down), round(100 * across), 3)).astype(np.uint8)
    before = canvas.copy()
    paste(canvas, np.ones((size, size, 3), np.float32), WHOLE, matrix, (100, 80), 48)
    at = in_crop(canvas, matrix, (100, 80))
    # The bilinear step reaches one pixel of the mask or of the canvas beyond the crop, whichever is larger.
    reach = max(1, 2 * scale / min(across, down))
    outside = ((at < -reach) | (at > 48 + reach)).any(-1)
    assert np.array_equal(canvas[outside], before[outside])
    middle = (np.abs(at - 24) < 24 - 48 * FEATHER - reach).all(-1)
    assert (canvas[middle] == 255).all()


def test_a_mask_of_zeros_and_a_strength_of_zero_change_nothing() -> None:
    face = np.ones((64, 64, 3), np.float32)
    for mask, strength in ((np.zeros((64, 64), np.float32), 1.0), (WHOLE, 0.0)):
        canvas = np.full((64, 64, 3), 77, np.uint8)
        paste(canvas, face, mask, similarity(1, 0, (0, 0)), (64, 64), 64, strength)
        assert (canvas == 77).all()


def test_strength_blends() -> None:
    canvas = np.full((64, 64, 3), 100, np.uint8)
    paste(canvas, np.full((64, 64, 3), 200 / 255, np.float32), WHOLE, similarity(1, 0, (0, 0)), (64, 64), 64, 0.25)
    assert (canvas[20:44, 20:44] == 125).all()


@pytest.mark.parametrize("size", [64, 128, 300, 1024])
def test_a_face_of_any_size_lands_in_the_same_place(size: int) -> None:
    """Upstream takes every result for one of the crop's size: a model of 1024 px lands at half its place."""
    photo = smooth_photo(120, 120, seed=3)
    matrix = similarity(4, 10, (0, 0))
    matrix[:, 2] = 128 - matrix[:, :2] @ [60, 60]
    crop = align.extract(photo, matrix, 256)
    face = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if size < 256 else cv2.INTER_CUBIC)
    canvas = enlarged(photo, (240, 240))
    plain = canvas.astype(float)
    paste(canvas, face, WHOLE, matrix, (120, 120), 256)
    assert np.abs(canvas - plain).mean() < 0.5


def test_width_and_height_are_not_confused() -> None:
    """Upstream hands (height, width) to a function that takes (width, height)."""
    photo = smooth_photo(90, 200, seed=4)
    matrix = align.estimate(landmarks(20, -8, (150, 45)), TEMPLATE, 128)
    assert matrix is not None
    plain = enlarged(photo, (300, 270))  # 1.5 times as wide, 3 times as high
    canvas = plain.copy()
    paste(canvas, align.extract(photo, matrix, 128), WHOLE, matrix, (200, 90), 128)
    assert np.abs(canvas.astype(float) - plain).mean() < 0.1
    assert np.abs(canvas.astype(float) - plain).max() <= 3


def test_a_face_that_shrinks_is_antialiased() -> None:
    checkers = (np.indices((512, 512)).sum(0) % 2).astype(np.float32)
    face = np.stack([checkers] * 3, -1)
    canvas = np.full((60, 60, 3), 128, np.uint8)
    matrix = similarity(512 / 50, 13, (0, 0))
    matrix[:, 2] = 256 - matrix[:, :2] @ [30, 30]
    paste(canvas, face, WHOLE, matrix, (60, 60), 512)
    assert np.abs(canvas.astype(int) - 128).max() <= 8


@pytest.mark.parametrize("mask", [np.ones((512, 512), np.float32), border_feather(512)], ids=["full", "feathered"])
def test_there_is_no_line_at_the_edge_of_the_crop(mask: np.ndarray) -> None:
    """Upstream cuts an exact zero into its blurred mask: hair that leaves the crop ends at a line."""
    canvas = np.zeros((700, 700, 3), np.uint8)
    matrix = similarity(1, 20, (0, 0))
    matrix[:, 2] = 256 - matrix[:, :2] @ [350, 350]
    paste(canvas, np.ones((512, 512, 3), np.float32), mask, matrix, (700, 700), 512)
    levels = canvas[..., 0].astype(float)
    steepest = 255 * np.pi / 2 / (FEATHER * 512)  # of a raised cosine over the feather's width
    assert levels.max() == 255
    assert np.abs(np.diff(levels, axis=0)).max() < steepest + 2
    assert np.abs(np.diff(levels, axis=1)).max() < steepest + 2


def test_cost_does_not_grow_with_the_photo() -> None:
    """Upstream warps and blends the whole photo in float64 for every face: gigabytes at 24 megapixels."""
    face = np.full((512, 512, 3), 0.5, np.float32)
    peaks = []
    for height, width in ((700, 800), (4000, 6000)):
        canvas = np.zeros((height, width, 3), np.uint8)
        matrix = similarity(1, 10, (0, 0))
        matrix[:, 2] = 256 - matrix[:, :2] @ [width / 2, height / 2]
        tracemalloc.start()
        paste(canvas, face, WHOLE, matrix, (width, height), 512)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert canvas.any()
    assert peaks[1] < 1.05 * peaks[0] + 1e5
    assert peaks[1] < 30e6


def test_memory_does_not_grow_with_the_face_either() -> None:
    face = np.full((256, 256, 3), 0.5, np.float32)
    canvas = np.zeros((3000, 3000, 3), np.uint8)
    tracemalloc.start()
    paste(canvas, face, WHOLE, similarity(256 / 3000, 0, (0, 0)), (3000, 3000), 256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (canvas[1500, 1500] == 128).all()
    assert peak < 30e6  # the canvas alone has 27 MB; a float copy of it would have 108


@pytest.mark.parametrize("size", [(6000, 4000), (1500, 1000)])
def test_the_work_depends_on_the_face_and_not_on_the_photo(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pixel that is computed counts; of a face that is 300 px wide, few lie outside the square around it."""
    touched: list[int] = []
    for name in ("sample_tile", "sample_plane"):
        real = getattr(warp, name)

        def counted(source: Any, matrix: Any, rows: slice, columns: slice, *rest: Any, real: Any = real) -> Any:
            touched.append((rows.stop - rows.start) * (columns.stop - columns.start))
            return real(source, matrix, rows, columns, *rest)

        monkeypatch.setattr(warp, name, counted)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    matrix = align.estimate(landmarks(60, 20, (size[0] / 2, size[1] / 2)), TEMPLATE, 512)
    assert matrix is not None
    paste(canvas, np.ones((512, 512, 3), np.float32), WHOLE, matrix, size, 512)
    changed = np.flatnonzero(canvas.any((1, 2)))
    side = int(changed[-1] - changed[0] + 1)
    assert 200 < side < 450
    assert sum(touched) < 2 * 1.3 * side**2


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 5), width=st.integers(1, 5), size=st.integers(1, 5), mask=st.integers(1, 5))
def test_the_smallest_sizes_work(height: int, width: int, size: int, mask: int) -> None:
    canvas = np.zeros((height, width, 3), np.uint8)
    face = np.ones((size, size, 3), np.float32)
    paste(canvas, face, np.ones((mask, mask), np.float32), similarity(0.25, 0, (0, 0)), (2, 2), 8)
    assert canvas.shape == (height, width, 3)


@pytest.mark.parametrize(
    ("canvas", "face", "mask"),
    [
        (np.zeros((8, 8), np.uint8), np.zeros((4, 4, 3), np.float32), WHOLE),
        (np.zeros((8, 8, 3), np.float32), np.zeros((4, 4, 3), np.float32), WHOLE),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((4, 5, 3), np.float32), WHOLE),
        (np.zeros((8, 8, 3), np.uint8), np.full((4, 4, 3), np.nan, np.float32), WHOLE),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 6), np.float32)),
    ],
    ids=["grey canvas", "float canvas", "face not square", "not-a-number", "mask not square"],
)
def test_what_cannot_be_pasted_is_refused(canvas: np.ndarray, face: np.ndarray, mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be|NaN"):
        paste(canvas, face, mask, similarity(1, 0, (0, 0)), (8, 8), 4)
    assert not canvas.any()


def test_what_is_seen_reaches_as_far_to_each_side() -> None:
    """The mirror image of a paste is the paste of the mirror images: a mask spreads alike at both ends."""
    face = np.ones((32, 32, 3), np.float32)
    mask = np.zeros((16, 16), np.float32)
    mask[4:13, 5:12] = 1  # sharp edges, which the bilinear step spreads over a pixel of the mask
    size, scale = 64, 0.4
    plain = similarity(scale, 0, (3.1, 2.3))
    mirrored = plain.copy()
    mirrored[:, 2] = 64 - scale * 200 - plain[:, 2]
    straight, turned = np.zeros((200, 200, 3), np.uint8), np.zeros((200, 200, 3), np.uint8)
    paste(straight, face, mask, plain, (200, 200), size)
    paste(turned, face[::-1, ::-1], np.ascontiguousarray(mask[::-1, ::-1]), mirrored, (200, 200), size)
    assert straight.any()
    assert np.abs(straight.astype(int) - turned[::-1, ::-1]).max() <= 1


@pytest.mark.parametrize("larger", [1.6, 4])
def test_a_face_that_is_enlarged_is_sampled_finely(larger: float) -> None:
    """Waves of three pixels, turned, are off by 7 % of their height; sampled twice a pixel they were by 8.5 %."""
    wave = 0.5 + 0.3 * np.sin(2 * np.pi * (np.arange(64) + 0.5) / 3)
    face = np.repeat(np.broadcast_to(wave, (64, 64))[..., None], 3, axis=2).astype(np.float32)
    side = round(64 * larger)
    matrix = similarity(64 / side, 25, (0, 0))
    matrix[:, 2] = 32 - matrix[:, :2] @ [side / 2, side / 2]
    canvas = np.zeros((side, side, 3), np.uint16)
    paste(canvas, face, WHOLE, matrix, (side, side), 64)
    y, x = np.mgrid[:side, :side] + 0.5
    across, down = (row[0] * x + row[1] * y + row[2] for row in matrix)
    middle = (np.abs(across - 32) < 12) & (np.abs(down - 32) < 12)
    off = canvas[..., 0][middle] / 65535 - 0.5 - 0.3 * np.sin(2 * np.pi * across[middle] / 3)
    assert off.std() / (0.3 * 2**-0.5) < 0.078
