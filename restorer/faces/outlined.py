"""A face that somebody pointed at and no detector has found: landmarks by a closer look, or by the place of its box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from restorer.faces import align
from restorer.faces.detect import FaceDetector
from restorer.imaging.boxes import area, intersection, iou
from restorer.models.base import DetectorArchitecture, Face, Template, View

SHOWN_AT = (112, 64, 192)
"""Pixels as which the longer side of a box is shown to a detector, one look after the other."""
MARGIN, ABOUT = 0.7, 2.2
"""How much around a box is seen, in sides of the box, and by which factor a face's size may differ from the box's."""
UNSURE = 0.5
"""Score from which on a detection in a box counts: that there is a face has been said already."""
MEANT, WITHIN = 0.25, 0.6
"""Intersection over union with the box, and share of the detection inside it, from which on it is the face meant."""
SAME = 0.5
"""Intersection over union from which on a box is that of a face which was found."""

LANDMARKS = ((-0.152, -0.101), (0.152, -0.110), (0.0, 0.064), (-0.130, 0.212), (0.142, 0.206))
"""Where landmarks lie in a detector's box, from its middle, in shares of its height, and
its width as a share of that: medians of the 57 upright faces that `tiny-detector` finds in 14 photographs."""
WIDTH = 0.687


@dataclass(frozen=True)
class Outlined:
    """A face that was pointed at.

    Attributes:
        face: its box is the one that was given; its score 0 where nothing was seen.
        how: how it will be aligned, in words.
        number: which of the found faces it is, from 0; None where it is none of them.
        detector: which one saw its landmarks at a closer look; None where none had to, or none did.
    """

    face: Face
    how: str
    number: int | None = None
    detector: str | None = None


def find(
    pixels: np.ndarray,
    box: tuple[float, float, float, float],
    found: list[Face],
    detectors: Iterable[FaceDetector],
    template: Template,
) -> Outlined:
    """Return the face in a box: one that was found, one that shows at a closer look, or the box itself.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16, of the photo.
        box: x0, y0, x1, y1, in the photo.
        found: its faces.
        detectors: those that are asked, one after the other, until one sees a face.
        template: landmarks that allow no alignment to it are none.
    """
    if found:
        shares = iou(np.array(box), np.array([face.box for face in found]))
        if shares.max() >= SAME:
            number = int(shares.argmax())
            return Outlined(found[number], "found by the detector, too", number)
    for detector in detectors:
        seen = look_again(pixels, box, detector, template)
        if seen is not None:
            how = f"landmarks by {detector.name} at a closer look"
            return Outlined(replace(seen, box=box), how, detector=detector.name)
    return Outlined(Face(box, landmarks_of(box), 0.0), "no landmarks were found: aligned by its box, as if upright")


def joined(found: Sequence[Face], pointed: Sequence[Outlined]) -> tuple[list[Face], dict[int, Outlined]]:
    """Return all faces, those that only their boxes name behind those that were found, and which were pointed at.

    Returns:
        The faces, and those that were pointed at by their numbers, from 0.
    """
    faces = list(found)
    named = {each.number: each for each in pointed if each.number is not None}
    for each in (each for each in pointed if each.number is None):
        named[len(faces)] = each
        faces.append(each.face)
    return faces, named


def look_again(
    pixels: np.ndarray, box: tuple[float, float, float, float], detector: FaceDetector, template: Template
) -> Face | None:
    """Return the face that a detector sees in a box when it is shown larger; None where it sees none.

    Args:
        pixels: (h, w, 3) RGB, uint8 or uint16, of the photo.
        box: x0, y0, x1, y1.
        detector: what it is less sure of counts too.
        template: landmarks that allow no alignment to it are none.
    """
    architecture = detector.network.architecture
    if not isinstance(architecture, DetectorArchitecture):
        return None
    side = max(box[2] - box[0], box[3] - box[1])
    left, top = (max(int(edge - MARGIN * side), 0) for edge in box[:2])
    right, bottom = (int(np.ceil(edge + MARGIN * side)) for edge in box[2:])
    part = np.ascontiguousarray(pixels[top:bottom, left:right])
    for shown in SHOWN_AT:
        view = View(shown / side, frame=MARGIN / 2, smallest=shown / ABOUT, largest=shown * ABOUT)
        seen = [_moved(face, left, top) for face in architecture.detect_region(detector.network, part, view, UNSURE)]
        meant = [face for face in seen if _is_meant(face, box)]
        meant = [face for face in meant if align.estimate(face.landmarks, template, 512.0) is not None]
        if meant:
            return max(meant, key=lambda face: face.score)
    return None


def landmarks_of(box: tuple[float, float, float, float]) -> np.ndarray:
    """Return where landmarks (5, 2) stand in the box of an upright face, as detectors draw boxes."""
    wide, high = box[2] - box[0], box[3] - box[1]
    side = min(high, wide / WIDTH)  # a box may be drawn wider than a face is
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    return (middle + side * np.array(LANDMARKS)).astype(np.float32)


def _moved(face: Face, x: int, y: int) -> Face:
    x0, y0, x1, y1 = face.box
    landmarks = (face.landmarks + np.array([x, y])).astype(np.float32)
    return replace(face, box=(x0 + x, y0 + y, x1 + x, y1 + y), landmarks=landmarks)


def _is_meant(face: Face, box: tuple[float, float, float, float]) -> bool:
    seen, given = np.array(face.box), np.array([box])
    middle = face.landmarks.mean(axis=0)
    inside = box[0] <= middle[0] <= box[2] and box[1] <= middle[1] <= box[3]
    share = float(intersection(seen, given)[0]) / max(float(area(seen)), 1e-6)
    return inside and float(iou(seen, given)[0]) >= MEANT and share >= WITHIN
