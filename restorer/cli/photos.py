"""`restore PHOTO...`: restore photos and folders."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Annotated

import typer

from restorer.cli.console import messages, say
from restorer.cli.declared import from_declarations
from restorer.cli.request import Manner, PhotosRequest
from restorer.cli.settings import Configured, typed
from restorer.errors import UsageError
from restorer.options import RUN, Options
from restorer.version import __version__

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def _print_version(value: bool) -> None:
    if value:
        print(f"restore {__version__}")
        raise typer.Exit


def _computes(request: PhotosRequest, options: Options) -> bool:
    """Return whether networks may have work in this process, as far as can be told from what was typed."""
    from restorer.engine.device import ALL_GPUS
    from restorer.upscaling import RESAMPLERS

    if request.dry_run or request.cluster is not None or options.device == ALL_GPUS:
        return False
    return options.model != "none" or options.background not in RESAMPLERS


@app.command(cls=Configured)
@from_declarations
def restore(
    photos: Annotated[
        list[str] | None,
        typer.Argument(metavar="PHOTO...", help="Photos, folders, globs; - reads one photo from stdin."),
    ] = None,
    *,
    request: PhotosRequest,
    options: Options,
    manner: Manner,
    version: Annotated[
        bool,
        typer.Option(
            "-V", "--version", callback=_print_version, is_eager=True, help="Print the version.", rich_help_panel=RUN
        ),
    ] = False,
) -> None:
    """Restore old, small or damaged photographs of people.

    Faces are found, restored each by a network that knows what faces look like, and put back into the enlarged photo.
    The photo itself is never changed; the result keeps its colours, orientation and metadata.
    """
    if not photos and request.files_from is None:
        raise UsageError("No photo was named.", "Name photos or folders, or a list of them with --files-from.")
    from restorer.engine.device import configure_threads
    from restorer.engine.starting import load_ahead

    configure_threads(request.threads, options.model)
    if _computes(request, options):
        load_ahead()

    from restorer.batch.interrupts import heard
    from restorer.cli import viewer
    from restorer.cli.batches import on_all_gpus
    from restorer.cli.downloads import ProgressBar
    from restorer.cli.progress import Screen
    from restorer.cli.run import PhotosCommand, interrupted
    from restorer.cli.signals import hear_signals
    from restorer.cli.watching import watched
    from restorer.pipeline.restorer import Restorer

    hear_signals()
    options, request = on_all_gpus(options, replace(request, photos=photos or []))
    # Also when quiet nothing is downloaded without a word.
    with watched(request, typed) as watch, Screen(quiet=manner.quiet) as screen, ProgressBar(messages) as on_download:
        restorer = Restorer(
            notify=watch.log.heard(None if manner.quiet else say),
            warn=watch.log.heard(say, logging.WARNING),
            on_download=on_download,
            **options.values(),
        )
        if options.device not in ("auto", "cpu") and request.cluster is None:
            restorer.components.device  # noqa: B018 - one that is not there is said before anything else
        command = PhotosCommand(
            restorer,
            json_lines=request.json_lines,
            quiet=manner.quiet,
            verbose=manner.verbose,
            screen=screen,
            watch=watch,
            typed=list(typed),
        )
        begin = time.monotonic()
        try:
            with heard():
                code = watch.code = command.photos(request)
        except KeyboardInterrupt:
            messages.print(interrupted(request))
            watch.code = 130
            watch.log.warn("interrupted")
            raise typer.Exit(130) from None
    if manner.notify and not manner.quiet:
        viewer.notify("restore: the run is over", time.monotonic() - begin)
    if request.open:
        viewer.show(command.made, command.page)
    raise typer.Exit(code)
