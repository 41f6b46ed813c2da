"""Figures by group: a restorer's gain on those pictures of an evaluation that have something in common."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restorer.errors import UsageError
from restorer.training.people import MANIFEST

FEWEST = 8
"""Of so many pictures at least a mean is given; of fewer only how many there are."""
NOTHING = "-"
"""The group of pictures of which the table says nothing."""


@dataclass
class Row:
    """One method's means over the pictures; None where a figure does not apply.

    `identity` is MobileFaceNet's cosine with the truth, `distance` that of the independent judge (0.6 = another
    person), `detail` the fine detail of the middle of the picture as a share of the truth's.
    """

    method: str
    psnr: float | None = None
    ssim: float | None = None
    niqe: float | None = None
    identity: float | None = None
    seconds: float | None = None
    lpips: float | None = None
    detail: float | None = None
    distance: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row as it stands in the JSON, rounded to four digits behind the point."""
        values = asdict(self)
        method = values.pop("method")
        return {
            "method": method,
            **{name: None if value is None else round(value, 4) for name, value in values.items()},
        }


Figures = dict[str, NDArray[np.float64]]
"""The values of one method, by the names of a row's figures: one a picture, not a number where there is none."""


def means(method: str, figures: Mapping[str, NDArray[np.float64]], pictures: Sequence[int] | None = None) -> Row:
    """Return a method's means (of the detail the median) over the pictures of these indices; None = all."""
    row = Row(method)
    for name, values in figures.items():
        there = values if pictures is None else values[list(pictures)]
        there = there[~np.isnan(there)]
        if len(there):
            setattr(row, name, float(np.median(there) if name == "detail" else there.mean()))
    return row


@dataclass
class Group:
    """Pictures that have something in common.

    Attributes:
        name: what.
        pictures: how many.
        rows: one a method; none where there are fewer pictures than FEWEST.
        faces: on how many of the true pictures a face was found, for the identity; None without identity.
    """

    name: str
    pictures: int
    rows: list[Row]
    faces: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the group as it stands in the JSON."""
        rows = [row.as_json() for row in self.rows]
        return {"group": self.name, "pictures": self.pictures, "faces": self.faces, "rows": rows}


def grouped(figures: Mapping[str, Figures], groups: Mapping[str, Sequence[int]]) -> list[Group]:
    """Return each group with the means of its pictures (indices), the groups in alphabetical order."""
    likeness = figures.get("truth", {}).get("identity")
    found = None if likeness is None else np.isfinite(likeness)
    parts = []
    for name in sorted(groups):
        which = list(groups[name])
        enough = len(which) >= FEWEST
        rows = [means(method, values, which) for method, values in figures.items()] if enough else []
        parts.append(Group(name, len(which), rows, None if found is None else int(found[which].sum())))
    return parts


def groups_of(files: Sequence[Path], by: str) -> dict[str, list[int]]:
    """Return the pictures (indices) of each group.

    Args:
        files: the pictures, of one folder.
        by: a column of the folder's MANIFEST.csv, or a CSV file with the columns `file` and `groups`. Several groups
            of a picture stand with spaces, `;` or `|` between them.

    Raises:
        UsageError: there is no such file or column.
    """
    path, column = (Path(by), "groups") if Path(by).suffix == ".csv" else (files[0].parent / MANIFEST, by)
    if not path.is_file():
        raise UsageError(f"There is no {path}.", "Give a CSV file, or a folder whose manifest has such a column.")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for name in ("file", column):
            if name not in (reader.fieldnames or ()):
                raise UsageError(f"{path} has no column {name!r}.", f"It has: {', '.join(reader.fieldnames or ())}.")
        said = {values["file"]: (values[column] or "").replace(";", " ").replace("|", " ").split() for values in reader}
    groups: dict[str, list[int]] = {}
    for index, picture in enumerate(files):
        for name in dict.fromkeys(said.get(picture.name) or [NOTHING]):
            groups.setdefault(name, []).append(index)
    return groups
