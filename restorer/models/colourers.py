"""What an architecture that colours black-and-white photos is."""

from __future__ import annotations

from typing import ClassVar

from restorer.models.base import Architecture


class ColourArchitecture(Architecture):
    """An architecture whose role is colorizer: it maps grey pictures (n, 3, h, w) in [-1, 1] to a and b of Lab.

    Attributes:
        side: of the square that it looks at, pixels; whatever the photo's shape.
    """

    role = "colorizer"
    unexportable = "it gives two channels of Lab, which are no picture by themselves"
    side: ClassVar[int] = 512
