"""`restore sample`: draw pictures from a prior."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restorer.cli.console import say
from restorer.errors import OutputExistsError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(no_args_is_help=True)
def sample(
    prior: Annotated[str, typer.Argument(metavar="PRIOR", help="Name of a StyleGAN2 or DCGAN prior, or a file.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A picture file for one sheet, or a folder for single pictures.")
    ] = Path("samples.png"),
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many pictures.")] = 16,
    truncation: Annotated[
        float, typer.Option(min=0.0, max=2.0, help="1 = all variety, less = nearer to the average (StyleGAN2 only).")
    ] = 0.7,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not reach the network.")] = False,
) -> None:
    """Draw pictures from a prior: one sheet, or each picture for itself into a folder."""
    from restorer import device as devices
    from restorer import registry, weights
    from restorer.training.sampling import draw
    from restorer.training.sheets import grid, save_picture

    single = out.suffix.lower() not in (".png", ".jpg", ".jpeg")
    targets = [out / f"{index:05d}.png" for index in range(count)] if single else [out]
    for target in targets:
        if target.exists() and not overwrite:
            raise OutputExistsError(target, f"{target} exists.", "Add --overwrite, or choose another place with -o.")
    table = weights.resolve(prior)
    loaded = registry.load(table, weights.fetch(table, offline=offline), devices.choose(device, "fp32").name)
    pictures = draw(loaded, count, seed=seed, truncation=truncation)
    if single:
        from PIL import Image

        for target, picture in zip(targets, pictures, strict=True):
            save_picture(Image.fromarray(picture), target)
    else:
        save_picture(grid(pictures), out)
    say(f"{count} pictures of {pictures[0].shape[0]} px were drawn from {table.name}: {out}")
