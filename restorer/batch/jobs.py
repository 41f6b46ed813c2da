"""How many photos are restored at once on a processor of many cores: a pure function.

A network's layers are shared out well by a few threads and badly by many, and what stands between the networks of a
photo keeps one core busy. Several photos beside each other keep all of them so. How many threads each has does not
depend on how many there are: last bits of what a network gives do depend on it. What photos take in memory is asked for
before, since systems end the process that takes more than there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from restorer.batch.one import LARGE_PHOTO_PIXELS
from restorer.models import REGISTRY
from restorer.models.base import CropSpec, FaceArchitecture
from restorer.models.searching import SearchArchitecture

if TYPE_CHECKING:
    from restorer.pipeline.components import Components

AUTO = "auto"
RESERVED = 1_200_000_000
"""Bytes for the program, its networks, and the photos that are read ahead and written behind."""
_OF_FACE = 1_000_000_000
"""Bytes that a network takes while it restores a face of 512 x 512 pixels; they grow with the face's area."""
_OF_NONE = 300_000_000
"""Bytes that a photo takes at work where no face is restored: an upscaler's tile."""
_OF_PIXEL = 36
"""Bytes a pixel, of a photo and of its result; see `restorer.batch.room`."""


@dataclass(frozen=True)
class Jobs:
    """How many photos a run restores at once on a CPU.

    Attributes:
        count: so many, at most.
        pixels: that they have together, at most, each of them or its result; a single one may have more.
        asked: how many were asked for, where memory has room for fewer; None = it has room.
    """

    count: int = 1
    pixels: int = LARGE_PHOTO_PIXELS
    asked: int | None = None


def share(
    asked: int | str = AUTO,
    *,
    cores: int,
    threads: int,
    memory: int | None,
    need: int,
    photos: int | None = None,
) -> Jobs:
    """Return how many photos are restored at once.

    Args:
        asked: so many; "auto" = as many as have cores enough.
        cores: that may be used.
        threads: that each photo is computed with.
        memory: bytes that may be taken; None = nobody tells.
        need: bytes that each photo at work takes, beside its pixels.
        photos: of the run; None = they come one by one.
    """
    wanted = asked if isinstance(asked, int) else cores // threads
    wanted = max(1, wanted if photos is None else min(wanted, photos))
    if memory is None:
        return Jobs(wanted)
    room = memory - RESERVED
    count = max(1, min(wanted, room // need))
    fewer = wanted if count < wanted and isinstance(asked, int) else None
    if count == 1:
        return Jobs(asked=fewer)
    return Jobs(count, max(0, min(count * LARGE_PHOTO_PIXELS, (room - count * need) // _OF_PIXEL)), fewer)


def need_of(components: Components) -> int:
    """Return about how many bytes a photo takes while it is at work, beside its own pixels; nothing is loaded for it.

    Raises:
        WeightsError: "auto" can take no model.
    """
    crop = _crop(components)
    return _OF_NONE if crop is None else max(_OF_NONE, int(_OF_FACE * (crop.output_size / 512) ** 2))


def _crop(components: Components) -> CropSpec | None:
    """Return what the face restorer takes and gives; None without one, or where that is a search's own affair."""
    if components.given.face_model is not None:
        return components.given.face_model.crop
    if not components.faces_wanted:
        return None
    table = components.model_table()
    architecture = REGISTRY.of_role(FaceArchitecture, table)
    return None if isinstance(architecture, SearchArchitecture) else architecture.crop(REGISTRY.arguments(table))
