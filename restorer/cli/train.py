"""`restore train`: train a prior or a restorer by a recipe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from restorer.cli.console import messages, say
from restorer.cli.moving import Moving
from restorer.cli.settings import Command
from restorer.formatting import duration, seconds

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(cls=Command)
def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A TOML file, or the name of a recipe inside.")],
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Pictures to train on, instead of the recipe's own folder.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="Where the run goes; default: runs/NAME.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores allowed.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on from the run's checkpoint, or begin anew.")
    ] = True,
    until: Annotated[int | None, typer.Option(min=1, help="Stop after this step; the next run goes on.")] = None,
    time_limit: Annotated[
        str | None, typer.Option(metavar="T", help="Stop after so long: 90s, 8m, 2h; the next run goes on.")
    ] = None,
    pack: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write all that the recipe reads into a new folder, and train nothing."),
    ] = None,
) -> None:
    """Train by a recipe; stopped at any moment, the same command goes on where it was.

    The folder of the run gets losses.csv, losses.png, sample sheets, the recipe, a checkpoint, and at the end the
    result as NAME.safetensors, which `--model` takes, with its table for a weights.toml. On several GPUs start it
    with `torchrun --nproc-per-node N -m restorer train RECIPE`.
    """
    import torch

    from restorer.engine.device import allowed_cores
    from restorer.training.train import pack as pack_up
    from restorer.training.train import train as carry_out

    if pack is not None:
        size = pack_up(recipe, pack, data=data)
        say(f"Packed {size / 1e6:.1f} MB into {pack}. Train with: restore train {pack / 'recipe.toml'}")
        return
    limit = seconds(time_limit) if time_limit else None
    torch.set_num_threads(threads or allowed_cores())
    began = time.monotonic()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[losses]}", markup=False),
    )
    with Moving(*columns, transient=False, disable=not messages.is_terminal) as progress:
        task = progress.add_task(str(recipe), total=None, losses="")

        def report(step: int, total: int, seconds: float, means: Mapping[str, float]) -> None:
            losses = "  ".join(f"{name} {value:.3g}" for name, value in means.items())
            progress.update(task, total=total, completed=step, losses=losses)
            if not messages.is_terminal:
                say(f"step {step} of {total}, {duration(seconds)}: {losses}")

        done = carry_out(
            recipe, data=data, out=out, device=device, resume=resume, until=until, time_limit=limit, report=report
        )
    if done.files:
        finished = "finished" if done.steps == done.total else f"stopped after step {done.steps} of {done.total}"
        say(f"Training {finished} after {duration(time.monotonic() - began)}. The result is {done.files[0]}.")
