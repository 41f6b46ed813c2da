"""Where a face is in a photo: how it is cut out as a model takes it, and put back where it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from restorer.faces import align, crops, paste
from restorer.faces.holding import Holding
from restorer.faces.mask import ownership
from restorer.imaging import warp
from restorer.imaging.colour import top_of
from restorer.imaging.layers import Layer
from restorer.imaging.resize import resize
from restorer.imaging.sampling import PLAIN, Sampling
from restorer.models.base import CropSpec

Upscale = Callable[[np.ndarray, tuple[int, int]], np.ndarray]
"""Brings a picture (h, w, 3) to a size (width, height)."""


@dataclass(frozen=True)
class Placement:
    """A face that was found and aligned.

    Attributes:
        photo_size: (width, height) of the photo.
        matrix: (2, 3), from the photo to the aligned crop, as `align.estimate` gives it.
        align_size: side in pixels of that crop.
        sampling: what samples crops and what is pasted, and where.
    """

    photo_size: tuple[int, int]
    matrix: np.ndarray
    align_size: int
    sampling: Sampling = PLAIN

    def crop(self, pixels: np.ndarray, spec: CropSpec) -> np.ndarray:
        """Return the crop that a model takes, float32 (s, s, 3) in [0, 1], of a photo (h, w, 3)."""
        return crops.crop_of(pixels, self.matrix, spec, self.sampling)

    def at(self, pixels: np.ndarray, side: int) -> np.ndarray:
        """Return the crop of a photo (h, w, 3) at any side, float32 (side, side, 3) in [0, 1]."""
        matrix = warp.scaled(self.matrix, target=(side / self.align_size,) * 2)
        return align.extract(pixels, matrix, side, self.sampling)

    def relative(self, landmarks: np.ndarray) -> np.ndarray:
        """Return landmarks of the photo (5, 2) as they lie in the crop, 0 to 1 across it."""
        return crops.relative(landmarks, self.matrix, self.align_size)

    def pixel(self, side: int) -> float:
        """Return the side of one pixel of the photo in pixels of a crop of this side."""
        return crops.scale_of(self.matrix) * side / self.align_size

    def ownership(self, others: Sequence[Placement], size: int) -> np.ndarray:
        """Return how much of the crop is this face's own beside its neighbours, (size, size), 0 to 1."""
        return ownership(self.matrix, [other.matrix for other in others], self.align_size, size)

    def enlarged(self, face: np.ndarray, canvas: np.ndarray, upscale: Upscale) -> np.ndarray:
        """Return a restored crop, enlarged where it is smaller than its place in the canvas (H, W, 3)."""
        wanted = canvas.shape[1] / (self.pixel(1) * self.photo_size[0])
        return crops.enlarged(face, wanted, upscale)

    def paste(
        self,
        canvas: np.ndarray,
        face: np.ndarray,
        mask: np.ndarray,
        strength: float,
        marks: np.ndarray | None = None,
        kept: list[Layer] | None = None,
        holding: Holding | None = None,
    ) -> tuple[int, int, int, int] | None:
        """Blend a restored face into the enlarged photo, in place; see `restorer.faces.paste.paste`."""
        where = self.matrix, self.photo_size, self.align_size
        return paste.paste(canvas, face, mask, *where, strength, marks, kept, holding, self.sampling)


class WholePlacement(Placement):
    """A photo that is one aligned crop: nothing is turned or shifted, and all of it is replaced.

    A crop that is not square is padded to one, and what comes back is cut again.

    Args:
        photo_size: (width, height) of the photo.
    """

    def __init__(self, photo_size: tuple[int, int]) -> None:
        side = max(photo_size)
        left, top = (side - photo_size[0]) // 2, (side - photo_size[1]) // 2
        super().__init__(photo_size, np.array([[1.0, 0.0, left], [0.0, 1.0, top]]), side)

    def crop(self, pixels: np.ndarray, spec: CropSpec) -> np.ndarray:
        """Return the photo as a square of the side that a model takes, float32 in [0, 1]."""
        return self.at(pixels, spec.input_size)

    def at(self, pixels: np.ndarray, side: int) -> np.ndarray:
        """Return the photo as a square of any side, float32 in [0, 1]."""
        (width, height), whole = self.photo_size, self.align_size
        left, top = self._margins()
        padding = ((top, whole - height - top), (left, whole - width - left), (0, 0))
        mode = "symmetric" if whole < 2 * min(width, height) else "edge"
        square = np.pad(crops.to_unit(pixels), padding, mode=mode)  # type: ignore[call-overload]
        return resize(square, (side, side))

    def ownership(self, others: Sequence[Placement], size: int) -> np.ndarray:
        """Return ones: there is no neighbour."""
        return np.ones((size, size), np.float32)

    def paste(
        self,
        canvas: np.ndarray,
        face: np.ndarray,
        mask: np.ndarray,
        strength: float,
        marks: np.ndarray | None = None,
        kept: list[Layer] | None = None,
        holding: Holding | None = None,
    ) -> tuple[int, int, int, int] | None:
        """Blend the whole restored crop over the canvas, in place, whatever the mask."""
        (width, height), unit = self.photo_size, face.shape[0] / self.align_size
        left, top = self._margins()
        cut = face[round(top * unit) : round((top + height) * unit), round(left * unit) : round((left + width) * unit)]
        restored = resize(np.ascontiguousarray(cut), (canvas.shape[1], canvas.shape[0]))
        below = crops.to_unit(canvas)
        if holding is not None:
            restored = np.clip(holding.held(restored, below, strength, 1.0), 0, 1)
        blended = below * (1 - strength) + restored * strength
        canvas[...] = crops.from_unit(blended, canvas.dtype)
        if marks is not None:
            marks[...] = np.maximum(marks, round(255 * strength))
        if kept is not None:
            share = np.full(canvas.shape[:2], round(strength * top_of(canvas.dtype)), canvas.dtype)
            kept.append(Layer("Face", 0, 0, crops.from_unit(restored, canvas.dtype), share))
        return 0, 0, canvas.shape[1], canvas.shape[0]

    def _margins(self) -> tuple[int, int]:
        """Return what is padded at the left and at the top, in pixels of the photo."""
        return int(self.matrix[0, 2]), int(self.matrix[1, 2])
