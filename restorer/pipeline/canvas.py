"""What stages hand from one to the next: the picture as it is so far, and what is known of the photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from restorer.imaging.colour import looks_grey
from restorer.imaging.libraries import np
from restorer.options import Options
from restorer.photo import Photo
from restorer.record import FaceRecord, Record

if TYPE_CHECKING:
    from restorer.faces.placement import Placement
    from restorer.imaging.layers import Layer
    from restorer.imaging.profiles import Colours
    from restorer.models.base import Face, FaceRestorer
    from restorer.pipeline.components import Components


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


@dataclass
class Detection:
    """A face that is to be restored.

    Attributes:
        entry: its place in the record.
        landmarks: (5, 2) in pixels of the photo; None for an aligned crop.
        placement: where it is, where that is known already: the whole of an aligned crop.
    """

    entry: FaceRecord
    landmarks: np.ndarray | None = None
    placement: Placement | None = None


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
        source: (h, w, 3) the pixels that faces are cut from: the canvas before it was enlarged.
        wrap: puts something around the face restorer, so that several photos share it; None = it is called as it is.
        tell: hears how far the stage at work is, 0 to 1.
    """

    photo: Photo
    options: Options
    components: Components
    record: Record
    size: tuple[int, int]
    faces: list[Face] | None = None
    detections: list[Detection] = field(default_factory=list)
    source: np.ndarray | None = None
    wrap: Callable[[FaceRestorer], FaceRestorer] | None = None
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
    def stays_grey(self) -> bool:
        """Whether faces are made black and white: they keep the colours of what they are cut from, if not told to."""
        if not self.options.match_color:
            return False
        pixels = self.photo.pixels if self.source is None else self.source
        return looks_grey(pixels, None if self.colours is None else self.colours.seen)

    def number_of(self, entry: FaceRecord) -> int:
        """Return a face's number, from 1."""
        return next(number for number, each in enumerate(self.record.faces, 1) if each is entry)
