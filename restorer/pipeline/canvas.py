"""What stages hand from one to the next: the picture as it is so far, and what is known of the photo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from restorer.formatting import face_numbers
from restorer.imaging.colour import looks_grey, top_of
from restorer.imaging.libraries import np
from restorer.imaging.resize import resize, to_type
from restorer.options import Options
from restorer.photo import Photo
from restorer.pipeline.holes import read_hole
from restorer.pipeline.searches import COLORIZE, INPAINT
from restorer.record import FaceRecord, Record

if TYPE_CHECKING:
    from restorer.faces.blending import Blending
    from restorer.faces.placement import Placement
    from restorer.faces.worth import Condition
    from restorer.imaging.layers import Layer
    from restorer.imaging.profiles import Colours
    from restorer.models.base import Face, FaceRestorer
    from restorer.pipeline.components import Components


Wrap = Callable[["FaceRestorer"], "FaceRestorer"]
"""Puts something around a face restorer, so that several photos share its batches."""


@dataclass
class Canvas:
    """The picture on its way.

    Attributes:
        pixels: (h, w, 3) RGB in the photo's own depth, uint8 or uint16; writable once it is not the photo's own.
        alpha: (h, w) of the same type, or None.
        changed: (h, w) uint8, how much of each pixel was invented, 255 = all; None as long as nothing was.
        layers: what the pixels are made of, from the picture without any invention upwards; None where nobody asked.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    changed: np.ndarray | None = None
    layers: list[Layer] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def marks(self) -> np.ndarray:
        """Return `changed`, made when there is none; memory is only taken where something is written."""
        if self.changed is None:
            self.changed = np.zeros(self.pixels.shape[:2], np.uint8)
        return self.changed

    @contextmanager
    def only(self, hole: np.ndarray | None) -> Iterator[None]:
        """Let what is written inside count in a hole alone; what is known of the picture stays, to the last pixel.

        Args:
            hole: (h, w, 3) uint8 of any size, 255 where the picture is missing; None = it counts everywhere.
        """
        if hole is None:
            yield
            return
        pixels, changed = self.pixels.copy(), self.marks().copy()
        yield
        share = self._share(hole)[..., None]
        mixed = pixels + (self.pixels.astype(np.float32) - pixels) * share
        self.pixels[...] = to_type(mixed, self.pixels.dtype)
        marks = changed + (self.marks().astype(np.float32) - changed) * share[..., 0]
        self.marks()[...] = to_type(marks, self.marks().dtype)

    def within(self, layer: Layer, hole: np.ndarray | None) -> Layer:
        """Return a layer that is seen in a hole alone; all of it where there is none."""
        if hole is None:
            return layer
        height, width = layer.pixels.shape[:2]
        share = self._share(hole)[layer.top : layer.top + height, layer.left : layer.left + width]
        seen = np.full((height, width), top_of(layer.pixels.dtype)) if layer.mask is None else layer.mask
        return replace(layer, mask=to_type(seen * share, layer.pixels.dtype))

    def _share(self, hole: np.ndarray) -> np.ndarray:
        """Return how much of each pixel lies in a hole, (h, w) float32 in [0, 1]."""
        scaled: np.ndarray = resize(np.ascontiguousarray(hole[..., 0]), self.size).astype(np.float32) / 255
        return scaled


@dataclass
class Detection:
    """A face that is to be restored.

    Attributes:
        entry: its place in the record.
        landmarks: (5, 2) in pixels of the photo; None for an aligned crop.
        placement: where it is, where that is known already: the whole of an aligned crop.
        insisted: whether it was pointed at, so that it is restored, needed or not.
        condition: how good it is in the photo; None = that is not asked, and the network's picture is taken as it is.
    """

    entry: FaceRecord
    landmarks: np.ndarray | None = None
    placement: Placement | None = None
    condition: Condition | None = None
    insisted: bool = False


@dataclass
class Work:
    """One photo's way through the stages.

    Attributes:
        photo: what was opened.
        options: the choices of this photo.
        components: detector, face restorer, mask and upscaler.
        record: what is written into.
        size: (width, height) of the result.
        faces: those of the photo, where the caller knows them; None = they are looked for.
        detections: the faces that are to be restored.
        damage: (h, w) uint8, 255 where the print is damaged; None where nobody looked.
        source: (h, w, 3) the pixels that faces are cut from: the canvas before it was enlarged.
        wrap: puts something around the face restorer, so that several photos share it; None = it is called as it is.
        variants: of several answers, the canvases of those behind the first.
        blending: takes in what is pasted, so that a face can be blended in anew; None = nobody asks.
        tell: hears how far the stage at work is, 0 to 1.
    """

    photo: Photo
    options: Options
    components: Components
    record: Record
    size: tuple[int, int]
    faces: list[Face] | None = None
    detections: list[Detection] = field(default_factory=list)
    damage: np.ndarray | None = None
    source: np.ndarray | None = None
    wrap: Wrap | None = None
    variants: list[Canvas] = field(default_factory=list)
    blending: Blending | None = None
    tell: Callable[[float], None] = lambda _fraction: None

    @cached_property
    def colours(self) -> Colours | None:
        """What the photo's values mean, where that is not sRGB; networks see sRGB, and what they return goes back."""
        from restorer.imaging.icc import UnusableProfileError
        from restorer.imaging.profiles import colours_of
        from restorer.photo.color import profile_meant

        profile = profile_meant(self.photo)
        if profile is None:
            return None
        try:
            colours = colours_of(profile)
            if looks_grey(self.photo.pixels, None if colours is None else colours.seen):
                colours = colours_of(profile, grey=True)
            return colours
        except UnusableProfileError as error:
            self.record.warn(f"The ICC profile cannot be used ({error}); the colours were taken as sRGB's.")
            return None

    @cached_property
    def keeps_colours(self) -> bool:
        """Whether faces get the colours of what they are cut from: not where colours are what they are given."""
        return self.options.match_color and self.options.task not in (COLORIZE, INPAINT)

    @cached_property
    def stays_grey(self) -> bool:
        """Whether faces are made black and white: they keep the colours of what they are cut from, if not told to."""
        if not self.options.match_color or self.options.task == COLORIZE:
            return False
        pixels = self.photo.pixels if self.source is None else self.source
        return looks_grey(pixels, None if self.colours is None else self.colours.seen)

    @cached_property
    def hole(self) -> np.ndarray | None:
        """(h, w, 3) uint8 of the photo's size, 255 where it is missing; None where it is whole."""
        return None if self.options.hole is None else read_hole(Path(self.options.hole), self.photo.size)

    def painted(self, pixels: np.ndarray, value: float) -> np.ndarray:
        """Return the photo's pixels with the hole, where there is one, painted in a grey of [0, 1]."""
        if self.hole is None:
            return pixels
        grey = np.array(round(value * top_of(pixels.dtype)), pixels.dtype)
        return np.where(self.hole > 0, grey, pixels)

    @property
    def insists(self) -> bool:
        """Whether faces were named outright, by number or by the caller: they are restored, needed or not."""
        return self.faces is not None or face_numbers(self.options.faces) is not None

    def number_of(self, entry: FaceRecord) -> int:
        """Return a face's number, from 1."""
        return next(number for number, each in enumerate(self.record.faces, 1) if each is entry)
