"""Faces that a model restores by other photos of the same person, where it can and where there are enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from restorer.imaging.libraries import np

if TYPE_CHECKING:
    import torch

    from restorer.faces.people import Match, Person
    from restorer.models.base import FaceRestorer
    from restorer.pipeline.canvas import Detection, Work


def learns(work: Work) -> int:
    """Return from how many photos of a person on the model restores by them; 0 where it never does."""
    return int(getattr(work.components.face_model(), "learns_from", 0))


def restored(
    work: Work,
    model: FaceRestorer,
    faces: Sequence[Detection],
    crops: Sequence[np.ndarray],
    known: Sequence[tuple[Match | None, np.ndarray]],
) -> torch.Tensor:
    """Return faces (n, 3, S, S), each restored by photos of its person, or as usual where there are too few.

    Args:
        work: of the photo; its model learns.
        model: what restores the others.
        faces: to be restored.
        crops: of them, as the model takes them.
        known: whose each is, and its landmarks as shares of the crop's side.
    """
    import torch

    from restorer.faces.crops import stacked

    found = []
    for face, crop, (match, points) in zip(faces, crops, known, strict=True):
        own = _by_person(work, face, match, crop, points)
        found.append(model.restore(stacked([crop])).detach().float().cpu() if own is None else own)
    return torch.cat(found)


def _by_person(
    work: Work, face: Detection, match: Match | None, crop: np.ndarray, points: np.ndarray
) -> torch.Tensor | None:
    """Return a face restored by photos of its person, (1, 3, S, S); None, and the record says why, by none.

    Args:
        work: of the photo; its model learns.
        face: the face.
        match: whose it is; None where nothing was compared.
        crop: as the model takes it, (s, s, 3) RGB float32 in [0, 1].
        points: landmarks (5, 2) as shares of the crop's side.
    """
    import torch

    from restorer.faces import people
    from restorer.faces.crops import stacked

    model: Any = work.components.face_model()
    person, why = _person(work, match)
    if person is None or len(person.portraits) < learns(work):
        if person is not None:
            why = f"of {person.name} there is {len(person.portraits)} photo, and {learns(work)} are needed"
        number = work.number_of(face.entry)
        work.record.warn(f"Face {number}: {model.name} used its memory of faces in general: {why}.")
        return None
    known = work.components.people()
    assert known is not None
    seen = {each.sha256: known.portrait(each, model.crop) for each in person.portraits}
    order = people.by_pose(person.portraits, points, [seen[each.sha256][1] for each in person.portraits])
    pictures = stacked([seen[each.sha256][0] for each in order])
    theirs = torch.from_numpy(np.stack([seen[each.sha256][1] for each in order]))
    found: torch.Tensor = model.restore_person(stacked([crop]), torch.from_numpy(points)[None], pictures, theirs)
    work.record.warn(f"{model.name} restored by photos of {person.name}: {len(order)} of {len(person.portraits)}.")
    return found.detach().float().cpu()


def _person(work: Work, match: Match | None) -> tuple[Person | None, str]:
    """Return whose face it is, or why that is not known."""
    known = work.components.people()
    if known is None:
        return None, "no --reference was given"
    if match is not None:
        return match.person, "it resembles nobody of the references"
    if len(known.persons) == 1 and len(work.detections) == 1:  # who else should it be
        return known.persons[0], ""
    return None, "nothing tells whose face it is"
