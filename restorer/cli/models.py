"""`restore models`: which weights there are, and bringing, checking and removing them."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from restorer import weights
from restorer.cli import weights_view
from restorer.cli.console import messages, raw, results, say, show_error
from restorer.cli.downloads import ProgressBar, check_network, plain_names
from restorer.cli.settings import Command, Group
from restorer.errors import HashMismatchError, RestorerError, UsageError, WeightsError, WeightsUnavailableError
from restorer.models import REGISTRY
from restorer.models.base import FaceArchitecture, UpscalerArchitecture
from restorer.storage.folders import is_offline
from restorer.weights import fetching, ledger, terms, user
from restorer.weights.progress import megabytes
from restorer.weights.sources import FileSource

if TYPE_CHECKING:
    from restorer.weights import Table
    from restorer.weights.sources import Source

app = typer.Typer(
    cls=Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="List, download, verify and import weights.",
)

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names as `restore models list` shows them.")]


# ------------------------------------------------------------------------------------------------------- looking


@app.command("list", cls=Command)
def list_models(
    every: Annotated[bool, typer.Option("--all", help="On a terminal: a line for each, and the names of all.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list on stdout.")] = False,
) -> None:
    """Show which weights there are, how large each is, and whether it is here; in a pipe also licence and purpose."""
    known = list(weights.tables().values())
    if as_json:
        print(json.dumps([_facts(table) for table in known], indent=2))
        return
    rows = [_row(table) for table in sorted(known, key=lambda table: weights_view.by_role(_role(table)))]
    if results.is_terminal:
        for line in weights_view.listing(rows, results.width, every=every):
            results.print(line, soft_wrap=True)
        return
    for text in weights_view.table(rows):
        raw(text)


@app.command(cls=Command)
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name, an alias, or a file that was imported.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show everything about one: sources, hash, licence, where it lies."""
    facts = _facts(weights.resolve(name))
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for line in weights_view.facts(facts, results.width if results.is_terminal else None):
        results.print(line, soft_wrap=True)


@app.command(cls=Command)
def path(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Print where a verified file lies; exit 3 when it is not here."""
    table = weights.resolve(name)
    found = weights.cached(table)
    if found is None:
        raise WeightsUnavailableError(
            table.name,
            f"The weights of {table.name} are not on this machine.",
            f"Type `restore models pull {table.name}`.",
        )
    print(found)


# ------------------------------------------------------------------------------------------------------ bringing


@app.command(cls=Command)
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]", help="Names of `restore models list`; without any, what a plain run takes."
        ),
    ] = None,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the terms of weights that come without a licence.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only look at what is here.")] = False,
) -> None:
    """Download weights, so that later runs need no network. What is here already is only checked."""
    errors: list[RestorerError] = []
    tables = [weights.resolve(name) for name in names or plain_names()]
    check_network(tables, offline)
    for table in tables:
        try:
            _pull(table, accept_license, offline)
        except RestorerError as error:
            errors.append(error)
    _raise_all(errors)


def _pull(table: Table, accept_license: bool, offline: bool) -> None:
    """Bring one file and say where it is."""
    found = weights.cached(table)
    if found is not None:
        say(f"{table.name} is here already: {found}")
        return
    if accept_license:
        terms.accept_license(table)
    elif not terms.acknowledged(table) and table.sources and sys.stdin.isatty() and not is_offline(offline):
        say(table.acknowledge or "")
        if typer.confirm("Download it all the same?", err=True):
            terms.accept_license(table)
    with ProgressBar(messages) as on_progress:
        found = weights.fetch(table, offline=offline, on_progress=on_progress)
    say(f"{table.name}: {found}")


@app.command("import", cls=Command)
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint: .pth, .pt, .ckpt or .safetensors.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Also add it to your weights.toml under this name.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option("--architecture", help="What it is, where its content does not tell.")
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option("--argument", metavar="NAME=VALUE", help="What its content does not tell; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The file to write; default: beside FILE.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the terms of weights whose use is limited.")
    ] = False,
) -> None:
    """Turn a checkpoint into a small, safe file that loads by itself, for --model or under a name of yours."""
    from restorer.cli import importing

    importing.bring(
        file, out, name=name, architecture=architecture, arguments=argument or [], overwrite=overwrite,
        accept_license=accept_license,
    )  # fmt: skip


@app.command(cls=Command)
def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `restore models list`, or a file of ours.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The file to write; default: NAME.onnx.")] = None,
    side: Annotated[
        int | None, typer.Option("--side", min=32, help="Of the pictures, in pixels, for networks that take any size.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only look at what is here.")] = False,
) -> None:
    """Write a network as an ONNX file, which is kept only if ONNX Runtime computes from it what torch does."""
    from restorer.cli.exporting import write

    write(weights.resolve(name), out, side=side, overwrite=overwrite, offline=offline)


# ----------------------------------------------------------------------------------------------------- checking


@app.command(cls=Command)
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Default: all that are here.")] = None,
) -> None:
    """Read every byte of the files that are here, and compare their hashes."""
    chosen = [weights.resolve(name) for name in names] if names else list(weights.tables().values())
    errors: list[RestorerError] = []
    count = 0
    for table in chosen:
        found = fetching.located(table)
        if not found and names:
            errors.append(
                WeightsUnavailableError(
                    table.name,
                    f"The weights of {table.name} are not on this machine.",
                    f"Type `restore models pull {table.name}`.",
                )
            )
        for _source, file in found:
            count += 1
            try:
                results.print(escape(f"{_verified(table, file)}  ok  {table.name}  {file}"))
            except WeightsError as error:
                errors.append(error)
    if not count and not names:
        say("There are no weights on this machine yet; `restore models pull NAME` brings them.")
    _raise_all(errors)


def _verified(table: Table, file: Path) -> str:
    """Return the hash of a file that is the table's; raises HashMismatchError for any other."""
    actual = fetching.actual_hash(table, file, fresh=True)
    if fetching.matches(table, actual):
        return actual
    raise HashMismatchError(
        table.name,
        f"{file} is not {table.name}: its sha256 is {actual}, expected is {table.wanted_hash}. It will not be loaded.",
        f"Type `restore models pull {table.name}` to download it again.",
        expected=table.wanted_hash,
        actual=actual,
    )


# ----------------------------------------------------------------------------------------------------- removing


@app.command(cls=Command)
def remove(names: Names, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete what this tool downloaded, imported, or made for other engines. Files of yours and of other tools stay."""
    from restorer.engine import kept

    for table in [weights.resolve(name) for name in names]:
        found = fetching.located(table)
        imported = user.has_imported(table.name)
        mine = [
            (source, file)
            for source, file in found
            if ledger.is_ours(source, file) or _imported(imported, source, file)
        ]
        for source, file in found:
            if (source, file) not in mine:
                say(f"{file} stays: this tool did not download it.")
        exported = kept.of_table(table.name)
        if not mine and not imported and not exported:
            say(f"There is nothing of {table.name} to delete.")
            continue
        for _source, file in mine:
            say(f"{file} ({megabytes(file.stat().st_size)})")
        for folder, size in exported:
            say(f"{folder} ({megabytes(size)})")
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError("Nothing was deleted: there is nobody to ask.", "Add --yes.")
            if not typer.confirm(f"Delete the files of {table.name}?", err=True):
                continue
        for source, file in mine:
            if isinstance(source, FileSource):
                file.unlink()
            else:
                ledger.remove(source, file)
        if imported:
            user.remove_table(table.name)
        kept.drop(table.name)
        say(f"Deleted {table.name}.")


def _imported(listed: bool, source: Source, file: Path) -> bool:
    """Tell whether a file was written by `restore models import` for a table that it added too."""
    return listed and isinstance(source, FileSource) and weights.about(file) is not None


# ------------------------------------------------------------------------------------------------------- shared


def _role(table: Table) -> str:
    architecture = REGISTRY.get(table.architecture)
    return architecture.role if architecture else f"unknown architecture {table.architecture}"


def _row(table: Table) -> weights_view.Row:
    """Return a table's line of the list."""
    alias = f"also called {' or '.join(table.aliases)}; " if table.aliases else ""
    architecture = REGISTRY.get(table.architecture)
    return weights_view.Row(
        name=table.name,
        role=_role(table),
        here=weights.cached(table) is not None,
        yours=table.replaces_shipped,
        size=table.size,
        at_least=table.at_least,
        sourced=bool(table.sources),
        sizes=_sizes(table),
        license=_short(table.license),
        purpose=alias + (table.trained_for or ""),
        brief=architecture is not None and architecture.read_whole,
    )


def _short(license_text: str | None) -> str:
    """Return the name of a licence, with a star where more is said about it."""
    if not license_text:
        return "not stated"
    name = re.split(r" as stated|[,;(]", license_text)[0].strip()
    return name if name == license_text else f"{name}*"


def _sizes(table: Table) -> str:
    """Return the sizes in and out where the architecture tells: "128 → 1024", or "×4" for an upscaler."""
    architecture = REGISTRY.get(table.architecture)
    if architecture is None:
        return ""
    try:
        arguments = REGISTRY.arguments(table)
    except RestorerError:  # a search whose prior is not there, or cannot be searched; using it says so
        return ""
    if isinstance(architecture, FaceArchitecture):
        crop = architecture.crop(arguments)
        return f"{crop.input_size} → {crop.output_size}"
    if isinstance(architecture, UpscalerArchitecture):
        return " ".join(f"×{factor}" for factor in architecture.factors(arguments))
    return ""


def _facts(table: Table) -> dict[str, Any]:
    """Return everything about a table, as JSON holds it."""
    facts = {key: value for key, value in asdict(table).items() if key != "payload_sha256"}
    found = weights.cached(table)
    return {
        "name": facts.pop("name"),
        "role": _role(table),
        **facts,
        "sha256": table.sha256 or table.payload_sha256,
        "sources": list(table.sources),
        "aliases": list(table.aliases),
        "origin": str(table.origin),
        "sizes": _sizes(table),
        "cached": found is not None,
        "path": None if found is None else str(found),
    }


def _raise_all(errors: list[RestorerError]) -> None:
    """Show all errors but the last, which is raised and decides the exit code."""
    for error in errors[:-1]:
        show_error(error)
    if errors:
        raise errors[-1]
