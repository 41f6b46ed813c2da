"""`restore plan FOLDER -o PLAN`: the list of a long run, made once, for shards and clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restorer.cli.console import messages, shown
from restorer.cli.declared import shared, typed
from restorer.cli.request import PhotosRequest
from restorer.cli.settings import Configured
from restorer.errors import UnwritableOutputError, UsageError
from restorer.options import Options, declared

NAME = typed(declared(PhotosRequest)["name"], "Name of a result: {stem}, {scale}.")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(cls=Configured)
def plan(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders with all that lies below them.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="PLAN", help="The file to write: JSON lines.")],
    name: Annotated[
        str, typed(declared(PhotosRequest)["name"], "Name of a result: {stem}, {scale}.")
    ] = "{stem}_restored",
    format: Annotated[str, shared("format")] = Options.format,
    scale: Annotated[float, shared("scale")] = Options.scale,
) -> None:
    """List the photos of a long run once, with the names of their results.

    `restore --files-from PLAN -o RESTORED --shard I/N` then restores a part of them, and looks at no other photo.
    Give it the same --name, --format and --scale.
    """
    from restorer.batch.plan import Naming, write_plan
    from restorer.cli.said import plural, size_of

    options = Options(format=format, scale=scale)
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder.", "Name folders; single photos need no plan.")
    try:
        planned = write_plan(folders, out, Naming(name, options.format, options.scale))
    except OSError as error:
        message = f"{out} cannot be written: {error.strerror or error}."
        raise UnwritableOutputError(out, message, "Choose another place with -o.") from error
    left = f"; {plural(planned.passed.own, 'result')} of this tool passed over" if planned.passed.own else ""
    messages.print(f"{plural(planned.photos, 'photo')}, {size_of(planned.bytes)}{left}: {shown(out)}")
