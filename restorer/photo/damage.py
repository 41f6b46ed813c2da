"""What libraries and parsers raise on bytes that are not what they promise to be."""

from __future__ import annotations

import logging
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from xml.parsers.expat import ExpatError

from restorer.imaging.colour import Pixels
from restorer.imaging.libraries import np

DAMAGE: tuple[type[Exception], ...] = (
    # KeyError, IndexError; ZeroDivisionError, OverflowError; damaged text and JSON; RecursionError; SyntaxError is
    # Pillow's for a broken PNG. A count that is nonsense may ask for more memory than there is.
    *(LookupError, ArithmeticError, ValueError, TypeError, AttributeError, AssertionError, RuntimeError, SyntaxError),
    *(MemoryError, OSError, EOFError, struct.error, zlib.error, ExpatError),
)
"""Errors that speak of the file, not of this program: metadata is dropped over them, with a warning."""

_ZEROS = bytes(64)
LEAST_LEFT = 0.05
"""Share of a picture that must be there; of less, nothing is made."""


def is_blanked(data: bytes, start: int, end: int) -> bool:
    """Whether coded data hold more zeros in a row than any coder writes: bytes that a bad sector took."""
    return data.find(_ZEROS, start, end) >= 0


def look_at_it(title: str) -> str:
    """Return the warning about a picture that was decoded although its data are damaged."""
    consequence = "parts of the picture may be missing, shifted or in false colours"
    return f"The {title}'s data are damaged: {consequence}. Look at it."


def cut_off(title: str, rows: int, height: int) -> str:
    """Return the warning about a picture of which only the upper rows are there."""
    return f"The {title} is cut off: {rows} of its {height} rows are there ({rows / height:.0%}); the rest is grey."


def middle_of(pixels: Pixels) -> int:
    """Return the grey that stands for pixels that are missing: the middle of their depth."""
    return int(np.iinfo(pixels.dtype).max // 2 + 1)


_LIBRARIES = re.compile(r"(PIL|pillow_heif|cv2|restorer\.photo)\b")
_FILTER = ("ignore", None, Warning, _LIBRARIES, 0)
_NOBODY = logging.NullHandler()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep what libraries warn of off the screen: what is wrong with a file, the photo's own warnings say.

    Each user puts a filter of its own into the process's list, so that threads do not take it from each other.
    """
    logging.getLogger("PIL").addHandler(_NOBODY)  # else Python prints what nobody has asked to hear
    filters: list[object] = warnings.filters  # type: ignore[assignment]
    filters.insert(0, _FILTER)
    try:
        yield
    finally:
        if _FILTER in filters:  # unless someone has emptied the list meanwhile
            filters.remove(_FILTER)
