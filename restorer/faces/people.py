"""Whose face is it: faces of people that are known from photos, and how near another face is to them.

How near two faces are is the cosine of their embeddings (`restorer.faces.likeness`), at most 1. What is known of
people is kept in memory alone: nothing here writes to a disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAME = 0.35
"""From so near on a face is taken for the person of a reference; see "The right person" in docs/decisions.md."""
MOVED = 0.05
"""A restored face that is farther from its references than the photo's own by more than this has moved away."""
MOST_TAKEN = 10
"""Portraits that a face is restored by, at most: those whose pose is nearest to its own."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """The face of a person in a reference photo.

    Attributes:
        path: the photo.
        sha256: of its bytes.
        landmarks: (5, 2), pixels of the photo.
        size: the longer side of the face's box, pixels.
        embedding: of unit length; None where no recogniser is at hand.
    """

    path: Path
    sha256: str
    landmarks: np.ndarray
    size: float
    embedding: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody who is known from photos.

    Attributes:
        name: as the record tells it.
        portraits: one for each photo.
    """

    name: str
    portraits: tuple[Portrait, ...]

    def nearness(self, embedding: np.ndarray) -> tuple[float, Portrait | None]:
        """Return how near a face is to the nearest portrait, -1 to 1, and that portrait; None where none can tell."""
        known = [each for each in self.portraits if each.embedding is not None]
        if not known:
            return -1.0, None
        found = [float(each.embedding @ embedding) for each in known if each.embedding is not None]
        best = int(np.argmax(found))
        return found[best], known[best]


@dataclass(frozen=True, eq=False)
class Match:
    """Whom a face of a photo was compared with.

    Attributes:
        person: whose face it is; None where it is too far from everybody's.
        portrait: the nearest of all; None where nothing could be compared.
        nearness: to that portrait, -1 to 1.
        compared: those who it is compared with again once it is restored.
    """

    person: Person | None
    portrait: Portrait | None
    nearness: float
    compared: tuple[Person, ...]

    def again(self, embedding: np.ndarray) -> float:
        """Return how near a face is to the nearest portrait of those who this one was compared with."""
        return max(person.nearness(embedding)[0] for person in self.compared)


def match(people: Sequence[Person], embedding: np.ndarray) -> Match:
    """Return whose face it is: of the person with the nearest portrait, unless that is too far.

    Args:
        people: at least one.
        embedding: of the face, of unit length.
    """
    found = [(*person.nearness(embedding), person) for person in people]
    nearness, portrait, person = max(found, key=lambda each: each[0])
    if nearness < SAME:
        return Match(None, portrait, nearness, tuple(people))
    return Match(person, portrait, nearness, (person,))


def choose(found: Mapping[Path, Sequence[Portrait]], name: str) -> tuple[Person, list[str]]:
    """Return a person of the faces that photos of theirs show, one a photo, and lines about what was doubtful.

    In a photo with several faces the person is the one nearest to those of photos with one face; where nothing tells,
    the largest.

    Args:
        found: all faces of each photo.
        name: of the person.

    Raises:
        ValueError: no photo shows a face.
    """
    alone = [faces[0] for faces in found.values() if len(faces) == 1]
    sure = Person(name, tuple(alone))
    taken, lines = [], []
    for path, faces in found.items():
        if not faces:
            lines.append(f"The reference {path} shows no face that is found; it was passed over.")
            continue
        best = faces[0]
        if len(faces) > 1:
            best = max(faces, key=lambda each: (_nearness(sure, each), each.size))
            if _nearness(sure, best) < SAME:
                best = max(faces, key=lambda each: each.size)
                lines.append(f"The reference {path} shows {len(faces)} faces; the largest was taken for {name}.")
        taken.append(best)
    if not taken:
        raise ValueError(f"no photo of {name} shows a face")
    whole = Person(name, tuple(taken))
    lines += [_doubt(each, whole) for each in taken if _is_doubtful(each, whole)]
    return whole, lines


def by_pose(portraits: Sequence[Portrait], points: np.ndarray, aligned: Sequence[np.ndarray]) -> list[Portrait]:
    """Return the portraits in the order in which their pose is like a face's, at most `MOST_TAKEN`.

    Args:
        portraits: of a person.
        points: landmarks (5, 2) of the face in its aligned crop, as shares of its side.
        aligned: those of each portrait in its own.
    """
    apart = [float(np.abs(each - points).sum()) for each in aligned]
    order = sorted(range(len(portraits)), key=lambda which: (apart[which], portraits[which].sha256))
    return [portraits[which] for which in order[:MOST_TAKEN]]


def _nearness(person: Person, portrait: Portrait) -> float:
    return -1.0 if portrait.embedding is None else person.nearness(portrait.embedding)[0]


def _is_doubtful(portrait: Portrait, person: Person) -> bool:
    """Whether a portrait is unlike all others of its person, of whom there are several."""
    others = Person(person.name, tuple(each for each in person.portraits if each is not portrait))
    return len(others.portraits) > 1 and portrait.embedding is not None and _nearness(others, portrait) < SAME


def _doubt(portrait: Portrait, person: Person) -> str:
    return f"The reference {portrait.path} hardly resembles the other photos of {person.name}; is it the same person?"
