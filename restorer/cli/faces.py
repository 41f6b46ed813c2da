"""`restore faces PHOTO`: the faces of a photo as a list and as a picture, with the numbers that `--faces` means."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restorer.cli.console import linked, messages, plain, results, say, shown
from restorer.cli.declared import shared
from restorer.cli.settings import Configured
from restorer.errors import OutputExistsError, UnreadablePhotoError
from restorer.options import Options, declared
from restorer.version import __version__

if TYPE_CHECKING:
    from restorer.models.base import Face
    from restorer.photo import Photo

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

DRAWN = "numbered faces"
"""Stands in the note of a drawing in place of a model; runs over folders pass it over, and it may be replaced."""


@app.command(cls=Configured)
def faces(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo; - reads it from stdin.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The picture with the numbers; default: PHOTO_faces beside it.")
    ] = None,
    only_json: Annotated[
        bool, typer.Option("--json", help="One JSON list on stdout and nothing else; draw only where -o says so.")
    ] = False,
    detector: Annotated[str, shared("detector", "Face detector, as for a restoration.")] = Options.detector,
    min_score: Annotated[float, shared("min_score")] = Options.min_score,
    min_face: Annotated[
        float | None,
        shared("min_face", "Faces below this many pixels would be left alone; below 20 looks closer."),
    ] = Options.min_face,
    face: Annotated[list[str] | None, shared("face")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a picture of that name.")] = False,
    device: Annotated[str, shared("device")] = Options.device,
    engine: Annotated[str, shared("engine")] = Options.engine,
    precision: Annotated[str, shared("precision")] = Options.precision,
    offline: Annotated[bool, shared("offline")] = Options.offline,
) -> None:
    """Number the faces of a photo.

    A table says where each is, how large, how sure the detector is of it, and why one would be left alone; a picture
    shows the numbers. `restore PHOTO --faces 2,5` then restores these. The JSON list also has boxes and landmarks.
    """
    from restorer.batch.slips import meant
    from restorer.cli.downloads import ProgressBar
    from restorer.cli.progress import Screen
    from restorer.engine.device import configure_threads
    from restorer.faces import select
    from restorer.faces.outlined import joined
    from restorer.faces.turned import lies, lies_by
    from restorer.photo import read_photo
    from restorer.pipeline.components import Components
    from restorer.pipeline.pointed import outlined

    boxes: tuple[str, ...] = declared(Options)["face"].checked(face or ())
    options = Options(
        model="none",
        detector=detector,
        min_score=min_score,
        min_face=min_face,
        device=device,
        engine=engine,
        precision=precision,
        offline=offline,
    )
    stdin = str(photo) == "-"
    if not stdin and (near := None if photo.exists() else meant(photo)) is not None:
        raise UnreadablePhotoError(photo, f"{photo}: there is no such file.", f"Did you mean {near}?")
    opened = read_photo(sys.stdin.buffer.read() if stdin else photo)
    target, format = _target(photo, out, opened, overwrite) if out or not (only_json or stdin) else (None, "")
    with Screen() as screen, ProgressBar(messages) as on_download:
        screen.doing(f"Looking for faces: {plain(photo.name)}")
        configure_threads()
        components = Components(options, notify=say, on_download=on_download)
        found = components.detector().detect(opened.pixels)
        for line in components.fallbacks():
            say(line)
        pointed = outlined(components, boxes, opened.pixels, found) if boxes else []
    found, named = joined(found, pointed)
    how = {number: each.how for number, each in named.items()}
    reasons = select.choose(found, opened.size, min_face=min_face, insisted=how)
    if target is not None:
        _draw(target, format, opened, found, reasons)
    if only_json:
        entries = (_entry(i + 1, *each, how.get(i)) for i, each in enumerate(zip(found, reasons, strict=True)))
        lines = ",\n".join(f"  {json.dumps(entry)}" for entry in entries)
        print(f"[\n{lines}\n]" if found else "[]")
        return
    for line in _table(found, [each or how.get(i) for i, each in enumerate(reasons)], opened.size):
        results.print(shown(line))
    if angle := lies_by(found):
        results.print(lies(angle))
    _explain(photo, target, reasons, options, boxes)


def _table(found: Sequence[Face], remarks: Sequence[str | None], size: tuple[int, int]) -> Iterator[str]:
    """Yield the faces as people look for them: number, place in the photo, size, how sure, and what else is to be said.

    That is why a face would be left alone, or how one was found that the user points at.
    """
    if not found:
        return
    rows = [("Face", "Where", "Size", "Sure", "")]
    for number, (face, remark) in enumerate(zip(found, remarks, strict=True), 1):
        x0, y0, x1, y1 = face.box
        extent = f"{x1 - x0:.0f} x {y1 - y0:.0f} px"
        rows.append((str(number), _place(face, size), extent, f"{face.score:.0%}".replace("%", " %"), remark or ""))
    wide = [max(len(row[i]) for row in rows) for i in range(4)]
    for mark, place, extent, sure, why in rows:
        line = f"{mark:>{wide[0]}}  {place:<{wide[1]}}  {extent:>{wide[2]}}  {sure:>{wide[3]}}  {why}"
        yield line.rstrip()


def _place(face: Face, size: tuple[int, int]) -> str:
    """Return where a face is in a photo of this size, by thirds: "top left", "middle", "right"."""
    x, y = ((face.box[i] + face.box[i + 2]) / 2 / size[i] for i in (0, 1))
    column = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    row = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else ""
    return " ".join(filter(None, [row, column])) or "middle"


def _entry(number: int, face: Face, reason: str | None, pointed: str | None) -> dict[str, Any]:
    """Return one face as it stands in the list; coordinates as in a record."""
    return {
        "number": number,
        "box": [round(float(value), 2) for value in face.box],
        "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks],
        "score": round(float(face.score), 4),
        "reason": reason,
        "pointed": pointed,
    }


def _target(photo: Path, out: Path | None, opened: Photo, overwrite: bool) -> tuple[Path, str]:
    """Return the drawing's file and format; refuses the photo itself, and a file that is no drawing of ours."""
    from restorer.photo import output_format, read_note, suffix_for

    if out is None or out.is_dir():
        format = output_format(opened.format, "keep")
        out = (out or photo.parent) / f"{photo.stem}_faces{suffix_for(format, photo.suffix)}"
    else:
        format = output_format(opened.format, "keep", out.suffix or ".png")
        out = out if out.suffix else out.with_suffix(".png")
    if out.exists():
        if photo.exists() and out.samefile(photo):
            raise OutputExistsError(out, f"{out} is the photo itself; it is never overwritten.", "Choose another -o.")
        note = read_note(out)
        if not overwrite and (note is None or note.model != DRAWN):
            raise OutputExistsError(
                out,
                f"{out} exists already and is no drawing of faces.",
                "Use --overwrite to replace it, or another -o.",
            )
    return out, format


def _draw(target: Path, format: str, photo: Photo, found: Sequence[Face], reasons: list[str | None]) -> None:
    """Write the picture with the numbers."""
    from restorer.photo import Note, WriteOptions, write_photo
    from restorer.report.numbered import Mark, draw

    marks = [
        Mark(number, face.box, reason is not None)
        for number, (face, reason) in enumerate(zip(found, reasons, strict=True), 1)
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    note = Note(tool="restorer", version=__version__, model=DRAWN, fingerprint=photo.sha256)
    write_photo(target, draw(photo.pixels, marks), like=photo, format=format, note=note, how=WriteOptions(quality=90))


def _explain(
    photo: Path, target: Path | None, reasons: list[str | None], options: Options, boxes: Sequence[str]
) -> None:
    """Say where the picture is, and what to type to restore some of these faces."""
    count = len(reasons)
    words = f"{count or 'No'} face{'' if count == 1 else 's'} found"
    if target is None:
        say(f"{words}.")
    else:
        messages.print(linked(target, messages, before=f"{words}; ").append(" shows them."))
    if not count:
        say("Faces that are hard to see are found with --min-score 0.6, small ones with --min-face 10.")
        return
    chosen = [number for number, reason in enumerate(reasons, 1) if reason is None][:2] or [1]
    # What decides which faces are found decides their numbers too.
    typed = ["restore", str(photo), "--faces", ",".join(map(str, chosen))]
    for name in ("detector", "min_score", "min_face", "engine", "precision"):
        option, value = declared(Options)[name], getattr(options, name)
        if value != option.default:
            typed += [f"--{option.long}", f"{value:g}" if option.kind is float else value]
    for box in boxes:
        typed += ["--face", box]
    messages.print(shown(f"To restore only some of them: {shlex.join(typed)}"))
