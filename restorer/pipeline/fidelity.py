"""Which of several fidelities is taken for a face: the one nearest to its references, or to the photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from restorer.imaging.libraries import np

if TYPE_CHECKING:
    import torch

    from restorer.faces.people import Match
    from restorer.pipeline.canvas import Detection, Work

KEPT_DETAIL = 0.8
"""Without references only answers count that have this share of the most detailed one's detail."""
INNER = (0.3, 0.8)
"""The part of an aligned crop, on both axes, whose detail is measured."""
SMALL = 64
"""Side at which pixels are compared where no recogniser is at hand: what sharpness adds is not seen there."""


def all_chosen(
    work: Work,
    faces: Sequence[Detection],
    known: Sequence[Match | None],
    answers: torch.Tensor,
    crops: Sequence[np.ndarray],
    points: np.ndarray,
) -> torch.Tensor:
    """Return the chosen answers (n, 3, S, S) of several faces, of (n, k, 3, S, S); see `chosen`."""
    import torch

    return torch.stack([chosen(work, *each) for each in zip(faces, known, answers, crops, points, strict=True)])


def chosen(
    work: Work, face: Detection, match: Match | None, answers: torch.Tensor, crop: np.ndarray, points: np.ndarray
) -> torch.Tensor:
    """Return the answer that is nearest to a face's references, or else to the photo, and write down what was tried.

    Args:
        work: of the photo.
        face: whose entry is written into.
        match: whose face it is; None where nothing was compared.
        answers: (k, 3, S, S) in about [-1, 1], one for each of `restorer.faces.restoring.TRIED`.
        crop: of the photo, (s, s, 3) RGB float32 in [0, 1].
        points: the face's landmarks (5, 2) as shares of the crop's side.
    """
    from restorer.faces.crops import to_picture
    from restorer.faces.restoring import TRIED

    with work.record.timed("likeness"):
        pictures = [to_picture(each, monochrome=work.stays_grey) for each in answers]
        details = [_detail(picture) for picture in pictures]
        by, nearness = _nearness(work, match, pictures, crop, points)
    counts = [True] * len(TRIED)
    if by != "references":
        counts = [detail >= KEPT_DETAIL * max(details) for detail in details]
    best = max((which for which in range(len(TRIED)) if counts[which]), key=lambda which: nearness[which])
    rows: list[dict[str, Any]] = [
        {"value": value, "nearness": round(near, 4), "detail": round(detail, 6)}
        for value, near, detail in zip(TRIED, nearness, details, strict=True)
    ]
    face.entry.fidelity = {"chosen": TRIED[best], "by": by, "tried": rows}
    return answers[best]


def _nearness(
    work: Work, match: Match | None, pictures: list[np.ndarray], crop: np.ndarray, points: np.ndarray
) -> tuple[str, list[float]]:
    """Return what answers are compared with, and how near each of them is."""
    compares = work.components.compares()
    if compares is None:
        return "pixels", [-_distance(picture, crop) for picture in pictures]
    found = [compares.embedding(picture, points) for picture in pictures]
    if match is not None and match.person is not None:
        return "references", [match.again(each) for each in found]
    own = compares.embedding(crop, points)
    return "photo", [float(each @ own) for each in found]


def _distance(picture: np.ndarray, crop: np.ndarray) -> float:
    """Return how far a picture is from the photo's crop where both are small, in levels of 255."""
    import cv2

    one, other = (cv2.resize(each, (SMALL, SMALL), interpolation=cv2.INTER_AREA) for each in (picture, crop))
    return float(np.abs(one - other).mean()) * 255


def _detail(picture: np.ndarray) -> float:
    """Return the variance of the Laplacian in the inner face."""
    import cv2

    from restorer.imaging.colour import LUMA

    begin, end = (round(share * len(picture)) for share in INNER)
    inner = np.ascontiguousarray((picture[begin:end, begin:end] @ LUMA).astype(np.float32))
    return float(cv2.Laplacian(inner, cv2.CV_32F).var())
