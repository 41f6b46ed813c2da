"""What `restore models import` does: make a file of ours out of a checkpoint, once its terms are accepted."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from restorer import weights
from restorer.cli.console import say
from restorer.errors import UsageError, WeightsUnavailableError
from restorer.models import REGISTRY
from restorer.models.base import UpscalerArchitecture
from restorer.storage.digest import sha256_of
from restorer.weights import terms, user
from restorer.weights.progress import megabytes

if TYPE_CHECKING:
    from restorer.weights import Table


def bring(
    file: Path,
    out: Path | None,
    *,
    name: str | None,
    architecture: str | None,
    arguments: Sequence[str],
    overwrite: bool,
    accept_license: bool,
) -> None:
    """Write a checkpoint as a file that loads by itself, and add it to the user's weights.toml where it has a name.

    Raises:
        RestorerError: as `restorer.models.importer.import_checkpoint`, or its terms are not accepted.
    """
    from restorer.models.importer import import_checkpoint

    if name is not None:
        user.check_name(name)
    agree = partial(_agree, name, accept_license)
    given = _read(arguments)
    done = import_checkpoint(file, out, architecture=architecture, arguments=given, overwrite=overwrite, agree=agree)
    say(f"{file.name} is a checkpoint of {done.architecture}" + (f" ({done.known_as})." if done.known_as else "."))
    for branch, values in done.dropped.items():
        say(f"  left out: {branch} ({values:,} values)")
    smaller = 1 - done.written_bytes / done.source_bytes
    sizes = f"{megabytes(done.source_bytes)} → {megabytes(done.written_bytes)}"
    if smaller >= 0.005:
        sizes += f", {smaller:.0%} smaller"
    say(f"Wrote {done.path} ({done.values:,} values; {sizes}).")
    if name is None:
        option = "--background" if isinstance(REGISTRY[done.architecture], UpscalerArchitecture) else "--model"
        say(f"Use it by its path, or import it with --name to give it a name. Example: {option} {done.path}")
        return
    shipped = weights.tables().get(done.known_as or name)
    fields = {
        "architecture": done.architecture,
        "arguments": _special(done.architecture, done.arguments),
        "sources": [f"file:{done.path.resolve()}"],
        "sha256": sha256_of(done.path),
        "size": done.written_bytes,
        "license": shipped.license if shipped else None,
        "commercial": shipped.commercial if shipped else None,
        "trained_for": shipped.trained_for if shipped else None,
    }
    say(f"Added {name} to {user.add_table(name, fields)}.")


def terms_of(architecture: str, known_as: str | None, name: str | None) -> Table | None:
    """Return the table whose terms go with a checkpoint; None where nothing is known to be asked for.

    That is the table of its hash, or else of the name that it is given; or else, where a published file of its
    architecture has no hash, so that it may be this one, the table of that file.

    Args:
        architecture: of the checkpoint.
        known_as: the table of its hash.
        name: that the user gives to it.
    """
    tables = weights.tables()
    own = known_as or name or ""
    if own in tables and tables[own].architecture == architecture:
        return tables[own]
    unhashed = (each for each in tables.values() if each.architecture == architecture and not each.wanted_hash)
    return next((each for each in unhashed if each.acknowledge is not None), None)


def _agree(name: str | None, accept_license: bool, architecture: str, known_as: str | None) -> None:
    """Ask for the terms of a checkpoint before anything is written, unless they were accepted before.

    Raises:
        WeightsUnavailableError: they are not accepted.
    """
    table = terms_of(architecture, known_as, name)
    if table is None or terms.acknowledged(table):
        return
    asked = not accept_license and sys.stdin.isatty()
    if asked:
        say(table.acknowledge or "")
    if accept_license or (asked and typer.confirm("Import it all the same?", err=True)):
        terms.accept_license(table)
        return
    raise WeightsUnavailableError(
        table.name,
        f"This is {table.name}, or may be, which is not imported before you accept this: {table.acknowledge}",
        "Add --accept-license if you do.",
    )


def _read(given: Sequence[str]) -> dict[str, Any]:
    """Return `--argument` options as a mapping; numbers become numbers."""
    result = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--argument {text} has no value.", "Write it as --argument size=512.")
        try:
            result[key] = json.loads(value)
        except ValueError:
            result[key] = value
    return result


def _special(architecture: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the arguments that are not the official defaults; None when all are."""
    defaults = REGISTRY[architecture].defaults
    return {key: value for key, value in arguments.items() if defaults.get(key) != value} or None
