"""Where the landmarks of a face stand in the crops that the face models take."""

from __future__ import annotations

from restorer.errors import InvalidTableError
from restorer.models.base import Template


def _fractions(*points: tuple[float, float], side: float = 512.0) -> tuple[tuple[float, float], ...]:
    return tuple((x / side, y / side) for x, y in points)


FACEXLIB = Template(
    "facexlib",
    _fractions(
        (192.98138, 239.94708),
        (318.90277, 240.1936),
        (256.63416, 314.01935),
        (201.26117, 371.41043),
        (313.08905, 371.15118),
    ),
)
"""facexlib's five points of an FFHQ-aligned face, at 512 px: GFP-GAN, RestoreFormer."""

EYES_AND_MOUTH = Template(
    "eyes-and-mouth",
    _fractions((192.0, 240.0), (319.0, 240.0), (257.0, 314.0), (201.0, 371.0), (313.0, 371.0)),
    used=(0, 1),
    mouth_centre=True,
)
"""facexlib's three-point template (192, 240), (319, 240), (257, 371) at 512 px, which GLEAN's face demo used.

Its third point is the middle of the mouth: there it stands in FFHQ-aligned faces, on which the models were trained.
Nose and mouth corners are where they belong on such a face; the estimate does not use them one by one.
"""

GPEN = Template(
    "gpen",
    _fractions((202.04, 242.88), (309.43, 242.29), (256.08, 303.96), (211.96, 366.83), (300.89, 366.34)),
)
"""GPEN's five points, at 512 px: a looser crop, with the eyes 107 px apart instead of 126."""


def by_argument(architecture: str, value: str) -> Template | None:
    """Return GLEAN's template for the argument `template` of a table: "face", or "none" for aligned crops only.

    Raises:
        InvalidTableError: it is neither.
    """
    known = {"face": EYES_AND_MOUTH, "none": None}
    if value not in known:
        raise InvalidTableError(
            architecture, f"The argument template of {architecture!r} is {value!r}.", f"Use one of: {', '.join(known)}."
        )
    return known[value]
