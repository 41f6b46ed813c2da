"""What a result was made with, in the words of records and notes; and whether this run would take better."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from restorer.pipeline import choice as choices
from restorer.pipeline import cleaning, printed
from restorer.pipeline.adjusted import table_of
from restorer.pipeline.choice import AUTO, NONE
from restorer.upscaling import RESAMPLERS

if TYPE_CHECKING:
    from restorer.pipeline.decisions import Decisions
    from restorer.record import FaceRecord, Record
    from restorer.weights import Table

HASH_DIGITS = 16
"""Digits of a hash that a record and a note tell of weights."""


def described(of: Decisions, record: Record) -> dict[str, dict[str, Any]]:
    """Return what did the work of a record: names, the first digits of their weights' hashes, who chose them.

    What had no part in it, such as a detector where no face is looked for, is not named.
    """
    options, given = of.options, of.given
    found: dict[str, dict[str, Any]] = {}

    def tell(part: str, name: str | None, table: Callable[[], Table] | None, named: bool) -> None:
        if name is not None:
            digest = table().wanted_hash[:HASH_DIGITS] if table is not None else ""
            found[part] = {"name": name, "sha256": digest or None, "named": named}

    if of.faces_wanted:
        own = given.face_model is not None
        tell("model", of.model, None if own else of.model_table, own or options.model != AUTO)
        own = given.detector is not None
        tell("detector", record.detector, None if own else of.detector_table, own or options.detector != AUTO)
    for face, other in _of_single_faces(of, record).items():
        tell(f"model of face {face}", other.name, lambda other=other: other, True)  # type: ignore[misc]
    if record.clean is not None:
        cleaner = cleaning.table_of(options)
        assert cleaner is not None
        tell("clean", record.clean, lambda: cleaner, True)
    if record.colorize is not None and record.colorize["done"]:
        coloured = printed.colourer(options, of._available.usable)
        assert coloured is not None
        tell("colorize", coloured.name, lambda: coloured, options.colorize != AUTO)
    name = record.background
    own = given.background is not None
    plain = own or name is None or name in RESAMPLERS
    table = None if plain else partial(of.background_table, str(name))
    tell("background", name, table, own or options.background != AUTO)
    mask, tables, own = record.mask_name, of._available.tables, given.mask is not None
    parser = None if own or mask is None or mask not in tables else partial(tables.__getitem__, mask)
    tell("mask", mask, parser, own)
    return found


def _of_single_faces(of: Decisions, record: Record) -> dict[int, Table]:
    """Return the models that single faces were restored by, by the numbers of these."""
    named = {number: (face.adjusted or {}).get("model") for number, face in enumerate(record.faces, 1)}
    return {number: table_of(name, of._available.tables) for number, name in named.items() if name is not None}


def _compared(face: FaceRecord) -> bool:
    """Whether the recogniser had a part in a face's record."""
    tried = face.fidelity is not None and face.fidelity["by"] != "pixels"
    ranked = any(answer["by"] is not None for answer in face.answers)
    return face.likeness is not None or face.reference is not None or tried or ranked


def at_work(of: Decisions, record: Record) -> set[str]:
    """Return the names of the tables whose networks may have taken part in a record's work."""
    names = {str(part["name"]) for part in record.components.values()}
    names |= {face.detector for face in record.faces if face.detector is not None}
    if record.repair is not None:
        names |= {str(record.repair.get(part)) for part in ("finder", "filler")}
    if any(_compared(face) for face in record.faces):
        names.add(choices.recogniser(of._available.tables))
    return names


def limits(of: Decisions, record: Record) -> dict[str, str]:
    """Return, by name, the licences that limit the use of a result, of the weights that the record names."""
    given, restored, tables = of.given, any(face.restored for face in record.faces), of._available.tables
    used: list[Table | None] = []
    by_run = any(face.restored and "model" not in (face.adjusted or {}) for face in record.faces)
    if by_run and given.face_model is None:
        used.append(of.model_table())
    used += _of_single_faces(of, record).values()
    if record.detector is not None and given.detector is None:
        used.append(of.detector_table())
    own = None if record.detector is None or given.detector is not None else record.detector
    looked = {face.detector for face in record.faces if face.restored and face.detector not in (None, own)}
    used += [tables.get(str(name)) for name in sorted(map(str, looked))]
    if restored and given.mask is None:
        used.append(tables.get(record.mask_name or ""))
    if record.background not in (None, *RESAMPLERS) and given.background is None:
        used.append(of.background_table(str(record.background)))
    if record.clean is not None:
        used.append(cleaning.table_of(of.options))
    if record.colorize is not None and record.colorize["done"]:
        used.append(printed.colourer(of.options, of._available.usable))
    if any(_compared(face) for face in record.faces):
        used.append(tables[choices.recogniser(tables)])
    return {
        table.name: table.license or "not for commercial use"
        for table in used
        if table is not None and table.commercial is False
    }


def outdoes(of: Decisions, part: str, name: str, size: Callable[[], tuple[int, int] | None]) -> bool:
    """Return whether this run takes weights of their own in the place of a built-in model.

    Args:
        of: the names of this run.
        part: "model", "detector" or "background".
        name: what did that work.
        size: asked for (width, height) of the photo where that decides; None where it cannot be told.
    """
    tables = of._available.tables
    if not choices.is_builtin(tables, name):
        return False
    taken: str | None
    if part == "background":
        if of.options.background == AUTO and not choices.has_better_upscaler(of._available):
            return False
        known = size()
        taken = None if known is None else of.background_name(known)
    else:
        taken = of.model if part == "model" else of.detector_name()
    return taken not in (None, NONE, *RESAMPLERS) and not choices.is_builtin(tables, str(taken))
