"""The picture of numbered faces: readable at any size, and hiding no face."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restorer.report import numbered
from restorer.report.numbered import Mark

YELLOW = (255, 221, 0)


def grey(width: int, height: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def inside(picture: np.ndarray, mark: Mark, photo_width: int) -> np.ndarray:
    """Return the pixels of a drawing within a face's box."""
    scale = picture.shape[1] / photo_width
    x0, y0, x1, y1 = (round(value * scale) for value in mark.box)
    return picture[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1]


@st.composite
def single_faces(draw: st.DrawFn) -> tuple[int, int, Mark]:
    width = draw(st.integers(40, 3000))
    height = draw(st.integers(max(40, width // 4), min(3000, width * 4)))
    side = draw(st.floats(0.03, 0.5)) * min(width, height)
    x, y = draw(st.floats(0, 1)) * (width - side), draw(st.floats(0, 1)) * (height - side)
    return width, height, Mark(draw(st.integers(1, 120)), (x, y, x + side, y + side))


@given(photo=single_faces())
@settings(max_examples=25, deadline=None)
def test_neither_box_nor_number_hide_a_face(photo: tuple[int, int, Mark]) -> None:
    width, height, mark = photo
    picture = numbered.draw(grey(width, height), [mark])
    assert (inside(picture, mark, width) == 128).all()
    assert max(picture.shape) >= numbered.LEAST_SIDE
    assert (picture == YELLOW).all(axis=2).any()


def test_numbers_in_a_crowd_hide_no_face_and_no_other_number() -> None:
    marks = [
        Mark(row * 12 + column + 1, (60 + column * 70, 60 + row * 80, 100 + column * 70, 110 + row * 80))
        for row in range(8)
        for column in range(12)
    ]
    picture = numbered.draw(grey(920, 740), marks)
    assert all((inside(picture, mark, 920) == 128).all() for mark in marks)
    black = (picture == 0).all(axis=2)
    # Every number stands on its own plate: as many plates as faces, found as the rows of black above each box.
    scale = picture.shape[1] / 920
    for mark in marks:
        x0, y0, x1, _ = (round(value * scale) for value in mark.box)
        assert black[y0 - round(25 * scale) : y0, x0 - 5 : x1].mean() > 0.1


@pytest.mark.parametrize("size", [(60, 40), (400, 300), (2000, 1500), (6000, 4000)])
def test_lines_and_numbers_grow_with_the_picture(size: tuple[int, int]) -> None:
    width, height = size
    mark = Mark(8, (width * 0.4, height * 0.4, width * 0.6, height * 0.7))
    picture = numbered.draw(grey(*size), [mark])
    yellow = (picture == YELLOW).all(axis=2)
    longest = max(picture.shape)
    assert longest == max(numbered.LEAST_SIDE, *size)
    row = yellow[round(picture.shape[0] * 0.55)]
    line = int(row[: picture.shape[1] // 2].sum())
    assert longest / 400 <= line <= longest / 150
    plate = (picture == 0).all(axis=2).any(axis=1).sum() - (picture[:, 0] == 0).all(axis=1).sum()
    assert plate > longest / 70


def test_tiny_faces_in_a_small_photo_are_enlarged_until_they_are_seen() -> None:
    mark = Mark(1, (100, 100, 112, 112))
    picture = numbered.draw(grey(1000, 800), [mark])
    assert picture.shape[1] / 1000 * 12 == pytest.approx(numbered.LEAST_FACE, rel=0.02)
    huge = numbered.draw(grey(4500, 100), [Mark(1, (100, 50, 104, 54))])
    assert huge.shape[1] == 4500


def test_a_face_that_would_be_left_alone_looks_different() -> None:
    box = (400.0, 400.0, 700.0, 700.0)
    wanted = numbered.draw(grey(1500, 1200), [Mark(1, box)])
    left = numbered.draw(grey(1500, 1200), [Mark(1, box, left_alone=True)])
    assert (wanted == YELLOW).all(axis=2).sum() > 2000
    assert not (left == YELLOW).all(axis=2).any()
    assert (left == 255).all(axis=2).sum() > 1000


def test_different_numbers_make_different_pictures() -> None:
    drawings = {numbered.draw(grey(300, 200), [Mark(n, (100, 80, 160, 150))]).tobytes() for n in range(1, 30)}
    assert len(drawings) == 29


def test_deep_photos_are_drawn_with_rounding_and_the_photo_stays_as_it_is() -> None:
    pixels = np.full((1200, 1200, 3), 257 * 100 + 200, np.uint16)
    before = pixels.copy()
    picture = numbered.draw(pixels, [Mark(1, (100, 100, 300, 300))])
    assert picture.dtype == np.uint8
    assert tuple(picture[600, 600]) == (101, 101, 101)
    assert (pixels == before).all()


def test_a_face_that_fills_the_photo_still_has_a_number() -> None:
    picture = numbered.draw(grey(500, 500), [Mark(3, (0, 0, 500, 500))])
    assert (picture == YELLOW).all(axis=2).any()
