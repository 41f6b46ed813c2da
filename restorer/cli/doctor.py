"""`restore doctor`: is everything here that a restoration needs, and what to do where it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from restorer.cli.console import results
from restorer.cli.declared import shared
from restorer.cli.settings import Command
from restorer.options import Options

if TYPE_CHECKING:
    from restorer.cli.diagnosis.base import Check

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

MARKS = {
    "ok": "[green]ok[/]     ",
    "note": "[yellow]note[/]   ",
    "broken": "[bold red]BROKEN[/] ",
    "skipped": "skipped",
}


@app.command(cls=Command)
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no network.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also run a model's networks in each engine, and say which is quickest.")
    ] = False,
    model: Annotated[
        str, shared("model", "Whose networks --measure runs: auto, or the name of a model.")
    ] = Options.model,
) -> None:
    """Check this machine: versions, devices, folders, weights, network.

    Packages are imported, devices compute, folders are written to, files are verified, the Hub is asked. Exit code 1
    when something is broken; each such line says what to do. --measure adds a minute or so.
    """
    checks: list[Check] = []
    for check in _checks(offline, model if measure else None):
        if not as_json:
            _show(check, first=not checks or checks[-1].group != check.group)
        checks.append(check)
    broken = [check for check in checks if check.status == "broken"]
    if as_json:
        print(json.dumps({"ok": not broken, "checks": [asdict(check) for check in checks]}, indent=2))
    elif broken:
        results.print(f"\n[bold red]{len(broken)} broken:[/] {escape(', '.join(check.name for check in broken))}")
    else:
        results.print("\nNothing is broken.")
    raise typer.Exit(1 if broken else 0)


def _checks(offline: bool, measured: str | None) -> Iterator[Check]:
    """Yield all checks, that of the settings files last, and behind it the engines with the networks of a model."""
    from restorer.cli import restore_toml as config
    from restorer.cli import settings
    from restorer.cli.diagnosis import examine
    from restorer.cli.diagnosis.base import Check
    from restorer.errors import RestorerError

    yield from examine(offline=offline)
    files = [str(path) for path in config.places() if path.is_file()]
    try:
        found = settings.load()
    except RestorerError as error:
        yield Check("Settings", "restore.toml", "broken", error.message, error.remedy, {"files": files})
    else:
        detail = f"{', '.join(files)}: {', '.join(found) or 'empty'}" if files else "no restore.toml, here or of yours"
        yield Check("Settings", "restore.toml", "ok", detail, facts={"files": files})
    if measured is not None:
        from restorer.cli.diagnosis.engines import Engines

        yield from Engines(measured, offline).look()


def _show(check: Check, *, first: bool) -> None:
    """Print one check, under the heading of its group."""
    if first:
        results.print(f"[bold]{check.group}[/]")
    results.print(f"  {MARKS[check.status]} {escape(check.name)}: {escape(check.detail)}")
    if check.remedy:
        results.print(f"          {escape(check.remedy)}")
