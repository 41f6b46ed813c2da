"""All that a recipe reads, in one small folder that can be taken to another machine.

The folder mirrors the recipe's own paths, so the recipe in it is the very same text and a run goes on there.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath

from restorer.errors import UsageError
from restorer.training.people import COLUMNS, MANIFEST, Portrait
from restorer.training.recipe import Recipe

LIMIT = 64_000_000
"""Bytes that a packed folder may have."""
PACKED_RECIPE = "recipe.toml"

Inputs = Mapping[str, Mapping[PurePath, Path]]
"""For each path of a recipe, as written there: the files below it that are read, and where they are now."""


def pack(recipe: Recipe, inputs: Inputs, out: Path, manifests: Mapping[str, Iterable[Portrait]]) -> int:
    """Write recipe and files into a new folder and return the bytes that they take.

    Args:
        recipe: written as it is.
        inputs: what it reads; the empty path stands for a file that the recipe names itself.
        out: the folder, which must not be there yet.
        manifests: for paths that are folders of faces with papers, the rows that go along.

    Raises:
        UsageError: the folder exists, a path of the recipe leaves its folder, or the files take too much.
    """
    if out.exists():
        raise UsageError(f"{out} exists already.", "Give the name of a new folder to --pack.")
    for path in inputs:
        if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
            raise UsageError(
                f"The recipe {recipe.name!r} reads {path}, which is not below the recipe's own folder.",
                "Write the path as one below it; what is elsewhere can be given with --data.",
            )
    total = sum(source.stat().st_size for files in inputs.values() for source in files.values())
    if total > LIMIT:
        raise UsageError(
            f"What the recipe {recipe.name!r} reads takes {total / 1e6:.0f} MB; {LIMIT / 1e6:.0f} may be packed.",
            "Give fewer or smaller pictures.",
        )
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for path, files in inputs.items():
        for below, source in files.items():
            target = partial / path / below
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for path, rows in manifests.items():
        _write_manifest(partial / path / MANIFEST, rows)
    (partial / PACKED_RECIPE).write_text(recipe.text, encoding="utf-8")
    partial.replace(out)
    return total


def below(folder: Path, files: Iterable[Path]) -> dict[PurePath, Path]:
    """Return files of a folder by their paths below it."""
    return {file.relative_to(folder): file for file in files}


def _write_manifest(path: Path, rows: Iterable[Portrait]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            flags = " ".join(sorted(row.flags))
            writer.writerow(
                [row.file.name, row.person, row.grade, row.licence, row.attribution, str(row.native), flags]
            )
