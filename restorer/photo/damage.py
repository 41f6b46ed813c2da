"""What libraries and parsers raise on bytes that are not what they promise to be."""

from __future__ import annotations

import struct
import zlib

DAMAGE: tuple[type[Exception], ...] = (
    # KeyError, IndexError; ZeroDivisionError, OverflowError; damaged text and JSON; RecursionError; SyntaxError is
    # Pillow's for a broken PNG. A count that is nonsense may ask for more memory than there is.
    *(LookupError, ArithmeticError, ValueError, TypeError, AttributeError, AssertionError, RuntimeError, SyntaxError),
    *(MemoryError, OSError, EOFError, struct.error, zlib.error),
)
"""Errors that speak of the file, not of this program: metadata is dropped over them, with a warning."""
