"""`restore PHOTO...`: restore photos and folders."""

from __future__ import annotations

import signal
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from restorer.cli import COMMANDS
from restorer.cli.console import messages, say
from restorer.cli.settings import Configured
from restorer.errors import UsageError
from restorer.version import __version__

EPILOG = "\n\n".join(
    [
        "Examples:",
        "restore grandma.jpg    (writes grandma_restored.jpg beside it, twice as large)",
        "restore grandma.jpg --scale 8 -o large.png",
        "restore album/ -o restored/    (every photo of the folder, its tree kept)",
        "Other commands (each has a --help of its own):",
        *(f"restore {name}    ({text})" for name, text in COMMANDS.items()),
        "Exit codes: 0 all done, 1 some photos failed (each is named), 2 wrong usage, 3 weights missing or not right.",
    ]
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")

PICTURE, FACES, BACKGROUND, FILES, RUN = "The result", "Faces", "Background", "Files", "The run"


@cache  # typer evaluates the annotations below several times for one command
def _names(role: str) -> tuple[str, ...]:
    """Return the table names of a role; weights.toml and the registry are read without loading torch."""
    from restorer import weights
    from restorer.models import registry

    return tuple(name for name, table in weights.tables().items() if registry.architecture_of(table).role == role)


def _model_help() -> str:
    names = ", ".join(_names("face restorer"))
    return f"Face restorer: auto, none (enlarge only, faces are not looked for), {names}, or a file of your own."


def _print_version(value: bool) -> None:
    if value:
        print(f"restore {__version__}")
        raise typer.Exit


@app.command(cls=Configured, epilog=EPILOG, no_args_is_help=True)
def restore(
    photos: Annotated[
        list[str] | None,
        typer.Argument(metavar="PHOTO...", help="Photos, folders, globs; - reads one photo from stdin."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="A picture file (for one photo) or a folder; default: beside each photo.",
            rich_help_panel=FILES,
        ),
    ] = None,
    scale: Annotated[
        float, typer.Option(help="How many times larger the result is: 2, 3.5, 8 ...", rich_help_panel=PICTURE)
    ] = 2.0,
    model: Annotated[str, typer.Option(help=_model_help(), rich_help_panel=FACES)] = "auto",
    fidelity: Annotated[
        float | None,
        typer.Option(
            help="0 = best looking, 1 = closest to the photo; for models that have it.", rich_help_panel=FACES
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(help="How much of the restored face is blended in: 0 to 1.", rich_help_panel=FACES)
    ] = 1.0,
    faces: Annotated[
        str, typer.Option(help="Which faces: all, largest, center, or numbers such as 2,5.", rich_help_panel=FACES)
    ] = "all",
    min_face: Annotated[
        float | None,
        typer.Option(
            help="Leave faces smaller than this many pixels alone; below 20 also looks closer.", rich_help_panel=FACES
        ),
    ] = None,
    max_faces: Annotated[
        int | None, typer.Option(help="Restore at most this many faces, the largest first.", rich_help_panel=FACES)
    ] = None,
    min_score: Annotated[
        float, typer.Option(help="How sure the detector must be of a face: 0 to 1.", rich_help_panel=FACES)
    ] = 0.9,
    min_likeness: Annotated[
        float | None,
        typer.Option(
            metavar="0..1",
            help="Leave a face alone whose restored version resembles it less than this; try 0.5. Fetches 4 MB.",
            rich_help_panel=FACES,
        ),
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="Each photo is one aligned face crop.", rich_help_panel=FACES)
    ] = False,
    detector: Annotated[
        str,
        typer.Option(help=f"Face detector: auto, {', '.join(_names('face detector'))}.", rich_help_panel=FACES),
    ] = "auto",
    background: Annotated[
        str,
        typer.Option(
            help=f"What enlarges everything else: auto, lanczos, {', '.join(_names('upscaler'))}.",
            rich_help_panel=BACKGROUND,
        ),
    ] = "auto",
    tile: Annotated[
        int | None,
        typer.Option(help="Tile side in pixels of the photo; smaller needs less memory.", rich_help_panel=BACKGROUND),
    ] = None,
    format: Annotated[str, typer.Option(help="keep, png, jpg, webp or tiff.", rich_help_panel=PICTURE)] = "keep",
    quality: Annotated[
        int | None, typer.Option(help="Of JPEG, WebP and HEIC, 1 to 100; otherwise 95.", rich_help_panel=PICTURE)
    ] = None,
    strip_metadata: Annotated[
        bool, typer.Option("--strip-metadata", help="Drop all but the colour profile.", rich_help_panel=PICTURE)
    ] = False,
    name: Annotated[
        str, typer.Option(help="Name of a result: {stem}, {model}, {scale}.", rich_help_panel=FILES)
    ] = "{stem}_restored",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace results that exist; never the photos themselves.", rich_help_panel=FILES
        ),
    ] = False,
    files_from: Annotated[
        Path | None,
        typer.Option(
            help="Also the photos in this list, one a line or separated by NUL bytes; - reads the list from stdin.",
            rich_help_panel=FILES,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Only the I-th of N parts of the photos: one a machine.", rich_help_panel=FILES
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Skip what an earlier run has done or failed to do.", rich_help_panel=RUN)
    ] = True,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try again what failed in an earlier run.", rich_help_panel=RUN),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.", rich_help_panel=RUN)
    ] = False,
    match_color: Annotated[
        bool,
        typer.Option(
            "--match-color/--no-match-color",
            help="Faces keep the colours of the photo; black and white stays so.",
            rich_help_panel=FACES,
        ),
    ] = True,
    grain: Annotated[
        bool, typer.Option("--grain", help="Faces get the grain of the photo.", rich_help_panel=FACES)
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write report.html with before and after.", rich_help_panel=RUN)
    ] = False,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One record a photo, as JSON lines on stdout.", rich_help_panel=RUN)
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=RUN)] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.", rich_help_panel=RUN)] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(help="Faces that are restored together.", rich_help_panel=RUN)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Another draw of the noise, for models that have noise.", rich_help_panel=RUN)
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Never reach for the network.", rich_help_panel=RUN)
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Errors only.", rich_help_panel=RUN)] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Timings, faces, tracebacks.", rich_help_panel=RUN)
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version.", rich_help_panel=RUN
        ),
    ] = False,
) -> None:
    """Restore old, small or damaged photographs of people.

    Faces are found, restored each by a network that knows what faces look like, and put back into the enlarged photo.
    The photo itself is never changed; the result keeps its colours, orientation and metadata.
    """
    options: dict[str, Any] = {
        "scale": scale, "fidelity": fidelity, "strength": strength, "faces": faces, "min_face": min_face,
        "max_faces": max_faces, "min_score": min_score, "min_likeness": min_likeness, "aligned": aligned,
        "tile": tile, "format": format, "quality": quality, "strip_metadata": strip_metadata, "device": device,
        "precision": precision, "batch_size": batch_size, "seed": seed, "offline": offline,
        "match_color": match_color, "grain": grain,
    }  # fmt: skip
    if not photos and files_from is None:
        raise UsageError("No photo was named.", "Name photos or folders, or a list of them with --files-from.")
    from restorer.cli.downloads import ProgressBar
    from restorer.cli.run import Request, Run
    from restorer.pipeline.restorer import Restorer

    _hear_signals()
    with ProgressBar(messages) as on_download:  # also when quiet: nothing is downloaded without a word
        restorer = Restorer(
            model,
            detector=detector,
            background=background,
            say=(lambda _line: None) if quiet else say,
            on_download=on_download,
            **options,
        )
        run = Run(restorer, json_lines=json_lines, quiet=quiet, verbose=verbose)
        request = Request(
            photos or [],
            files_from=files_from,
            out=out,
            name=name,
            shard=shard,
            overwrite=overwrite,
            dry_run=dry_run,
            resume=resume,
            retry_failed=retry_failed,
            report=report,
        )
        try:
            code = run.photos(request)
        except KeyboardInterrupt:
            messages.print("Interrupted.")
            raise typer.Exit(130) from None
    raise typer.Exit(code)


def _hear_signals() -> None:
    """Treat polite requests to stop like Ctrl-C: the photo in hand leaves nothing half-written."""
    for name in ("SIGTERM", "SIGHUP"):  # the latter when a terminal is closed; Windows has none
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores it
            signal.signal(number, _stop)


def _stop(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
