"""The faces of a photo over its enlarged picture, kept so that one of them can be blended in anew, more or less."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from restorer.faces.holding import Holding
    from restorer.faces.placement import Placement

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the result."""


@dataclass(frozen=True)
class Pasted:
    """A face that was pasted.

    Attributes:
        placement: where it is.
        picture: (S, S, 3) float32, what was pasted.
        mask: (t, t) float32, how much of it is seen.
        strength: how much of it was blended in.
        holding: what it keeps of the canvas below it.
        box: what of the canvas was changed.
    """

    placement: Placement
    picture: np.ndarray
    mask: np.ndarray
    strength: float
    holding: Holding | None
    box: Box

    def put(self, canvas: np.ndarray, strength: float) -> None:
        """Paste it into a canvas."""
        self.placement.paste(canvas, self.picture, self.mask, strength, holding=self.holding)


class Blending:
    """What was pasted into a photo, and the picture before it; several threads may ask.

    Attributes:
        faces: by their numbers, in the order in which they were pasted.
    """

    def __init__(self) -> None:
        self.faces: dict[int, Pasted] = {}
        self._before: np.ndarray | None = None
        self._scratch: np.ndarray | None = None
        self._lock = threading.Lock()

    def begin(self, canvas: np.ndarray) -> None:
        """Take in the enlarged picture (H, W, 3) before anything is pasted."""
        self._before, self._scratch = canvas.copy(), None
        self.faces.clear()

    @property
    def bytes(self) -> int:
        """How much memory it takes, when it has been asked."""
        pictures = sum(each.picture.nbytes + each.mask.nbytes for each in self.faces.values())
        return pictures + (0 if self._before is None else 2 * self._before.nbytes)

    def again(self, number: int, strength: float, also: Collection[int] = ()) -> tuple[Box, np.ndarray]:
        """Return the part of the result that a face changes, with that face blended in by another strength.

        Only this part is computed, with the faces that reach into it. Where one of these holds on to detail that a
        face still farther away has changed, the whole result may differ from it there, by what rounding hides mostly.

        Args:
            number: of the face, one of `faces`.
            strength: 0 to 1.
            also: faces that have this strength too, where they reach into the part.

        Returns:
            The box and its pixels (h, w, 3), of the canvas's type.
        """
        wanted = self.faces[number]
        near = {other: face for other, face in self.faces.items() if _touch(face.box, wanted.box)}
        with self._lock:
            assert self._before is not None
            if self._scratch is None:
                self._scratch = self._before.copy()
            boxes = np.array([face.box for face in near.values()])
            (left, top), (right, bottom) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
            self._scratch[top:bottom, left:right] = self._before[top:bottom, left:right]
            for other, face in near.items():
                face.put(self._scratch, strength if other == number or other in also else face.strength)
            x0, y0, x1, y1 = wanted.box
            return wanted.box, self._scratch[y0:y1, x0:x1].copy()


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
