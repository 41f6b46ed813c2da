"""Which of the detected faces are restored, and why the others are not.

Faces are numbered from 1 in the order in which the detector gives them (from left to right), also those that are left
alone, so that a number means the same face whatever the other options are.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Protocol

from restorer.formatting import face_numbers

Box = tuple[float, float, float, float]


class Boxed(Protocol):
    """All that choosing needs to know of a face."""

    @property
    def box(self) -> Box:
        """x0, y0, x1, y1 in pixels of the photo."""
        ...


def choose(
    found: Sequence[Boxed],
    photo_size: tuple[int, int],
    *,
    faces: str = "all",
    min_face: float | None = None,
    max_faces: int | None = None,
    insisted: Container[int] = (),
) -> list[str | None]:
    """Return for each face None when it is to be restored, or the reason why it is not.

    Numbers are looked at first, then the size; "largest" and "center" choose among the faces that are left, and
    `max_faces` keeps the largest of these.

    Args:
        found: the detected faces.
        photo_size: (width, height).
        faces: "all", "largest", "center" (the one nearest to the middle of the photo) or numbers: "2,5", "1-3".
        min_face: pixels of the photo, for the longer side of the box.
        max_faces: at most so many.
        insisted: those, counted from 0, that are not too small: somebody pointed at them.

    Raises:
        ValueError: `faces` is none of these.
    """
    reasons: list[str | None] = [None] * len(found)
    wanted = numbers(faces)
    for i, face in enumerate(found):
        if wanted is not None and i + 1 not in wanted:
            reasons[i] = f"not chosen by --faces {faces}"
        elif min_face is not None and size(face.box) < min_face and i not in insisted:
            reasons[i] = f"smaller than --min-face {min_face:g} px"
    left = [i for i, reason in enumerate(reasons) if reason is None]
    by_size = sorted(left, key=lambda i: (-size(found[i].box), i))
    if faces in ("largest", "center"):
        by_distance = sorted(left, key=lambda i: (_distance(found[i].box, photo_size), i))
        only = (by_size if faces == "largest" else by_distance)[:1]
        for i in left:
            if i not in only:
                reasons[i] = f"not chosen by --faces {faces}"
        by_size = only
    for i in by_size[max_faces:] if max_faces is not None else ():
        reasons[i] = f"beyond --max-faces {max_faces}, which keeps the largest"
    return reasons


def numbers(faces: str) -> frozenset[int] | None:
    """Return the numbers that `faces` names, None where it is a word.

    Raises:
        ValueError: it is neither "all", "largest", "center" nor numbers from 1 on.
    """
    if faces in ("all", "largest", "center"):
        return None
    found = face_numbers(faces)
    if found is None:
        raise ValueError(f"faces are chosen by all, largest, center, or numbers such as 2,5 or 1-3; not by {faces!r}")
    return found


def missing(faces: str, count: int) -> list[int]:
    """Return the numbers that `faces` names and that a photo with `count` faces does not have."""
    return sorted(number for number in numbers(faces) or () if number > count)


def size(box: Box) -> float:
    """Return the longer side of a box, which depends less on the pose than the shorter one."""
    return max(box[2] - box[0], box[3] - box[1])


def _distance(box: Box, photo_size: tuple[int, int]) -> float:
    return math.dist(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), (photo_size[0] / 2, photo_size[1] / 2))
