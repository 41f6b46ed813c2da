"""Choosing faces: numbers, sizes, limits, and a reason for every face that is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restorer.faces import select
from restorer.faces.select import Box


class Thing:
    """A face as far as choosing goes."""

    def __init__(self, box: Box) -> None:
        self.box = box


SMALL, LARGE, MIDDLE, PROFILE = (
    Thing((10, 10, 30, 35)),
    Thing((300, 10, 400, 160)),
    Thing((180, 120, 230, 180)),
    Thing((60, 60, 75, 110)),  # narrow, as a face from the side is, but as high as others
)
FOUND = [SMALL, LARGE, MIDDLE, PROFILE]
SIZE = (400, 300)


def chosen(**options: object) -> list[int]:
    reasons = select.choose(FOUND, SIZE, **options)  # type: ignore[arg-type]
    return [number for number, reason in enumerate(reasons, 1) if reason is None]


def test_all_are_chosen_by_default() -> None:
    assert select.choose(FOUND, SIZE) == [None, None, None, None]
    assert select.choose([], SIZE) == []


def test_largest_and_center_choose_one() -> None:
    """Upstream stores a bare row instead of a list for these two."""
    assert chosen(faces="largest") == [2]
    assert chosen(faces="center") == [3]
    assert select.choose([], SIZE, faces="largest") == []
    assert select.choose(FOUND, SIZE, faces="center")[0] == "not chosen by --faces center"


def test_numbers_count_all_faces_from_one_whatever_the_limits() -> None:
    assert chosen(faces="2,4") == [2, 4]
    assert chosen(faces=" 4 , 2 ") == [2, 4]
    assert chosen(faces="2,4", min_face=60) == [2]
    assert select.choose(FOUND, SIZE, faces="2")[2] == "not chosen by --faces 2"
    assert select.missing("1,2,7,5", 4) == [5, 7]
    assert select.missing("all", 0) == []


def test_min_face_looks_at_the_longer_side_so_that_profiles_stay() -> None:
    """Upstream drops faces by the distance of their eyes, which in a profile is next to nothing."""
    assert chosen(min_face=40) == [2, 3, 4]
    assert select.choose(FOUND, SIZE, min_face=40)[0] == "smaller than --min-face 40 px"
    assert chosen(min_face=25) == [1, 2, 3, 4]


def test_max_faces_keeps_the_largest() -> None:
    assert chosen(max_faces=2) == [2, 3]
    assert select.choose(FOUND, SIZE, max_faces=2)[3] == "beyond --max-faces 2, which keeps the largest"
    assert chosen(max_faces=9) == [1, 2, 3, 4]


def test_center_looks_only_at_faces_that_are_large_enough() -> None:
    assert chosen(faces="center", min_face=70) == [2]


@pytest.mark.parametrize("faces", ["", "biggest", "0", "1,", "-1", "1.5", "1;2", "²"])
def test_what_is_no_choice_is_refused(faces: str) -> None:
    with pytest.raises(ValueError, match="faces are chosen by"):
        select.choose(FOUND, SIZE, faces=faces)


coordinates = st.integers(0, 500)
boxes = st.builds(
    lambda x, y, w, h: Thing((x, y, x + w, y + h)), coordinates, coordinates, st.integers(1, 300), st.integers(1, 300)
)


@given(
    found=st.lists(boxes, max_size=12),
    faces=st.sampled_from(["all", "largest", "center", "1,3,20"]),
    min_face=st.none() | st.integers(1, 300),
    max_faces=st.none() | st.integers(1, 5),
)
def test_every_face_is_chosen_or_has_a_reason(
    found: list[Thing], faces: str, min_face: int | None, max_faces: int | None
) -> None:
    reasons = select.choose(found, (600, 400), faces=faces, min_face=min_face, max_faces=max_faces)
    assert len(reasons) == len(found)
    assert all(reason is None or reason for reason in reasons)
    kept = [face for face, reason in zip(found, reasons, strict=True) if reason is None]
    if max_faces is not None:
        assert len(kept) <= max_faces
    if min_face is not None:
        assert all(select.size(face.box) >= min_face for face in kept)
    if faces in ("largest", "center") and any(select.size(face.box) >= (min_face or 0) for face in found):
        assert len(kept) == 1
    assert reasons == select.choose(found, (600, 400), faces=faces, min_face=min_face, max_faces=max_faces)
