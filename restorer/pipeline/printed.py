"""What a print is mended and coloured with: which tables `--repair` and `--colorize` name, and whether they may."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from restorer import weights
from restorer.errors import UnknownTableError, UsageError
from restorer.formatting import nearest
from restorer.models import REGISTRY
from restorer.models.colourers import ColourArchitecture
from restorer.pipeline import choice as choices
from restorer.pipeline.choice import AUTO, NONE
from restorer.weights.table import CHECKPOINT_SUFFIXES

if TYPE_CHECKING:
    from restorer.models.base import Role
    from restorer.options import Options
    from restorer.weights import Table

FINDER: Role = "damage finder"
FILLER: Role = "inpainter"
COLOURER: Role = "colorizer"


def repairers(options: Options) -> dict[Role, Table]:
    """Return the tables that `--repair` names, by what they do: a finder of damage, a filler, or both.

    Raises:
        UsageError: one is for something else, or two do the same.
        UnknownTableError: no table and no file has that name.
    """
    found: dict[Role, Table] = {}
    for name in (part.strip() for part in options.repair.split(",")):
        if name == AUTO or name == NONE == options.repair:
            continue
        if name in ("", NONE):
            raise UsageError(f"--repair {options.repair}: {name!r} is no name.", _TAKES)
        table = _named("repair", name, (FINDER, FILLER))
        role = REGISTRY.architecture_of(table).role
        if role not in (FINDER, FILLER):
            article = "an" if role[0] in "aeiou" else "a"
            raise UsageError(
                f"--repair {options.repair}: {table.name} is {article} {role}, not a {FINDER} or an {FILLER}.",
                f"`restore models list` shows the names whose role is {FINDER} or {FILLER}.",
            )
        if role in found:
            raise UsageError(
                f"--repair {options.repair} names two of one kind: {found[role].name}, {table.name}.", _TAKES
            )
        found[role] = table
    return found


def _named(option: str, name: str, roles: tuple[Role, ...]) -> Table:
    """Return the table of a name, or of a file.

    Raises:
        UnknownTableError: there is none; with all that the option takes, the nearest first.
    """
    try:
        return weights.resolve(name)
    except UnknownTableError as error:
        if Path(name).name != name or Path(name).suffix in CHECKPOINT_SUFFIXES:  # a file was meant
            raise
        tables = [table for table in weights.tables().values() if REGISTRY.architecture_of(table).role in roles]
        known = [NONE, AUTO, *(each for table in tables for each in (table.name, *table.aliases))]
        near = nearest(name, known)
        remedy = f"--{option} takes {', '.join(known)}, or a file."
        if near:
            remedy = f"Did you mean {' or '.join(near)}? `restore models list` shows all names."
        message = f"--{option} {name}: there is nothing of that name."
        raise UnknownTableError(name, message, remedy, suggestions=near) from error


_TAKES = "Give none, auto, a finder's name, a filler's, or both with a comma between: scratch-unet,lama."


def colourers(tables: Mapping[str, Table]) -> list[Table]:
    """Return the tables of what guesses colours, the best first."""
    return [table for table in tables.values() if REGISTRY.architecture_of(table).role == COLOURER]


def colourer(options: Options, tables: Mapping[str, Table]) -> Table | None:
    """Return the table of what guesses colours: the one that is named, else the first whose weights are here.

    Args:
        options: of the run.
        tables: those that its licence allows.

    Raises:
        UnknownTableError: no table and no file has that name.
    """
    if options.colorize == NONE:
        return None
    if options.colorize != AUTO:
        return _named("colorize", options.colorize, (COLOURER,))
    # Hundreds of megabytes are not fetched for a guess that nobody named.
    return next((table for table in colourers(tables) if weights.cached(table) is not None), None)


def check(options: Options, tables: Mapping[str, Table]) -> None:
    """Refuse names of another role, and weights that the licence asked for forbids.

    Raises:
        UsageError: a name is of another role, or what is asked for cannot be together.
        UnknownTableError: no table and no file has that name.
        LicenseForbidsError: weights that were named forbid what `--license` asks for.
    """
    for role, table in repairers(options).items():
        choices.check_license(options, table, role, tables)
    if options.colorize == NONE:
        return
    if options.layers:
        raise UsageError(
            "--layers keeps faces apart, --colorize gives colours to all of them together.", "Leave one of them out."
        )
    if options.colorize != AUTO:
        table = _named("colorize", options.colorize, (COLOURER,))
        REGISTRY.of_role(ColourArchitecture, table, f"--colorize {options.colorize}")
        choices.check_license(options, table, COLOURER, tables)
