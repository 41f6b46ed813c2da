"""`restore demo`: age a photograph, scratch and fold it, restore it with the built-in models, and show both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from restorer.cli.console import linked, messages, say
from restorer.cli.declared import shared
from restorer.cli.paths import own_command
from restorer.cli.settings import Command
from restorer.errors import OutputExistsError
from restorer.options import Options

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

QUALITY = 72
"""Of the aged photo's JPEG."""


@app.command(cls=Command)
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="The folder for the pictures.")] = Path(
        "restore-demo"
    ),
    scale: Annotated[float, typer.Option(min=1.0, max=16.0, help="How many times larger the result is.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the grain that the photo gets.")] = 0,
    device: Annotated[str, shared("device")] = Options.device,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the pictures of an earlier demo.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The record, as one JSON object on stdout.")] = False,
) -> None:
    """Age a public-domain photograph, restore it with the built-in models, and write before, after and both.

    Nothing is downloaded.
    """
    from PIL import Image

    from restorer.cli.progress import Screen
    from restorer.engine.device import configure_threads
    from restorer.evaluation import ageing as pictures
    from restorer.pipeline.restorer import Restorer
    from restorer.storage.pictures import save_picture

    before, after, both = (out / name for name in ("before.jpg", "after.png", "comparison.jpg"))
    if not overwrite and not _is_demo(before, after):
        for path in (before, after, both):
            if path.exists():
                raise OutputExistsError(path, f"{path} exists.", "Add --overwrite, or choose another folder with -o.")
    aged = Image.fromarray(pictures.wear(pictures.age(pictures.photograph(), seed), seed))
    save_picture(aged, before, quality=QUALITY)
    configure_threads()
    with Screen(quiet=as_json) as screen:
        restorer = Restorer("tiny", scale=scale, device=device, repair="auto", offline=True)
        result = restorer.restore(before, on_stage=screen.photo(before.name))
    result.save(after, overwrite=True)  # what may be replaced was seen before
    box = max((face.box for face in result.faces), key=lambda b: (b[2] - b[0]) * (b[3] - b[1]), default=None)
    with Image.open(before) as picture:
        import numpy as np

        sheet = pictures.comparison(np.asarray(picture.convert("RGB")), result.image, box)
    save_picture(sheet, both)
    record = {**result.record.as_dict(), "input": str(before), "output": str(after), "comparison": str(both)}
    if as_json:
        print(json.dumps(record))
        return
    count = sum(face.restored for face in result.faces)
    say(f"{pictures.CREDIT}: aged, and restored by the built-in models in {record['seconds']['total']:.1f} s.")
    found = f"  ({count} face{'' if count == 1 else 's'})"
    for what, path, more in (("before", before, ""), ("after", after, found), ("both", both, "")):
        messages.print(linked(path, messages, before=f"  {what:<12}").append(more))
    command = own_command()
    say("For blur, grain, JPEG, small faces, scratches and folds.")
    say(f"Now one of yours:  {command} photo.jpg        (better models are fetched where there is a network)")
    say(f"Or all of them:    {command} album/ -o restored/ --report")


def _is_demo(before: Path, after: Path) -> bool:
    """Tell whether the pictures of a folder are those of an earlier demo: one was made from the other as here."""
    import hashlib

    from restorer.photo import read_note
    from restorer.pipeline.restorer import Restorer

    note = read_note(after)
    if note is None or not before.is_file() or note.model != "tiny":
        return False
    scale = note.options.get("scale")
    if not isinstance(scale, int | float) or scale <= 0:
        return False
    restorer = Restorer("tiny", scale=scale, repair="auto", offline=True)
    made = restorer.note(hashlib.sha256(before.read_bytes()).hexdigest())
    return made.fingerprint == note.fingerprint
