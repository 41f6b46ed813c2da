"""Faces with papers: a folder whose MANIFEST.csv says of each picture who it shows, whose it is, and how large it was.

Which rows may be learnt from is decided here, row by row; persons, not pictures, are held apart.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from restorer.errors import UsageError
from restorer.training.datasets import picture_files, split
from restorer.training.recipe import Recipe, Values

MANIFEST = "MANIFEST.csv"
COLUMNS = ("file", "person", "grade", "licence", "attribution", "native_px", "flags")
Part = Literal["training", "choosing", "reporting"]
CHOOSING, REPORTING = 0.07, 0.07
"""Shares of the persons that a training never sees: by some it is chosen, by the others it is reported."""

PAPERS: Values = {"grades": [], "without": [], "inferred": [], "died_by": 0}
"""The keys of a recipe's data table that say which rows may be learnt from (see `Rules`); without grades the folder's
manifest, if it has one, is not looked at."""
HONEST = 1.1
"""How much larger than it was taken a face may be shown."""

_DIED = re.compile(r"sitter died (\d{4})")


@dataclass(frozen=True)
class Portrait:
    """One row.

    Attributes:
        file: the picture.
        person: a name for who it shows, the same in all rows.
        grade: "A" needs no notice, "B" has to be attributed.
        licence: in words.
        attribution: what the row itself asks to be named; often empty.
        native: side in pixels that the face's square had before it was brought to the picture's size.
        flags: remarks, such as "inferred" (no licence is stated) or "c192" (the person is in another set as well).
    """

    file: Path
    person: str
    grade: str
    licence: str
    attribution: str
    native: int
    flags: frozenset[str]

    @property
    def source(self) -> str:
        """The letters and digits before the first underscore of the file's name, which say where it comes from."""
        return self.file.name.partition("_")[0]


@dataclass(frozen=True)
class Rules:
    """Which rows may be learnt from.

    Attributes:
        grades: grades that may.
        without: a row with one of these flags may not.
        inferred: sources whose rows may although their licence is only inferred.
        died_by: an inferred row of any source may, too, if its licence says that the sitter had died by this year: the
            photograph is then at least as old. 0 for none.
    """

    grades: Sequence[str] = ("A", "B")
    without: Sequence[str] = ()
    inferred: Sequence[str] = ()
    died_by: int = 0

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Rules:
        """Return the rules of a recipe's data table."""
        return cls(data["grades"], data["without"], data["inferred"], data["died_by"])

    def admit(self, row: Portrait) -> bool:
        """Return whether a row may be learnt from."""
        if row.grade not in self.grades or row.flags & set(self.without):
            return False
        if "inferred" not in row.flags or row.source in self.inferred:
            return True
        died = _DIED.search(row.licence)
        return died is not None and int(died[1]) <= self.died_by


def read_manifest(folder: Path) -> list[Portrait]:
    """Return the rows of a folder's MANIFEST.csv, sorted by file.

    Raises:
        UsageError: there is none, a column is missing, or a picture that it names.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UsageError(f"There is no {MANIFEST} in {folder}.", "Give a folder that says whose its pictures are.")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise UsageError(f"{path} has no column {missing[0]!r}.", f"It needs: {', '.join(COLUMNS)}.")
        rows = [_row(folder, values) for values in reader]
    for row in rows:
        if not row.file.is_file():
            raise UsageError(f"{path} names {row.file.name}, which is not there.", "Complete the folder.")
    return sorted(rows, key=lambda row: row.file.name)


def _row(folder: Path, values: dict[str, str]) -> Portrait:
    try:
        native = int(float(values["native_px"]))
    except ValueError as error:
        raise UsageError(
            f"{folder / MANIFEST} gives native_px of {values['file']} as {values['native_px']!r}.", "Give a number."
        ) from error
    return Portrait(
        file=folder / values["file"],
        person=values["person"],
        grade=values["grade"],
        licence=values["licence"],
        attribution=values["attribution"],
        native=native,
        flags=frozenset(values["flags"].replace(";", " ").replace("|", " ").split()),
    )


def part_of(person: str) -> Part:
    """Return what a person's pictures are for: the same in every recipe, so that no model is chosen by another's."""
    digest = hashlib.sha256(f"faces held apart, 1/{person}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < CHOOSING:
        return "choosing"
    return "reporting" if place < CHOOSING + REPORTING else "training"


def chosen(rows: Iterable[Portrait], rules: Rules, part: Part) -> list[Portrait]:
    """Return the rows of one part that may be learnt from, or measured by."""
    return [row for row in rows if rules.admit(row) and part_of(row.person) == part]


def held_apart(folder: Path, recipe: Recipe, size: int = 0) -> list[Path]:
    """Return the pictures of a folder that a recipe does not learn from and that results are reported on.

    With `grades` in its data table these are persons of the folder's manifest, taken large enough for squares of `size`
    pixels (0 = all); else as many pictures as its `validation` says.

    Raises:
        UsageError: the manifest or a picture that it names is missing, or all pictures would be held apart.
    """
    data = {**PAPERS, **recipe.values.get("data", {})}
    if data["grades"]:
        rows = chosen(read_manifest(folder), Rules.of(data), "reporting")
        return [row.file for row in rows if row.native * HONEST >= size]
    return split(picture_files(folder), int(data.get("validation", 0)), recipe.seed)[1]


def attributions(rows: Iterable[Portrait]) -> list[str]:
    """Return what has to be named with weights that saw these rows: each attribution, or else licence, once."""
    return sorted({row.attribution or f"{row.source}: {row.licence}" for row in rows if row.grade != "A"})
