"""What options mean to models that search a prior, and to those that do more with a face than restore it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from restorer import weights
from restorer.errors import UsageError
from restorer.models import REGISTRY
from restorer.models.searching import SearchArchitecture
from restorer.options import declared

if TYPE_CHECKING:
    from restorer.options import Options
    from restorer.weights import Table

SEARCHING = ("prior", "variants", "steps", "time_limit")
"""Options that only a search has."""
INPAINT, COLORIZE = "inpaint", "colorize"


def is_search(table: Table) -> bool:
    """Whether a table's model searches a prior."""
    return isinstance(REGISTRY.architecture_of(table), SearchArchitecture)


def tasks_of(table: Table) -> tuple[str, ...]:
    """Return what a table's model can be told to do with a face, the usual first; nothing where it just restores."""
    architecture = REGISTRY.architecture_of(table)
    return architecture.tasks if isinstance(architecture, SearchArchitecture) else table.tasks


def with_prior(options: Options, table: Table) -> Table:
    """Return the table with the prior that the options name, where they name one.

    Raises:
        UsageError: the model does not search that architecture.
        UnknownTableError: there is no such prior.
    """
    if options.prior is None or not is_search(table):
        return table
    found = weights.searching(table, weights.resolve(options.prior))
    REGISTRY.arguments(found)  # says whether it can be searched
    return found


def table_of(options: Options, name: str) -> Table:
    """Return the table of a face restorer, with the prior that the options name; raises as `with_prior`."""
    return with_prior(options, weights.resolve(name))


def check(options: Options, table: Table, tables: Mapping[str, Table]) -> None:
    """Refuse options that a model does not have.

    Args:
        options: of the run.
        table: of the face restorer, with its prior.
        tables: all of them, for advice.

    Raises:
        UsageError: it does not search, or cannot do the task, or a task lacks its hole.
    """
    if not is_search(table):
        given = [name for name in SEARCHING if getattr(options, name) != declared(type(options))[name].default]
        if given:
            having = [name for name, each in tables.items() if is_search(each)]
            raise UsageError(
                f"--{given[0].replace('_', '-')} is for models that search a prior; {table.name} does not.",
                f"Leave it out, or use one of: {', '.join(having)}.",
            )
    tasks = tasks_of(table)
    if options.task is not None and options.task not in tasks:
        having = [name for name, each in tables.items() if options.task in tasks_of(each)]
        raise UsageError(
            f"{table.name} cannot {_words(options.task)}.",
            f"Leave --task out, or use one of: {', '.join(having)}." if having else "Leave --task out.",
        )
    if options.task == INPAINT and options.hole is None:
        raise UsageError(
            "--task inpaint needs to know what is missing.",
            "Name a picture as large as the photo, white where it is missing: --hole FILE.",
        )
    if options.hole is not None and options.task != INPAINT:
        raise UsageError("--hole is for --task inpaint alone.", "Add --task inpaint, or leave --hole out.")


def check_none(options: Options) -> None:
    """Refuse what is for faces where none is looked for.

    Raises:
        UsageError: something of a search, a task or a hole was given.
    """
    for name in (*SEARCHING, "task", "hole"):
        if getattr(options, name) != declared(type(options))[name].default:
            raise UsageError(f"--{name.replace('_', '-')} is for faces; --model none restores none.", "Leave it out.")


def _words(task: str) -> str:
    return {"super-resolution": "enlarge by a search"}.get(task, task)
