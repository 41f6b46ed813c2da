"""`restore try PHOTO`: a face by several models and strengths on one sheet, with the commands to copy."""

# ruff: noqa: N999 - the command is called so, and modules are named after their commands

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restorer.cli.console import linked, messages, note, plain, results, say, shown
from restorer.cli.declared import shared
from restorer.cli.settings import Configured
from restorer.errors import (
    OutputExistsError,
    UnreadablePhotoError,
    UsageError,
    WeightsUnavailableError,
)
from restorer.formatting import number
from restorer.options import Options, declared
from restorer.version import __version__

if TYPE_CHECKING:
    import numpy as np

    from restorer.report.trial import Tried

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

SHEET = "contact sheet"
"""Stands in the note of a sheet in place of a model; runs over folders pass it over."""


@app.command("try", cls=Configured)
def attempt(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The sheet, a picture; default: PHOTO_try beside the photo.")
    ] = None,
    models: Annotated[
        str | None,
        typer.Option("--models", metavar="A,B", help="Face restorers; default: all whose weights are on this machine."),
    ] = None,
    strengths: Annotated[
        str, typer.Option("--strengths", metavar="N,N", help="How much of the restored face is blended in: 0 to 1.")
    ] = "0.5,1",
    fidelities: Annotated[
        str | None, typer.Option("--fidelities", metavar="N,N", help="For models that have it: 0 to 1.")
    ] = None,
    faces: Annotated[
        str | None, shared("faces", "Which faces, as for a restoration; default: the largest, or those of --face.")
    ] = None,
    face: Annotated[list[str] | None, shared("face")] = None,
    min_face: Annotated[
        float | None, shared("min_face", "Look for faces of as few pixels as this; below 20 looks closer.")
    ] = Options.min_face,
    scale: Annotated[float, shared("scale")] = Options.scale,
    background: Annotated[str, shared("background")] = Options.background,
    detector: Annotated[str, shared("detector")] = Options.detector,
    min_score: Annotated[float, shared("min_score")] = Options.min_score,
    device: Annotated[str, shared("device")] = Options.device,
    engine: Annotated[str, shared("engine")] = Options.engine,
    precision: Annotated[str, shared("precision")] = Options.precision,
    offline: Annotated[bool, typer.Option("--offline", help="As always here: nothing is downloaded.")] = True,
    show: Annotated[bool, typer.Option("--open", help="Show the sheet.")] = False,
    only_json: Annotated[bool, typer.Option("--json", help="What was tried, as one JSON object on stdout.")] = False,
) -> None:
    """Restore one face in several ways, and show them side by side.

    Each picture says how like the photo it is, how long it took, and what to type for the whole photo. Nothing is
    downloaded: models whose weights are not on this machine are left out, and named.
    """
    from restorer.batch.slips import meant
    from restorer.cli import viewer
    from restorer.cli.progress import Screen
    from restorer.engine.device import configure_threads
    from restorer.faces import select
    from restorer.faces.outlined import joined
    from restorer.photo import read_photo
    from restorer.pipeline.components import Components
    from restorer.pipeline.pointed import outlined
    from restorer.report import trial

    boxes: tuple[str, ...] = declared(Options)["face"].checked(face or ())
    which = faces or ("all" if boxes else "largest")
    options = Options(
        faces=which, scale=scale, background=background, detector=detector, min_score=min_score, min_face=min_face,
        device=device, engine=engine, precision=precision, offline=offline,
    )  # fmt: skip
    chosen, left_out = _models(models)
    several = trial.ways(chosen, _numbers(strengths, "--strengths"), _numbers(fidelities, "--fidelities"))
    if not photo.exists():
        near = meant(photo)
        hint = f"Did you mean {near}?" if near is not None else "Check the name."
        raise UnreadablePhotoError(photo, f"{photo}: there is no such file.", hint)
    opened = read_photo(photo)
    target = _target(photo, out)
    tried: list[Tried] = []
    with Screen(quiet=only_json) as screen:
        screen.doing(f"Looking for faces: {plain(photo.name)}")
        configure_threads()
        components = Components(Options(**{**options.values(), "model": "none"}), notify=say)
        found = components.detector().detect(opened.pixels)
        count = len(found)
        found, named = joined(found, outlined(components, boxes, opened.pixels, found) if boxes else [])
        reasons = select.choose(found, opened.size, faces=which, min_face=min_face, insisted=named)
        wanted = {i: each for i, (each, why) in enumerate(zip(found, reasons, strict=True), 1) if why is None}
        if named and faces is None:
            wanted = {i: each for i, each in wanted.items() if i - 1 in named}
        if not wanted:
            raise UsageError(
                f"No face of {photo} is chosen; {count} {'was' if count == 1 else 'were'} found.",
                "`restore faces PHOTO` numbers them; --min-score 0.6 finds those that are hard to see, and "
                "--face X,Y,W,H points at one.",
            )
        work = trial.Trial(opened, str(photo), options, trial.likeness_at_hand(components), boxes)
        total = len(wanted) * len(several)

        def tell(each: Tried) -> None:
            tried.append(each)
            screen.doing(f"Trying {len(tried)} of {total}: {each.way}")

        work.run(wanted, several, tell)
        originals = {i: work.original(face) for i, face in wanted.items()}
        _write(target, trial.sheet(photo.name, originals, tried), opened.sha256)
    told = {
        "photo": str(photo),
        "sheet": str(target),
        "tries": [each.as_dict() for each in tried],
        "left_out": left_out,
    }
    if only_json:
        print(json.dumps(told))
    else:
        _explain(target, tried, left_out)
    if show:
        viewer.show([target], None)
    if all(each.problem is not None for each in tried):
        raise typer.Exit(1)


def _models(typed: str | None) -> tuple[list[str], dict[str, str]]:
    """Return the models that are tried, and why others that were named are not.

    Raises:
        UnknownTableError: there is none of that name.
        WeightsUnavailableError: none is here.
    """
    from restorer import weights
    from restorer.report import trial

    if typed is None:
        return trial.at_hand(), {}
    names = list(dict.fromkeys(name.strip() for name in typed.split(",") if name.strip()))
    if not names:
        raise UsageError("--models names none.", "Write it like --models gfpgan,codeformer.")
    tables = {name: weights.resolve(name) for name in names}
    here = [name for name, table in tables.items() if trial.is_here(table)]
    left_out = {
        name: f"not on this machine; `restore models pull {name}` fetches it" for name in names if name not in here
    }
    if not here:
        raise WeightsUnavailableError(
            names[0],
            f"The weights of {', '.join(names)} are not on this machine, and `restore try` downloads nothing.",
            f"`restore models pull {names[0]}` fetches them; without --models what is here is tried.",
        )
    return here, left_out


def _numbers(typed: str | None, flag: str) -> list[float]:
    """Return numbers from 0 to 1 that are separated by commas.

    Raises:
        UsageError: one is none, or outside.
    """
    found = [number(part, flag) for part in (typed or "").split(",") if part.strip()]
    if typed is not None and not found:
        raise UsageError(f"{flag} names no number.", f"Write it like {flag} 0.5,1.")
    for value in found:
        if not 0 <= value <= 1:
            raise UsageError(f"{flag} {value:g} is outside its range.", "Use 0 to 1.")
    return list(dict.fromkeys(found))


def _target(photo: Path, out: Path | None) -> Path:
    """Return a file that is not there yet: the one that was named, or one beside the photo.

    Raises:
        OutputExistsError: the file that was named is there.
        UsageError: it is no picture that is written.
    """
    from restorer.photo import output_format

    if out is not None and not out.is_dir():
        if out.exists():
            raise OutputExistsError(out, f"{out} exists already.", "Choose another name with -o.")
        output_format("PNG", "keep", out.suffix or ".png")
        return out if out.suffix else out.with_suffix(".png")
    folder, stem = out or photo.parent, f"{photo.stem}_try"
    names = (stem if i == 1 else f"{stem}_{i}" for i in range(1, sys.maxsize))
    return next(path for path in (folder / f"{name}.png" for name in names) if not path.exists())


def _write(target: Path, sheet: np.ndarray, sha256: str) -> None:
    """Write the sheet, with a note that it is one; a file of that name is not replaced."""
    from restorer.photo import Note, WriteOptions, output_format, photo_from_array, write_photo

    target.parent.mkdir(parents=True, exist_ok=True)
    format = output_format("PNG", "keep", target.suffix)
    made = Note(tool="restorer", version=__version__, model=SHEET, fingerprint=sha256)
    how = WriteOptions(quality=92, replace=False)
    write_photo(target, sheet, like=photo_from_array(sheet), format=format, note=made, how=how)


def _explain(target: Path, tried: Sequence[Tried], left_out: dict[str, str]) -> None:
    """Say what was tried, where the sheet is, and what was left out."""
    from restorer.formatting import duration

    for each in tried:
        alike = "" if each.likeness is None else f"likeness {each.likeness:.2f}, "
        figures = each.problem or f"{alike}{duration(each.seconds)}"
        results.print(shown(f"face {each.face}, {each.way}: {figures}"))
        results.print(shown(f"    {each.command}"), soft_wrap=True)
    if tried and all(each.likeness is None for each in tried):
        note("Likeness was not measured; `restore models pull mobilefacenet` gets what compares faces.")
    for name, why in left_out.items():
        note(f"{name} was left out: {why}.")
    messages.print(linked(target, messages, before="Sheet: "))
