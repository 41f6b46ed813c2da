"""`restore evaluate`: measure a face restorer on clean pictures that are degraded first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as RichTable

from restorer.cli.console import messages, results, say
from restorer.cli.declared import shared
from restorer.cli.settings import Command
from restorer.options import Options

if TYPE_CHECKING:
    from restorer.evaluation.evaluate import Evaluation
    from restorer.evaluation.groups import Row

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(cls=Command)
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of a face restorer, or a file of your own.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Clean pictures of aligned faces.")],
    degrade: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="gfpgan (default), none, mild, strong, print, or a recipe whose degradation is used."
        ),
    ] = None,
    kept_by: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Only the pictures or persons that this recipe holds apart.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=32, help="Side at which all is measured; default: that of the model's pictures.")
    ] = None,
    prior: Annotated[str | None, shared("prior", "What pulse or mganprior searches.")] = Options.prior,
    task: Annotated[str | None, shared("task")] = Options.task,
    steps: Annotated[int | None, shared("steps")] = Options.steps,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many pictures.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the degradation.")] = 0,
    identity_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="MobileFaceNet checkpoint; without it no identity figure.")
    ] = None,
    detector: Annotated[str, typer.Option(help="Finds the faces for the identity figure.")] = "auto",
    lpips_weights: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="ALEXNET LINEAR", help="torchvision's AlexNet and lpips' linear weights, for LPIPS."),
    ] = None,
    judge: Annotated[
        bool, typer.Option("--judge", help="Ask dlib, which took part in no training, how far each face is off.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Figures by group: a column of FOLDER's MANIFEST.csv, or a CSV with file and groups."
        ),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a contact sheet: worst, median and best picture.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of the table.")] = False,
    device: Annotated[str, shared("device")] = Options.device,
    engine: Annotated[str, shared("engine")] = Options.engine,
    precision: Annotated[str, shared("precision")] = Options.precision,
    offline: Annotated[bool, typer.Option("--offline", help="Do not reach the network.")] = False,
) -> None:
    """Degrade clean pictures, restore them, and compare with the truth: PSNR, SSIM, NIQE, detail, identity, seconds.

    The degraded input, its bicubic enlargement and the best Gaussian filter of it are rows of the same table.
    """
    from restorer.engine.device import configure_threads
    from restorer.evaluation.basicsr_compat import require
    from restorer.evaluation.evaluate import Judges
    from restorer.evaluation.evaluate import evaluate as measure
    from restorer.evaluation.groups import groups_of
    from restorer.evaluation.judge import Judge
    from restorer.pipeline.components import Components
    from restorer.storage.pictures import save_picture
    from restorer.training.datasets import picture_files
    from restorer.training.people import held_apart
    from restorer.training.recipe import load_recipe

    require("`restore evaluate`")  # before anything is downloaded or computed
    independent = Judge() if judge else None
    options = Options(
        model=model,
        prior=prior,
        task=task,
        steps=steps,
        detector=detector,
        device=device,
        engine=engine,
        precision=precision,
        offline=offline,
        aligned=True,
    )
    configure_threads()
    components = Components(options, notify=say)
    # "auto" means a detector where faces are looked for; a model for aligned crops only would be refused there.
    others = replace(options, model="none", aligned=False, prior=None, task=None, steps=None)
    finding = Components(others, notify=say)
    restorer = components.face_model()
    if kept_by is None:
        files = picture_files(folder)
    else:
        files = held_apart(folder, load_recipe(kept_by), size or restorer.crop.output_size)
    files = files[:limit]
    result = measure(
        restorer,
        components.model,
        files,
        degrade=degrade,
        seed=seed,
        size=size,
        judges=Judges(
            identity=identity_weights,
            detector=finding.detector() if identity_weights is not None else None,
            lpips=lpips_weights,
            independent=independent,
        ),
        groups=groups_of(files, by) if by is not None and files else None,
        progress=lambda line: messages.print(line, style="dim"),
    )
    if sheet is not None:
        save_picture(result.contact_sheet(), sheet)
        say(f"The worst, the median and the best are in {sheet}.")
    if as_json:
        print(json.dumps(result.as_json()))
        return
    table = RichTable(
        title=f"{result.model} on {result.pictures} pictures, {result.size} px, degraded as by {result.degradation}",
        box=None,
        header_style="bold",
    )
    columns: list[Column] = [
        *(("PSNR dB", "psnr", 2), ("SSIM", "ssim", 4), ("NIQE", "niqe", 2), ("detail", "detail", 2)),
        *(("identity", "identity", 3), ("seconds", "seconds", 3)),
        *([("LPIPS", "lpips", 4)] if lpips_weights else []),
        *([("dlib", "distance", 3)] if judge else []),
    ]
    table.add_column("method")
    for heading, _, _ in columns:
        table.add_column(heading, justify="right")
    for row in result.rows:
        table.add_row(row.method, *_cells(row, columns))
    results.print(table)
    if result.groups:
        results.print(_by_group(result, columns))
    say(f"Best Gaussian filter: sigma {result.gaussian_sigma:g} px. Peak memory: {result.peak_memory_mb:.0f} MB.")


Column = tuple[str, str, int]
"""Of a table: its heading, the figure of a row, and how many digits behind the point."""


def _cells(row: Row, columns: Sequence[Column]) -> list[str]:
    figures = [(getattr(row, name), digits) for _, name, digits in columns]
    return ["-" if value is None else f"{value:.{digits}f}" for value, digits in figures]


def _by_group(result: Evaluation, columns: Sequence[Column]) -> RichTable:
    """Return the table of the groups: two lines each, what came in and what the model made of it."""
    from restorer.evaluation.groups import FEWEST

    said = f"of fewer than {FEWEST} pictures only their number"
    table = RichTable(title=f"{result.model} by group ({said})", box=None, header_style="bold")
    table.add_column("group")
    table.add_column("pictures (faces)", justify="right")
    table.add_column("method")
    for heading, _, _ in columns:
        table.add_column(heading, justify="right")
    for group in result.groups:
        number = f"{group.pictures}" if group.faces is None else f"{group.pictures} ({group.faces})"
        if not group.rows:
            table.add_row(group.name, number)
        for row in group.rows:
            if row.method in ("input", result.model):
                table.add_row(group.name, number, row.method, *_cells(row, columns))
    return table
