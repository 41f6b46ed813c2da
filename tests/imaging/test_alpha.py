"""What lies under transparent pixels does not show at the edge of what is visible."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from restorer import Restorer
from restorer.imaging.alpha import spread_colours
from restorer.imaging.resize import resize
from restorer.photo import photo_from_array


def disc(dtype: type = np.uint8, colour: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    """Return a disc of one colour on transparent black, (60, 80, 4)."""
    y, x = np.mgrid[:60, :80]
    picture: np.ndarray = np.zeros((60, 80, 4), dtype)
    top = np.iinfo(dtype).max
    picture[(y - 30) ** 2 + (x - 40) ** 2 < 400] = [round(value * top) for value in (*colour, 1)]
    return picture


def over_white(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / np.iinfo(alpha.dtype).max
    return np.asarray(image * share + np.iinfo(image.dtype).max * (1 - share))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [0.5, 1.7, 2, 8])
@pytest.mark.parametrize("background", ["lanczos", "tiny-upscaler"])
def test_a_white_cut_out_has_no_dark_edge(dtype: type, scale: float, background: str) -> None:
    restorer = Restorer("none", background=background, scale=scale, offline=True)
    result = restorer.restore(photo_from_array(disc(dtype)))
    assert result.alpha is not None
    top = np.iinfo(dtype).max
    darkest = over_white(result.image, result.alpha).min() / top
    assert darkest > (0.999 if background == "lanczos" else 0.985)


def test_a_coloured_cut_out_keeps_its_colour_up_to_the_edge() -> None:
    picture = disc(colour=(0.8, 0.2, 0.4))
    spread = spread_colours(picture[..., :3], picture[..., 3])
    result, alpha = resize(spread, (320, 240)), resize(picture[..., 3], (320, 240))
    assert np.abs(result[alpha > 0].astype(int) - (204, 51, 102)).max() <= 1


def test_pixels_that_nobody_sees_stay_where_no_filter_reaches() -> None:
    picture = np.full((200, 200, 3), 77, np.uint8)
    alpha = np.zeros((200, 200), np.uint8)
    picture[:20], alpha[:20] = 200, 255
    spread = spread_colours(picture, alpha)
    assert (spread[:24] == 200).all()
    assert (spread[100:] == 77).all()


def test_what_is_opaque_is_the_same_array() -> None:
    picture = disc()
    for alpha in (None, np.full((60, 80), 255, np.uint8), np.full((60, 80), 1, np.uint8), np.zeros((60, 80), np.uint8)):
        assert spread_colours(picture[..., :3], alpha) is not None
        assert np.shares_memory(spread_colours(picture[..., :3], alpha), picture)


def test_at_scale_1_not_a_pixel_changes(tmp_path: Path) -> None:
    picture = disc()
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    result = Restorer("none", background="lanczos", scale=1, offline=True).restore(stream.getvalue())
    assert np.array_equal(result.image, picture[..., :3])
    assert result.alpha is not None
    assert np.array_equal(result.alpha, picture[..., 3])


SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=60, deadline=None)
@given(SHAPES.flatmap(lambda shape: arrays.arrays(np.uint8, (*shape, 4))), st.sampled_from([np.uint8, np.uint16]))
def test_visible_pixels_never_change(picture: np.ndarray, dtype: type) -> None:
    picture = picture.astype(dtype) * (np.iinfo(dtype).max // 255)
    before: np.ndarray = picture.copy()
    spread = spread_colours(picture[..., :3], picture[..., 3])
    assert (spread.shape, spread.dtype) == (picture[..., :3].shape, picture.dtype)
    visible = picture[..., 3] > 0
    assert np.array_equal(spread[visible], picture[..., :3][visible])
    assert np.array_equal(picture, before)
    if visible.any():
        low, high = picture[..., :3][visible].min(), picture[..., :3][visible].max()
        near = np.zeros_like(visible)
        near[1:], near[:-1] = visible[:-1], visible[1:]
        filled = spread[near & ~visible]
        assert not filled.size or (low <= filled.min() and filled.max() <= high)
