"""What an architecture that fills holes is: how large a part of a photo it is shown, how much of it around a hole."""

from __future__ import annotations

from typing import ClassVar

from restorer.models.base import Architecture


class InpaintingArchitecture(Architecture):
    """An architecture whose role is inpainter: pictures and holes go in, pictures come out.

    Attributes:
        margin: pixels around a hole that it is shown.
        part: side in pixels of the parts in which a large hole is filled.
        near: holes that are nearer to each other than twice so many pixels are filled together.
        grain: whether what it fills lacks the grain that is around it, which is then added.
    """

    role = "inpainter"
    pictures = True
    margin: ClassVar[int] = 128
    part: ClassVar[int] = 384
    near: ClassVar[int] = 32
    grain: ClassVar[bool] = False
