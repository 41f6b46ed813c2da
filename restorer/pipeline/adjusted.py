"""Single faces that are restored in their own way: which options hold for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from restorer.errors import UnknownTableError, UsageError
from restorer.formatting import nearest
from restorer.options import Options
from restorer.options.adjusting import Adjustment, adjustments
from restorer.pipeline import choice as choices
from restorer.pipeline import searches

if TYPE_CHECKING:
    from restorer.weights import Table


def options_of(options: Options, adjustment: Adjustment | None, tables: Mapping[str, Table]) -> Options:
    """Return the options that a face is restored with; its strength is no part of them, since pasting alone asks it.

    Args:
        options: of the run.
        adjustment: what is said of the face; None = nothing.
        tables: all there are.
    """
    plain = replace(options, adjust=())
    if adjustment is None:
        return plain
    if adjustment.model is not None:
        has = choices.controls(table_of(adjustment.model, tables))
        # What was said for another model does not hold for one that lacks it.
        plain = replace(plain, model=adjustment.model, fidelity=None, seed=plain.seed if "seed" in has else None)
    return plain if adjustment.fidelity is None else replace(plain, fidelity=adjustment.fidelity)


def table_of(name: str, tables: Mapping[str, Table]) -> Table:
    """Return the table that a name or an alias means; a file is none.

    Raises:
        UnknownTableError: there is none.
    """
    for table in tables.values():
        if name in (table.name, *table.aliases):
            return table
    known = [
        each for table in tables.values() if choices.is_face_restorer(table) for each in (table.name, *table.aliases)
    ]
    near = nearest(name, known)
    remedy = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(known)}."
    raise UnknownTableError(name, f"--adjust names the model {name}, and there is none.", remedy, suggestions=near)


def all_options(options: Options, tables: Mapping[str, Table]) -> list[Options]:
    """Return the options of the faces that another model or fidelity was chosen for.

    Raises:
        UnknownTableError: a model is unknown.
        UsageError: faces are searched for in a prior.
    """
    plain, found = replace(options, adjust=()), list[Options]()
    for each in adjustments(options.adjust).values():
        one = options_of(options, each, tables)
        for model in {one.model, plain.model} & set(tables):
            if searches.is_search(tables[model]):
                raise UsageError(f"{model} searches for a face; --adjust goes with restorers only.", "Leave it out.")
        if one not in (plain, *found):
            found.append(one)
    return found
