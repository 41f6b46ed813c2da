"""Whether a photo and its result fit into this machine's memory, asked before it is read.

A file of a few kilobytes may be a picture of a gigapixel. Systems promise memory that they do not have, and end the
process that takes it, and with it a whole night's run; so such a photo fails alone, before.
"""

from __future__ import annotations

from pathlib import Path

from restorer.engine.memory import free_memory
from restorer.errors import NotEnoughMemoryError
from restorer.photo import MAX_PIXELS

SMALL = 50_000_000
"""Pixels of photo and result together that any machine has room for."""
_OF_PHOTO, _OF_RESULT = 20, 7
"""Bytes a pixel, for a photo of 8 bits without networks; measured: 27 and 8.6. What is refused would surely not fit."""


def check_room(path: Path, photo: tuple[int, int], result: tuple[int, int]) -> None:
    """Refuse a photo that takes more memory than there is; what small photos take is not asked for.

    Args:
        path: the photo.
        photo: its width and height, as its header tells them.
        result: those of its result.

    Raises:
        NotEnoughMemoryError: the memory that is free would not do.
    """
    inside, outside = photo[0] * photo[1], result[0] * result[1]
    if inside + outside <= SMALL or inside > MAX_PIXELS:  # what claims more than that is refused by its reader
        return
    needed, free = inside * _OF_PHOTO + outside * _OF_RESULT, free_memory()
    if free is not None and needed > free:
        raise NotEnoughMemoryError(
            path,
            f"{path} has {photo[0]:,} x {photo[1]:,} pixels: it takes {needed / 1e9:.1f} GB of memory or more, and "
            f"{free / 1e9:.1f} GB are free.",
            "Close other programs, use a smaller --scale, or give a smaller copy.",
        )
