"""Faces that the user points at: found by a closer look of every detector at hand, or aligned by their boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from restorer import weights
from restorer.models import REGISTRY
from restorer.options import outlines

if TYPE_CHECKING:
    import numpy as np

    from restorer.faces.detect import FaceDetector
    from restorer.faces.outlined import Outlined
    from restorer.models.base import Face
    from restorer.pipeline.components import Components
    from restorer.pipeline.decisions import Decisions
    from restorer.weights import Table


def outlined(components: Components, texts: Sequence[str], pixels: np.ndarray, found: Sequence[Face]) -> list[Outlined]:
    """Return the faces that the user points at, in their order.

    Args:
        components: of the run; no detector is fetched for it.
        texts: the values of `face` in the options.
        pixels: (h, w, 3) RGB, uint8 or uint16, of the photo, as detectors see it.
        found: the faces that the run's detector has found.

    Raises:
        UsageError: a box lies outside the photo.
    """
    from restorer.faces.outlined import find
    from restorer.models.templates import FACEXLIB

    size = pixels.shape[1], pixels.shape[0]
    boxes = outlines.boxes(texts, size)
    return [find(pixels, box, list(found), at_hand(components), FACEXLIB) for box in boxes]


def at_hand(components: Components) -> Iterator[FaceDetector]:
    """Yield every detector that is on this machine and may be used, that of the run first."""
    from restorer.faces.detect import FaceDetector

    own = components.detector()
    if isinstance(own, FaceDetector):
        yield own
    for table in tables_at_hand(components):
        if not isinstance(own, FaceDetector) or table.name != own.name:
            yield FaceDetector(components.network(table), min_score=components.options.min_score)


def tables_at_hand(decisions: Decisions) -> list[Table]:
    """Return the tables of the detectors that are on this machine and may be used; nothing is loaded for it."""
    return [
        table
        for table in decisions.usable.values()
        if REGISTRY.architecture_of(table).role == "face detector"
        and (table.builtin or weights.cached(table) is not None)
    ]


def hashes_at_hand(decisions: Decisions) -> list[str]:
    """Return what tells the detectors that are asked about a face from others, for a fingerprint."""
    return sorted(table.wanted_hash for table in tables_at_hand(decisions))
