"""Whether another decoder sees the same picture in a file that was read as sound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from restorer.photo import Photo

Array = npt.NDArray[Any]
CLOSE = 24
"""Levels of 255 by which the pixels of two decoders may differ, where colours are stored coarsely."""
_DOUBTS = ("damaged", "cut off", "missing", "Look at it", "make no sense", "passed over", "converted", "extra channel")
_OTHERWISE = ("animation",)  # of which OpenCV shows another picture


def is_doubted(photo: Photo) -> bool:
    """Whether the photo's own warnings say that its pixels may not be what was meant, or that they were converted."""
    return any(word in warning for warning in photo.warnings for word in (*_DOUBTS, *_OTHERWISE))


def verdict(data: bytes, photo: Photo) -> str:
    """Return "agrees", "differs" or "the other one refuses", by OpenCV, whose decoders are built apart."""
    import cv2

    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        found = None
    if found is None:
        return "the other one refuses"
    other = np.asarray(found)[..., ::-1].astype(np.int16)
    own = photo.pixels.astype(np.int32)
    own = (own + 128) // 257 if photo.pixels.dtype == np.uint16 else own
    seen = photo.alpha is None or photo.alpha > 0
    if photo.alpha is not None and not np.any(seen):
        return "agrees"
    for turned in _turns(other):
        if turned.shape == own.shape and _is_close(np.abs(turned - own).max(axis=2), seen):
            return "agrees"
    return "differs"


def _is_close(difference: Array, seen: Array | bool) -> bool:
    """Whether nearly all pixels are close; what is transparent has no colour."""
    far = (difference > CLOSE) & seen
    return bool(far.mean() < 0.02)


def _turns(picture: Array) -> Iterator[Array]:
    """Yield a picture turned and mirrored in all eight ways; orientations are compared by tests of their own."""
    for mirrored in (picture, picture[:, ::-1]):
        for quarter in range(4):
            yield np.rot90(mirrored, quarter)
