"""`restore config`: which options are in force here, and where each comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from restorer.cli import restore_toml as files
from restorer.cli import settings
from restorer.cli.console import json_text, messages, results
from restorer.cli.settings import Command
from restorer.storage.folders import is_offline

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(cls=Command)
def config(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    preset: Annotated[str | None, typer.Option("--preset", help="Show a run with this preset.")] = None,
) -> None:
    """Show the options that a run in this folder starts from, and where each value comes from.

    A restore.toml in the working folder wins over the one in your settings folder, and what you type wins over both.
    """
    found = settings.load([] if preset is None else ["--preset", preset])
    options = {each.long: _in_force(each.long, each.default, found) for each in settings.photo_options()}
    places = [{"path": str(path), "exists": path.is_file()} for path in files.places()]
    if as_json:
        print(json_text({"files": places, "options": options}, indent=2))
        return
    view = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Option", "Value", "From"):
        view.add_column(heading, no_wrap=heading == "Option", overflow="fold")
    for name, option in options.items():
        changed = option["origin"] != "default"
        cells = (name, _shown(option["value"]), option["origin"])
        view.add_row(*(f"[bold]{escape(cell)}[/]" if changed else escape(cell) for cell in cells))
    console = (
        results if results.is_terminal else Console(width=200, highlight=False, emoji=False)
    )  # a pipe has no width
    console.print(view, soft_wrap=False)
    for place in places:
        messages.print(escape(f"{'Read' if place['exists'] else 'Not there'}: {place['path']}"))


def _in_force(name: str, default: Any, found: dict[str, files.Setting]) -> dict[str, Any]:
    """Return value and origin of an option as JSON holds them."""
    if name == "offline" and is_offline():
        return {"value": True, "origin": "environment"}
    if name in found:
        return {"value": _plain(found[name].value), "origin": str(found[name].origin)}
    return {"value": _plain(default), "origin": "default"}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _shown(value: Any) -> str:
    """Return a value as restore.toml has it; a dash where there is none."""
    return "-" if value is None else json.dumps(value, ensure_ascii=False)
