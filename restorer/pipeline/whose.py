"""Whose face one of a photo is, and how near it comes to photos of that person when it is restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from restorer.faces.people import Match
    from restorer.pipeline.canvas import Detection, Work


def recognised(work: Work, crop: np.ndarray, points: np.ndarray) -> Match | None:
    """Return whose face a crop shows; None where no references were given, or nothing compares.

    Args:
        work: of the photo.
        crop: of the photo, (s, s, 3) RGB float32 in [0, 1].
        points: the face's landmarks (5, 2) as shares of the crop's side.
    """
    from restorer.faces import people

    known = work.components.people()
    if known is None:
        return None
    work.record.warn(known.absent)
    if known.likeness is None:
        return None
    with work.record.timed("likeness"):
        return people.match(known.persons, known.likeness.embedding(crop, points))


def note(work: Work, face: Detection, match: Match | None, restored: np.ndarray, points: np.ndarray) -> None:
    """Write into the record how near a face was to the references, and how near it is restored.

    Args:
        work: of the photo.
        face: whose entry is written into; one that moved away is warned of.
        match: whose it is, as `recognised` found it.
        restored: the crop restored, (t, t, 3) RGB float32 in [0, 1].
        points: as for `recognised`.
    """
    from restorer.faces.people import MOVED

    known = work.components.people()
    if match is None or known is None or known.likeness is None:
        return
    with work.record.timed("likeness"):
        after = match.again(known.likeness.embedding(restored, points))
    name = None if match.person is None else match.person.name
    moved = name is not None and after < match.nearness - MOVED
    face.entry.reference = {
        "person": name,
        "photo": None if match.portrait is None else str(match.portrait.path),
        "before": round(match.nearness, 4),
        "after": round(after, 4),
        "moved_away": moved,
    }
    if moved:
        number = work.number_of(face.entry)
        work.record.warn(
            f"Face {number} moved away from the photos of {name}: {match.nearness:.2f} near before, now {after:.2f}."
        )
