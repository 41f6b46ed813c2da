"""`restore sample`: draw pictures from a prior."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from restorer.cli.console import say
from restorer.cli.declared import shared
from restorer.cli.settings import Command
from restorer.errors import OutputExistsError, UsageError
from restorer.options import Options

STRIP = 16
"""Pictures of a walk that stand in one row."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(cls=Command)
def sample(
    prior: Annotated[str, typer.Argument(metavar="PRIOR", help="Name of a prior, or a file.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A picture file for one sheet, or a folder for single pictures.")
    ] = Path("samples.png"),
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many pictures.")] = 16,
    truncation: Annotated[
        float, typer.Option(min=0.0, max=2.0, help="1 = all variety, less = nearer to the average (StyleGAN2 only).")
    ] = 0.7,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.")] = 0,
    detector: Annotated[
        str | None, typer.Option(metavar="NAME", help="Count the pictures in which this detector finds a face.")
    ] = None,
    identity_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="MobileFaceNet checkpoint: how alike the faces are; with --detector."),
    ] = None,
    neighbours: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Show each picture beside the nearest one of this folder, in a sheet."),
    ] = None,
    along: Annotated[
        bool, typer.Option("--walk", help="A strip of pictures on the way from one draw to another, in small steps.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was measured, as one JSON object on stdout.")] = False,
    device: Annotated[str, shared("device")] = Options.device,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not reach the network.")] = False,
) -> None:
    """Draw pictures from a prior: one sheet, or each picture for itself into a folder.

    With --detector, --identity-weights and --neighbours they are also measured: how many are faces, how alike they are,
    and what in the training data is nearest to each.
    """
    from restorer import weights
    from restorer.engine import device as devices
    from restorer.imaging.sheets import grid
    from restorer.models import REGISTRY
    from restorer.storage.pictures import save_picture
    from restorer.training.sampling import draw, walk

    single = out.suffix.lower() not in (".png", ".jpg", ".jpeg")
    beside = out / "neighbours.png" if single else out.with_name(f"{out.stem}_neighbours.png")
    if identity_weights is not None and detector is None:
        raise UsageError("To compare faces they must be found first.", "Add --detector NAME.")
    targets = [out / f"{index:05d}.png" for index in range(count)] if single else [out]
    for target in [*targets, *([beside] if neighbours is not None else [])]:
        if target.exists() and not overwrite:
            raise OutputExistsError(target, f"{target} exists.", "Add --overwrite, or choose another place with -o.")
    table = weights.resolve(prior)
    loaded = REGISTRY.load(table, weights.fetch(table, offline=offline), devices.choose(device, "fp32").name)
    mapping = None
    if table.mapping is not None:
        other = weights.resolve(table.mapping)
        place = next(loaded.network.parameters()).device
        mapping = REGISTRY.load(other, weights.fetch(other, offline=offline), place).network
    pictures = (walk if along else draw)(loaded, count, seed=seed, truncation=truncation, mapping=mapping)
    if single:
        from PIL import Image

        for target, picture in zip(targets, pictures, strict=True):
            save_picture(Image.fromarray(picture), target)
    else:
        save_picture(grid(pictures, columns=min(count, STRIP) if along else None), out)
    say(f"{count} pictures of {pictures[0].shape[0]} px were drawn from {table.name}: {out}")
    if detector is None and neighbours is None and not as_json:
        return
    from restorer.engine.device import configure_threads
    from restorer.evaluation.samples import ALIKE, FOUND, Judgement, find_nearest, judge_faces
    from restorer.pipeline.components import Components
    from restorer.training.datasets import picture_files

    configure_threads()
    result = Judgement(count)
    if detector is not None:
        options = Options(model="none", detector=detector, device=device, offline=offline)
        result = judge_faces(pictures, Components(options, notify=say).detector(), identity_weights)
        say(f"A face is found in {result.faces} of {count} at score {FOUND:g}.")
        if result.most_alike is not None:
            say(f"{result.alike} pairs are alike ({ALIKE:g} and more); the largest cosine is {result.most_alike:.2f}.")
    if neighbours is not None:
        save_picture(find_nearest(pictures, picture_files(neighbours), result), beside)
        closest = min(distance for _, distance in result.nearest)
        say(
            f"The nearest picture of {neighbours} is {closest:.3f} away; those themselves usually {result.usual:.3f} "
            f"from their nearest. Side by side: {beside}"
        )
    if as_json:
        print(json.dumps(result.as_json()))
